"""The commands that measure and build take an ensemble as any other bundle."""

import json
from pathlib import Path

import pytest

from command import Command
from tiny_ensemble import make_tiny_ensemble


@pytest.fixture
def ensemble(tmp_path: Path) -> Path:
    return make_tiny_ensemble(tmp_path / "ensemble.mmcaf")


def test_it_is_timed_and_what_was_chosen_answers(ensemble: Path, run: Command) -> None:
    done = run("mmcaf", "tune", ensemble, "--runs", 1, "--threads", 1, "--json")
    assert done.code == 0, done.err
    timed = {one["backend"] for one in json.loads(done.out)["candidates"] if one["median_ms"] is not None}
    assert timed >= {"onnxruntime", "openvino"}
    assert run("mmcaf", "verify", ensemble).code == 0


def test_it_is_profiled(ensemble: Path, run: Command) -> None:
    done = run("mmcaf", "profile", ensemble, "--runs", 1, "--backend", "onnxruntime", "--json")
    assert done.code == 0, done.err
    [found] = json.loads(done.out)["configurations"]
    assert found["layers"]["rows"]


def test_it_is_built_for_a_gpu(ensemble: Path, run: Command) -> None:
    pytest.importorskip("tensorrt_rtx")
    done = run("mmcaf", "build", ensemble, "--target", "sm_89", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["targets"] == ["sm_89"]
