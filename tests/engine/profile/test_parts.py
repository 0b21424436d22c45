"""Parts of a profile: warm-up, throughput, energy, roofline, cold processes, and what is answered."""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import load_bundle
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.bundle.golden import one_window
from mmcaf_engine.errors import BackendError, RecordError, StudyError, UsageError
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.profile import cold, energy, roofline, steady, subject, throughput
from mmcaf_engine.profile.answer import measure_answer
from mmcaf_engine.profile.machine import machine_facts
from mmcaf_engine.profile.report import SubjectFacts
from mmcaf_engine.session.session import Session, open_session
from refusals import Fact, refused
from tiny_bundle import SIZE, make_tiny_mr

RECORD = {"sex": "F", "age": 63}


class Recorded:
    """A session that only counts its calls, and takes as long as a list says."""

    device = "CPU"

    def __init__(self, device: str = "CPU") -> None:
        self.device = device
        self.batches: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def run(self, inputs: Any) -> dict[str, Any]:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.batches.append(len(inputs["image"]))
        with self._lock:
            self.at_once -= 1
        return {}


WINDOW = {"image": np.zeros((1, 2), np.float32)}


@pytest.mark.parametrize(
    ("taken", "warm"),
    [
        ([], False),
        ([9.0] * 5, False),
        ([9.0] * 6, True),
        ([20.0, 20.0, 20.0, 9.0, 9.0, 9.0], False),
        ([20.0, 20.0, 20.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0], True),
        ([10.0, 10.0, 10.0, 9.6, 9.6, 9.6], True),
        ([10.0, 10.0, 10.0, 9.4, 9.4, 9.4], False),
        ([9.0, 9.0, 9.0, 30.0, 30.0, 30.0], True),
        ([9.0, 9.0, 90.0, 9.0, 90.0, 9.0], True),
    ],
    ids=["none", "few", "equal", "fell", "fell and stayed", "4 %", "6 %", "slower", "stray runs"],
)
def test_when_it_is_warm(taken: list[float], warm: bool) -> None:
    assert steady.is_warm(taken) is warm


def times(monkeypatch: pytest.MonkeyPatch, taken: list[float]) -> None:
    """Have each run take what comes next."""
    left = iter(taken)
    monkeypatch.setattr(steady, "run_ms", lambda work: (work(), next(left))[1])


def test_runs_of_the_warm_up_are_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, [50.0, 20.0, 11.0, 10.0, 10.0, 10.0, 10.0, 10.0, *[10.0, 12.0, 11.0]])
    done: list[int] = []
    calls: list[int] = []
    found = steady.timed(lambda: calls.append(1), 3, done.append)
    assert (found.values, found.discarded, found.note) == ((10.0, 12.0, 11.0), 8, None)
    assert (done, len(calls)) == ([1, 2, 3], 11)


def test_a_warm_up_that_does_not_settle_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, [1000 * 0.9**run for run in range(steady.LONGEST_WARM_UP + 2)])
    found = steady.timed(lambda: None, 2)
    assert found.discarded == steady.LONGEST_WARM_UP
    assert found.note == "Still getting faster after 20 runs of warm-up."


def test_outliers_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, [10.0] * 6 + [10.0, 10.1] * 5 + [99.0])
    assert "1 of 11 runs took far longer" in (steady.timed(lambda: None, 11).note or "")


@pytest.mark.parametrize("batch", [1, 3])
def test_the_steady_state_is_of_whole_batches(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, [12.0] * 20)
    session: Any = Recorded()
    found = steady.measure_steady(session, WINDOW, 2, batch)
    assert set(session.batches) == {batch}
    assert (found.batch, found.call.p50, found.per_window_ms) == (batch, 12.0, 12.0 / batch)


@pytest.mark.parametrize(("callers", "runs", "windows"), [(1, 5, 5), (2, 5, 6), (4, 1, 4)])
def test_throughput_counts_every_window(callers: int, runs: int, windows: int) -> None:
    session: Any = Recorded()
    found = throughput.measure_throughput(session, WINDOW, callers, runs)
    assert (found.concurrency, found.windows) == (callers, windows)
    assert len(session.batches) == windows + 1  # One before they begin.
    assert found.windows_per_s > 0
    assert 0 <= found.p50_ms <= found.p95_ms


def test_a_caller_that_fails_ends_the_measurement() -> None:
    class Failing(Recorded):
        def run(self, inputs: Any) -> dict[str, Any]:
            super().run(inputs)
            if len(self.batches) > 1:
                raise BackendError("It broke.")
            return {}

    session: Any = Failing()
    with refused(BackendError, "It broke"):
        throughput.measure_throughput(session, WINDOW, 3, 9)


def rapl(folder: Path, readings: dict[str, int], wraps: int = 2**32) -> Path:
    """The kernel's folder, of zones "0" and so on; "0:0" lies inside zone 0."""
    for zone, energy_uj in readings.items():
        place = folder / f"intel-rapl:{zone}"
        place.mkdir(parents=True)
        (place / "name").write_text("core\n" if ":" in zone else f"package-{zone}\n")
        (place / "energy_uj").write_text(f"{energy_uj}\n")
        (place / "max_energy_range_uj").write_text(f"{wraps}\n")
    return folder


class Burning(Recorded):
    """Each window draws 2 J from both packages, and from a part of the first, which holds it already."""

    def __init__(self, folder: Path, wraps: int) -> None:
        super().__init__()
        self._counters = [folder / f"intel-rapl:{zone}" / "energy_uj" for zone in ("0", "1", "0:0")]
        self._wraps = wraps

    def run(self, inputs: Any) -> dict[str, Any]:
        for counter in self._counters:
            counter.write_text(str((int(counter.read_text()) + 2_000_000) % self._wraps))
        return super().run(inputs)


@pytest.mark.parametrize("wraps", [2**32, 5_000_000], ids=["rising", "wrapping"])
def test_energy_is_of_all_packages(wraps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rapl(tmp_path, {"0": 1_000_000, "1": 0, "0:0": 0}, wraps)  # the first may wrap while it is counted
    monkeypatch.setattr(energy, "perf_counter", iter([0.0, 0.1, 8.0]).__next__)
    session: Any = Burning(folder, wraps)
    found, why = energy.measure_energy(session, WINDOW, folder)
    assert len(session.batches) == 2  # One before the counters are read, and one that is counted.
    assert found is not None and why == ""
    assert (found.joules_per_window, found.watts) == (pytest.approx(4.0), pytest.approx(0.5))
    assert found.source == "RAPL, 2 processor packages"


def test_a_counter_that_stands_still_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "SECONDS", 0.0)
    session: Any = Recorded()
    found, why = energy.measure_energy(session, WINDOW, rapl(tmp_path, {"0": 5}))
    assert found is None and "RAPL, 1 processor package did not rise" in why


@pytest.mark.parametrize("kind", ["no folder", "no package", "no number"])
def test_energy_that_nobody_tells_is_none_with_the_reason(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "powercap"
    if kind == "no package":
        rapl(folder, {"0:0": 5})
    if kind == "no number":
        rapl(folder, {"0": 5})
        (folder / "intel-rapl:0" / "energy_uj").unlink()
    session: Any = Recorded()
    found, why = energy.measure_energy(session, WINDOW, folder)
    assert found is None
    assert why.startswith("Energy was not measured: ")
    assert ("chmod a+r" in why) == (kind == "no number")
    assert session.batches == []


def test_energy_of_a_gpu_is_told_by_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu:
        name = "A GPU"

    told = iter([0.0, 10.0, 40.0])
    monkeypatch.setattr(energy, "first_gpu", Gpu)
    monkeypatch.setattr(energy, "energy_used", lambda gpu: next(told))
    monkeypatch.setattr(energy, "perf_counter", iter([0.0, 0.5, 60.0]).__next__)
    session: Any = Recorded("A GPU")
    found, why = energy.measure_energy(session, WINDOW)
    assert found is not None and why == ""
    assert (found.joules_per_window, found.watts, found.source) == (30.0, 0.5, "NVML, A GPU")
    monkeypatch.setattr(energy, "energy_used", lambda gpu: None)
    assert energy.measure_energy(session, WINDOW)[1] == "Energy was not measured: NVML does not tell this GPU's."


def test_the_roofline_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SIDE", 64)
    monkeypatch.setattr(roofline, "COPIED", 2**20)
    found = roofline.measure_roofline(["fp32", "int8", "fp32"], 1)
    assert found.gflops.keys() == {"fp32", "int8"}
    assert all(value > 0 for value in (*found.gflops.values(), found.memory_gb_s))
    assert "OpenVINO fp32, OpenVINO int8" in found.how and "in 1 threads" in found.how


def test_without_openvino_numpy_multiplies_in_fp32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SIDE", 64)
    monkeypatch.setattr(roofline, "COPIED", 2**20)
    missing = classmethod(lambda cls: Availability(False, "openvino cannot be imported"))
    monkeypatch.setattr(OpenVinoBackend, "availability", missing)
    found = roofline.measure_roofline(["fp32", "int8"], 2)
    assert found.gflops.keys() == {"fp32"}
    assert "numpy fp32" in found.how


def test_the_machine_is_described() -> None:
    found = machine_facts()
    assert found.cores == usable_cores()
    assert found.processor
    assert found.memory_mb is None or found.memory_mb > 100


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A CT study for the tiny bundle."""
    return save(ct_series(hounsfield(13, SIZE, SIZE)), tmp_path / "study")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The record of it."""
    file = tmp_path / "record.json"
    file.write_text(json.dumps(RECORD))
    return file


def test_a_given_study_is_told_without_the_patient(ct: Path, record: Path, tiny_bundle: Path) -> None:
    found = subject.given_study(load_bundle(tiny_bundle), ct, record)
    assert found.facts == SubjectFacts("given study", 13, 4, {"image": (1, 1, 4, SIZE, SIZE), "table": (1, 2)})
    assert found.is_study and not found.note
    assert {name: array.shape for name, array in found.window.items()} == found.facts.inputs


def test_a_study_that_does_not_fit_is_refused(ct: Path, record: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    with pytest.raises(StudyError):
        subject.given_study(bundle, tmp_path / "nowhere", record)
    with pytest.raises(RecordError):
        subject.given_study(bundle, ct, None)
    with pytest.raises(UsageError):
        subject.given_study(bundle, None, record)


def test_a_network_without_a_synthetic_study_gets_golden_cases(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_mr(tmp_path / "mr.mmcaf"))
    found = subject.synthetic_study(bundle, tmp_path)
    assert found.facts.kind == "golden cases" and not found.is_study
    assert "There is no synthetic study for tiny" in found.note and "no answer was measured" in found.note
    assert found.window["image"].tobytes() == one_window(bundle)["image"].tobytes()


def test_a_synthetic_study_that_does_not_fit_is_left_out_with_the_reason(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundle)
    monkeypatch.setattr("mmcaf_engine.demo.write_dicom.write_series", lambda phantom, folder: None)
    found = subject.synthetic_study(bundle, tmp_path)
    assert found.facts.kind == "golden cases"
    assert found.note.startswith("The synthetic study does not fit the bundle (")


def test_the_demonstration_gets_the_study_of_mmcaf_demo(tmp_path: Path) -> None:
    found = subject.synthetic_study(load_bundle(demo_bundle()), tmp_path)
    assert (found.facts.kind, found.facts.slices, found.facts.windows) == ("synthetic study", 26, 3)
    assert found.study is not None and found.study.is_dir() and found.record is not None


@pytest.fixture
def session(tiny_bundle: Path) -> Any:
    """The tiny bundle, open."""
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as opened:
        yield opened


def test_an_answer_is_told_stage_by_stage(session: Session, ct: Path, record: Path) -> None:
    done: list[int] = []
    found = measure_answer(session, ct, record, 4, done.append)
    assert done == [1, 2, 3, 4]
    assert len(found.wall.values) == 4
    # The stopwatch and the clock around it see the same run, the nearest to the median.
    nearest = min(found.wall.values, key=lambda value: abs(value - found.wall.p50))
    assert found.wall_ms <= nearest * 1.5
    assert sum(stage.ms for stage in found.stages) + found.unaccounted_ms == pytest.approx(found.wall_ms)
    assert sum(stage.share for stage in found.stages) == pytest.approx(1 - found.unaccounted_ms / found.wall_ms)
    assert {stage.name for stage in found.stages} >= {"read", "geometry", "decode", "preprocess", "infer", "copy_in"}
    assert found.threads[0] == "calling thread"
    assert {span.thread for span in found.spans} == set(range(len(found.threads)))
    assert all(0 <= span.start_ms <= span.end_ms <= found.wall_ms for span in found.spans)
    assert {span.name for span in found.spans} == {stage.name for stage in found.stages}


@pytest.fixture(scope="module")
def started(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> cold.ColdStart:
    """Cold figures of the tiny bundle."""
    folder = tmp_path_factory.mktemp("cold")
    study = save(ct_series(hounsfield(5, SIZE, SIZE)), folder / "study")
    (folder / "record.json").write_text(json.dumps(RECORD))
    bundle = load_bundle(tiny_bundle_source)
    measured = subject.given_study(bundle, study, folder / "record.json")
    return cold.measure_cold(bundle, measured, "openvino", "fp32", 1, 1)


def test_cold_figures_are_of_fresh_processes(started: cold.ColdStart) -> None:
    found = started.cold
    assert [len(part.values) for part in (found.open_cold, found.open_warm)] == [1, 1]
    assert [len(part.values) for part in (found.process_start, found.imports, found.first_infer)] == [3, 2, 2]
    assert found.first_answer is not None
    assert all(value > 0 for value in found.process_start.values)
    # The whole answer holds the start of its process.
    assert found.first_answer.p50 > found.process_start.values[-1]
    assert "The opening with the engine kept: cache loaded." in started.notes


def test_memory_is_of_the_process_alone(started: cold.ColdStart) -> None:
    if started.memory is None:
        assert any("Peak memory was not measured" in note for note in started.notes)
    else:
        assert 20 < started.memory.ram_peak_mb < 2000
        assert started.memory.vram_peak_mb is None or started.memory.vram_peak_mb >= 0


def test_the_users_cache_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "0")
    seen: list[dict[str, str]] = []

    def process(task: dict[str, Any], cache: Path) -> dict[str, Any]:
        seen.append({"cache": str(cache), **{key: str(value) for key, value in task.items()}})
        names = ("process_start", "imports", "open", "first_infer", "first_answer")
        return {**dict.fromkeys(names, 1.0), "cache": "loaded", "ram_peak_mb": 1.0, "vram_peak_mb": None}

    monkeypatch.setattr(cold, "fresh_process", process)
    bundle = load_bundle(make_tiny_mr(tmp_path / "mr.mmcaf"))
    measured = subject.synthetic_study(bundle, tmp_path)
    rounds: list[int] = []
    found = cold.measure_cold(bundle, measured, "onnxruntime", "fp32", 2, 99, rounds.append)
    assert rounds == [1, 2, 3, 4, 5]
    caches = [entry["cache"] for entry in seen]
    assert caches[0::2] == caches[1::2] and len(set(caches)) == 5
    assert not any(cache.startswith(str(tmp_path / "cache")) for cache in caches)
    assert not any(Path(cache).exists() for cache in caches)
    assert not (tmp_path / "cache").exists()
    assert found.cold.first_answer is None
    assert "The first answer was not measured, for want of a study." in found.notes


@pytest.mark.parametrize(
    ("task", "facts", "remedy"),
    [
        ({"precision": "int8"}, ("tiny", "int8", "fp32"), {"option": "precision", "value": "auto"}),
        ({"backend": "nothing"}, ("'nothing'",), {"option": "backend"}),
        (
            {"bundle": "/nowhere.mmcaf"},
            ("nowhere.mmcaf", "no such"),
            {"command": "mmcaf export CHECKPOINT -o NAME.mmcaf"},
        ),
    ],
    ids=["precision", "backend", "bundle"],
)
def test_what_a_process_refuses_is_passed_on(
    task: dict[str, str], facts: tuple[Fact, ...], remedy: dict[str, str], tiny_bundle: Path, tmp_path: Path
) -> None:
    whole = {"bundle": str(tiny_bundle), "backend": "onnxruntime", "precision": "fp32", "threads": 1, "answer": False}
    with refused(BackendError, "process", *facts, **remedy):
        cold.fresh_process({**whole, **task}, str(tmp_path))


@pytest.mark.parametrize(
    ("line", "said"),
    [("raise SystemExit(3)", "exit code 3"), ("raise ValueError('odd')", "odd"), ("print('words')", "exit code 0")],
)
def test_a_process_that_dies_is_an_error_in_one_line(
    line: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cold, "FIRST_LINE", line)
    with pytest.raises(BackendError) as caught:
        cold.fresh_process({"backend": "onnxruntime", "precision": "fp32"}, str(tmp_path))
    assert said in caught.value.problem and "\n" not in caught.value.problem
    assert sys.executable not in caught.value.problem
