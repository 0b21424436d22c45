"""Which view of the patient a radiograph is, by all that its header says of it."""

from dataclasses import dataclass

from ..errors import StudyError
from ..manifest.image import View
from ..study.dicom.tags import Tags, describe

_POSITIONS = {
    **dict.fromkeys(("PA", "AP"), "frontal"),
    **dict.fromkeys(("LL", "RL", "LATERAL", "LAT"), "lateral"),
    **dict.fromkeys(("RLO", "LLO"), "oblique"),
    **dict.fromkeys(("RLD", "LLD"), "decubitus"),
}
"""Values of ViewPosition (PS3.3 C.8.1.2.1.1, and LATERAL as digital detectors send it)."""
_CODES = {
    **dict.fromkeys(("399033003", "R-10202"), "frontal"),
    **dict.fromkeys(("399348003", "R-10206"), "frontal"),  # antero-posterior
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), "frontal"),  # postero-anterior
    **dict.fromkeys(("399067008", "R-102CD"), "lateral"),
    **dict.fromkeys(("399173006", "R-10236"), "lateral"),  # left
    **dict.fromkeys(("399198007", "R-10232"), "lateral"),  # right
}
"""Values of ViewCodeSequence (PS3.16 CID 4010), in SNOMED CT and in the older form of it."""
_PLANES = {"L": "frontal", "R": "frontal", "A": "lateral", "P": "lateral"}
"""Whither the rows of an upright image run (PS3.3 C.7.6.1.1.1): across the patient, or along the chest's depth."""


@dataclass(frozen=True)
class Seen:
    """A view: "frontal", "lateral" or another by its name; empty where it is not known.

    told: by what, in words, or why it is not known. lies: a remark on how the image lies, if it does unusually.
    """

    view: str = ""
    told: str = ""
    lies: str = ""

    def is_other_than(self, wanted: View) -> bool:
        """Whether it is known not to be the one that is wanted."""
        return wanted != "any" and self.view not in ("", wanted)


def read_view(tags: Tags) -> Seen:
    """The view by ViewPosition, ViewCodeSequence and PatientOrientation; whatever of them says one must agree.

    Nothing tells whether the image was mirrored but PatientOrientation, and it is left as it lies.
    """
    rows, columns = _orientation(tags)
    position, code = tags.text_or("ViewPosition", "").upper(), _code(tags)
    found = {
        "ViewPosition": _POSITIONS.get(position, ""),
        "ViewCodeSequence": _CODES.get(code, ""),
        "PatientOrientation": _PLANES.get(rows, "") if columns == "F" else "",
    }
    found = {keyword: view for keyword, view in found.items() if view}
    lies = _how_it_lies(rows, columns)
    if len(set(found.values())) > 1:
        said = " and ".join(f"{describe(keyword)} says {view}" for keyword, view in found.items())
        return Seen("", said, lies)
    if found:
        keyword, view = next(iter(found.items()))
        value = f" {position}" if keyword == "ViewPosition" else ""
        return Seen(view, f"{describe(keyword)}{value}", lies)
    shown = "is no view that is known here" if position else "is absent"
    return Seen("", f"{describe('ViewPosition')} {shown}", lies)


def _orientation(tags: Tags) -> tuple[str, str]:
    """The first letter of whither rows and columns run; empty where the header does not say."""
    try:
        values = tags.texts("PatientOrientation")
    except StudyError:
        return "", ""
    return (values[0][:1].upper(), values[1][:1].upper()) if len(values) == 2 else ("", "")


def _how_it_lies(rows: str, columns: str) -> str:
    if not (rows and columns):
        return ""
    if columns != "F" or rows not in _PLANES:
        how = f"its rows run to {rows} and its columns to {columns} of the patient, so that it does not stand upright"
    elif rows == "R":
        how = "its rows run to the patient's right, so that it is mirrored"
    else:
        return ""
    return f"by {describe('PatientOrientation')} {how}; it was read as it lies"


def _code(tags: Tags) -> str:
    try:
        item = tags.first_item("ViewCodeSequence")
        return item.text("CodeValue") if item else ""
    except StudyError:
        return ""
