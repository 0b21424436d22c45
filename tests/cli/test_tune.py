"""`mmcaf tune`: the table, the JSON object, what follows for auto, and what every wrong input is told."""

import json
from pathlib import Path

import pytest

from backends_here import only
from command import Command
from engine.session.test_tune import ALL, with_int8
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.base import Availability, Backend
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import Gpu
from refusals import Fact


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A private cache, two backends, and times that nobody measured."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    only(monkeypatch, "openvino", "onnxruntime")
    monkeypatch.setattr(
        "mmcaf_engine.session.tune.run_ms", lambda session, inputs: ALL[f"{session.backend} {session.precision}"]
    )


@pytest.fixture
def several(tiny_bundle: Path, tmp_path: Path) -> Path:
    return with_int8(tiny_bundle, tmp_path / "several.mmcaf")


def test_table(run: Command, several: Path) -> None:
    outcome = run("mmcaf", "tune", several, "--runs", 2, "--threads", 1)
    assert outcome.code == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0].startswith("tiny, bundle ") and lines[0].endswith("one window, 2 runs each, 1 threads")
    assert [line.split() for line in lines[1:6]] == [
        ["backend", "precision", "median", "ms", "p95", "ms"],
        ["openvino", "int8", "4.00", "4.00", "chosen"],
        ["onnxruntime", "fp32", "8.00", "8.00"],
        ["openvino", "fp32", "10.00", "10.00"],
        ["onnxruntime", "int8", "12.00", "12.00"],
    ]
    assert lines[6].startswith("chosen: openvino int8.") and "kept in" in lines[7]
    with open_session(load_bundle(several), threads=1) as session:
        assert (session.backend, session.precision) == ("openvino", "int8")


def test_json(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    failed = with_int8(tiny_bundle, tmp_path / "failed.mmcaf", gate="failed")
    document = json.loads(run("mmcaf", "tune", failed, "--json", "--runs", 1, "--threads", 1).out)
    assert document["choice"] == {"backend": "onnxruntime", "precision": "fp32"}
    assert document["model"] == load_bundle(failed).summary.to_dict()
    assert (document["runs"], document["threads"]) == (1, 1) and Path(document["kept"]).is_file()
    found = {(one["backend"], one["precision"]): one for one in document["candidates"]}
    assert len(found) == 4
    assert found["openvino", "fp32"]["median_ms"] == 10.0 and found["openvino", "fp32"]["reason"] is None
    assert found["openvino", "int8"]["median_ms"] is None
    assert "did not pass the accuracy gate" in found["openvino", "int8"]["reason"]


def test_a_gpu_is_named_where_it_was_timed(run: Command, several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is stood in for: one backend says that it runs there."""
    gpu = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * 2**30, "0000:01:00.0", "580.65.06", (13, 0))
    monkeypatch.setattr("mmcaf_engine.session.timings.first_gpu", lambda: gpu)
    monkeypatch.setattr(OnnxRuntimeBackend, "device", gpu.name)
    lines = run("mmcaf", "tune", several, "--runs", 1, "--threads", 1).out.splitlines()
    assert [" on NVIDIA GeForce RTX 4090" in line for line in lines[2:6]] == [False, True, False, True]
    document = json.loads(run("mmcaf", "tune", several, "--json", "--runs", 1, "--threads", 1).out)
    assert document["gpu"] == "NVIDIA GeForce RTX 4090, driver 580.65.06"
    devices = {one["backend"]: one["device"] for one in document["candidates"]}
    assert devices == {"openvino": "CPU", "onnxruntime": gpu.name}


def test_why_something_was_not_timed_is_in_the_table(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    silent = with_int8(tiny_bundle, tmp_path / "silent.mmcaf", gate="silent")
    lines = run("mmcaf", "tune", silent, "--runs", 1).out.splitlines()
    assert sum("int8" in line and "does not say what int8 costs" in line for line in lines) == 2


def test_the_cache_lists_and_clears_it(run: Command, several: Path) -> None:
    run("mmcaf", "tune", several, "--runs", 1, "--threads", 1)
    assert "tiny, 4 timed, 1 threads" in run("mmcaf", "cache", "list").out
    assert run("mmcaf", "cache", "clear", "--kind", "tuning").out.startswith("removed 1 tuning;")
    with open_session(load_bundle(several), threads=1) as session:
        assert session.describe()["tuned"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["tune", "nowhere.mmcaf"], 5, ("nowhere.mmcaf", "no such")),
        (["tune", "BUNDLE", "--runs", "0"], 2, ("0 runs", 1)),
        (["tune", "BUNDLE", "--runs", "-1"], 2, ("runs", -1, 1)),
        (["tune", "BUNDLE", "--threads", "0"], 2, ("0 threads", 1)),
    ],
    ids=["no-bundle", "no-runs", "negative-runs", "no-threads"],
)
def test_wrong_input(run: Command, several: Path, arguments: list[str], code: int, facts: tuple[Fact, ...]) -> None:
    outcome = run("mmcaf", *[str(several) if one == "BUNDLE" else one for one in arguments])
    outcome.refused(code, *facts)


@pytest.mark.parametrize("arguments", [[], ["BUNDLE", "--runs", "many"], ["BUNDLE", "more"]])
def test_wrong_usage(run: Command, several: Path, arguments: list[str]) -> None:
    outcome = run("mmcaf", "tune", *[str(several) if one == "BUNDLE" else one for one in arguments])
    assert outcome.code == 2 and outcome.out == "" and "mmcaf tune" in outcome.err


def test_nothing_can_run(run: Command, several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = classmethod(lambda cls, precision: Availability(False, "no such machine"))
    for backend in Backend.__subclasses__():
        monkeypatch.setattr(backend, "can_run", nothing)
    outcome = run("mmcaf", "tune", several)
    outcome.refused(6, "tiny", "openvino fp32", "no such machine")
