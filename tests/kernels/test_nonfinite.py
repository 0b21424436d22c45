"""What is not finite comes out of every kernel as out of its reference, so that no overflow is hidden.

Where the reference is NaN the kernel is NaN, where it is infinite the kernel is that infinity, and where it is finite
the kernel is finite and close.
"""

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings

from kernels.conftest import Interpreter
from kernels.harness import name
from kernels.nonfinite import PLACED, TRIALS, Case, Placed, measure

INFINITY = float("inf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=name)
@pytest.mark.parametrize("trial", TRIALS)
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(placed=((0, 0, INFINITY),))
@example(placed=((0, 1, -INFINITY),))
@example(placed=((0, 2, float("nan")),))
@example(placed=((3, 4, -INFINITY),))
@given(placed=PLACED)
def test_like_the_reference(interpreter: Interpreter, trial: str, dtype: torch.dtype, placed: Placed) -> None:
    assert interpreter(measure, Case(trial, placed), dtype) <= 1
