"""Order, spacing and orientation from positions; what would change the anatomy is refused with numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study.geometry.arrangement import Geometry, arrange_slices
from mmcaf_engine.study.geometry.policies import Policies
from refusals import Fact, check_facts, refused

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Slice:
    """A slice without pixels."""

    name: str
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None = AXIAL
    spacing: tuple[float, ...] | None = (0.7, 0.8)
    thickness: float | None = None
    rows: int = 6
    columns: int = 7


def stack(heights: Sequence[float], **elements: Any) -> list[Slice]:
    return [Slice(f"IM{index}", (-30.0, -20.0, z), **elements) for index, z in enumerate(heights)]


def rotated(angle: float, axis: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rotation matrix about a patient axis, degrees."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.eye(3)
    first = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix[np.ix_(first, first)] = turn
    return matrix


def turned(planes: list[Slice], angle: float, axis: str, *, positions: bool = True) -> list[Slice]:
    """Turn the slices, and with them, or not, the line that they lie on."""
    matrix = rotated(angle, axis)
    return [
        replace(
            plane,
            orientation=(*(matrix @ plane.orientation[:3]), *(matrix @ plane.orientation[3:])),
            position=tuple(matrix @ plane.position) if positions else plane.position,
        )
        for plane in planes
        if plane.orientation and plane.position
    ]


def refusal(planes: list[Slice]) -> str:
    with refused(StudyError, "study") as caught:
        arrange_slices(planes, "study")
    assert caught.value.remedy
    return caught.value.problem


def test_orders_by_position_toward_the_head() -> None:
    geometry = arrange_slices(stack([5.0, 0.0, 10.0, 2.5, 7.5]), "study")
    assert geometry.order == (1, 3, 0, 4, 2)
    assert geometry.spacing_mm == (2.5, 0.7, 0.8)
    assert geometry.origin_mm == (-30.0, -20.0, 0.0)
    assert geometry.direction == ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    assert not geometry.notes.warnings
    assert not (geometry.transpose or geometry.flip_rows or geometry.flip_columns)


ORIENTATIONS = {
    "usual": AXIAL,
    "half-turn": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "mirrored-across": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "mirrored-down": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "quarter-turn": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
    "other-quarter-turn": (0.0, -1.0, 0.0, 1.0, 0.0, 0.0),
    "transposed": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    "transposed-half-turn": (0.0, -1.0, 0.0, -1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_storage_order_gives_the_same_patient(name: str) -> None:
    """Each pixel holds its own patient coordinates; the canonical volume must agree with its geometry."""
    orientation = ORIENTATIONS[name]
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    corner = np.array([-30.0, -20.0, 0.0])
    planes = [Slice(str(z), (*corner[:2], z), orientation) for z in (4.0, 0.0, 2.0)]
    geometry = arrange_slices(planes, "study")
    i, j = np.mgrid[:6, :7]
    stored = corner + i[..., None] * 0.7 * down + j[..., None] * 0.8 * across
    volume = np.stack(
        [
            np.stack([geometry.arrange(stored[..., axis]) for axis in range(2)] + [np.full_like(seen, z)], axis=-1)
            for z in (0.0, 2.0, 4.0)
            for seen in [geometry.arrange(stored[..., 0])]
        ]
    )
    assert np.allclose(volume, coordinates(geometry, volume.shape[:3]))
    assert geometry.direction == ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    assert bool(geometry.notes.warnings) == (name != "usual")


@pytest.mark.parametrize("angle", [4.0, -12.0])
@pytest.mark.parametrize("axis", ["x", "y"], ids=["along the rows", "along the columns"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_tilt_is_measured_in_pixels_of_its_own_axis(name: str, axis: str, angle: float) -> None:
    """Pixels are not square: what lies `shifts` beyond a voxel in the sent slice has that voxel's coordinates."""
    heights, spacing = (0.0, 2.0, 4.0, 6.0, 8.0), (0.5, 0.9)
    upright = [Slice(str(z), (-30.0, -20.0, z), ORIENTATIONS[name], spacing, rows=40, columns=30) for z in heights]
    planes = turned(upright, angle, axis, positions=False)
    geometry = arrange_slices(planes, "study", Policies(tilt="resample"))
    assert geometry.order == (0, 1, 2, 3, 4) and geometry.spacing_mm[1:] == (
        spacing[::-1] if geometry.transpose else spacing
    )
    voxels = coordinates(geometry, (5, *((30, 40) if geometry.transpose else (40, 30))))
    i, j = np.mgrid[:40, :30]
    for at, plane in enumerate(planes):
        assert plane.position and plane.orientation
        across, down = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
        sent = np.array(plane.position) + i[..., None] * spacing[0] * down + j[..., None] * spacing[1] * across
        seen = np.stack([geometry.arrange(sent[..., of]) for of in range(3)], axis=-1)
        by_row, by_column = geometry.shifts[at]
        moved = seen + by_row * (seen[1, 0] - seen[0, 0]) + by_column * (seen[0, 1] - seen[0, 0])
        assert np.allclose(moved, voxels[at], rtol=0, atol=1e-5)  # a step is rounded to 1e-6 mm
    by_row, by_column = np.abs(geometry.shifts[0])
    lean = 4.0 * np.sin(np.radians(abs(angle)))  # mm, of the first slice against the middle one
    rows_lean = axis == "x"
    assert by_row == pytest.approx(lean / geometry.spacing_mm[1] if rows_lean else 0)
    assert by_column == pytest.approx(0 if rows_lean else lean / geometry.spacing_mm[2])


def coordinates(geometry: Geometry, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Patient coordinates of every voxel by the geometry's own account, [D, H, W, 3]."""
    steps = np.array(geometry.direction) * np.array(geometry.spacing_mm)[:, None]
    return np.array(geometry.origin_mm) + np.moveaxis(np.indices(shape), 0, -1) @ steps


def test_positions_rounded_to_tenths_are_regular() -> None:
    geometry = arrange_slices(stack([round(0.625 * index, 1) for index in range(101)]), "study")
    assert geometry.spacing_mm[0] == pytest.approx(0.625)


def test_slightly_oblique_slices_are_axial() -> None:
    geometry = arrange_slices(turned(stack([0.0, 2.5, 5.0]), 4.0, "x"), "study")
    assert geometry.spacing_mm[0] == pytest.approx(2.5)
    assert geometry.direction[0] == pytest.approx((0, -np.sin(np.radians(4)), np.cos(np.radians(4))))


@pytest.mark.parametrize(
    ("removed", "tag"),
    [
        ("position", "(0020,0032) ImagePositionPatient"),
        ("orientation", "(0020,0037) ImageOrientationPatient"),
        ("spacing", "(0028,0030) PixelSpacing"),
    ],
)
def test_refuses_slices_that_do_not_say_where_they_lie(removed: str, tag: str) -> None:
    planes = stack([0.0, 2.5, 5.0])
    planes[1] = replace(planes[1], **{removed: None})  # type: ignore[arg-type]
    check_facts(refusal(planes), tag, 1, 3, "IM1")


def test_refuses_a_duplicate() -> None:
    check_facts(refusal(stack([0.0, 2.5, 2.505, 5.0])), 1, 4, "IM1", "IM2", 2.5)


def test_lists_only_some_of_many_duplicates() -> None:
    message = refusal(stack([float(index // 2) for index in range(40)]))
    check_facts(message, 20, 40, 15)
    assert len(set(re.findall(r"IM\d+", message))) == 2 * 5


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([0, 2.5, 5, 10, 12.5], (1, 5, 10, "5.00", 2.5)),
        ([0, 2.5, 10, 12.5, 15], (2, 2.5, 10, 7.5)),
        ([0, 2.5, 7.5], (1, 2.5, 7.5)),
        ([0, 5, 7.5, 10, 15], (2, 0, 5, 10, 15)),
    ],
    ids=["one", "two-in-a-row", "among-three", "two-gaps"],
)
def test_refuses_gaps(heights: list[float], expected: tuple[Fact, ...]) -> None:
    check_facts(refusal(stack(heights)), "missing", *expected)


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([0, 2.5, 5, 6.2, 8.7], (1, 4, 2.5, 0.1, 5, 6.2)),
        ([0, 20, 40, 60.3, 80], (2, 4, 20, 0.2)),
        ([0, 2.5, 5, 10, 13.7, 16.2], (2, 5, 2.5, 0.1)),
    ],
    ids=["short-step", "one-percent", "gap-and-odd-step"],
)
def test_refuses_irregular_spacing(heights: list[float], expected: tuple[Fact, ...]) -> None:
    check_facts(refusal(stack(heights)), *expected)


@pytest.mark.parametrize("angle", [1.0, -15.0, 27.5])
def test_refuses_gantry_tilt_by_its_angle(angle: float) -> None:
    """The table moves along z while the slices lean."""
    message = refusal(turned(stack([0.0, 2.5, 5.0, 7.5]), angle, "x", positions=False))
    check_facts(message, "tilted", f"{abs(angle):.1f} degrees")


ALMOST: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "place": ({"position": (-29.51, -20.0, 5.0)}, {"position": (-29.49, -20.0, 5.0)}),
    "pixel-spacing": ({"spacing": (0.7009, 0.8)}, {"spacing": (0.7, 0.8011)}),
    "orientation": (
        {"orientation": (1.0, 0.0, 0.0, 0.0, 1.0, np.radians(0.09))},
        {"orientation": (1.0, 0.0, 0.0, 0.0, 1.0, np.radians(0.11))},
    ),
}


@pytest.mark.parametrize(("within", "beyond"), ALMOST.values(), ids=ALMOST)
def test_how_far_a_slice_may_differ_from_the_others(within: dict[str, Any], beyond: dict[str, Any]) -> None:
    """By half a millimetre beside the line, a thousandth in the pixels' size, a tenth of a degree."""
    planes = stack([0.0, 2.5, 5.0, 7.5])
    for change, accepted in ((within, True), (beyond, False)):
        changed = [*planes[:2], replace(planes[2], **change), planes[3]]
        if accepted:
            assert arrange_slices(changed, "study").order == (0, 1, 2, 3)
        else:
            assert "IM2" in refusal(changed)


def test_refuses_a_slice_out_of_line() -> None:
    planes = stack([0.0, 2.5, 5.0, 7.5])
    planes[2] = replace(planes[2], position=(-28.0, -20.0, 5.0))
    check_facts(refusal(planes), "IM2", "in-plane", "2.0 mm")


@pytest.mark.parametrize(
    ("angle", "axis"), [(90.0, "x"), (90.0, "y"), (30.0, "x"), (6.0, "y")], ids=["coronal", "sagittal", "oblique", "6"]
)
def test_refuses_slices_that_are_not_axial(angle: float, axis: str) -> None:
    check_facts(refusal(turned(stack([0.0, 2.5, 5.0]), angle, axis)), "axial", f"{angle:.1f} degrees", 5)


def test_refuses_differing_orientations() -> None:
    planes = stack([0.0, 2.5, 5.0])
    planes[2] = turned([planes[2]], 1.0, "x", positions=False)[0]
    check_facts(refusal(planes), "IM2", "1.0 degrees", "IM0")


def test_refuses_differing_pixel_spacings() -> None:
    planes = stack([0.0, 2.5, 5.0])
    planes[2] = replace(planes[2], spacing=(0.7, 0.9))
    check_facts(refusal(planes), "0.7 x 0.9 mm", "IM2", "0.7 x 0.8 mm", "IM0")


@pytest.mark.parametrize(
    "orientation",
    [(0.0,) * 6, (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0, 2.0, 0.0)],
    ids=["zero", "parallel", "too-long"],
)
def test_refuses_cosines_that_are_none(orientation: tuple[float, ...]) -> None:
    check_facts(
        refusal(stack([0.0, 2.5], orientation=orientation)),
        "(0020,0037) ImageOrientationPatient",
        "IM0",
        "unit vectors",
    )


@pytest.mark.parametrize("spacing", [(0.0, 0.8), (0.7, -0.8)], ids=["zero", "negative"])
def test_refuses_pixel_spacing_that_is_no_distance(spacing: tuple[float, float]) -> None:
    check_facts(refusal(stack([0.0, 2.5], spacing=spacing)), "(0028,0030) PixelSpacing", min(spacing))


def test_refuses_positions_beyond_any_scanner() -> None:
    planes = stack([0.0, 1e300, 2e300])
    check_facts(refusal(planes), "(0020,0032) ImagePositionPatient", "IM2", 2e300, 100000)


def test_a_coronal_single_slice_is_refused() -> None:
    check_facts(refusal([Slice("IM0", (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0))]), "axial", "90.0 degrees")


def test_tissue_between_thin_slices_is_worth_a_warning() -> None:
    geometry = arrange_slices(stack([0.0, 10.0, 20.0], thickness=1.0), "study")
    assert geometry.notes.warnings == (
        "study: slices 1 mm thick lie 10 mm apart; the tissue between them was not imaged.",
    )


@pytest.mark.parametrize(
    ("thickness", "warned"),
    [(None, False), (0.0, False), (3.0, False), (2.5, False), (2.4, False), (2.39, True)],
    ids=["not-said", "zero", "overlapping", "as-thick", "rounded-to-tenths", "a-gap"],
)
def test_slices_as_thick_as_their_step_leave_nothing_out(thickness: float | None, warned: bool) -> None:
    geometry = arrange_slices(stack([0.0, 2.5, 5.0], thickness=thickness), "study")
    assert bool(geometry.notes.warnings) == warned


@pytest.mark.parametrize(
    "orientation",
    [(1.0, 0.0, 0.0, 0.008, 1.0, 0.0), (1.0, 0.008, 0.0, 0.0, 1.0, 0.0), (1.008, 0.0, 0.0, 0.0, 0.993, 0.0)],
    ids=["rows-lean", "columns-lean", "not-unit"],
)
def test_directions_are_exact_whatever_the_header_rounds(orientation: tuple[float, ...]) -> None:
    direction = np.array(arrange_slices(stack([0.0, 2.5, 5.0], orientation=orientation), "study").direction)
    assert np.allclose(direction @ direction.T, np.eye(3), rtol=0, atol=1e-12)


def test_one_missing_slice_has_its_slot() -> None:
    heights = [2.5 * at for at in range(12) if at != 4]
    geometry = arrange_slices(stack(heights), "study", Policies(gaps="interpolate"))
    assert geometry.slots == (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11)
    assert geometry.spacing_mm[0] == 2.5
    assert arrange_slices(stack([2.5 * at for at in range(12)]), "study").slots == ()


@pytest.mark.parametrize(
    ("missing", "of", "accepted"),
    [((4,), 12, True), ((4, 5, 6), 40, True), ((4, 5, 6, 7), 60, False), ((4, 9), 20, True), ((4, 9), 19, False)],
    ids=["one", "three-in-a-row", "four-in-a-row", "a-tenth", "more-than-a-tenth"],
)
def test_how_much_may_be_interpolated(missing: tuple[int, ...], of: int, accepted: bool) -> None:
    planes = stack([2.5 * at for at in range(of) if at not in missing])
    if accepted:
        geometry = arrange_slices(planes, "study", Policies(gaps="interpolate"))
        assert geometry.slots == tuple(at for at in range(of) if at not in missing)
        assert geometry.spacing_mm[0] == 2.5
    else:
        with pytest.raises(StudyError):
            arrange_slices(planes, "study", Policies(gaps="interpolate"))


@pytest.mark.parametrize("step", [1.25, 3.75, 5.3, 6.25, 7.0])
def test_a_step_that_is_no_whole_number_of_slices_is_never_filled(step: float) -> None:
    """A whole number of them at that place, of sixty, would be filled."""
    heights = [*(2.5 * at for at in range(30)), *(72.5 + step + 2.5 * at for at in range(30))]
    with pytest.raises(StudyError):
        arrange_slices(stack(heights), "study", Policies(gaps="interpolate"))


@pytest.mark.parametrize(
    ("step", "missing"), [(5.19, 1), (4.81, 1), (5.21, None), (4.79, None), (10.39, 3), (9.61, 3), (10.41, None)]
)
def test_a_gap_may_miss_whole_slices_by_the_tolerance_of_each(step: float, missing: int | None) -> None:
    """Each of the steps in it may be off by 0.1 mm, as those that are there may."""
    planes = stack([*(2.5 * at for at in range(30)), *(72.5 + step + 2.5 * at for at in range(30))])
    if missing is None:
        with pytest.raises(StudyError):
            arrange_slices(planes, "study", Policies(gaps="interpolate"))
    else:
        assert arrange_slices(planes, "study", Policies(gaps="interpolate")).slots[-1] == 59 + missing


def test_of_slices_at_one_place_the_first_that_was_sent_is_kept() -> None:
    planes = stack([5.0, 0.0, 2.5, 5.0, 0.0])
    geometry = arrange_slices(planes, "study", Policies(duplicates="first"))
    assert geometry.order == (1, 2, 0)
    assert set(geometry.copies) == {(4, 1), (3, 0)}


@pytest.mark.parametrize("apart", [0.02, 30.0])
def test_slices_of_one_height_beside_each_other_are_no_copies(apart: float) -> None:
    planes = stack([0.0, 2.5, 2.5, 5.0])
    planes[2] = replace(planes[2], position=(-30.0 + apart, -20.0, 2.5))
    with pytest.raises(StudyError):
        arrange_slices(planes, "study", Policies(duplicates="first"))


@pytest.mark.parametrize(
    ("angle", "side", "accepted"), [(29.0, 200, True), (31.0, 200, False), (20.0, 200, True), (20.0, 18, False)]
)
def test_how_much_of_a_tilt_may_be_undone(angle: float, side: int, accepted: bool) -> None:
    """Of nine slices 2.5 mm apart, the last lies 3.4 mm beside the middle one at 20 degrees; 18 rows are 12.6 mm."""
    planes = turned(stack([2.5 * at for at in range(9)], rows=side, columns=side), angle, "x", positions=False)
    if accepted:
        assert len(arrange_slices(planes, "study", Policies(tilt="resample")).shifts) == 9
    else:
        with pytest.raises(StudyError):
            arrange_slices(planes, "study", Policies(tilt="resample"))


def test_a_tilt_is_undone_about_the_middle_slice() -> None:
    planes = turned(stack([2.5 * at for at in range(5)], rows=200, columns=200), 10.0, "x", positions=False)
    shifts = arrange_slices(planes, "study", Policies(tilt="resample")).shifts
    assert shifts[2] == pytest.approx((0, 0)) and shifts[0][0] == pytest.approx(-shifts[4][0])
    assert abs(shifts[0][0]) > 0.5
