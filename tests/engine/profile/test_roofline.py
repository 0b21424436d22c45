"""The arithmetic of the roofline, on a clock that is played; that it measures at all, test_parts holds."""

from itertools import accumulate, chain

import pytest

from mmcaf_engine.profile import roofline


def test_the_best_of_the_repeats_counts_and_a_copy_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "COPIED", 2**20)
    seconds = (5.0, 4.0, 2.0, 3.0, 9.0, 7.0)
    clock = accumulate(chain([0.0], *((taken, 1.0) for taken in seconds)))
    monkeypatch.setattr("mmcaf_engine.profile.roofline.perf_counter", lambda: next(clock))
    found = roofline.measure_roofline([], 1)
    assert found.gflops == {} and found.memory_gb_s == pytest.approx(2 * 2**20 / 2.0 / 1e9)
