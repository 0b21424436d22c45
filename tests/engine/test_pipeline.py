"""From study and record to the answer: which stage refuses, what runs beside what, and what is left afterwards."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import RLELossless

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import infer, load_bundle, open_session, pipeline
from mmcaf_engine.errors import BackendError, MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.inputs.prepare import prepare
from mmcaf_engine.inputs.windows import preprocess
from mmcaf_engine.result.aggregate import sigmoid
from mmcaf_engine.session.run import run_windows
from mmcaf_engine.session.session import Session
from mmcaf_engine.study import read_study, reading
from mmcaf_engine.study.dicom.pixels import PixelPlan, decode_slices
from refusals import Fact, refused
from tiny_bundle import SIZE, SLICES
from tiny_bundle import expected_logits as answers_to

RECORD = {"sex": "F", "age": 63}
SECONDS = 30
"""After which a thread that should have been let go is a failure."""

Values = NDArray[np.int16]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[Session]:
    """The sessions that were opened during the test, in which no pass of a self-test is remembered at first."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path_factory.mktemp("empty cache")))
    sessions: list[Session] = []

    def opening(*arguments: Any, **options: Any) -> Session:
        sessions.append(open_session(*arguments, **{**options, "backend": "onnxruntime"}))
        return sessions[-1]

    monkeypatch.setattr("mmcaf_engine.session.background.open_session", opening)
    return sessions


def is_closed(session: Session) -> bool:
    image, table = np.zeros((1, 1, SLICES, SIZE, SIZE), np.float32), np.zeros((1, 2), np.float32)
    try:
        session.run({"image": image, "table": table})
    except BackendError as failure:
        return "is closed" in str(failure)
    return False


def left_behind() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("slices", "open"))]


def expected_logits(values: Values, starts: list[int]) -> list[float]:
    """The tiny network by its definition, on slices that need no resize."""
    padding = np.full((max(SLICES - len(values), 0), SIZE, SIZE), -1000)
    scaled = np.clip((np.concatenate([values, padding]) + 100.0) / 1000.0, 0, 1)
    windows = np.stack([scaled[start : start + SLICES][np.newaxis] for start in starts])
    table = np.tile([0.0, (63 - 20) / 70], (len(starts), 1))
    return answers_to({"image": windows, "table": table})[:, 0].tolist()


@pytest.mark.parametrize(
    ("slices", "stride", "starts"),
    [
        (13, None, [0, 4, 8, 9]),
        (13, 3, [0, 3, 6, 9]),
        (8, 4, [0, 4]),
        (3, None, [0]),
        (1, 2, [0]),
    ],
)
def test_the_answer(
    slices: int, stride: int | None, starts: list[int], tmp_path: Path, tiny_bundle: Path, opened: list[Session]
) -> None:
    values = hounsfield(slices, SIZE, SIZE)
    result = infer(save(ct_series(values), tmp_path / "study"), RECORD, bundle=tiny_bundle, stride=stride)
    assert [window.start_slice for window in result.windows] == starts
    expected = expected_logits(values, starts)
    assert {window.slices for window in result.windows} == {min(slices, SLICES)}
    loud = 1 if result.label == "loud" else -1
    assert [loud * window.logit for window in result.windows] == pytest.approx(expected, abs=1e-5)
    assert result.positive is not None and result.positive.probability == pytest.approx(
        sigmoid(max(expected)), abs=1e-5
    )
    assert tuple(result.timing_ms) == tuple(stage for stage in pipeline.STAGES if stage not in ("explain", "write"))
    assert all(spent >= 0 for spent in result.timing_ms.values())
    (session,) = opened
    assert is_closed(session)
    assert not left_behind()


def test_a_given_session_gives_the_same_bits_and_stays_open(tmp_path: Path, tiny_bundle: Path) -> None:
    study = save(ct_series(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    first = infer(study, RECORD, bundle=tiny_bundle, backend="onnxruntime")
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as session:
        again = [infer(study, RECORD, session=session) for _ in range(2)]
        assert not is_closed(session)
        prepared = prepare(study, RECORD, session.bundle.manifest)
        logits = [run_windows(session, prepared)["logit"] for _ in range(2)]
    assert {result.windows for result in (first, *again)} == {first.windows}
    assert set(pipeline.STAGES) - set(again[0].timing_ms) == {"bundle", "open", "explain", "write"}
    assert logits[0].tobytes() == logits[1].tobytes()
    loud = 1 if first.label == "loud" else -1
    assert [loud * window.logit for window in first.windows] == logits[0][:, 0].tolist()
    (series,) = prepared.series
    assert len(prepared) == len(prepared.starts) == len(series.windows.values) == len(logits[0])


def test_a_regular_series_is_never_held_as_a_volume(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = hounsfield(13, SIZE, SIZE)
    study, gap = save(ct_series(values), tmp_path / "study"), save(without_the_fifth(values), tmp_path / "gap")
    held: list[tuple[int, ...]] = []

    def decode(plan: PixelPlan, progress: Any = None) -> Any:
        held.append(plan.shape)
        return decode_slices(plan, progress)

    monkeypatch.setattr(reading, "decode_slices", decode)
    manifest = load_bundle(tiny_bundle).manifest
    regular = prepare(study, RECORD, manifest)
    assert held == []
    filled = prepare(gap, RECORD, manifest, gaps="interpolate")
    assert held == [(12, SIZE, SIZE)]
    for prepared, path, options in ((regular, study, {}), (filled, gap, {"gaps": "interpolate"})):
        volume = read_study(path, **options).volume
        (series,) = prepared.series
        assert series.windows.slices.tobytes() == preprocess(volume, manifest.preprocessing).slices.tobytes()
        assert (series.facts.slices, series.facts.spacing_mm) == (13, volume.spacing_mm)
    assert not regular.study_warnings and len(filled.study_warnings) == 1


# Who refuses


def without_the_fifth(values: Values) -> Any:
    images = ct_series(values)
    return images[:4] + images[5:]


def cut_short(values: Values) -> Any:
    images = ct_series(values)
    images[7].PixelData = images[7].PixelData[:-2]
    return images


def without_rescale(values: Values) -> Any:
    return [*ct_series(values[:-1]), *ct_series(values, RescaleSlope=None, RescaleIntercept=None)[-1:]]


def of_other_patients(values: Values) -> Any:
    return [*ct_series(values[:-1]), *ct_series(values, PatientID="another")[-1:]]


BEFORE_PIXELS: dict[str, tuple[Callable[[Values], Any], dict[str, Any], type[MmcafError], tuple[Fact, ...]]] = {
    "a gap": (without_the_fifth, {}, StudyError, (1, -92.5, -87.5, "mm", "missing")),
    "two patients": (of_other_patients, {}, StudyError, (2, "(0010,0020) PatientID")),
    "pixels cut short": (cut_short, {}, StudyError, ("IM0007", "PixelData", "truncated")),
    "no rescale": (without_rescale, {}, StudyError, ("(0028,1053) RescaleSlope", "missing")),
    "another patient's record": (
        ct_series,
        {"record": {**RECORD, "patient_id": "X"}},
        RecordError,
        ("patient_id", "PatientID", "(0010,0020)"),
    ),
    "a record that lacks a field": (ct_series, {"record": {"sex": "F"}}, RecordError, ("age", "missing")),
    "no record": (ct_series, {"record": None}, RecordError, ("tiny", "record", "sex", "age")),
    "a stride too long": (ct_series, {"stride": SLICES + 1}, UsageError, ("stride", SLICES + 1, 1, SLICES)),
    "an unknown policy": (ct_series, {"gaps": "yes"}, UsageError, ("gaps", "refuse", "yes")),
}


@pytest.mark.parametrize("case", BEFORE_PIXELS)
def test_what_headers_tell_is_refused_before_pixels_are_decoded_and_a_session_is_opened(
    case: str, tmp_path: Path, tiny_bundle: Path, opened: list[Session]
) -> None:
    build, options, kind, facts = BEFORE_PIXELS[case]
    study = save(build(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    stages: list[str] = []
    arguments = {"record": RECORD, "progress": lambda stage, done, total: stages.append(stage), **options}
    with refused(kind, *facts):
        infer(study, bundle=tiny_bundle, **arguments)
    assert opened == []
    assert set(stages) <= {"read"}
    assert not left_behind()


def test_what_is_refused_closes_a_session_that_opened_at_once(
    tmp_path: Path, tiny_bundle: Path, opened: list[Session]
) -> None:
    open_session(load_bundle(tiny_bundle), backend="onnxruntime").close()  # which remembers the pass
    study = save(without_the_fifth(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    with refused(StudyError, 1, -92.5, -87.5, "mm", "missing"):
        infer(study, RECORD, bundle=tiny_bundle)
    assert all(is_closed(session) for session in opened) and len(opened) <= 1
    assert not left_behind()


def too_dense(values: Values) -> Any:
    """Every header is in order; the intensities are beyond any meaning."""
    return [*ct_series(values[:-1]), *ct_series(values, RescaleSlope=5000)[-1:]]


def scrambled(values: Values) -> Any:
    """A run-length frame that holds no runs: 0x80 stands for nothing (PS3.5 G.3.2)."""
    images = ct_series(values)
    for image in images:
        image.compress(RLELossless)
    damaged = bytearray(images[9].PixelData)
    damaged[90:] = bytes([0x80]) * (len(damaged) - 98) + damaged[-8:]
    images[9].PixelData = bytes(damaged)
    return images


@pytest.mark.parametrize("build", [too_dense, scrambled])
def test_pixels_that_are_refused_give_no_answer_and_close_the_session(
    build: Callable[[Values], Any], tmp_path: Path, tiny_bundle: Path, opened: list[Session]
) -> None:
    study = save(build(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    stages: list[str] = []
    with pytest.raises(StudyError, match=r"IM00(09|12)"):
        infer(study, RECORD, bundle=tiny_bundle, progress=lambda stage, done, total: stages.append(stage))
    assert "infer" not in stages
    assert all(is_closed(session) for session in opened) and len(opened) <= 1  # It may have been left before that.
    assert not left_behind()


def test_the_study_is_refused_first_when_the_session_fails_too(tmp_path: Path, tiny_bundle: Path) -> None:
    study = save(too_dense(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    with refused(StudyError, "(0028,1053) RescaleSlope", 1e6):
        infer(study, RECORD, bundle=tiny_bundle, backend="no such backend")


def test_a_session_that_cannot_open_is_the_error_of_a_sound_study(tmp_path: Path, tiny_bundle: Path) -> None:
    study = save(ct_series(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    with refused(UsageError, "no such backend"):
        infer(study, RECORD, bundle=tiny_bundle, backend="no such backend")
    assert not left_behind()


# What runs beside what


def test_the_session_opens_while_pixels_are_decoded(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = save(ct_series(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    begun, decoded = threading.Event(), threading.Event()

    def opening(*arguments: Any, **options: Any) -> Session:
        begun.set()
        assert decoded.wait(SECONDS)
        return open_session(*arguments, **{**options, "backend": "onnxruntime"})

    stages: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        stages.append(stage)
        if stage == "decode":
            assert begun.wait(SECONDS)
            decoded.set()

    monkeypatch.setattr("mmcaf_engine.session.background.open_session", opening)
    assert len(infer(study, RECORD, bundle=tiny_bundle, progress=progress).windows) == 4
    assert list(dict.fromkeys(stages)) == ["read", "decode", "open", "infer"]


@pytest.mark.parametrize("stage", ["read", "decode", "open", "infer"])
def test_an_interrupt_leaves_nothing_running_or_open(
    stage: str, tmp_path: Path, tiny_bundle: Path, opened: list[Session]
) -> None:
    study = save(ct_series(hounsfield(40, SIZE, SIZE)), tmp_path / "study")

    def interrupt(seen: str, done: int, total: int) -> None:
        if seen == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        infer(study, RECORD, bundle=tiny_bundle, progress=interrupt)
    assert [is_closed(session) for session in opened] == [True] * (stage != "read")
    assert not left_behind()


def test_a_network_that_fails_closes_the_session(
    tmp_path: Path, tiny_bundle: Path, opened: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Session, inputs: object, **options: object) -> None:
        raise BackendError("the runtime failed")

    study = save(ct_series(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "run", failing)
        with refused(BackendError, "the runtime failed"):
            infer(study, RECORD, bundle=tiny_bundle)
    (session,) = opened
    assert is_closed(session)
