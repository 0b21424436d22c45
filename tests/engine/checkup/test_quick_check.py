"""The quick check: right answers, a latency within its record, room left; each failure alone makes it unhealthy."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends_here import only
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.checkup import quick_check
from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.kept import cached_items
from mmcaf_engine.machine import memory as free_memory
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.session.timings import Timing, Tuning, keep_tuning, read_tuning, tuned_for
from mmcaf_engine.session.tune import tune
from raw_cases import edited, with_raw_case

TIB = 2**40


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A private cache and a machine with room; only OpenVINO and ONNX Runtime are there."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=TIB))
    monkeypatch.setattr(quick_check, "available_memory", lambda: TIB)
    only(monkeypatch, "openvino", "onnxruntime")


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets how long the next windows take, in ms; the last of the values lasts."""

    def set_times(*values: float) -> None:
        left = list(values)
        monkeypatch.setattr(quick_check, "run_ms", lambda session, inputs: left.pop(0) if len(left) > 1 else left[0])

    set_times(10.0)
    return set_times


def check(path: Path) -> dict[str, Check]:
    """The findings by subject."""
    return {finding.subject: finding for finding in quick_check.quick_check(path)}


def problems(found: dict[str, Check]) -> list[str]:
    return [name for name, finding in found.items() if finding.status == "problem"]


def test_the_first_check_records_and_the_second_compares(tiny_bundle: Path, takes: Callable[..., None]) -> None:
    first = check(tiny_bundle)
    assert first["latency"].status == "note" and "recorded now" in first["latency"].detail
    assert "2 golden cases within" in first["self-test"].detail and "every hash matches" in first["tiny"].detail
    second = check(tiny_bundle)
    assert second["latency"].status == "ok"
    assert "recorded by an earlier quick check: 10 ms, and up to 12.5 ms" in second["latency"].detail
    assert not problems(first) and not problems(second)


def test_the_raw_case(tiny_bundle: Path, tmp_path: Path, takes: Callable[..., None]) -> None:
    without = check(tiny_bundle)["raw case"]
    assert without.status == "note" and "its preprocessing was not checked" in without.detail
    raw = with_raw_case(tiny_bundle, tmp_path / "raw.mmcaf")
    found = check(raw)["raw case"]
    assert (
        found.status == "ok" and "windows within 0.0e+00" in found.detail and "its probability within" in found.detail
    )
    other = edited(raw, tmp_path / "edited.mmcaf", ("preprocessing", "steps", 1, "lower"), -50)
    assert problems(check(other)) == ["raw case"]


@pytest.mark.parametrize(
    ("times", "status"),
    [([12.4], "ok"), ([12.6], "problem"), ([7.6], "ok"), ([7.4], "note")],
    ids=["just-within", "too-slow", "a-little-faster", "much-faster"],
)
def test_band(tiny_bundle: Path, takes: Callable[..., None], times: list[float], status: str) -> None:
    check(tiny_bundle)
    takes(*times)
    found = check(tiny_bundle)
    assert found["latency"].status == status
    assert problems(found) == (["latency"] if status == "problem" else [])


def test_a_recorded_spread_widens_the_band(tiny_bundle: Path, takes: Callable[..., None]) -> None:
    takes(*[10.0] * (quick_check.WARM_UP_RUNS + 40), 20.0)
    check(tiny_bundle)
    takes(18.0)
    assert check(tiny_bundle)["latency"].status == "ok"
    takes(21.0)
    assert check(tiny_bundle)["latency"].status == "problem"


def test_one_slow_moment_is_forgiven(tiny_bundle: Path, takes: Callable[..., None]) -> None:
    check(tiny_bundle)
    takes(*[100.0] * (quick_check.WARM_UP_RUNS + 20), 10.0)
    assert check(tiny_bundle)["latency"].status == "ok"


def test_a_slow_network_is_measured_five_times(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, takes: Callable[..., None]
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(quick_check, "run_ms", lambda session, inputs: calls.append(inputs) or 60_000.0)
    check(tiny_bundle)
    assert len(calls) == quick_check.WARM_UP_RUNS + quick_check.FEWEST_RUNS
    assert calls[0]["image"].shape == (1, 1, 4, 16, 16)


def test_what_tune_measured_is_the_record(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, takes: Callable[..., None]
) -> None:
    check(tiny_bundle)
    monkeypatch.setattr("mmcaf_engine.session.tune.run_ms", lambda session, inputs: 40.0)
    tune(load_bundle(tiny_bundle), runs=3)
    takes(45.0)
    detail = check(tiny_bundle)["latency"].detail
    assert "recorded by tuning: 40 ms, and up to 50 ms" in detail


def test_its_record_does_not_choose_for_auto(tiny_bundle: Path, takes: Callable[..., None]) -> None:
    check(tiny_bundle)
    bundle = load_bundle(tiny_bundle)
    assert read_tuning(bundle, usable_cores()) is None
    with open_session(bundle) as session:
        assert session.describe()["tuned"] is False
    kept = [item for item in cached_items() if item.kind == "tuning"]
    assert [item.what for item in kept] == [f"tiny, 1 timed, {usable_cores()} threads"]


def test_a_self_test_that_passed_before_is_run_anew(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, takes: Callable[..., None]
) -> None:
    check(tiny_bundle)
    real = OpenVinoBackend.infer

    def wrong(self: OpenVinoBackend, inputs: Any, **options: bool) -> Any:
        return {name: array + np.float32(0.5) for name, array in real(self, inputs, **options).items()}

    monkeypatch.setattr(OpenVinoBackend, "infer", wrong)
    found = check(tiny_bundle)
    assert problems(found) == ["self-test"] and "is off by 0.5" in found["self-test"].detail


def test_a_damaged_bundle(tiny_bundle: Path, takes: Callable[..., None]) -> None:
    model = tiny_bundle / "model.onnx"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    found = check(tiny_bundle)
    assert problems(found) == [str(tiny_bundle)] and "damaged or altered" in found[str(tiny_bundle)].detail
    assert {"disk of the cache", "memory"} <= set(found)


@pytest.mark.parametrize(("ms", "runs"), [(100.0, 20), (1.0, 50), (60_000.0, 5)])
def test_a_window_is_run_for_about_two_seconds(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, takes: Callable[..., None], ms: float, runs: int
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(quick_check, "run_ms", lambda session, inputs: calls.append(inputs) or ms)
    check(tiny_bundle)
    assert len(calls) == quick_check.WARM_UP_RUNS + runs


def test_only_the_times_of_the_same_backend_and_precision_are_compared(
    tiny_bundle: Path, takes: Callable[..., None]
) -> None:
    bundle = load_bundle(tiny_bundle)
    with open_session(bundle) as session:
        backend, other = session.backend, {"openvino": "onnxruntime", "onnxruntime": "openvino"}[session.backend]
    quick = {"median_ms": 1.0, "p95_ms": 1.0}
    timings = (
        Timing(backend=backend, precision="int8", **quick),
        Timing(backend=other, precision="fp32", **quick),
    )
    facts = tuned_for(bundle, usable_cores())
    keep_tuning(Tuning(bundle="tiny", facts=facts, runs=5, timings=timings), "quick check")
    found = check(tiny_bundle)["latency"]
    assert found.status == "note" and "recorded now" in found.detail
    assert check(tiny_bundle)["latency"].status == "ok"
    kept = read_tuning(bundle, usable_cores(), "quick check")
    assert kept is not None and kept.timings[:2] == timings and len(kept.timings) == 3


@pytest.mark.parametrize(("free", "status"), [(2e9, "ok"), (0.9e9, "problem")], ids=["enough", "full"])
def test_disk(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, takes: Callable[..., None], free: float, status: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(free)))
    assert check(tiny_bundle)["disk of the cache"].status == status


@pytest.mark.parametrize(
    ("free", "status"),
    [(2e9, "ok"), (quick_check.LEAST_MEMORY, "ok"), (quick_check.LEAST_MEMORY - 1, "problem"), (None, "note")],
    ids=["enough", "just-enough", "little", "unknown"],
)
def test_memory(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, takes: Callable[..., None], free: float | None, status: str
) -> None:
    monkeypatch.setattr(quick_check, "available_memory", lambda: None if free is None else int(free))
    assert check(tiny_bundle)["memory"].status == status


def test_a_cache_that_cannot_be_written_is_said(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, takes: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "file"))
    found = check(tiny_bundle)
    assert "cannot be recorded" in found["latency"].detail and found["latency"].status == "note"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder in place of /proc/meminfo and of the control group."""
    monkeypatch.setattr(free_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "_CGROUP", tmp_path / "group")
    (tmp_path / "group").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("meminfo", "limit", "taken", "expected"),
    [
        (None, None, None, None),
        ("MemTotal: 9 kB\nMemAvailable:   2048 kB\n", None, None, 2048 * 1024),
        ("MemAvailable: 2048 kB\n", "max", "100", 2048 * 1024),
        ("MemAvailable: 2048 kB\n", "1000000", "400000", 600_000),
        ("MemAvailable: 2048 kB\n", "1000", "4000", 0),
        (None, "1000", "400", 600),
        ("MemAvailable: lots\n", "1000", "400", 600),
    ],
    ids=["nothing-says", "machine", "no-limit", "limit", "over-the-limit", "limit-alone", "not-a-number"],
)
def test_available_memory(
    system: Path, meminfo: str | None, limit: str | None, taken: str | None, expected: int | None
) -> None:
    for name, text in (("meminfo", meminfo), ("group/memory.max", limit), ("group/memory.current", taken)):
        if text is not None:
            (system / name).write_text(text)
    assert free_memory.available_memory() == expected
