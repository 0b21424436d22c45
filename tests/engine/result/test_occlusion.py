"""Occlusion: how far the label's score falls without a part, of networks whose sums are known."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_factory import hounsfield
from mmcaf_engine import Answerer, CancelToken, Volume, load_bundle, open_session
from mmcaf_engine.cancel import limited
from mmcaf_engine.errors import BackendError, CancelledError, DeadlineError
from mmcaf_engine.inputs.windows import padding_value, preprocess
from mmcaf_engine.manifest import PreprocessingSpec
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.explain import ExplanationMap
from mmcaf_engine.result.occlusion import MOST_PARTS, Hideable, Occlusion, boxes
from mmcaf_engine.session.session import Session
from tiny_bundle import PLACES, SIZE, make_tiny_bundle, tiny_manifest
from tiny_image import PLACES as IMAGE_PLACES
from tiny_image import make_tiny_image, radiograph
from tiny_liver import INPUTS, expected, make_tiny_liver

RECORD = {"sex": "F", "age": 63}
HU = hounsfield(6, SIZE, SIZE)
CHEST = Volume(HU, "hounsfield", (2.5, 0.7, 0.7))
PHASES = {
    name: Volume(hounsfield(8 + 2 * at, 12, 10), "rescaled", (24.0 / (8 + 2 * at), 1.0, 1.0))
    for at, name in enumerate(INPUTS)
}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Session]]:
    folder = tmp_path_factory.mktemp("bundles")
    bundles = {
        "loud": make_tiny_bundle(folder / "loud.mmcaf", threshold=0.01),
        "quiet": make_tiny_bundle(folder / "quiet.mmcaf", threshold=0.99),
        "image": make_tiny_image(folder / "image.mmcaf"),
        "liver": make_tiny_liver(folder / "liver.mmcaf"),
    }
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(open_session(load_bundle(bundle), backend="onnxruntime", threads=1))
            for name, bundle in bundles.items()
        }


def answered(session: Session, **options: Any) -> Answer:
    study: Any = {"image": [radiograph()], "liver": PHASES}.get(
        session.bundle.manifest.name.removeprefix("tiny "), CHEST
    )
    return Answerer(session).answer(study, RECORD if study is CHEST else None, explain="occlusion", **options)


def parts_of(shape: tuple[int, ...], grid: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], NDArray[np.bool_]]]:
    """Every cell of a grid, and which places lie in it: place p of n in part p * parts // n."""
    lies = [np.arange(size) * parts // size for size, parts in zip(shape, grid, strict=True)]
    for cell in np.ndindex(*grid):
        inside = [axis == at for axis, at in zip(lies, cell, strict=True)]
        yield cell, inside[0][:, None, None] & inside[1][:, None] & inside[2]


@pytest.mark.parametrize(("name", "sign"), [("loud", 1), ("quiet", -1)])
def test_of_a_window_it_is_the_score_of_the_answers_label(name: str, sign: int, sessions: dict[str, Session]) -> None:
    """Hidden is by air, which is 0 for this network: a part's own share of the weighted mean, and its opposite."""
    answer = answered(sessions[name])
    (found,) = answer.maps
    assert answer.result.label == name == found.label and answer.score.deciding == found.window
    assert (found.method, found.input, found.slices, found.floor) == ("occlusion", "image", (0, 4), 0.0)
    assert found.values.shape == (4, 8, 8) and found.values.dtype == np.float32 and not found.localises
    window = answer.prepared.series[0].windows.window(found.window)[0, 0]
    for cell, inside in parts_of(window.shape, found.values.shape):
        share = 8 * float((window * PLACES[0]).astype(np.float64)[inside].sum()) / window.size
        assert found.values[cell] == pytest.approx(sign * share, abs=2e-6)
    assert np.ptp(found.values) > 1e-3


def test_of_several_series_each_has_its_own_in_the_patients_axes(sessions: dict[str, Session]) -> None:
    """The network's axes run to left, front and head; what is hidden is the mean of that series."""
    answer = answered(sessions["liver"])
    assert [one.input for one in answer.maps] == list(INPUTS)
    whole = {entry.input: entry.windows.window(0) for entry in answer.prepared.series}
    before = expected(whole)["logits"][0, answer.score.label]
    for found in answer.maps:
        assert found.values.shape == (4, 6, 6) and found.label == answer.result.label and found.slices == (0, 8)
        falls = np.empty_like(found.values)
        for cell, inside in parts_of((8, 16, 16), (4, 6, 6)):
            changed = {name: array.copy() for name, array in whole.items()}
            for z, y, x in np.argwhere(inside):
                changed[found.input][0, 0, x, 15 - y, z] = whole[found.input].mean()
            falls[cell] = before - expected(changed)["logits"][0, answer.score.label]
        np.testing.assert_allclose(found.values, falls, atol=2e-5)
        assert np.ptp(falls) > 1e-3


def test_of_an_image_the_mean_grey_is_put_in_place(sessions: dict[str, Session]) -> None:
    answer = answered(sessions["image"])
    (found,) = answer.maps
    assert answer.prepared.image is not None and found.values.shape == (1, 12, 12) and found.slices == (0, 1)
    values = answer.prepared.image.values[0]
    sign = 1 if answer.result.label == "bright" else -1
    for cell, inside in parts_of((1, *values.shape[1:]), found.values.shape):
        share = 8 * float((values * IMAGE_PLACES).astype(np.float64)[:, inside[0]].sum()) / values.size
        assert found.values[cell] == pytest.approx(sign * share, abs=2e-6)


@pytest.mark.parametrize(
    ("shape", "grid"), [((5, 7, 3), (2, 3, 3)), ((1, 63, 100), (1, 12, 12)), ((4, 4, 4), (4, 1, 2))]
)
def test_parts_lie_as_they_are_drawn(shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    seen = np.full(shape, -1)
    for at, box in enumerate(boxes(shape, grid)):
        assert (seen[box] == -1).all() and seen[box].size
        seen[box] = at
    for at, (_, inside) in enumerate(parts_of(shape, grid)):
        assert (seen[inside] == at).all()


def test_what_hides_a_part_of_a_window_is_what_pads_a_short_series() -> None:
    """Also after a crop, a resize to whole numbers, and a mean that is taken off."""
    fields = tiny_manifest()["preprocessing"]
    fields["windows"]["pad_value"] = -90.4
    fields["steps"] = [
        {"step": "center_crop", "rows": 30, "columns": 28},
        *fields["steps"],
        {"step": "subtract", "value": 0.25},
    ]
    spec = PreprocessingSpec.model_validate(fields)
    windows = preprocess(Volume(hounsfield(3, 32, 32), "hounsfield", (2.5, 0.7, 0.7)), spec)
    padded = windows.slices[3]
    assert padding_value(spec) == padded[0, 0] == pytest.approx(0.01 - 0.25) and (padded == padded[0, 0]).all()


def test_what_hides_a_part_of_a_whole_volume_is_its_mean(sessions: dict[str, Session]) -> None:
    array = np.arange(16 * 16 * 8, dtype=np.float32).reshape(1, 1, 16, 16, 8)
    hiding = Hideable("t2", sessions["liver"].bundle.manifest.of_volumes, (1, 1, 2))
    first, second = hiding.hidden(array)
    right, left = np.s_[:, :, :8], np.s_[:, :, 8:]  # the first axis runs to the left
    assert (first[right] == array.mean()).all() and (first[left] == array[left]).all()
    assert (second[left] == array.mean()).all() and (second[right] == array[right]).all()


@pytest.mark.parametrize(
    ("inputs", "grid"),
    [(1, (4, 8, 8)), (2, (4, 8, 8)), (3, (4, 6, 6)), (6, (2, 6, 6)), (9, (2, 4, 4)), (99, (1, 4, 4))],
)
def test_more_inputs_have_coarser_parts(inputs: int, grid: tuple[int, ...], sessions: dict[str, Session]) -> None:
    manifest = sessions["liver"].bundle.manifest
    several = tuple(manifest.inputs[0].model_copy(update={"name": f"t{at}"}) for at in range(inputs))
    hiding = Occlusion.of(manifest.model_copy(update={"inputs": several}), 0)
    assert {one.grid for one in hiding.inputs} == {grid}
    assert len(hiding) == inputs * np.prod(grid) and (len(hiding) <= MOST_PARTS or inputs > 32)


class Noted:
    """A session that notes how many windows each call was given."""

    def __init__(self, session: Session, windows_per_call: int = 1) -> None:
        self.bundle, self.windows_per_call, self._session = session.bundle, windows_per_call, session
        self.calls: list[int] = []

    def run(self, arrays: Any, *, optional: bool = False) -> Any:
        self.calls.append(len(next(iter(arrays.values()))))
        return self._session.run(arrays, optional=optional)


def maps_of(session: Any, answer: Answer, progress: Any = None) -> tuple[ExplanationMap, ...]:
    hiding = Occlusion.of(answer.bundle.manifest, answer.score.deciding)
    direction = np.ones(1, np.float32)
    return hiding.maps(session, answer.prepared, answer.outputs["logit"], direction, "loud", progress)


def test_windows_go_to_the_backend_as_many_at_a_time_as_suit_it(sessions: dict[str, Session]) -> None:
    """And the bits do not depend on that, nor on the run."""
    answer = answered(sessions["loud"])
    (first,) = answer.maps
    several = Noted(sessions["loud"], windows_per_call=7)
    told: list[Any] = []
    (again,) = maps_of(several, answer, lambda *step: told.append(step))
    assert several.calls == [7] * 36 + [4] and again.values.tobytes() == first.values.tobytes()
    assert told[0] == ("explain", 7, 256) and told[-1] == ("explain", 256, 256)


def test_it_ends_when_its_caller_has_no_more_patience(sessions: dict[str, Session]) -> None:
    answer = answered(sessions["loud"])
    token, noted = CancelToken(), Noted(sessions["loud"])
    with pytest.raises(CancelledError), limited(token):
        maps_of(noted, answer, lambda stage, done, total: token.cancel() if done == 5 else None)
    assert len(noted.calls) == 5
    waiting = threading.Event()
    with pytest.raises(DeadlineError), limited(deadline=0.05):
        maps_of(noted, answer, lambda *_: waiting.wait(0.02))
    assert 6 <= len(noted.calls) <= 8


def test_a_score_that_is_no_number_is_no_map(sessions: dict[str, Session]) -> None:
    answer, noted = answered(sessions["loud"]), Noted(sessions["loud"])
    noted.run = lambda arrays: {"logit": np.full((1, 1), np.nan, np.float32)}  # type: ignore[method-assign,assignment]
    with pytest.raises(BackendError, match="no number"):
        maps_of(noted, answer)


def test_what_was_prepared_stays_as_it_is(sessions: dict[str, Session]) -> None:
    answer = answered(sessions["loud"])
    whole = answer.prepared.inputs(0, answer.bundle.manifest)["image"]
    before = whole.copy()
    list(Hideable("image", answer.bundle.manifest.of_volumes, (1, 2, 2)).hidden(whole))
    assert (whole == before).all() and not whole.flags.writeable
