"""Runs a session on arrays that PyCUDA has written to GPU memory, in a stream of its own.

python examples/pycuda/answer.py lung.mmcaf
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mmcaf_engine import MmcafError, load_bundle, open_session
from mmcaf_engine.bundle.golden import open_golden
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.session.session import Session

if TYPE_CHECKING:
    from pycuda.driver import Stream
    from pycuda.gpuarray import GPUArray

UNAVAILABLE = 6


class WrittenIn:
    """A GPUArray that also names the stream in which it is written: PyCUDA's own interface leaves that open.

    The session then waits for this stream alone, and on the GPU: nobody calls `stream.synchronize()`.
    """

    def __init__(self, array: "GPUArray", stream: "Stream") -> None:
        self.array = array  # Its memory is given back with the last reference.
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, "stream": stream.handle}


def answers(session: Session, windows: Mapping[str, NDArray[Any]], stream: "Stream") -> dict[str, "GPUArray"]:
    """Every output as a GPUArray [N, ...] in the same stream.

    A network's outputs are a few numbers, which the session checks on the host and returns there.

    Args:
        windows: input name -> array [N, ...] in page-locked memory, which alone is copied while the processor goes on.
            A program that computes its windows on the GPU has no need of this copy.
    """
    from pycuda.gpuarray import to_gpu_async

    inputs = {name: WrittenIn(to_gpu_async(array, stream=stream), stream) for name, array in windows.items()}
    outputs = session.run(inputs)
    return {name: to_gpu_async(values, stream=stream) for name, values in outputs.items()}


def page_locked(array: NDArray[Any]) -> NDArray[Any]:
    """A copy in page-locked memory."""
    from pycuda import driver as cuda

    copy: NDArray[Any] = cuda.pagelocked_empty(array.shape, array.dtype)
    copy[:] = array
    return copy


def unusable() -> str | None:
    """Why PyCUDA cannot be used, and what to do; else there is a context: TensorRT's too, which autoinit's is not."""
    try:
        from pycuda import autoprimaryctx  # noqa: F401
    except ModuleNotFoundError:
        where = 'docs/tensorrt.md, "Arrays of PyCUDA"'
        return f"PyCUDA is not installed; the extra `pycuda` brings it ({where}): {install_command('pycuda')}"
    except Exception as failure:  # pycuda.driver.Error is known only where it can be imported, as without a driver
        return f"PyCUDA does not find an NVIDIA GPU that it can use ({failure}); mmcaf doctor says more"
    return None


def main() -> int:
    """Answer a bundle's golden cases; 6 without PyCUDA or a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    named = parser.parse_args().bundle
    if reason := unusable():
        print(reason, file=sys.stderr)
        return UNAVAILABLE
    try:
        print_answers(named)
    except MmcafError as failure:
        print(failure, file=sys.stderr)
        return failure.exit_code
    return 0


def print_answers(named: Path) -> None:
    """Every output of a bundle's golden cases."""
    from pycuda.driver import Stream

    bundle = load_bundle(named)
    stream = Stream()
    with open_golden(bundle) as golden:
        windows = {spec.name: page_locked(golden[spec.name]) for spec in bundle.manifest.inputs}
    with open_session(bundle, backend="tensorrt") as session:
        for name, output in answers(session, windows, stream).items():
            print(f"{name}: {output.get().tolist()}")


if __name__ == "__main__":
    sys.exit(main())
