"""Frames of one series, matrix and plane as the volumes that they are: told apart by what their headers say of them.

A label is what a header says of a frame that is the same for every slice of one volume, such as the kernel. A volume
may be made in blocks that follow one another, as by step and shoot; a label then changes once from each block to the
next. One that changes more often along the slices' normal tells of volumes that lie within each other, and these are
never read as one.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...errors import StudyError
from ..dicom.frames import Frame
from ..dicom.tags import describe
from ..geometry.checks import AXIAL_TOLERANCE_DEGREES, Vector, listed, slice_normal
from ..geometry.irregular import SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RELATIVE
from ..notes import Notes
from .labels import LABELS, Label, labels_of

SAME_PLACE_DIGITS = 1
"""Decimals of a position in mm, to which frames that share a place agree."""
COVERED = 0.9
"""Part of a series' positions that one of its acquisitions or image types must have to be taken for itself."""
FEWEST = 2
"""Slices of each volume into which frames are split; a single one of another label within a volume is refused."""
TURNS = 3
"""Slices of each volume of those that take turns; of fewer, chance may have put the values so."""
SHOWN = 3
"""Values of a label that a message lists."""
_PARALLEL = float(np.cos(np.radians(AXIAL_TOLERANCE_DEGREES)))


_IMAGE_TYPE, _ACQUISITION, _STACK, _KERNEL, _KVP, _CONTRAST, _B_VALUE, _ECHO, _PHASE, *_, _IMAGE, _SCAN = LABELS
_ACQUIRED = Label(describe("AcquisitionTime"), lambda frames: [frame.acquired for frame in frames])
_KINDS: tuple[tuple[Label, ...], ...] = (
    *((_IMAGE_TYPE,), (_ACQUISITION,), (_IMAGE_TYPE, _ACQUISITION), (_B_VALUE,), (_ECHO,), (_PHASE,), (_ACQUIRED,)),
    *((_KVP,), (_KERNEL,), (_CONTRAST,), (_STACK,), (_IMAGE,)),
)
"""What may tell frames at the same places apart; the first that explains them all decides, else any other label, or all
together."""


@dataclass(frozen=True)
class Group:
    """Frames that belong together.

    label: what tells them from others of their series, in words; empty where they are all of it.
    """

    frames: tuple[Frame, ...]
    label: str = ""


def plane_of(frame: Frame) -> int:
    """The patient axis that a frame lies across, 0 to 2 for x, y, z; -1 where it is not known."""
    if frame.orientation is None:
        return -1
    return int(np.argmax(np.abs(slice_normal(frame.orientation))))


def groups(frames: Sequence[Frame]) -> list[Group]:
    """The volumes of one series, matrix and plane, frames as they were sent."""
    ordered = sorted(frames, key=lambda frame: frame.sent_order)
    return [part for parallel in _by_orientation(ordered) for kind in _by_kind(parallel) for part in _apart(kind)]


def changes(values: Sequence[Hashable]) -> int:
    """How often a label changes from one slice to the next."""
    return sum(one != other for one, other in pairwise(values))


def alternates(values: Sequence[Hashable]) -> bool:
    """Whether a label, in the order of the slices, comes back after another: it changes more often than labels - 1."""
    return changes(values) > len(set(values)) - 1


def check_one_volume(ordered: Sequence[Frame], name: str) -> Notes:
    """Refuse slices of volumes that lie within each other; blocks one after the other are told of.

    Args:
        ordered: along the slices' normal, one at each place.
        name: the study, as messages call it.

    Raises:
        StudyError: a label alternates.
    """
    warnings: list[str] = []
    remarks: list[str] = []
    for label in labels_of(ordered):
        values = label.of(ordered)
        if len(known := set(values)) < 2:
            continue
        worth = label.within if alternates(values) else label.in_blocks
        if worth == "nothing":
            continue
        said = sorted(label.says(value) for value in known)
        shown = listed(said[:SHOWN], len(said))
        if alternates(values):
            problem = (
                f"{name}: slices of {len(known)} kinds lie within each other: {shown}; along the patient it changes "
                f"{changes(values)} times from slice to slice, where one volume has at most {len(known) - 1}"
            )
            if label.within == "refusal":
                raise StudyError(f"{problem}.", "Send each volume as a series of its own.")
            warnings.append(f"{problem}; they were read as one volume.")
            continue
        if label.in_blocks == "remark" and len(known) == len(values):
            continue  # a number of its own for each slice
        told = (
            f"{name}: the slices lie in {len(known)} blocks, one after the other, and were read as one volume: {shown}."
        )
        (warnings if label.in_blocks == "warning" else remarks).append(told)
    return Notes(tuple(warnings), tuple(remarks))


def _by_orientation(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames that differ by more than a rounding or a slip; less is left for the geometry's checks to refuse."""
    parts: list[tuple[Vector | None, list[Frame]]] = []
    for frame in frames:
        normal = None if frame.orientation is None else slice_normal(frame.orientation)
        for first, part in parts:
            if normal is None or first is None:
                same = normal is first
            else:  # one of length 0 belongs anywhere; mirrored slices stay to be refused
                same = abs(float(normal @ first)) >= _PARALLEL or not (normal.any() and first.any())
            if same:
                part.append(frame)
                break
        else:
            parts.append((normal, [frame]))
    return [part for _, part in parts]


def _by_kind(frames: Sequence[Frame]) -> list[Group]:
    """Frames that share positions, by what else tells them apart where that explains it.

    It does where no part repeats a position and one part nearly covers them all; a stray repeated
    slice stays, and is refused as such.
    """
    places = len({_place(frame) for frame in frames})
    if places == len(frames):
        return [Group(tuple(frames))]
    others = labels_of(frames)[len(LABELS) :]
    for labels in (*_KINDS, *((label,) for label in others), LABELS):
        parts = _split(Group(tuple(frames)), labels)
        distinct = all(len({_place(frame) for frame in part.frames}) == len(part.frames) for part in parts)
        if distinct and max(len(part.frames) for part in parts) >= COVERED * places:
            return parts
    return [Group(tuple(frames))]


def _apart(group: Group) -> list[Group]:
    """The volumes that lie within each other, each with slices at even distances; else the group as it is.

    Where what alternates gives no even volumes, nothing here can tell what it is, and `check_one_volume` refuses it.
    """
    heights = _heights(group.frames)
    if heights is None or len({_place(frame) for frame in group.frames}) < len(heights):
        return [group]
    order = np.argsort(heights, kind="stable")
    ordered = [group.frames[index] for index in order]
    for label in labels_of(ordered):
        if not alternates(label.of(ordered)):
            continue
        parts = _split(group, (label,))
        if all(_even(part.frames) for part in parts) and (label.steady or _take_turns(parts)):
            return [volume for part in parts for volume in _apart(part)]
    return [group]


def _split(group: Group, labels: Sequence[Label]) -> list[Group]:
    """By the values of some labels together, in the order in which they first come."""
    told = [label.of(group.frames) for label in labels]
    parts: dict[tuple[Hashable, ...], list[Frame]] = {}
    for frame, *values in zip(group.frames, *told, strict=True):
        parts.setdefault(tuple(values), []).append(frame)
    differing = [at for at, values in enumerate(told) if len(set(values)) > 1]

    def named(values: tuple[Hashable, ...]) -> str:
        said = [labels[at].says(values[at]) for at in differing]
        return ", ".join([*([group.label] if group.label else []), *said])

    return [replace(group, frames=tuple(part), label=named(values)) for values, part in parts.items()]


def _even(frames: Sequence[Frame]) -> bool:
    heights = _heights(frames)
    if heights is None or len(heights) < FEWEST:
        return False
    steps = np.diff(np.sort(heights))
    usual = float(np.median(steps))
    return bool((np.abs(steps - usual) <= max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RELATIVE * usual)).all())


def _take_turns(parts: Sequence[Group]) -> bool:
    """Whether the slices of even volumes follow each other in turn: each volume is as far apart as the others."""
    heights = [_heights(part.frames) for part in parts]
    steps = [float(np.median(np.diff(np.sort(one)))) for one in heights if one is not None and len(one) >= TURNS]
    return len(steps) == len(parts) and max(steps) - min(steps) <= SPACING_TOLERANCE_MM


def _heights(frames: Sequence[Frame]) -> Vector | None:
    """Along the first frame's normal, mm; None where a place is not known."""
    if any(frame.position is None or frame.orientation is None for frame in frames):
        return None
    normal = slice_normal(frames[0].orientation or ())
    return np.asarray([frame.position for frame in frames], np.float64) @ normal


def _place(frame: Frame) -> tuple[float, ...]:
    return tuple(round(value, SAME_PLACE_DIGITS) for value in frame.position or ())
