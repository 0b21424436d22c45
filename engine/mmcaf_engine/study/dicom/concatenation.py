"""Concatenations: multi-frame images that were sent in parts (PS3.3 C.7.6.16.2.2.4), each of which must be there."""

from collections.abc import Iterable

from ...errors import StudyError
from .instance import Instance
from .tags import describe


def missing_parts(instances: Iterable[Instance]) -> dict[str, StudyError]:
    """ConcatenationUID -> why that image cannot be read, of each of which a part is missing.

    The last part is known to be there only where the parts say how many they are.
    """
    parts: dict[str, list[Instance]] = {}
    for instance in instances:
        if uid := instance.tags.text_or("ConcatenationUID", ""):
            parts.setdefault(uid, []).append(instance)
    found = {}
    for uid, there in parts.items():
        numbers = {part.tags.whole_or_none("InConcatenationNumber") for part in there}
        totals = {part.tags.whole_or_none("InConcatenationTotalNumber") for part in there} - {None}
        came = {number for number in numbers if number is not None}
        expected = max([*(total for total in totals if total is not None), *came, 1])
        if len(totals) > 1 or None in numbers or came != set(range(1, expected + 1)):
            found[uid] = _refusal(there[0], came, expected)
    return found


def _refusal(instance: Instance, came: set[int], expected: int) -> StudyError:
    shown = ", ".join(map(str, sorted(came)[:8])) or "none by its number"
    return StudyError(
        f"{instance.name}: one part of an image that was sent in several ({describe('ConcatenationUID')}); parts that "
        f"came: {shown}; expected by {describe('InConcatenationTotalNumber')}: 1 to {expected}.",
        "Send the image again with all its parts.",
    )
