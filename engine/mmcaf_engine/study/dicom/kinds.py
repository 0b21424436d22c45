"""What kind of image a header says it is: one computed from others, or of another machine than its Modality tells."""

import re
from collections.abc import Iterable

from .tags import Tags, describe

_ROOT = "1.2.840.10008.5.1.4.1.1."
_XRAY = frozenset({"CR", "DX", "RG", "RF", "PX"})
_MODALITIES: dict[str, frozenset[str]] = {
    **dict.fromkeys(("2", "2.1", "2.2"), frozenset({"CT"})),
    **dict.fromkeys(("4", "4.1", "4.4"), frozenset({"MR"})),
    **dict.fromkeys(("128", "128.1", "130"), frozenset({"PT"})),
    **dict.fromkeys(("1", "1.1", "1.1.1"), _XRAY),
    **dict.fromkeys(("1.2", "1.2.1"), frozenset({"MG"})),
    **dict.fromkeys(("1.3", "1.3.1"), frozenset({"IO"})),
    **dict.fromkeys(("3.1", "6.1"), frozenset({"US"})),
    **dict.fromkeys(("12.1", "12.1.1"), frozenset({"XA"})),
    **dict.fromkeys(("12.2", "12.2.1"), frozenset({"RF"})),
    "20": frozenset({"NM"}),
}
"""SOP classes of images (PS3.4 B.5), after their root -> what Modality (0008,0060) may then be (PS3.3 C.7.3.1.1.1)."""
_FOR_PROCESSING = {f"{_ROOT}{last}" for last in ("1.1.1", "1.2.1", "1.3.1")}

_PROJECTED = {"MIP", "MINIP", "AIP", "MEANIP", "PROJECTION", "SUBTRACTION", "SUB"}
_SCREEN = {"SCREEN", "TOMOSYNTHESIS", "TOMO"}
_OF_SPECTRUM = {"IODINE", "VNC", "ZEFF", "CALCIUM", "WATER", "DENSITY", "VNCA"}
_OF_FLOW = {"PERFUSION", "CBF", "CBV", "MTT", "TTP", "TMAX", "PERMEABILITY"}
_COMPUTED = {
    "MR": _PROJECTED | _SCREEN,
    **dict.fromkeys(_XRAY, {"SUBTRACTION", "SUB", "BONE", "SOFT"} | _SCREEN),
}
"""Words of the third value of ImageType (0008,0008) and those after it, by which images are computed from others; of
other modalities those of CT."""
_OF_CT = _PROJECTED | _SCREEN | _OF_SPECTRUM | _OF_FLOW | {"AVERAGE"}
_ONE_ENERGY = re.compile(r"(?:MONO|VMI|KEV)\w*")
_SPLIT = re.compile(r"[^A-Z0-9]+")


def computed_by(image_type: Iterable[str], modality: str) -> str:
    """The word by which ImageType names what no scanner makes, but is computed; empty without one."""
    words = [word for value in list(image_type)[2:] for word in _SPLIT.split(value.upper()) if word]
    known = _COMPUTED.get(modality, _OF_CT)
    found = (word for word in words if word in known or (modality == "CT" and _ONE_ENERGY.fullmatch(word)))
    return next(found, "")


def of_another_machine(tags: Tags) -> str:
    """What is odd where SOPClassUID is of another modality than Modality says; empty where it is not."""
    expected = _MODALITIES.get(tags.text_or("SOPClassUID", "").removeprefix(_ROOT))
    modality = tags.label("Modality")
    if expected is None or not modality or modality in expected:
        return ""
    wanted = " or ".join(sorted(expected))
    return f"{describe('Modality')} is {modality}, but {describe('SOPClassUID')} is that of {wanted} images"


def is_for_processing(tags: Tags) -> bool:
    """Whether a radiograph holds the detector's own values, by its SOP class or its own words (PS3.3 C.8.11.2)."""
    named = tags.text_or("PresentationIntentType", "")
    return named == "FOR PROCESSING" or (not named and tags.text_or("SOPClassUID", "") in _FOR_PROCESSING)
