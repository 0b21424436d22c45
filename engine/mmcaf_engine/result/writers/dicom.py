"""A result as DICOM objects, each a file of its own."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..drawing import Picture
from ..key_slices import KeySlice
from ..placed_map import PlacedMap
from ..result import Result
from ..sources import SourceImages
from .heat_map import parametric_map, segmentation
from .key_objects import key_objects
from .kinds import DEFAULT, Kind, Kinds, check_replacing, chosen_kinds
from .objects import Objects
from .predecessor import predecessor
from .presentation_state import presentation_states
from .secondary_capture import secondary_capture
from .structured_report import structured_report

NAMES: Mapping[Kind, str] = {
    "sr": "structured-report",
    "sc": "secondary-capture",
    "pm": "parametric-map",
    "seg": "segmentation",
    "gsps": "presentation-state",
    "ko": "key-objects",
}
"""Of the files; of several objects of a kind numbered."""
_ANY_NAME = re.compile(f"({'|'.join(NAMES.values())})(-[0-9]+)?\\.dcm")


def dicom_files(
    result: Result,
    sources: Mapping[str, SourceImages],
    picture: Callable[[], Picture],
    kinds: Kinds = DEFAULT,
    *,
    keys: Sequence[KeySlice] = (),
    maps: Sequence[PlacedMap] = (),
    drawn: bool | None = None,
    replaces: str | Path | None = None,
) -> dict[str, bytes]:
    """Name of a file -> what it holds, the same for the same result.

    Args:
        sources: what each input was read from.
        picture: draws the answer, as `draw_card` does.
        kinds: which objects.
        keys: the slices that the answer is shown by. maps: heat maps over volumes.
        drawn: whether there are heat maps at all, as over an image.
        replaces: the file of a structured report that the new one takes the place of.

    Raises:
        UsageError: an object of another name, or of a heat map that there is not; or as `check_replacing` and
            `predecessor`.
        BackendError: highdicom is not installed.
        StudyError: as `Objects.of`.
    """
    wanted = chosen_kinds(kinds, maps=bool(maps) if drawn is None else drawn, volume=bool(maps))
    check_replacing(wanted, replaces)
    objects = Objects.of(result, sources, wanted)
    previous = None if replaces is None else predecessor(replaces, sources)

    def made(kind: Kind) -> Iterator[bytes]:
        match kind:
            case "sr":
                yield structured_report(objects, previous)
            case "sc":
                yield secondary_capture(objects, picture())
            case "pm":
                yield from (parametric_map(objects, one, at) for at, one in enumerate(maps, 1))
            case "seg":
                yield from (segmentation(objects, one, at) for at, one in enumerate(maps, 1))
            case "gsps":
                yield from presentation_states(objects, keys, maps)
            case "ko":
                yield key_objects(objects, keys)

    return dict(file for kind in wanted for file in _named(NAMES[kind], list(made(kind))))


def is_named_so(name: str) -> bool:
    """Whether a file of such a name is taken for an object of an answer."""
    return _ANY_NAME.fullmatch(name) is not None


def _named(name: str, made: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    for at, one in enumerate(made, 1):
        yield f"{name}.dcm" if len(made) == 1 else f"{name}-{at}.dcm", one
