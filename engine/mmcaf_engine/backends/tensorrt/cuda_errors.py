"""Errors of CUDA, and what a user can do about them."""

from ...errors import BackendError, Remedy
from ..remedies import SEE_WHAT_RUNS

OUT_OF_MEMORY = {"cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY"}
NO_DRIVER = {
    "cudaErrorInsufficientDriver",
    "cudaErrorNoDevice",
    "cudaErrorStubLibrary",
    "cudaErrorSystemDriverMismatch",
    "cudaErrorCompatNotSupportedOnDevice",
    "CUDA_ERROR_NO_DEVICE",
    "CUDA_ERROR_STUB_LIBRARY",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
}
LOST = {
    f"{prefix}{words if prefix == 'cudaError' else code}"
    for words, code in (
        ("LaunchFailure", "LAUNCH_FAILED"),
        ("IllegalAddress", "ILLEGAL_ADDRESS"),
        ("IllegalInstruction", "ILLEGAL_INSTRUCTION"),
        ("MisalignedAddress", "MISALIGNED_ADDRESS"),
        ("InvalidPc", "INVALID_PC"),
        ("HardwareStackError", "HARDWARE_STACK_ERROR"),
        ("ECCUncorrectable", "ECC_UNCORRECTABLE"),
        ("NvlinkUncorrectable", "NVLINK_UNCORRECTABLE"),
        ("Contained", "CONTAINED"),
        ("LaunchTimeout", "LAUNCH_TIMEOUT"),
        ("ContextIsDestroyed", "CONTEXT_IS_DESTROYED"),
        ("DevicesUnavailable", "DEVICE_UNAVAILABLE"),
        ("Unknown", "UNKNOWN"),
    )
    for prefix in ("cudaError", "CUDA_ERROR_")
}
"""Names of errors, of the CUDA runtime and driver; after one of LOST the process cannot use the GPU any more."""

_MIB = 2**20


class CudaError(Exception):
    """A call into CUDA failed.

    call: the function; code: CUDA's name of the error, e.g. cudaErrorMemoryAllocation; text: CUDA's words;
    needed, free: bytes, where memory was asked for.
    """

    def __init__(self, call: str, code: str, text: str, needed: int | None = None, free: int | None = None) -> None:
        super().__init__(f"{call}: {code} ({text})")
        self.call = call
        self.code = code
        self.text = text
        self.needed = needed
        self.free = free


def in_words(failure: CudaError, doing: str) -> BackendError:
    """A CUDA error as what a user can act upon; `doing` names the act and its object."""
    if failure.code in OUT_OF_MEMORY:
        return out_of_memory(doing, failure.needed, failure.free)
    if failure.code in LOST:
        return BackendError(
            f"The GPU was lost while {doing}: {failure}. This process cannot use it any more.",
            "Start the program again.",
            Remedy("If it happens again, look for Xid in the kernel's log", command="sudo dmesg | grep -i xid"),
            "Then update the NVIDIA driver.",
            Remedy("Meanwhile answer without the GPU", option="backend", value="onnxruntime"),
        )
    if failure.code in NO_DRIVER:
        return BackendError(
            f"CUDA cannot start while {doing}: {failure}.", "Install or update the NVIDIA driver.", SEE_WHAT_RUNS
        )
    return BackendError(f"CUDA failed while {doing}: {failure}.", SEE_WHAT_RUNS)


def out_of_memory(doing: str, needed: int | None, free: int | None) -> BackendError:
    """Too little memory on the GPU; needed and free in bytes, where known."""
    known = [f"{size / _MIB:.0f} MiB {what}" for size, what in ((needed, "needed"), (free, "free")) if size is not None]
    return BackendError(
        f"The GPU has too little memory for {doing}{': ' if known else ''}{', '.join(known)}.",
        Remedy("Close other programs that use it; see which do", command="nvidia-smi"),
        Remedy("Or answer without the GPU", option="backend", value="onnxruntime"),
    )
