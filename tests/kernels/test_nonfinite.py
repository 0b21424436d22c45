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


MANY = 8
"""Drawn cases of each kernel and type."""
TYPES = (torch.float32, torch.float16)
SETTINGS = settings(
    max_examples=MANY,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize(
    ("trial", "dtype"),
    [
        pytest.param(trial, dtype, id=f"{trial}-{name(dtype)}", marks=[] if at % 2 == which else pytest.mark.full)
        for at, trial in enumerate(TRIALS)
        for which, dtype in enumerate(TYPES)
    ],
)
def test_like_the_reference(interpreter: Interpreter, trial: str, dtype: torch.dtype) -> None:
    """One type of each trial, so that every kernel, which has at least two, is tried in both; all with `full`."""
    for one in ((0, 0, INFINITY), (0, 1, -INFINITY), (0, 2, float("nan")), (3, 4, -INFINITY)):
        assert interpreter(measure, Case(trial, (one,)), dtype) <= 1, one


def test_every_kernel_is_tried_in_both_types() -> None:
    tried = {(trial.partition("-")[0], at % 2) for at, trial in enumerate(TRIALS)}
    assert tried == {(kernel, which) for kernel, _ in tried for which in range(len(TYPES))}


@pytest.mark.full
@pytest.mark.parametrize("dtype", TYPES, ids=name)
@pytest.mark.parametrize("trial", TRIALS)
@SETTINGS
@given(placed=PLACED)
def test_many_like_the_reference(interpreter: Interpreter, trial: str, dtype: torch.dtype, placed: Placed) -> None:
    assert interpreter(measure, Case(trial, placed), dtype) <= 1


@pytest.mark.parametrize("dtype", TYPES, ids=name)
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
