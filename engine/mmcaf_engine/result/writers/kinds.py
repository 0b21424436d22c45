"""The DICOM objects that an answer can be written as, and what each of them needs of the study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ...errors import Remedy, StudyError, UsageError
from ..sources import SourceImages

if TYPE_CHECKING:
    from pydicom import Dataset

Kind = Literal["sr", "sc", "pm", "seg", "gsps", "ko"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Kinds = str | Sequence[str]
"""Which of them: names with commas between them, or a list of names."""
USUAL: tuple[Kind, ...] = ("sr", "sc")
DEFAULT = "default"
"""The usual ones, and of a heat map over a volume the Parametric Map."""
OF_MAPS: tuple[Kind, ...] = ("pm", "seg")
MOST_MAPS = 2
"""Heat maps of one answer that room is asked for."""


@dataclass(frozen=True)
class Needs:
    """Of one kind. title: with its article. elements: of the header, beside what every object needs. size: at most, in
    bytes.
    """

    title: str
    size: int
    elements: tuple[str, ...] = ()


NEEDS: Mapping[Kind, Needs] = {
    "sr": Needs("a structured report", 8 << 20),
    "sc": Needs("a Secondary Capture", 3 << 20),
    "pm": Needs("a Parametric Map", MOST_MAPS * (5 << 20), ("FrameOfReferenceUID",)),
    "seg": Needs("a Segmentation", MOST_MAPS * (2 << 20), ("FrameOfReferenceUID",)),
    "gsps": Needs("a Presentation State", 1 << 20, ("Rows", "Columns")),
    "ko": Needs("a Key Object Selection", 1 << 20, ("Rows", "Columns")),
}
RESCALE = ("RescaleIntercept", "RescaleSlope")
"""What grey values of CT are shown by; a Presentation State replaces the image's own."""
_OF_ALL = ("StudyInstanceUID", "SeriesInstanceUID")


def chosen_kinds(wanted: Kinds, *, maps: bool, volume: bool) -> tuple[Kind, ...]:
    """Those that were asked for, each once and in the order of `KINDS`.

    Args:
        maps: whether there are heat maps. volume: whether they lie over a volume.

    Raises:
        UsageError: one of another name, none, or one of a heat map that there is not.
    """
    names = [name.strip() for name in (wanted.split(",") if isinstance(wanted, str) else wanted)]
    if names == [DEFAULT]:
        return (*USUAL, "pm") if maps and volume else USUAL
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        what = f"unknown object {unknown[0]!r:.40}" if unknown else "no object was named"
        raise UsageError(
            f"dicom_objects: {what}; there are {', '.join(KINDS)}.",
            Remedy("For example", option="dicom_objects", value=",".join(USUAL)),
        )
    found = tuple(kind for kind in KINDS if kind in names)
    if (drawing := [kind for kind in found if kind in OF_MAPS]) and not (maps and volume):
        what = "a heat map that lies over a volume" if maps else "a heat map, and none is asked for"
        rest = ",".join(kind for kind in found if kind not in OF_MAPS) or DEFAULT
        raise UsageError(
            f"dicom_objects: {', '.join(drawing)} would hold {what}.",
            *(() if maps else (Remedy("Ask for one", option="explain", value="occlusion"),)),
            Remedy("Leave it out", option="dicom_objects", value=rest),
        )
    return found


def check_replacing(kinds: Sequence[Kind], replaces: object) -> None:
    """Refuse an earlier report where there is no new one that could name it.

    Args:
        replaces: the file of the earlier report; None without.

    Raises:
        UsageError: no structured report is among the objects.
    """
    if replaces is not None and "sr" not in kinds:
        raise UsageError(
            "replaces: a report would take the place of another, and none is among the objects.",
            Remedy("Write one, too", option="dicom_objects", value=",".join(("sr", *kinds))),
            Remedy("Or leave it out", option="replaces"),
        )


def room_for(kinds: Sequence[Kind]) -> int:
    """Bytes that the files of these objects take at most."""
    return sum(NEEDS[kind].size for kind in kinds)


def check_sources(kinds: Sequence[Kind], sources: Mapping[str, SourceImages]) -> None:
    """Refuse a study that one of these objects cannot be made of; no pixel is looked at.

    Args:
        sources: what each input was read from.

    Raises:
        StudyError: it is not of DICOM images, or a header lacks what an object needs.
    """
    if not sources:
        raise StudyError(
            "A DICOM object belongs to a study, and this network reads none.",
            Remedy("Leave it out", option="dicom_out"),
        )
    for name, source in sources.items():
        _check_source(name, source, kinds)


def _check_source(name: str, source: SourceImages, kinds: Sequence[Kind]) -> None:
    images = [image for image in source.images if image is not None]
    nameless = sum(not (image.sop_class_uid and image.sop_instance_uid) for image in images)
    if source.header is None or not images:
        raise StudyError(
            f"{name}: not read from DICOM images, so that no {_listed(kinds)} can be made.",
            Remedy("Send the study as DICOM, or leave out the objects", option="dicom_out"),
        )
    if nameless:
        raise _lacking(name, f"{nameless} of {len(images)} images have no SOPInstanceUID or SOPClassUID", kinds, kinds)
    if "gsps" in kinds and any(image.frame is not None for image in images):
        raise _lacking(name, "its images have several frames, each with grey values of its own", ("gsps",), kinds)
    header = source.header.dataset()
    for keyword in _OF_ALL:
        if not header.get(keyword):
            raise _lacking(name, f"the header has no {_named(keyword)}", kinds, kinds)
    needed = {kind: _elements(kind, header) for kind in kinds}
    for keyword in dict.fromkeys(keyword for keywords in needed.values() for keyword in keywords):
        if header.get(keyword) in (None, ""):
            without = [kind for kind in kinds if keyword in needed[kind]]
            raise _lacking(name, f"the header has no {_named(keyword)}", without, kinds)


def _elements(kind: Kind, header: "Dataset") -> tuple[str, ...]:
    """Of the header, what one kind needs of these images."""
    rescaled = RESCALE if kind == "gsps" and header.get("Modality") == "CT" else ()
    return (*NEEDS[kind].elements, *rescaled)


def _lacking(name: str, what: str, without: Sequence[Kind], kinds: Sequence[Kind]) -> StudyError:
    """The error that says what could be written all the same."""
    rest = [kind for kind in kinds if kind not in without]
    problem = f"{name}: {what}, so that no {_listed(without)} can be made."
    if not rest:
        return StudyError(problem, Remedy("Send the images whole, or leave out the objects", option="dicom_out"))
    return StudyError(problem, Remedy("Leave that out", option="dicom_objects", value=",".join(rest)))


def _listed(kinds: Sequence[Kind]) -> str:
    return " or ".join(NEEDS[kind].title.removeprefix("a ") for kind in kinds)


def _named(keyword: str) -> str:
    """With its tag, as a header's viewer shows it."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
