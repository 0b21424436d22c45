"""Every Triton kernel against its float64 reference: interpreted on the processor, and compiled on a GPU."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from kernels.conftest import Interpreter
from kernels.harness import DTYPES, Measure, hold, name

KERNELS = sorted(file.stem.removeprefix("cases_") for file in Path(__file__).parent.glob("cases_*.py"))


def cases(*, large: bool) -> list[Any]:
    """Each kernel's cases in each type, as parameters; the large ones take the interpreter hours.

    Of the others, which it takes seconds, the types take turns, so that every kernel is tried in each; the rest are
    marked `full`.
    """
    modules = {kernel: import_module(f"kernels.cases_{kernel}") for kernel in KERNELS}
    return [
        pytest.param(
            module.measure,
            case,
            dtype,
            id=f"{kernel}-{case}-{name(dtype)}",
            marks=[] if large or at % len(DTYPES) == which else pytest.mark.full,
        )
        for kernel, module in modules.items()
        for at, case in enumerate(module.CASES + (module.LARGE if large else []))
        for which, dtype in enumerate(DTYPES)
    ]


@pytest.mark.parametrize(("measure", "case", "dtype"), cases(large=False))
def test_interpreted(interpreter: Interpreter, measure: Measure, case: object, dtype: torch.dtype) -> None:
    hold(interpreter(measure, case, dtype), dtype)


@pytest.mark.gpu
@pytest.mark.parametrize(("measure", "case", "dtype"), cases(large=True))
def test_on_gpu(gpu: Interpreter, measure: Measure, case: object, dtype: torch.dtype) -> None:
    hold(gpu(measure, case, dtype), dtype)


def test_every_kernel_has_cases_for_every_type() -> None:
    assert all(len(import_module(f"kernels.cases_{kernel}").CASES) >= len(DTYPES) for kernel in KERNELS)
    package = Path(__file__).parents[2] / "kernels" / "mmcaf_kernels"
    # channels: a part of two kernels. cpu: not of torch, with tests of its own.
    assert sorted({file.parent.name for file in package.glob("*/kernel.py")} - {"channels", "cpu"}) == KERNELS
