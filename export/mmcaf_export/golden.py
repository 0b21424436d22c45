"""The source network's answers to a few inputs, and golden.npz, which holds them."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CASES = 2


def reference(network: nn.Module, inputs: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Outputs of the source network by name, computed on one thread, case by case.

    Several threads sum in another order; one gives the same bits in every process. The maps of one case are
    large enough.
    """
    with on_one_thread(), torch.inference_mode():
        answers = [network(*case) for case in zip(*(tensor.split(1) for tensor in inputs.values()), strict=True)]
    cases = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
    return {name: torch.cat(parts) for name, parts in zip(names, zip(*cases, strict=True), strict=True)}


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Have torch compute on one thread within the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write_golden(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a compressed .npz whose bytes depend on the arrays alone, not on the clock."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(info, data.getvalue(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
