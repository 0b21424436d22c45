"""Files that carry one SOPInstanceUID: copies of an image are read once, and what contradicts itself is not read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.datadict import keyword_for_tag

from ..cancel import check
from ..errors import StudyError
from ..workers import Scratch
from .dicom.instance import Instance
from .dicom.pixel_format import read_format
from .dicom.pixels import stored_frames
from .dicom.tags import describe
from .faults import doing
from .notes import NONE, Notes

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient")
_BLOCK_BYTES = 1024**2

Identity = tuple[str, str]
"""SeriesInstanceUID and SOPInstanceUID, which is to be that of one image (PS3.3 C.12.1)."""


@dataclass(frozen=True)
class Unique:
    """Images without their copies.

    contradictions: why images of one identity cannot be read, whose files differ.
    """

    instances: list[Instance]
    contradictions: dict[Identity, StudyError]
    notes: Notes


def identity(instance: Instance) -> Identity:
    """Unreadable UIDs count as absent."""
    return instance.tags.text_or("SeriesInstanceUID", ""), instance.tags.text_or("SOPInstanceUID", "")


def without_copies(instances: Sequence[Instance], name: str) -> Unique:
    """Keep the first of the files that hold the same image.

    Files of one identity hold the same image where all that is read of their headers agrees, and every pixel does.
    Where only their places differ, they are other slices whose UIDs were lost, which is worth a remark.

    Args:
        name: the study, as messages call it.
    """
    files: dict[Identity, list[Instance]] = {}
    for instance in instances:
        if instance.pixels is not None and (key := identity(instance))[1]:
            files.setdefault(key, []).append(instance)
    dropped: set[int] = set()
    contradictions: dict[Identity, StudyError] = {}
    shared = 0
    for key, members in files.items():
        if len(members) == 1:
            continue
        kept: list[Instance] = []
        for instance in members:
            check()
            same = next((other for other in kept if _place(other) == _place(instance)), None)
            difference = None if same is None else _difference(same, instance)
            if same is None:
                kept.append(instance)
            elif not difference:
                dropped.add(id(instance))
            else:
                kept.append(instance)
                contradictions.setdefault(key, _refusal(same, instance, difference or ""))
        shared += len(kept) if len(kept) > 1 else 0
    remarks = []
    if dropped:
        first = next(instance for instance in instances if id(instance) in dropped)
        were = "file is a copy" if len(dropped) == 1 else "files are copies"
        remarks.append(f"{name}: {len(dropped)} {were} of others, first {first.name}; each image was read once.")
    if shared:
        remarks.append(f"{name}: {shared} images share their {describe('SOPInstanceUID')} with others of their series.")
    notes = Notes(remarks=tuple(remarks)) if remarks else NONE
    return Unique([instance for instance in instances if id(instance) not in dropped], contradictions, notes)


def _place(instance: Instance) -> tuple[str, ...]:
    return tuple(instance.tags.text_or(keyword, "") for keyword in _PLACE)


def _difference(one: Instance, other: Instance) -> str:
    """The first element in which two files differ; empty where they hold the same image."""
    with doing(f"{other.name}: comparing it with {one.name}"):
        for tag in sorted({*one.tags.dataset.keys(), *other.tags.dataset.keys()}):
            if one.tags.dataset.get(tag) != other.tags.dataset.get(tag):
                return describe(keyword_for_tag(tag)) if keyword_for_tag(tag) else str(tag)
        same = one.syntax == other.syntax and _same_bytes(one, other)
        return "" if same or _same_pixels(one, other) else describe("PixelData")


def _same_bytes(one: Instance, other: Instance) -> bool:
    with one.open_pixels() as first, other.open_pixels() as second:
        while block := first.read(_BLOCK_BYTES):
            if block != second.read(_BLOCK_BYTES):
                return False
        return not second.read(1)


def _same_pixels(one: Instance, other: Instance) -> bool:
    """Of files in two transfer syntaxes, or with something behind their pixels."""
    try:
        first, second = read_format(one, inverted=True), read_format(other, inverted=True)
        scratches = Scratch(), Scratch()
        pairs = zip(
            stored_frames(first, range(first.frames), scratches[0]),
            stored_frames(second, range(second.frames), scratches[1]),
            strict=True,
        )
        return all(np.array_equal(mine, theirs) for (_, mine), (_, theirs) in pairs)
    except StudyError:  # Of colour images, for example, which no network reads.
        return False


def _refusal(one: Instance, other: Instance, difference: str) -> StudyError:
    return StudyError(
        f"{one.name} and {other.name} carry one {describe('SOPInstanceUID')}, which is to be that of one image, and "
        f"differ in {difference}.",
        "Send the study again from its source.",
    )
