"""Heat maps as DICOM lie in the patient where the network saw what they are about, and so do circles."""

import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from answered_objects import answered, answered_of
from counterparts import need
from dicom_factory import ct_series, enhanced_ct, hounsfield
from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.inputs.extent import Extent
from mmcaf_engine.inputs.prepare import PreparedSeries
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.card import MARGIN, WIDTH, WORDS, draw_card
from mmcaf_engine.result.explain import ExplanationMap
from mmcaf_engine.result.key_slices import key_slices
from mmcaf_engine.result.placed_map import PlacedMap, placed_maps, sampled
from mmcaf_engine.result.writers.kinds import DEFAULT, chosen_kinds
from mmcaf_engine.result.writers.presentation_state import _circle
from mmcaf_engine.volume import Placement
from refusals import refused
from tiny_bundle import SIZE, SLICES
from tiny_result import encoded_header

ORIGIN, SPACING = np.array([-30.0, -20.0, -100.0]), np.array([0.8, 0.7, 2.5])
"""Of the CT, x, y, z: its columns run to the left, its rows to the back, its slices to the head."""


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """Its map is highest in one part: slices 2 and 3 of the window, the last third of rows, the first quarter of
    columns.
    """
    answer = answered("CT and record", tmp_path_factory.mktemp("ct"))
    values = np.full((2, 3, 4), 0.25, np.float32)
    values[1, 2, 0] = 2.0
    return replace(answer, maps=(replace(answer.maps[0], values=values),))


def voxels(made: Dataset, values: NDArray[Any]) -> NDArray[np.float64]:
    """Where each voxel's middle lies in the patient, in the CT's columns, rows and slices; by PS3.3 C.7.6.2.1.1."""
    shared = made.SharedFunctionalGroupsSequence[0]
    row, column = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = np.zeros((*values.shape, 3))
    for at, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.meshgrid(*map(np.arange, values.shape[1:]), indexing="ij")
        found[at] = corner + columns[..., None] * between_columns * row + rows[..., None] * between_rows * column
    return (found - ORIGIN) / SPACING


@pytest.mark.parametrize("kind", ["pm", "seg"])
def test_the_highest_part_is_where_the_network_saw_it(ct: Answer, kind: str) -> None:
    [data] = ct.to_dicom(kind).values()
    made = dcmread(BytesIO(data))
    values = made.pixel_array
    hot = np.round(voxels(made, values)[values == values.max()]).astype(int)
    start = ct.prepared.series[0].windows.starts[ct.score.deciding]
    assert {*map(tuple, hot)} == {(x, y, start + z) for x in range(4) for y in range(11, 16) for z in (2, 3)}
    assert values.shape == (4, 16, 16) and values.max() == (2.0 if kind == "pm" else 255)
    assert made.FrameOfReferenceUID == ct.prepared.series[0].placement.frame  # type: ignore[union-attr]


def test_each_frame_names_the_slice_that_it_lies_over(ct: Answer) -> None:
    [data] = ct.to_dicom(["pm"]).values()
    start = ct.prepared.series[0].windows.starts[ct.score.deciding]
    for frame in dcmread(BytesIO(data)).PerFrameFunctionalGroupsSequence:
        z = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        [source] = frame.DerivationImageSequence[0].SourceImageSequence
        images = ct.source_images["image"].images
        number = round((z - ORIGIN[2]) / SPACING[2])
        assert source.ReferencedSOPInstanceUID == images[number].sop_instance_uid  # type: ignore[union-attr]
        assert start <= number < start + 4


def test_a_map_of_some_slices_of_the_window_lies_over_these(ct: Answer) -> None:
    some = replace(ct, maps=(replace(ct.maps[0], slices=(1, 3)),))
    [data] = some.to_dicom("pm").values()
    start = ct.prepared.series[0].windows.starts[ct.score.deciding]
    frames = dcmread(BytesIO(data)).PerFrameFunctionalGroupsSequence
    found = sorted(float(one.PlanePositionSequence[0].ImagePositionPatient[2]) for one in frames)
    assert found == [ORIGIN[2] + SPACING[2] * (start + at) for at in (1, 2)]


def sources(made: Dataset) -> list[tuple[float, str, str, int | None]]:
    """Of each frame: z, and class, UID and frame of the one image that it names."""
    found = []
    for frame in made.PerFrameFunctionalGroupsSequence:
        z = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        [one] = frame.DerivationImageSequence[0].SourceImageSequence
        found.append((z, one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID, one.get("ReferencedFrameNumber")))
    return sorted(found)


@pytest.mark.parametrize("kind", ["pm", "seg"])
def test_of_an_image_of_several_frames_each_names_its_own(kind: str, tmp_path: Path) -> None:
    image = enhanced_ct(hounsfield(8, SIZE, SIZE))
    answer = answered_of([image], tmp_path)
    [data] = answer.to_dicom(kind).values()
    made = dcmread(BytesIO(data))
    known = [one for one in answer.source_images["image"].images if one is not None and one.position_mm is not None]
    start = answer.prepared.series[0].windows.starts[answer.score.deciding]
    assert (
        sources(made)
        == [
            (one.position_mm[2], image.SOPClassUID, image.SOPInstanceUID, one.frame)  # type: ignore[index]
            for one in known[start : start + SLICES]
        ]
    )
    [series] = made.ReferencedSeriesSequence
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence] == [image.SOPInstanceUID]
    (tmp_path / "made.dcm").write_bytes(data)
    call = [need("dciodvfy"), "-new", tmp_path / "made.dcm"]
    assert "Error" not in subprocess.run(call, capture_output=True, text=True, check=False).stderr


def test_a_slice_that_was_interpolated_names_no_image(tmp_path: Path) -> None:
    """It lies between two that were not, in every object."""
    holed = [image for at, image in enumerate(ct_series(hounsfield(30, SIZE, SIZE))) if at != 7]
    answer = answered_of(holed, tmp_path, gaps="interpolate")
    window = next(at for at, start in enumerate(answer.prepared.starts) if start <= 7 < start + SLICES)
    answer = replace(
        answer,
        score=replace(answer.score, deciding=window),
        maps=(replace(answer.maps[0], window=window),),
    )
    made = {name: dcmread(BytesIO(data)) for name, data in answer.to_dicom("pm,gsps,ko").items()}
    frames = made["parametric-map.dcm"].PerFrameFunctionalGroupsSequence
    assert len(frames) == SLICES and sum("DerivationImageSequence" not in one for one in frames) <= 1
    assert len(made["presentation-state.dcm"].GraphicAnnotationSequence) == SLICES - 1
    items = made["key-objects.dcm"].ContentSequence
    assert sum(item.ValueType == "IMAGE" for item in items) == SLICES - 1


def test_it_says_what_it_is_not(ct: Answer) -> None:
    [data] = ct.to_dicom("pm").values()
    made = dcmread(BytesIO(data))
    label = ct.maps[0].label
    assert made.ContentDescription == f"Heat map, not a localisation: stage 4 for {label}"
    assert made.ContentQualification == "RESEARCH"
    shown = replace(ct, maps=(replace(ct.maps[0], localises=True),))
    [data] = shown.to_dicom("pm").values()
    assert dcmread(BytesIO(data)).ContentDescription == f"Heat map: stage 4 for {label}"


def placed(values: NDArray[np.float32], extent: Extent, shape: tuple[int, int, int]) -> PlacedMap:
    """Over a volume with another spacing and a place of its own."""
    drawn = ExplanationMap("gradcam", "a", "image", 0, None, values, (0, shape[0]))
    return PlacedMap(drawn, extent, Placement(shape, (5.0, 0.5, 0.25), (10.0, 20.0, 30.0), _LPS, "1.2"))


_LPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


@pytest.mark.parametrize("most", [1 << 20, 40_000, 4000, 200])
def test_it_is_kept_small_by_whole_numbers_of_pixels(most: int) -> None:
    """What a pixel shows is what lies at its middle."""
    values = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    one = placed(values, Extent((2, 6), (10, 90), (20, 60)), (8, 100, 100))
    cut = sampled(one, most)
    assert cut.values.nbytes <= most and cut.slices == (2, 3, 4, 5)
    factor = cut.spacing_mm[0] / 0.5
    assert factor == cut.spacing_mm[1] / 0.25 == int(factor) and (factor == 1) == (most == 1 << 20)
    if factor > 1:
        larger = 4 * 4 * math.ceil(80 / (factor - 1)) * math.ceil(40 / (factor - 1))
        assert larger > most, "no larger than it takes"
    for at, (x, y, z) in enumerate(cut.positions_mm):
        assert z == 30 + 5 * cut.slices[at]
        for row in range(cut.values.shape[1]):
            for column in range(cut.values.shape[2]):
                in_rows = (y + row * cut.spacing_mm[0] - 20) / 0.5 + 0.5
                in_columns = (x + column * cut.spacing_mm[1] - 10) / 0.25 + 0.5
                part = (cut.slices[at] - 2) // 2, min(int((in_rows - 10) / 20), 3), min(int((in_columns - 20) / 10), 3)
                assert cut.values[at, row, column] == values[part]


def test_what_reaches_beyond_the_series_is_left_out() -> None:
    """A window that was padded."""
    one = placed(np.ones((1, 2, 2), np.float32), Extent((0, 12), (0, 4), (0, 4)), (3, 4, 4))
    assert sampled(one, 1 << 20).slices == (0, 1, 2)


def test_the_picture_shows_the_slices_where_the_map_is_highest_without_and_with_it(ct: Answer) -> None:
    """In two columns; colour is in the right one alone."""
    keys = key_slices(ct.prepared, ct.score.deciding, ct.maps)
    assert [key.highest for key in keys] == [0.25, 0.25, 2.0, 2.0]
    picture = draw_card(ct.result, keys).astype(int)
    coloured = np.abs(picture[..., 0] - picture[..., 2]) > 40
    middle = (WIDTH - MARGIN + 2 * MARGIN + WORDS) // 2
    assert not coloured[:, 2 * MARGIN + WORDS : middle].any() and coloured[:, middle:].sum() > 1000
    plain = replace(ct, maps=())
    assert plain.to_dicom("sc") != ct.to_dicom("sc")


@pytest.mark.parametrize(
    ("elements", "spacing", "ratio"),
    [
        ({"PixelSpacing": [0.7, 0.8], "ImagerPixelSpacing": [0.2, 0.1]}, [0.7, 0.8], None),
        ({"ImagerPixelSpacing": [0.143, 0.139]}, None, [143, 139]),
        ({"PixelAspectRatio": [2, 1]}, None, [2, 1]),
        ({}, None, [1, 1]),
    ],
)
def test_pixels_are_shown_as_high_and_wide_as_they_are(
    ct: Answer, elements: dict[str, Any], spacing: list[float] | None, ratio: list[int] | None
) -> None:
    """In a Presentation State, which has one of both (PS3.3 C.10.4)."""

    def edit(header: Dataset) -> None:
        del header.PixelSpacing
        for keyword, value in elements.items():
            setattr(header, keyword, value)

    [data] = edited(ct, edit).to_dicom("gsps").values()
    [area] = dcmread(BytesIO(data)).DisplayedAreaSelectionSequence
    assert (area.get("PresentationPixelSpacing"), area.get("PresentationPixelAspectRatio")) == (spacing, ratio)


# Circles


def test_a_circle_is_around_the_highest_part(ct: Answer) -> None:
    """In the slices that show it; rows 10.67 to 16 and columns 0 to 4 of 16."""
    [data] = ct.to_dicom("gsps").values()
    made = dcmread(BytesIO(data))
    images = [image.sop_instance_uid for image in ct.source_images["image"].images if image]
    start = ct.prepared.series[0].windows.starts[ct.score.deciding]
    circles = {}
    for annotation in made.GraphicAnnotationSequence:
        [text] = annotation.TextObjectSequence
        assert text.UnformattedTextValue.startswith("RESEARCH, unverified.")
        assert "not a localisation" in text.UnformattedTextValue
        [graphic] = annotation.GraphicObjectSequence
        number = images.index(annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID) - start
        circles[number] = [float(value) for value in graphic.GraphicData]
    assert sorted(circles) == [0, 1, 2, 3]
    for number in (2, 3):
        column, row, beside, _ = circles[number]
        assert (column, row) == pytest.approx((2, 13.333), abs=0.01)
        assert abs(column - beside) == pytest.approx(2.333, abs=0.01)


def test_a_circle_in_an_image_that_is_turned(ct: Answer) -> None:
    """Its rows run to the right and its columns to the front: the place in the patient is the same."""
    key = key_slices(ct.prepared, ct.score.deciding, ct.maps)[2]
    maps = placed_maps(ct.prepared, ct.bundle.manifest, ct.maps)
    image = Dataset()
    image.Rows = image.Columns = 16
    image.PixelSpacing, image.ImageOrientationPatient = [0.7, 0.8], [-1, 0, 0, 0, -1, 0]
    image.ImagePositionPatient = [ORIGIN[0] + 15 * 0.8, ORIGIN[1] + 15 * 0.7, ORIGIN[2] + key.number * 2.5]
    assert _circle(key, image, maps) == pytest.approx((14, 16 - 13.3333, 2.3333), abs=0.01)


def test_a_map_that_is_nowhere_above_its_floor_has_no_circle(ct: Answer) -> None:
    flat = replace(ct, maps=(replace(ct.maps[0], values=np.ones((1, 2, 2), np.float32), floor=1.0),))
    [data] = flat.to_dicom("gsps").values()
    assert not any("GraphicObjectSequence" in one for one in dcmread(BytesIO(data)).GraphicAnnotationSequence)


def test_a_radiograph_is_shown_as_it_was_and_with_its_circle(tmp_path: Path) -> None:
    """One in which 0 is white stays so."""
    answer = answered("radiograph", tmp_path)
    inverse = edited(answer, lambda header: setattr(header, "PhotometricInterpretation", "MONOCHROME1"))
    made, other = (dcmread(BytesIO(one.to_dicom("gsps")["presentation-state.dcm"])) for one in (answer, inverse))
    assert (made.PresentationLUTShape, other.PresentationLUTShape) == ("IDENTITY", "INVERSE")
    assert made.SoftcopyVOILUTSequence[0].WindowCenter == 2048
    [annotation] = made.GraphicAnnotationSequence
    row, column = np.unravel_index(int(np.argmax(answer.maps[0].values[0])), (3, 4))
    found = [float(value) for value in annotation.GraphicObjectSequence[0].GraphicData][:2]
    assert found == pytest.approx([(column + 0.5) / 4 * 47, (row + 0.5) / 3 * 33], abs=0.01)


# What there is to choose


def test_a_map_over_a_volume_is_a_parametric_map_unless_others_are_chosen(ct: Answer) -> None:
    names = ["structured-report.dcm", "secondary-capture.dcm", "parametric-map.dcm"]
    assert list(ct.to_dicom()) == names and list(replace(ct, maps=()).to_dicom()) == names[:2]
    assert chosen_kinds(DEFAULT, maps=True, volume=False) == ("sr", "sc")


@pytest.mark.parametrize(("maps", "option"), [(False, "explain"), (True, "dicom_objects")])
def test_an_object_of_a_map_that_there_is_not(maps: bool, option: str) -> None:
    with refused(UsageError, "dicom_objects", "pm, seg", option=option):
        chosen_kinds("sr,seg,pm", maps=maps, volume=False)
    with refused(UsageError, "seg", option="dicom_objects", value="sr"):
        chosen_kinds("sr,seg", maps=maps, volume=False)


@pytest.mark.parametrize(
    ("kinds", "keyword", "rest"),
    [
        ("sr,pm", "FrameOfReferenceUID (0020,0052)", "sr"),
        ("sr,sc,seg", "FrameOfReferenceUID (0020,0052)", "sr,sc"),
        ("sr,pm,seg,ko", "FrameOfReferenceUID (0020,0052)", "sr,ko"),
        ("gsps,ko", "RescaleSlope (0028,1053)", "ko"),
        ("sr,ko", "Rows (0028,0010)", "sr"),
    ],
)
def test_a_header_that_lacks_what_one_object_needs(ct: Answer, kinds: str, keyword: str, rest: str) -> None:
    """What can be written without it is said."""
    lacking = edited(ct, lambda header: delattr(header, keyword.split()[0]))
    with refused(StudyError, "image", keyword, option="dicom_objects", value=rest):
        lacking.to_dicom(kinds)
    lacking.to_dicom(rest)


def edited(answer: Answer, edit: Callable[[Dataset], None]) -> Answer:
    """With another header of its one input."""
    [entry] = answer.prepared.studied
    assert entry.facts.header is not None
    header = entry.facts.header.dataset()
    edit(header)
    changed = replace(entry, facts=replace(entry.facts, header=encoded_header(header)))
    if isinstance(changed, PreparedSeries):
        return replace(answer, prepared=replace(answer.prepared, series=(changed,)))
    return replace(answer, prepared=replace(answer.prepared, image=changed))
