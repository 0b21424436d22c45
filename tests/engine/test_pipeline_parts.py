"""The main job with a session that only says what it is: which options reach which stage, and what a result says."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dicom_factory import hounsfield
from mmcaf_engine import Answerer, load_bundle, pipeline
from mmcaf_engine.cancel import check
from mmcaf_engine.errors import DeadlineError, StrictError, StudyError, UsageError
from mmcaf_engine.machine.cpu import processor
from mmcaf_engine.manifest import Precision
from mmcaf_engine.result import explanations
from mmcaf_engine.result.parts import Positive
from mmcaf_engine.session.session import Session
from mmcaf_engine.timing import Stopwatch
from mmcaf_engine.volume import PatientHeader, Study, Volume
from tiny_bundle import SIZE, SLICES, make_tiny_bundle
from tiny_image import make_tiny_image, radiograph
from tiny_liver import GRID, INPUTS, make_tiny_liver

RECORD = {"sex": "F", "age": 63}


class Fake(Session):
    """A session of one bundle whose network answers the same for every window, and keeps what it was asked."""

    backend, device = "fake", "nothing"
    precision: Precision = "fp32"
    fallback: str | None = None
    degraded: str | None = None
    windows_per_call = 1

    def __init__(self, bundle: Path, **outputs: list[float]) -> None:
        self.bundle = load_bundle(bundle)
        self._outputs = {name: np.array([values], np.float32) for name, values in outputs.items()}
        self.optional: list[bool] = []

    def describe(self) -> dict[str, Any]:
        passed = {"passed": True, "cases": 2}
        return {"runtime": "nothing", "version": "1.2", "threads": 3, "kernels": {"none": 0}, "self_test": passed}

    def run(self, arrays: Any, *, optional: bool = False) -> Any:
        self.optional.append(optional)
        return self._outputs


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "lung": make_tiny_bundle(folder / "lung.mmcaf"),
        "liver": make_tiny_liver(folder / "liver.mmcaf"),
        "image": make_tiny_image(folder / "image.mmcaf"),
        "record": make_tiny_image(folder / "record.mmcaf", image=False, table=True),
    }


def lung(bundles: dict[str, Path], **session: Any) -> tuple[Answerer, Fake]:
    fake = Fake(bundles["lung"], logit=[2.0])
    vars(fake).update(session)
    return Answerer(fake), fake


def chest(*warnings: str, slices: int = 2 * SLICES) -> Study:
    return Study(
        Volume(hounsfield(slices, SIZE, SIZE), "hounsfield", (2.5, 0.7, 0.7)), "CT", {}, PatientHeader(), warnings
    )


def phases(**uids: dict[str, str]) -> dict[str, Study]:
    found = {}
    for at, name in enumerate(INPUTS):
        slices = 8 + 2 * at
        volume = Volume(hounsfield(slices, 12, 10), "rescaled", (24.0 / slices, 1.0, 1.0))
        found[name] = Study(volume, "MR", uids.get(name, {}), PatientHeader())
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What `prepare` was asked for."""
    seen: dict[str, Any] = {}
    real = pipeline.prepare

    def noted(study: Any, record: Any, manifest: Any, **options: Any) -> Any:
        seen.update(options)
        return real(chest(), record, manifest, tokenizer=None)

    monkeypatch.setattr(pipeline, "prepare", noted)
    yield seen


GIVEN: dict[str, tuple[Any, Any]] = {
    "gaps": ("refuse", "interpolate"),
    "tilt": ("refuse", "resample"),
    "duplicates": ("refuse", "first"),
    "stride": (None, 3),
    "slices": (None, "2-7"),
    "series": (None, "2"),
    "report": (None, b"clear"),
    "allow_id_mismatch": (False, True),
    "progress": (None, print),
}


@pytest.mark.parametrize("name", GIVEN)
def test_each_option_reaches_its_stage(name: str, bundles: dict[str, Path], asked: dict[str, Any]) -> None:
    answerer, _ = lung(bundles)
    answerer.answer(chest(), RECORD)
    assert {option: asked[option] for option in GIVEN} == {option: default for option, (default, _) in GIVEN.items()}
    answerer.answer(chest(), RECORD, **{name: GIVEN[name][1]})  # type: ignore[misc]
    expected = {option: given if option == name else default for option, (default, given) in GIVEN.items()}
    assert {option: asked[option] for option in GIVEN} == expected


def test_a_result_says_what_answered(bundles: dict[str, Path]) -> None:
    answerer, fake = lung(bundles)
    result = answerer.answer(chest(), RECORD).result
    chance = 1 / (1 + np.exp(-2))
    assert result.label == "loud" and result.positive == Positive("loud", result.probabilities["loud"], 2.0, 0.5)
    assert result.probability == result.probabilities["loud"]
    assert result.probabilities == pytest.approx({"quiet": 1 - chance, "loud": chance})
    assert (result.model.name, result.model.bundle_sha256) == ("tiny", fake.bundle.sha256)
    engine = result.engine
    assert (engine.backend, engine.precision, engine.device) == ("fake", "fp32", "nothing")
    assert (engine.runtime, engine.runtime_version, engine.threads, engine.kernels) == (
        "nothing",
        "1.2",
        3,
        {"none": 0},
    )
    assert engine.processor == processor().name
    assert result.record is not None and list(result.record.features) == ["sex", "age"]
    assert [(window.start_slice, window.slices) for window in result.windows] == [(0, 4), (4, 4)]
    assert result.study.modality == "CT" and result.study.slices == 8 and result.warnings == ()


def test_all_warnings_come_in_their_order(bundles: dict[str, Path]) -> None:
    fake = lung(bundles, fallback="another could not", degraded="half its cores")[1]
    answerer = Answerer(fake, notice="the demonstration.")
    notice, fallback, degraded, study, record = answerer.answer(chest("odd."), {**RECORD, "more": 1}).result.warnings
    assert notice == "the demonstration." and "another could not" in fallback and "half its cores" in degraded
    assert study == "odd." and "more" in record


@pytest.mark.parametrize(
    ("study", "record", "session"),
    [
        (chest("odd."), RECORD, {}),
        (chest(), {**RECORD, "more": 1}, {}),
        (chest(), RECORD, {"fallback": "another could not"}),
        (chest(), RECORD, {"degraded": "half its cores"}),
    ],
    ids=["study", "record", "fallback", "degraded"],
)
def test_strict_forbids_any_one_of_them(
    study: Study, record: Any, session: dict[str, Any], bundles: dict[str, Path]
) -> None:
    answerer, _ = lung(bundles, **session)
    assert len(answerer.answer(study, record).result.warnings) == 1
    with pytest.raises(StrictError):
        answerer.answer(study, record, strict=True)
    lung(bundles)[0].answer(chest(), RECORD, strict=True)


def test_limits_hold_for_one_answer(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    answerer, fake = lung(bundles)

    def slow(arrays: Any, optional: bool = False) -> Any:
        while True:
            check()

    monkeypatch.setattr(fake, "run", slow)
    with pytest.raises(DeadlineError):
        answerer.answer(chest(), RECORD, deadline=0.05)


def test_the_total_is_the_time_that_passed(bundles: dict[str, Path]) -> None:
    watch = Stopwatch()
    result = lung(bundles)[0].answer(chest(), RECORD, watch=watch).result
    assert 0 < result.timing_ms["total"] <= watch.total_ms()
    assert {"decode", "preprocess", "infer", "aggregate"} < set(result.timing_ms) <= set(pipeline.STAGES)


def test_a_record_alone_may_stand_in_the_studys_place(bundles: dict[str, Path]) -> None:
    fake = Fake(bundles["record"], logit=[-1.0])
    answerer = Answerer(fake)
    for given in (({"age": 63},), (None, {"age": 63})):
        result = answerer.answer(*given).result
        assert result.record is not None and result.record.features == {"age": pytest.approx(0.43)}
        assert (result.windows, result.study.slices, result.label) == ((), 0, "dark")
    with pytest.raises(UsageError):
        answerer.answer("missing", {"age": 63})


def test_an_image_has_no_windows(bundles: dict[str, Path]) -> None:
    fake = Fake(bundles["image"], logit=[1.0])
    result = Answerer(fake).answer([radiograph()]).result
    assert result.windows == () and result.record is None and result.study.modality == "DX"


def liver(bundles: dict[str, Path]) -> tuple[Answerer, Fake]:
    parts = [1 / (GRID[0] * GRID[1])] * (GRID[0] * GRID[1])
    labels = len(load_bundle(bundles["liver"]).manifest.labels)
    fake = Fake(bundles["liver"], logits=[0.0] * (labels - 1) + [3.0], alpha=parts, upper=parts)
    return Answerer(fake), fake


def test_several_series_each_with_its_facts(bundles: dict[str, Path]) -> None:
    common = {"study": "1.2", "series": "1.2.1"}
    uids = {name: {**common, "series": f"1.2.{at}"} for at, name in enumerate(INPUTS)}
    for name in INPUTS[:2]:  # of one frame of reference, and the third does not say
        uids[name]["frame_of_reference"] = "1.2.9"
    result = liver(bundles)[0].answer(phases(**uids)).result
    assert result.study.uids == {"study": "1.2"}
    assert [(one.input, one.slices, one.spacing_mm[0]) for one in result.study.selection] == [
        (INPUTS[0], 8, 3.0),
        (INPUTS[1], 10, 2.4),
        (INPUTS[2], 12, 2.0),
    ]


def test_attention_is_asked_for_where_it_is_drawn(bundles: dict[str, Path], tmp_path: Path) -> None:
    answerer, fake = liver(bundles)
    assert answerer.answer(phases()).maps == ()
    assert len(answerer.answer(phases(), heatmap=tmp_path / "map.png").maps) == 2
    assert fake.optional == [False, True]
    width, height = struct.unpack(">II", (tmp_path / "map.png").read_bytes()[16:24])
    assert width > 0 and height > 0


def test_how_long_others_take_is_told_by_the_windows_own_time(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two windows in four seconds, each takes two."""
    moments = iter([10.0, 14.0])
    monkeypatch.setattr(pipeline, "perf_counter", lambda: next(moments))
    said: list[str] = []
    lung(bundles)[0].answer(chest(), RECORD, explain="occlusion", announce=said.append)
    assert said == ["occlusion: 256 more windows, about 9 min."]


@pytest.mark.parametrize("kind", ["study", "record", "report"])
def test_an_input_is_never_drawn_over(kind: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"an input")
    given: dict[str, Any] = {"study": tmp_path / "missing", "record": None, "report": None, kind: file}
    with pytest.raises(UsageError):
        liver(bundles)[0].answer(given["study"], given["record"], report=given["report"], heatmap=file)
    assert file.read_bytes() == b"an input"


def test_a_heat_map_that_cannot_be_is_refused_before_anything_is_read(bundles: dict[str, Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(UsageError):
        lung(bundles)[0].answer(missing, RECORD, heatmap=tmp_path / "map.png")
    with pytest.raises(UsageError):
        liver(bundles)[0].answer(missing, heatmap=tmp_path / "map.png", heatmap_over="other")
    with pytest.raises(StudyError):
        liver(bundles)[0].answer(missing, heatmap=tmp_path / "map.png", heatmap_over=INPUTS[0])


def test_the_heat_map_is_of_the_window_that_decides(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answerer, _ = liver(bundles)
    drawn: list[int] = []

    def draw(prepared: Any, maps: Any, *, over: str | None) -> Any:
        drawn.extend(one.window for one in maps)
        return np.zeros((2, 2, 3), np.uint8)

    def maps(manifest: Any, outputs: Any, window: int) -> Any:
        return (SimpleNamespace(window=window),)

    def listed(_manifest: Any, _prepared: Any, _outputs: Any, window: int) -> None:
        drawn.append(window)

    monkeypatch.setattr(pipeline, "draw_heatmap", draw)
    monkeypatch.setattr(explanations, "attention_maps", maps)
    monkeypatch.setattr(pipeline, "attended", listed)
    decision = answerer.decision

    def aggregate(starts: Any, logits: Any) -> Any:
        return replace(decision.aggregate(starts, logits), deciding=5)

    answerer.decision = SimpleNamespace(aggregate=aggregate, wording=decision.wording)  # type: ignore[assignment]
    answer = answerer.answer(phases(), heatmap=tmp_path / "map.png")
    assert drawn == [5, 5] and [one.window for one in answer.maps] == [5]
