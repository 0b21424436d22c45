"""Peaks are of what the processor has; how high they are is no matter of a test."""

import pytest

from mmcaf_kernels.cpu.library import LEVELS, at_most, missing
from mmcaf_kernels.cpu.peaks import operations, reading

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no processor kernels here: {missing()}")
NEEDED = {"f32": "avx2", "bf16": "bf16", "i8": "vnni"}


@pytest.mark.parametrize("level", LEVELS)
def test_there_is_a_peak_where_there_are_instructions(level: str) -> None:
    with at_most(level) as found:
        if found != level:
            pytest.skip(f"this processor has no {level}")
        for kind, needed in NEEDED.items():
            assert (operations(kind, 1, 0.001) > 0) == (LEVELS.index(level) >= LEVELS.index(needed)), kind
        assert reading(1 << 20, 2, 0.001) > 0
