"""The whole profile: what is measured of which backend and precision, what ends it early, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import load_bundle
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.registry import Backends, backend_class
from mmcaf_engine.errors import BackendError, MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.profile import profile_bundle, run
from mmcaf_engine.profile.plan import Planned, plan
from mmcaf_engine.profile.report import Configuration, ProfileReport, Roofline, Samples, Steady, Throughput
from mmcaf_engine.session.choice import processor_backend
from mmcaf_engine.session.session import Session
from refusals import Fact, refused
from several_precisions import add_precisions
from tiny_bundle import SIZE, make_tiny_mr

CPU = ("openvino", "onnxruntime")
RECORD = {"sex": "F", "age": 63}
AUTO = processor_backend("fp32").name


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and its record for the tiny bundle."""
    folder = tmp_path_factory.mktemp("study")
    save(ct_series(hounsfield(9, SIZE, SIZE)), folder / "study")
    (folder / "record.json").write_text(json.dumps(RECORD))
    return folder


@pytest.fixture(scope="module")
def whole(tiny_bundle_source: Path, study: Path) -> tuple[ProfileReport, list[tuple[str, int, int]]]:
    """A real report of both CPU backends, and the progress that was told."""
    steps: list[tuple[str, int, int]] = []
    report = profile_bundle(
        load_bundle(tiny_bundle_source),
        study=study / "study",
        record=study / "record.json",
        backends=CPU,
        runs=1,
        concurrency=(1, 2),
        batch=2,
        progress=lambda *step: steps.append(step),
    )
    return report, steps


def test_everything_is_measured_or_said_not_to_be(whole: tuple[ProfileReport, Any]) -> None:
    report, _ = whole
    assert [(one.backend, one.precision, one.skipped) for one in report.configurations] == [
        (name, "fp32", None) for name in CPU
    ]
    assert not report.interrupted and report.notes == ()
    assert report.settings.threads == usable_cores()
    assert (report.subject.kind, report.subject.slices, report.subject.windows) == ("given study", 9, 3)
    for one in report.configurations:
        assert one.version and one.device == "CPU" and one.threads == usable_cores() and one.batch == 2
        assert one.cold is not None and one.cold.first_answer is not None
        assert one.answer is not None and len(one.answer.wall.values) == 1
        assert one.steady is not None and one.steady.batch == 2
        assert [entry.concurrency for entry in one.throughput] == [1, 2]
        assert one.layers is not None and one.layers.rows
        assert one.memory is not None or any("Peak memory was not measured" in note for note in one.notes)
        assert one.energy is not None or any("Energy was not measured" in note for note in one.notes)
    assert report.roofline is not None and "fp32" in report.roofline.gflops


def test_stages_add_up_to_the_wall_time(whole: tuple[ProfileReport, Any]) -> None:
    for one in whole[0].configurations:
        assert one.answer is not None
        total = sum(stage.ms for stage in one.answer.stages) + one.answer.unaccounted_ms
        assert total == pytest.approx(one.answer.wall_ms)


def test_the_report_is_written_and_read(whole: tuple[ProfileReport, Any], study: Path) -> None:
    text = whole[0].to_json()
    assert ProfileReport.from_json(text) == whole[0]
    for secret in (str(study), "Test^Patient", "record.json"):
        assert secret not in text


def test_progress_rises_to_its_end(whole: tuple[ProfileReport, list[tuple[str, int, int]]]) -> None:
    _, steps = whole
    done = [step[1] for step in steps]
    assert done == sorted(done)
    assert {step[2] for step in steps} == {done[-1]}
    named = list(dict.fromkeys(step[0] for step in steps))
    parts = ("answers", "steady state", "kernels on and off", "cold start", "throughput", "layers", "energy")
    assert named == ["roofline", *(f"{name} fp32: {part}" for name in CPU for part in parts)]


def test_nothing_is_left_of_the_folders(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    fake_measuring(monkeypatch)
    profile_bundle(load_bundle(tiny_bundle), backends=("onnxruntime",), runs=1)
    assert list(folder.iterdir()) == []


STEADY = Steady(Samples.of([1.0]), 1, 1.0)
THROUGHPUT = Throughput(1, 1, 1.0, 1.0, 1.0)


def fake_measuring(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    """Have every part measured in no time, or do what `changes` say; the parts that were called, in order."""
    called: list[str] = []

    class Started:
        cold = memory = None
        notes = ("started",)

    outcomes = {
        "roofline": None,
        "answer": None,
        "steady": STEADY,
        "cold": Started(),
        "throughput": THROUGHPUT,
        "layers": None,
        "energy": (None, "no counter"),
    }

    def part(name: str) -> Any:
        def measure(*arguments: Any) -> Any:
            called.append(name)
            if isinstance(changes.get(name), BaseException):
                raise changes[name]
            return outcomes[name]

        return measure

    for name in outcomes:
        monkeypatch.setattr(run, f"measure_{name}", part(name))
    return called


@pytest.mark.parametrize(
    ("part", "configurations", "has"),
    [
        ("roofline", 0, set()),
        ("steady", 1, set()),
        ("cold", 1, {"steady"}),
        ("throughput", 1, {"steady", "notes"}),
        ("energy", 1, {"steady", "notes", "throughput"}),
    ],
)
def test_ctrl_c_gives_what_was_measured(
    part: str, configurations: int, has: set[str], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_measuring(monkeypatch, **{part: KeyboardInterrupt()})
    report = profile_bundle(load_bundle(tiny_bundle), backends=CPU, concurrency=(1,))
    assert report.interrupted
    assert report.notes[-1] == "It was interrupted: what is missing was not measured."
    assert len(report.configurations) == configurations
    for one in report.configurations:
        assert {name for name in ("steady", "throughput", "notes", "energy", "layers") if getattr(one, name)} == has
    assert ProfileReport.from_json(report.to_json()) == report


def test_ctrl_c_in_progress_is_as_good_as_anywhere(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_measuring(monkeypatch)

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage.startswith("onnxruntime fp32: steady"):
            raise KeyboardInterrupt

    report = profile_bundle(load_bundle(tiny_bundle), backends=CPU, progress=interrupt)
    assert report.interrupted
    assert [one.backend for one in report.configurations] == list(CPU)
    assert [one.steady for one in report.configurations] == [STEADY, None]


def test_a_part_that_fails_is_noted_and_the_others_go_on(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = {"steady": BackendError("It broke.", "Buy another."), "layers": BackendError("None told.")}
    called = fake_measuring(monkeypatch, **failures)
    (one,) = profile_bundle(load_bundle(tiny_bundle), backends=("openvino",), concurrency=(1, 2)).configurations
    assert called == ["roofline", "answer", "steady", "cold", "throughput", "throughput", "layers", "energy"]
    assert one.steady is None and one.skipped is None
    expected = ("Not measured, steady state: It broke.", "started", "Not measured, layers: None told.", "no counter")
    assert one.notes == expected


@pytest.mark.parametrize("device", ["CPU", "NVIDIA GeForce RTX 4090"])
def test_layers_are_held_against_what_the_processor_can_do_only_if_they_run_there(
    device: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_measuring(monkeypatch)
    given: list[Any] = []
    reached = Roofline({"fp32": 100.0}, 10.0, "made up")
    monkeypatch.setattr(run, "measure_roofline", lambda *_: reached)
    monkeypatch.setattr(run, "measure_layers", lambda *arguments: given.append(arguments[3]))
    monkeypatch.setattr(Session, "device", property(lambda self: device))
    profile_bundle(load_bundle(tiny_bundle), backends=("onnxruntime",))
    assert given == [reached if device == "CPU" else None]


def test_a_bug_of_ours_is_no_note(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_measuring(monkeypatch, layers=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        profile_bundle(load_bundle(tiny_bundle), backends=("onnxruntime",))


def test_golden_cases_have_no_answer_and_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = fake_measuring(monkeypatch)
    report = profile_bundle(load_bundle(make_tiny_mr(tmp_path / "mr.mmcaf")), backends=("onnxruntime",))
    assert "answer" not in called
    assert report.subject.kind == "golden cases"
    assert "no answer was measured from end to end" in report.notes[0]


def test_a_session_that_fails_its_self_test_is_skipped(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_measuring(monkeypatch)
    real = run.open_session

    def opening(bundle: Any, *, backend: str, **options: Any) -> Any:
        if backend == "openvino":
            raise BackendError("It fails the self-test.")
        return real(bundle, backend=backend, **options)

    monkeypatch.setattr(run, "open_session", opening)
    first, second = profile_bundle(load_bundle(tiny_bundle), backends=CPU).configurations
    assert (first.skipped, first.steady) == ("It fails the self-test", None)
    assert (second.skipped, second.steady) == (None, STEADY)


@pytest.mark.parametrize(
    ("wrong", "kind", "facts"),
    [
        ({"runs": 0}, UsageError, ("runs", 1, 0)),
        ({"runs": -3}, UsageError, ("runs", 1, -3)),
        ({"batch": 0}, UsageError, ("batch", 1, 0)),
        ({"threads": 0}, UsageError, ("threads", 1, 0)),
        ({"concurrency": ()}, UsageError, ("concurrency", 1, "none")),
        ({"concurrency": (1, 0)}, UsageError, ("concurrency", "1, 0")),
        ({"backends": ("openvina",)}, UsageError, ("'openvina'",)),
        ({"precisions": ("int8",)}, BackendError, ("tiny", "int8", "fp32")),
        ({"precisions": ("fp32", "fp8")}, UsageError, ("'fp8'",)),
        ({"study": Path("nowhere"), "record": RECORD}, StudyError, ("nowhere", "no such file")),
        ({"study": Path("nowhere")}, RecordError, ("tiny", "record", "sex", "age")),
        ({"record": Path("record.json")}, UsageError, ("tiny", "study")),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused_before_anything_is(
    wrong: dict[str, Any],
    kind: type[MmcafError],
    facts: tuple[Fact, ...],
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = fake_measuring(monkeypatch)
    if isinstance(wrong.get("record"), dict):
        wrong = {**wrong, "record": tiny_bundle / "record.json"}
    with refused(kind, *facts):
        profile_bundle(load_bundle(tiny_bundle), **wrong)
    assert called == []


def test_a_backend_that_was_named_and_is_missing_is_refused(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = classmethod(lambda cls: Availability(False, "it is not installed; pip install it"))
    monkeypatch.setattr(backend_class("openvino"), "availability", missing)
    with refused(BackendError, "openvino", "not installed"):
        plan(load_bundle(tiny_bundle), CPU, ("auto",), 1)


def test_of_all_backends_those_that_are_missing_are_skipped(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openvino", "tensorrt", "torch"):
        missing = classmethod(lambda cls: Availability(False, "it is not installed"))
        monkeypatch.setattr(backend_class(name), "availability", missing)
    planned = plan(load_bundle(tiny_bundle), ("all",), ("auto",), 1)
    assert [one.backend for one in planned] == list(Backends().classes)
    assert [one.backend for one in planned if one.skipped is None] == ["onnxruntime"]
    assert all("it is not installed" in str(one.skipped) for one in planned if one.backend != "onnxruntime")


@pytest.fixture(scope="module")
def every(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle in every precision."""
    output = tmp_path_factory.mktemp("every") / "tiny.mmcaf"
    return add_precisions(tiny_bundle_source, output, dict.fromkeys(("fp16", "bf16", "int8"), 0.0))


def test_a_precision_that_a_backend_does_not_run_is_skipped_with_the_reason(every: Path) -> None:
    planned = plan(load_bundle(every), ("onnxruntime",), ("all",), 1)
    assert [(one.precision, one.skipped is None) for one in planned] == [
        ("fp32", True),
        ("fp16", False),
        ("bf16", False),
        ("int8", True),
    ]
    assert "no FP16 convolutions" in str(planned[1].skipped)


def test_nothing_that_can_run_is_refused(every: Path) -> None:
    with refused(BackendError, "tiny", "onnxruntime", "fp16", "FP16 convolutions", "bf16"):
        plan(load_bundle(every), ("onnxruntime",), ("fp16", "bf16"), 1)


@pytest.mark.parametrize(
    ("backends", "precisions", "expected"),
    [
        (("onnxruntime", "onnxruntime"), ("fp32", "auto", "fp32"), [Planned("onnxruntime", "fp32", None)]),
        ((), ("int8",), [Planned(processor_backend("int8").name, "int8", None)]),
        (("auto", AUTO), ("fp32",), [Planned(AUTO, "fp32", None)]),
        (CPU, ("fp32",), [Planned(name, "fp32", None) for name in CPU]),
    ],
    ids=["twice", "no backend", "auto and its choice", "both"],
)
def test_each_pair_is_measured_once(
    backends: tuple[str, ...], precisions: tuple[str, ...], expected: list[Planned], every: Path
) -> None:
    assert list(plan(load_bundle(every), backends, precisions, 1)) == expected


def test_a_skipped_configuration_holds_the_reason_alone(every: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_measuring(monkeypatch)
    report = profile_bundle(load_bundle(every), backends=("onnxruntime",), precisions=("fp16", "fp32"))
    first, second = report.configurations
    assert first == Configuration("onnxruntime", "fp16", skipped=first.skipped)
    assert "FP16" in str(first.skipped) and second.steady == STEADY


def test_what_is_skipped_is_no_step(every: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_measuring(monkeypatch)

    def totals(*precisions: str) -> set[int]:
        told: list[tuple[str, int, int]] = []
        profile_bundle(
            load_bundle(every),
            backends=("onnxruntime",),
            precisions=precisions,
            progress=lambda *step: told.append(step),
        )
        return {step[2] for step in told}

    alone = totals("fp32")
    assert len(alone) == 1 and totals("fp16", "fp32", "bf16") == alone
