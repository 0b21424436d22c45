"""Volumes that a caller holds: turned as they say they lie, in types that lose nothing, or refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.errors import MmcafError, StudyError, UsageError
from mmcaf_engine.study.in_memory import OpenVolume, open_volumes
from mmcaf_engine.volume import PatientHeader, SourceImage, Study, Volume

HEAD, BACK, LEFT = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)
FEET, FRONT, RIGHT = (0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)
VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
PLAIN = Volume(VALUES, "hounsfield", (2.5, 0.7, 0.8), (-10.0, 20.0, 30.0))
IMAGES = (SourceImage("1.2", "1.2.1"), SourceImage("1.2", "1.2.2"))


def opened(given: Any, **options: Any) -> OpenVolume:
    return open_volumes(given, ["image"], **{"intensity": "hounsfield", "modality": "CT", **options})["image"]


def study(volume: Volume = PLAIN, **changes: Any) -> Study:
    return replace(Study(volume, "CT", {}, PatientHeader()), **changes)


def test_a_volume_that_lies_as_studies_are_read_stays_as_it_is() -> None:
    found = opened(PLAIN)
    assert found.placement.origin_mm == pytest.approx((-10, 20, 30))
    assert found.placement.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert np.allclose(found.placement.direction, (HEAD, BACK, LEFT))
    read = found.read()
    assert np.array_equal(read.volume.values, VALUES) and read.volume.origin_mm == pytest.approx((-10, 20, 30))


@pytest.mark.parametrize(
    ("direction", "turned", "origin"),
    [
        ((FEET, BACK, LEFT), VALUES[::-1], (-10, 20, 30 - 2.5)),
        ((HEAD, FRONT, LEFT), VALUES[:, ::-1], (-10, 20 - 2 * 0.7, 30)),
        ((HEAD, BACK, RIGHT), VALUES[:, :, ::-1], (-10 - 3 * 0.8, 20, 30)),
        ((HEAD, LEFT, BACK), VALUES.transpose(0, 2, 1), (-10, 20, 30)),
        ((BACK, LEFT, HEAD), VALUES.transpose(2, 0, 1), (-10, 20, 30)),
    ],
    ids=["feet", "front", "right", "columns-to-the-back", "slices-last"],
)
def test_another_orientation_is_turned(direction: Any, turned: NDArray[np.int16], origin: tuple[float, ...]) -> None:
    found = opened(replace(PLAIN, direction=direction))
    assert found.placement.origin_mm == pytest.approx(origin)
    assert found.shape == turned.shape
    assert np.array_equal(found.read().volume.values, turned)


@pytest.mark.parametrize(("direction", "images"), [((HEAD, BACK, LEFT), IMAGES), ((FEET, BACK, LEFT), IMAGES[::-1])])
def test_images_follow_their_slices(direction: Any, images: tuple[SourceImage, ...]) -> None:
    given = study(replace(PLAIN, direction=direction), images=IMAGES)
    assert opened(given).read().images == images
    assert opened(given).stream(lambda index, plane, scratch: None).images == images


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([-32768, 32767], np.int16),
        ([-32769, 0], np.float32),
        ([0, 32768], np.float32),
        ([-40000, 40000], np.float32),
    ],
    ids=["fits", "below", "above", "both"],
)
def test_whole_values_are_never_wrapped(values: list[int], kept: type[np.generic]) -> None:
    given = np.array(values, np.int32).reshape(2, 1, 1)
    read = opened(replace(PLAIN, values=given)).read().volume.values
    assert read.dtype == kept and read.ravel().tolist() == values


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (replace(PLAIN, intensity="stored"), UsageError),
        (study(modality="MR"), UsageError),
        ({"other": PLAIN}, UsageError),
        ({"image": PLAIN, "other": PLAIN}, UsageError),
        (VALUES, UsageError),
        (replace(PLAIN, values=VALUES.tolist()), UsageError),
        (replace(PLAIN, values=VALUES > 3), UsageError),
        (replace(PLAIN, values=np.ma.masked_greater(VALUES, 3)), UsageError),
        (study(images=IMAGES[:1]), UsageError),
        (study(replace(PLAIN, direction=(LEFT, BACK, HEAD)), images=IMAGES), UsageError),
        (replace(PLAIN, values=VALUES[0]), StudyError),
        (replace(PLAIN, values=VALUES[:0]), StudyError),
        (replace(PLAIN, spacing_mm=(0.0, 0.7, 0.8)), StudyError),
        (replace(PLAIN, spacing_mm=(2.5, -0.7, 0.8)), StudyError),
        (replace(PLAIN, spacing_mm=(2.5, float("nan"), 0.8)), StudyError),
        (replace(PLAIN, spacing_mm=(2.5, 0.7)), StudyError),
        (replace(PLAIN, direction=(HEAD, HEAD, LEFT)), StudyError),
        (replace(PLAIN, direction=((0.0, 0.1, 1.0), BACK, LEFT)), StudyError),
        (replace(PLAIN, direction=((0.0, 0.0, 2.0), BACK, LEFT)), StudyError),
        (replace(PLAIN, direction=((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), LEFT)), StudyError),
        (replace(PLAIN, origin_mm=(0.0, 0.0)), StudyError),
        (replace(PLAIN, origin_mm=(0.0, 0.0, 1e6)), StudyError),
        (replace(PLAIN, origin_mm=(0.0, float("inf"), 0.0)), StudyError),
        (replace(PLAIN, direction=(HEAD, (0.0, float("inf"), 0.0), LEFT)), StudyError),
    ],
    ids=[
        *("intensity", "modality", "no-input", "one-too-many", "an-array", "a-list", "truths", "masked"),
        *("too-few-images", "images-not-of-slices", "a-plane", "no-slices"),
        *("no-spacing", "negative-spacing", "nan-spacing", "two-spacings"),
        *("singular", "sheared", "no-unit-vector", "oblique", "two-of-origin", "far-away", "endless", "endless-axis"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_refused(given: Any, error: type[MmcafError]) -> None:
    with pytest.raises(error):
        opened(given)
