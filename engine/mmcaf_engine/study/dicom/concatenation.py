"""Concatenations: multi-frame images that were sent in parts (PS3.3 C.7.6.16.2.2.4), each of which must be there.

Parts need not say how many they are. Then their frames tell, by their numbers (PS3.3 C.7.6.16.1) and by their indices
in stacks and dimensions (C.7.6.17.1), whether one is missing; whether others follow the last may remain unknown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from ...errors import StudyError
from .instance import Instance
from .tags import Tags, describe


def missing_parts(instances: Sequence[Instance]) -> dict[str, StudyError]:
    """ConcatenationUID -> why that image cannot be read, of each of which a part is missing."""
    found = {}
    for uid, parts in _by_image(instances).items():
        failure = _by_numbers(parts) or _by_frames(parts) or _by_source(parts, instances)
        failure = failure or (None if _total(parts) else _by_indices(parts))
        if failure is not None:
            found[uid] = failure
    return found


def unknown_last_parts(instances: Iterable[Instance]) -> tuple[str, ...]:
    """A remark on each image whose parts do not say how many they are, so that the last may be missing."""
    return tuple(
        f"{parts[0].name}: one part of an image that was sent in several; {len(parts)} came, and "
        f"{describe('InConcatenationTotalNumber')}, which says how many there are, is missing."
        for parts in _by_image(instances).values()
        if not _total(parts)
    )


def _by_image(instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    """The parts by ConcatenationUID, in their order."""
    parts: dict[str, list[Instance]] = {}
    for instance in instances:
        if uid := instance.tags.text_or("ConcatenationUID", ""):
            parts.setdefault(uid, []).append(instance)
    for part in parts.values():
        part.sort(key=lambda instance: instance.tags.whole_or_none("InConcatenationNumber") or 0)
    return parts


def _total(parts: Sequence[Instance]) -> set[int]:
    totals = {part.tags.whole_or_none("InConcatenationTotalNumber") for part in parts}
    return {total for total in totals if total is not None}


def _by_numbers(parts: Sequence[Instance]) -> StudyError | None:
    numbers = [part.tags.whole_or_none("InConcatenationNumber") for part in parts]
    came = {number for number in numbers if number is not None}
    totals = _total(parts)
    expected = max([*totals, *came, 1])
    if len(totals) < 2 and None not in numbers and came == set(range(1, expected + 1)):
        return None
    shown = ", ".join(map(str, sorted(came)[:8])) or "none by its number"
    return _refusal(
        parts,
        f"parts that came: {shown}; expected by {describe('InConcatenationTotalNumber')}: 1 to {expected}",
    )


def _by_frames(parts: Sequence[Instance]) -> StudyError | None:
    """Each part begins where the one before it ends; compared where all of them say so."""
    offsets = [part.tags.whole_or_none("ConcatenationFrameOffsetNumber") for part in parts]
    known = [offset for offset in offsets if offset is not None]
    begin = 0
    for part, offset in zip(parts, known, strict=False) if len(known) == len(parts) else ():
        if offset != begin:
            return _refusal(
                parts,
                f"{part.name} begins with frame {offset + 1} by {describe('ConcatenationFrameOffsetNumber')}; frame "
                f"{begin + 1} was expected after the parts before it",
            )
        begin += _frames(part)
    return None


def _by_source(parts: Sequence[Instance], instances: Sequence[Instance]) -> StudyError | None:
    """The parts name one image that they were made from, and have all frames of it where it is there too."""
    named = {part.tags.text_or("SOPInstanceUIDOfConcatenationSource", "") for part in parts}
    if len(named) > 1:
        return _refusal(parts, f"they differ in {describe('SOPInstanceUIDOfConcatenationSource')}")
    others = [one for one in instances if not one.tags.text_or("ConcatenationUID", "")]
    whole = [one for one in others if one.tags.text_or("SOPInstanceUID", "") in named - {""}]
    came = sum(map(_frames, parts))
    if whole and _frames(whole[0]) != came:
        return _refusal(
            parts, f"{came} frames came; the image that they were made from, {whole[0].name}, has {_frames(whole[0])}"
        )
    return None


def _by_indices(parts: Sequence[Instance]) -> StudyError | None:
    """Indices count from 1 without a gap, and a stack has each of its places equally often."""
    contents = [content for part in parts for content in _contents(part)]
    dimensions = [content.wholes_or_none("DimensionIndexValues") for content in contents]
    columns = [set(column) for column in zip(*filter(None, dimensions), strict=False)]
    stacks: dict[str, Counter[int]] = {}
    for content in contents:
        if (place := content.whole_or_none("InStackPositionNumber")) is not None:
            stacks.setdefault(content.text_or("StackID", ""), Counter())[place] += 1
    indexed = [*((describe("DimensionIndexValues"), column) for column in columns)]
    indexed += [(describe("InStackPositionNumber"), set(places)) for places in stacks.values()]
    for what, values in indexed:
        if absent := _first_absent(values):
            return _refusal(parts, f"{what} runs to {max(values)}, and {absent} is not there")
    for places in stacks.values():
        rarest, usual = min(places, key=lambda place: places[place]), max(places.values())
        if places[rarest] < usual:
            return _refusal(
                parts,
                f"{describe('InStackPositionNumber')} {rarest} came {places[rarest]} times, and others {usual} times",
            )
    return None


def _first_absent(values: set[int]) -> int | None:
    """Of the numbers from 1 to the largest."""
    if values == set(range(1, len(values) + 1)):
        return None
    return next((number for number in range(1, len(values) + 2) if number not in values), None)


def _contents(part: Instance) -> list[Tags]:
    """What each frame says of its place among the others; of one that says nothing none."""
    frames = part.tags.items_or_none("PerFrameFunctionalGroupsSequence")
    found = (frame.item_or_none("FrameContentSequence") for frame in frames)
    return [content for content in found if content is not None]


def _frames(part: Instance) -> int:
    return part.tags.whole_or_none("NumberOfFrames") or 1


def _refusal(parts: Sequence[Instance], why: str) -> StudyError:
    return StudyError(
        f"{parts[0].name}: one part of an image that was sent in several ({describe('ConcatenationUID')}); {why}.",
        "Send the image again with all its parts.",
    )
