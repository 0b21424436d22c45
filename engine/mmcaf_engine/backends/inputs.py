"""What a caller gives a session, checked against the manifest's inputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Remedy, UsageError
from ..manifest import TensorSpec
from .device_arrays import DeviceArray, SupportsCudaArrayInterface, SupportsDlpack, lies_on_device

Input = NDArray[Any] | SupportsCudaArrayInterface | SupportsDlpack
"""What a caller may pass for an input; arrays in GPU memory only where the backend runs on that GPU."""

Adopted = NDArray[Any] | DeviceArray


def checked_inputs(
    arrays: Mapping[str, Input],
    specs: Sequence[TensorSpec],
    lengths: Sequence[int],
    adopt: Callable[[str, Input], Adopted],
) -> dict[str, Adopted]:
    """The arrays of one batch, contiguous and in the specified types.

    Args:
        lengths: that texts are padded to, ascending; "L" is at most the last.
        adopt: takes an input's name and array to what the backend works on.

    Raises:
        UsageError: an input is missing, unknown, or of the wrong shape or type, or holds NaN or infinity; or batch
            sizes or text lengths differ.
    """
    expected = [spec.name for spec in specs]
    if set(arrays) != set(expected):
        raise UsageError(f"Inputs {sorted(arrays)} came; {sorted(expected)} are expected.")
    longest = lengths[-1] if lengths else 0
    checked: dict[str, Adopted] = {}
    free: dict[str, set[int]] = {"N": set(), "L": set()}
    for spec in specs:
        array = adopt(spec.name, arrays[spec.name])
        if spec.dtype == "int64" and array.dtype == np.int32 and isinstance(array, np.ndarray):
            array = array.astype(np.int64)
        _check_form(spec, array, longest)
        for axis, size in zip(spec.shape, array.shape, strict=True):
            if isinstance(axis, str):
                free[axis].add(size)
        if isinstance(array, np.ndarray):
            _check_values(spec, array)
            array = np.ascontiguousarray(array)
        checked[spec.name] = array
    if len(free["N"]) > 1:
        raise UsageError(f"The inputs have different batch sizes: {sorted(free['N'])}.")
    if len(free["L"]) > 1:
        raise UsageError(f"The text inputs have different lengths: {sorted(free['L'])}.")
    return checked


def on_host(name: str, given: Input, where: str) -> NDArray[Any]:
    """An input for a backend that runs on the processor, or copies from there.

    Args:
        where: what runs where, in words.

    Raises:
        UsageError: the input lies in a GPU's memory.
    """
    if lies_on_device(given):
        raise UsageError(
            f"Input {name} lies in GPU memory; {where}.",
            Remedy(
                "Copy it to the host (CuPy: array.get(); torch: tensor.cpu().numpy()), or run the network there",
                option="backend",
                value="tensorrt",
            ),
        )
    return np.asarray(given)


def _check_form(spec: TensorSpec, array: Adopted, longest: int) -> None:
    shape = ", ".join(map(str, spec.shape))
    if array.dtype != np.dtype(spec.dtype):
        raise UsageError(f"Input {spec.name} is {array.dtype}; {spec.dtype} [{shape}] is expected.")
    if not spec.fits(array.shape, longest):
        limit = f", L from 1 to {longest}," if "L" in spec.shape else ""
        raise UsageError(f"Input {spec.name} has shape {list(array.shape)}; [{shape}]{limit} is expected.")


def _check_values(spec: TensorSpec, array: NDArray[Any]) -> None:
    """No NaN; and a mask of which each row has a 1, since else a network would take the mean of nothing."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UsageError(f"Input {spec.name} holds NaN or infinity.", "Check how it was prepared.")
    if spec.kind == "tokens" and (array < 0).any():
        raise UsageError(f"Input {spec.name} holds {int(array.min())}; numbers of word pieces from 0 are expected.")
    if spec.kind == "token_mask" and not (np.isin(array, (0, 1)).all() and array.any(axis=1).all()):
        raise UsageError(f"Input {spec.name} must hold 1 and 0 alone, and a 1 in each row.")
