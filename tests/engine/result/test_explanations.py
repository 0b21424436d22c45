"""Which explanations of an answer are made, and which are refused before any work; and how their maps are drawn."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_factory import hounsfield
from mmcaf_engine import Answerer, Result, Volume, load_bundle, open_session
from mmcaf_engine.errors import BackendError, DeadlineError, UsageError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.result import heatmap
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.result.explain import ExplanationMap
from mmcaf_engine.result.explanations import asked_for, draws_map, in_words, score_direction
from mmcaf_engine.result.heatmap import BOTTOM, CAPTION, GAP, MARGIN, NO_PLACE, TOP, draw_heatmap, excess
from refusals import refused
from tiny_bundle import SIZE, make_tiny_bundle, tiny_manifest
from tiny_image import TABLE, tiny_image_manifest
from tiny_liver import INPUTS, make_tiny_liver, tiny_liver_manifest
from tiny_words import words_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz", "explain.onnx")}
RECORD = {"sex": "F", "age": 63}
CHEST = Volume(hounsfield(6, SIZE, SIZE), "hounsfield", (2.5, 0.7, 0.7))
PHASES = {name: Volume(hounsfield(8, 12, 10), "rescaled", (3.0, 1.0, 1.0)) for name in INPUTS}


def manifest_of(fields: dict[str, Any], **changes: Any) -> Manifest:
    return Manifest.model_validate({"files": FILES, **fields, **changes})


MAP = {"output": "map", "title": "Grad-CAM", "module": "encoder.last", "input": "image", "grid": [2, 2, 2]}
WORDS = manifest_of(words_manifest(), files={**FILES, "vocabulary.txt": FILES["model.onnx"]})
CHEST_ALONE, LIVER = manifest_of(tiny_manifest()), manifest_of(tiny_liver_manifest())
WITH_GRAPH = manifest_of(tiny_manifest(), explain={"maps": [MAP]})
RECORD_ALONE = manifest_of(
    tiny_image_manifest(),
    image=None,
    inputs=[{"name": "table", "kind": "table", "shape": ["N", 1]}],
    table=TABLE,
)


LIVER_AND_RECORD = manifest_of(
    tiny_liver_manifest(),
    inputs=[*tiny_liver_manifest()["inputs"], {"name": "table", "kind": "table", "shape": ["N", 1]}],
    table=TABLE,
)


@pytest.mark.parametrize(
    ("manifest", "explain", "drawn", "expected"),
    [
        (LIVER, None, False, ()),
        (LIVER, None, True, ("attention",)),
        (WITH_GRAPH, None, True, ("gradcam",)),
        (LIVER, "occlusion", True, ("occlusion",)),
        (LIVER, ["occlusion", "attention", "occlusion"], False, ("attention", "occlusion")),
        (CHEST_ALONE, ("occlusion",), False, ("occlusion",)),
        (CHEST_ALONE, [], False, ()),
        (RECORD_ALONE, "record", False, ("record",)),
        (LIVER_AND_RECORD, "record", True, ("attention", "record")),
        (WORDS, "attention", False, ("attention",)),
    ],
    ids=[
        "nothing",
        "attention",
        "gradcam",
        "occlusion-alone",
        "each-once",
        "any-image",
        "empty",
        "record-alone",
        "record-and-drawn",
        "words",
    ],
)
def test_what_is_made(manifest: Manifest, explain: Any, drawn: bool, expected: tuple[str, ...]) -> None:
    assert asked_for(manifest, explain, drawn=drawn) == expected


@pytest.mark.parametrize(
    ("manifest", "explain", "drawn", "named", "value"),
    [
        (CHEST_ALONE, None, True, "attention", "occlusion"),
        (CHEST_ALONE, "gradcam", False, "Grad-CAM", "occlusion"),
        (WORDS, "attention", True, "tiny-words", "occlusion"),
        (CHEST_ALONE, "attention", True, "attention", "occlusion"),
        (CHEST_ALONE, ["occlusion", "saliency"], False, "'saliency'", None),
        (CHEST_ALONE, "", False, "''", None),
    ],
    ids=["drawn", "no-graph", "words-alone", "no-attention", "unknown-word", "empty-word"],
)
def test_what_a_network_has_not_is_refused(
    manifest: Manifest, explain: Any, drawn: bool, named: str, value: str | None
) -> None:
    with refused(UsageError, named, option="explain", value=value):
        asked_for(manifest, explain, drawn=drawn)


def test_words_and_fields_are_not_drawn() -> None:
    assert not draws_map(WORDS, "attention")
    assert draws_map(LIVER, "attention") and draws_map(WORDS, "occlusion") and draws_map(WITH_GRAPH, "gradcam")


def test_a_network_without_an_image_has_no_map_at_all() -> None:
    with refused(UsageError, "tiny image", "no image"):
        asked_for(RECORD_ALONE, "occlusion")
    with refused(UsageError, "tiny image", "heat map", option="heatmap"):
        asked_for(RECORD_ALONE, None, drawn=True)
    with refused(UsageError, "tiny liver", "record", option="explain", value="occlusion"):
        asked_for(LIVER, ["record"])


def test_all_words_are_in_the_refusal_of_an_unknown_one() -> None:
    with refused(UsageError, "'cam'") as caught:
        asked_for(LIVER, "cam")
    assert "attention, gradcam, occlusion, record" in str(caught.value)


# In an answer


@pytest.fixture(scope="module")
def answerers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Answerer]]:
    folder = tmp_path_factory.mktemp("bundles")
    bundles = {"chest": make_tiny_bundle(folder / "a.mmcaf"), "liver": make_tiny_liver(folder / "b.mmcaf")}
    with ExitStack() as stack:
        yield {
            name: Answerer(stack.enter_context(open_session(load_bundle(bundle), backend="onnxruntime", threads=1)))
            for name, bundle in bundles.items()
        }


def test_maps_are_made_where_they_are_asked_for_and_change_nothing_else(answerers: dict[str, Answerer]) -> None:
    created = "2026-11-30T09:08:48Z"
    bare = answerers["liver"].answer(PHASES, created=created)
    told = answerers["liver"].answer(PHASES, created=created, explain=["occlusion", "attention"])
    assert bare.maps == () and set(bare.outputs) == {"logits", "alpha", "upper"}
    assert [(one.method, one.input) for one in told.maps] == [
        *(("attention", "t2"),) * 2,
        *(("occlusion", name) for name in INPUTS),
    ]
    first, second = (json.loads(one.result.to_json()) for one in (bare, told))
    assert {name for name in first if first[name] != second[name]} == {"options", "timing_ms"}
    assert first["options"].pop("explain") == [] and second["options"].pop("explain") == ["attention", "occlusion"]
    assert first["options"] == second["options"]
    assert "explain" in second["timing_ms"] and "explain" not in first["timing_ms"]
    again = Result.from_json(told.result.to_json())
    assert again == told.result and again.options is not None and again.options.explain == ("attention", "occlusion")


def test_a_result_that_does_not_say_what_was_explained_is_read(answerers: dict[str, Answerer]) -> None:
    document = json.loads(answerers["liver"].answer(PHASES).result.to_json())
    del document["options"]["explain"]
    read = Result.from_json(json.dumps(document))
    assert read.options is not None and read.options.explain == ()


def test_how_long_it_takes_is_told_before_it_begins(answerers: dict[str, Answerer]) -> None:
    said: list[str] = []
    answerers["chest"].answer(
        CHEST,
        RECORD,
        explain="occlusion",
        announce=lambda text: said.append(text),
        progress=lambda stage, done, total: said.append(f"{stage} {done}"),
    )
    (at,) = [at for at, text in enumerate(said) if text.startswith("occlusion: 256 more windows, about ")]
    assert said[at - 1].startswith("infer") and said[at + 1] == "explain 1" and said[-1] == "explain 256"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.1 s"), (0.04, "0.1 s"), (9.94, "9.9 s"), (46.1, "46 s"), (119, "119 s"), (600, "10 min")],
)
def test_an_estimate_is_as_precise_as_it_can_be(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


def test_a_deadline_holds_while_something_is_explained(
    answerers: dict[str, Answerer], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = answerers["chest"]
    with pytest.raises(DeadlineError):
        patient.answer(CHEST, RECORD, explain="occlusion", deadline=0.3, progress=lambda stage, *_: slow(stage))


def slow(stage: str) -> None:
    from time import sleep

    sleep(0.01 if stage == "explain" else 0)


@pytest.mark.parametrize("explain", [5, True, {"occlusion": 1}, [5], b"occlusion"], ids=str)
def test_what_is_no_word_is_refused(explain: Any, answerers: dict[str, Answerer]) -> None:
    with refused(UsageError, "explain"):
        answerers["chest"].answer(Path("missing"), RECORD, explain=explain)


# What another package's decision says that a label's score is


@pytest.mark.parametrize(
    "found", [[0.0, 1.0], [], [[1.0]], [np.nan], [np.inf], [0.0]], ids=["two", "none", "nested", "nan", "inf", "zero"]
)
def test_a_decision_that_does_not_tell_a_labels_score_is_refused(found: Any) -> None:
    decision = SimpleNamespace(cotangent=lambda label: np.array(found, np.float32), names=("odd",), origin="odd 1.0")
    with refused(BackendError, "odd 1.0", "loud", 1):
        score_direction(decision, 1, CHEST_ALONE)  # type: ignore[arg-type]


def test_what_the_decisions_of_the_format_say_is_taken() -> None:
    assert score_direction(decision_for(CHEST_ALONE), 0, CHEST_ALONE).tolist() == [-1]
    assert score_direction(decision_for(LIVER), 2, LIVER).tolist() == [0, 0, 1, 0, 0, 0, 0]


# Drawn


def of_depth(values: NDArray[np.float32], **changes: Any) -> ExplanationMap:
    made = ExplanationMap("occlusion", "Occlusion", "t2", 0, "cyst", values, (0, 8))
    return replace(made, **changes)


def drawn(answerers: dict[str, Answerer], found: ExplanationMap) -> NDArray[np.uint8]:
    return draw_heatmap(answerers["liver"].answer(PHASES).prepared, [found])


def colourful(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.ptp(picture.astype(int), axis=2) > 20


def tiles(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The eight slices, three in a line."""
    tall, wide = 128 + CAPTION + GAP, 128 + GAP
    return [picture[TOP + tall * (at // 3) :][:128, MARGIN + wide * (at % 3) :][:, :128] for at in range(8)]


@pytest.mark.parametrize(("depth", "slices", "part", "coloured"), [(4, (0, 8), 1, [2, 3]), (2, (3, 8), 0, [3, 4, 5])])
def test_each_slice_has_its_own_part_of_a_map_with_depth(
    depth: int, slices: tuple[int, int], part: int, coloured: list[int], answerers: dict[str, Answerer]
) -> None:
    values = np.full((depth, 2, 2), -1, np.float32)
    values[part, 0, 1] = 3
    picture = drawn(answerers, of_depth(values, slices=slices))
    assert [at for at, tile in enumerate(tiles(picture)) if colourful(tile).any()] == coloured
    rows, columns = np.nonzero(colourful(tiles(picture)[coloured[0]]))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 63, 64, 127)


def test_of_a_map_that_rises_nowhere_nothing_is_coloured(answerers: dict[str, Answerer]) -> None:
    for value in (-0.5, 0.0):
        picture = drawn(answerers, of_depth(np.full((4, 2, 2), value, np.float32)))
        assert not colourful(picture[:-BOTTOM]).any()
    assert excess(np.array([-2, 0, 1, 2], np.float32), 0.0).tolist() == [0, 0, 0.5, 1]


def texts_of(answerers: dict[str, Answerer], monkeypatch: pytest.MonkeyPatch, found: ExplanationMap) -> list[str]:
    texts: list[str] = []
    real, bar = heatmap.write, heatmap.colour_bar

    def noting(draw: Any, place: Any, text: str, *rest: Any, **options: Any) -> None:
        texts.append(text)
        real(draw, place, text, *rest, **options)

    def noting_bar(picture: Any, place: Any, width: int, ends: Any, name: str) -> None:
        texts.extend([*ends, name])
        bar(picture, place, width, ends, name)

    monkeypatch.setattr(heatmap, "write", noting)
    monkeypatch.setattr(heatmap, "colour_bar", noting_bar)
    drawn(answerers, found)
    return [text for text in texts if text not in ("R", "L") and " of 8" not in text]


def test_a_map_names_its_label_and_says_what_it_is_not(
    answerers: dict[str, Answerer], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.linspace(-1, 2.5, 16, dtype=np.float32).reshape(4, 2, 2)
    said = texts_of(answerers, monkeypatch, of_depth(values))
    assert said[:2] == ["Occlusion", "over t2, for cyst"] and said[2:4] == ["0", "2.5"]
    assert "cyst" in said[4] and said[5:] == ["Shows what moved this answer, not where disease lies."]
    sure = texts_of(answerers, monkeypatch, of_depth(values, method="gradcam", localises=True))
    assert "cyst" in sure[4] and not {*sure} & {*NO_PLACE.values()}
    shared = texts_of(answerers, monkeypatch, of_depth(values, method="attention", label=None, floor=0.1))
    assert shared[1:5] == ["over t2, shared by all labels", "even 0.100", "2.500", "share of the attention weight"]
    assert "not where disease lies" in shared[5]


def test_what_a_map_is_not_lies_below_the_slices_and_within_the_picture(answerers: dict[str, Answerer]) -> None:
    values = np.ones((4, 2, 2), np.float32)
    sure, plain = (drawn(answerers, of_depth(values, localises=said)) for said in (True, False))
    rows = np.flatnonzero((sure != plain).any(axis=(1, 2)))
    assert len(plain) - BOTTOM < rows.min() and rows.max() < len(plain) - 1


def test_a_heat_map_of_occlusion_is_written(answerers: dict[str, Answerer], tmp_path: Path) -> None:
    answer = answerers["chest"].answer(CHEST, RECORD, explain="occlusion", heatmap=tmp_path / "map.png")
    from mmcaf_engine.result.drawing import png

    assert (tmp_path / "map.png").read_bytes() == png(draw_heatmap(answer.prepared, answer.maps))
