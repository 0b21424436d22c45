"""What is not finite comes out of every kernel as out of its reference, so that no overflow is hidden.

Where the reference is NaN the kernel is NaN, where it is infinite the kernel is that infinity, and where it is finite
the kernel is finite and close.
"""

import pytest

pytest.importorskip("hypothesis", reason="Hypothesis is not installed")

import torch
from hypothesis import HealthCheck, example, given, settings

from kernels import cases_msdc
from kernels.conftest import Interpreter, Msdc
from kernels.harness import memory_full_of_nan, name
from kernels.nonfinite import PLACED, TRIALS, Case, Placed, distance, measure
from mmcaf_kernels.msdc.reference import msdc as msdc_reference

INFINITY = float("inf")


FEW, MANY = 2, 8
"""Drawn cases of each kernel and type, beside the ones that are always tried."""
SETTINGS = settings(
    max_examples=FEW,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=name)
@pytest.mark.parametrize("trial", TRIALS)
@SETTINGS
@example(placed=((0, 0, INFINITY),))
@example(placed=((0, 1, -INFINITY),))
@example(placed=((0, 2, float("nan")),))
@example(placed=((3, 4, -INFINITY),))
@given(placed=PLACED)
def test_like_the_reference(interpreter: Interpreter, trial: str, dtype: torch.dtype, placed: Placed) -> None:
    assert interpreter(measure, Case(trial, placed), dtype) <= 1


@pytest.mark.full
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=name)
@pytest.mark.parametrize("trial", TRIALS)
@settings(SETTINGS, max_examples=MANY)
@given(placed=PLACED)
def test_many_like_the_reference(interpreter: Interpreter, trial: str, dtype: torch.dtype, placed: Placed) -> None:
    assert interpreter(measure, Case(trial, placed), dtype) <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=name)
@pytest.mark.parametrize("shape", [(2, 4, 2, 12, 12), (1, 1, 9, 6, 8)], ids=str)
@settings(SETTINGS, max_examples=10)
@example(placed=((0, 100, INFINITY),))
@example(placed=((0, 100, float("nan")),))
@given(placed=PLACED)
def test_cuda_like_the_reference(
    emulated: Msdc, shape: tuple[int, int, int, int, int], dtype: torch.dtype, placed: Placed
) -> None:
    _, *rest = cases_msdc.arguments(cases_msdc.Case(shape, shuffled=shape[1] > 1), dtype, "cpu")
    given = Case("msdc", placed).inputs((shape,), dtype)
    with memory_full_of_nan():
        found = emulated(*given, *rest)
    assert distance(found, lambda a: msdc_reference(*a, *rest), given) <= 1
