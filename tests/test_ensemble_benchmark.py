"""The arithmetic of the ensemble's benchmark: who is right, one network or the mean of several."""

from types import ModuleType

import numpy as np
import pytest

from kernels.scripts import load


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load(monkeypatch, "ensemble")


def test_the_mean_of_members_is_compared_with_the_first(benchmark: ModuleType) -> None:
    """Each member is wrong about a study of its own, about which the others are right."""
    labels = np.array([0, 1] * 10)
    members = np.where(labels[:, None] == 1, 0.8, 0.2).repeat(3, 1)
    for member, study in enumerate((4, 7, 10)):
        members[study, member] = 1 - members[study, member]
    row = benchmark.accuracy(labels, members)
    assert (row["members"], row["studies"], row["positive"]) == ("3", "20", "10")
    assert float(row["auroc_ensemble"]) == 1.0 and float(row["auroc_one"]) == 0.95
    assert row["gain"] == "+0.0500" and float(row["gain_low"]) <= 0.05 <= float(row["gain_high"])
    assert float(row["one_low"]) <= 0.95 <= float(row["one_high"])
    assert row["wrong_widest"] == "0.000" == row["wrong_rest"] and row["spread_median"] == "0.000"


def test_wrong_answers_are_looked_for_where_members_disagree(benchmark: ModuleType) -> None:
    labels = np.array([0, 1] * 10)
    members = np.where(labels[:, None] == 1, 0.8, 0.2).repeat(2, 1)
    members[3] = (0.9, 0.0)  # of label 1: the mean is below one half
    members[6] = (0.6, 0.6)  # wrong, and both agree
    row = benchmark.accuracy(labels, members)
    assert row["wrong_widest"] == "0.500" and row["wrong_rest"] == f"{1 / 18:.3f}"
