"""What an image says was examined: a part of the body, a coded region, and texts that name the procedure."""

from collections.abc import Iterator
from dataclasses import dataclass

from .functional_groups import GROUPS
from .instance import Instance
from .tags import Tags

PARTS: dict[str, tuple[str, ...]] = {
    "HEAD": ("69536005", "T-D1100"),
    "BRAIN": ("12738006", "T-A0100"),
    "SKULL": ("89546000", "T-11100"),
    "FACE": ("89545001", "T-D1200"),
    "EYE": ("81745001", "T-AA000"),
    "NECK": ("45048000", "T-D1600"),
    "THYROID": ("69748006", "T-B6000"),
    "HEADNECK": ("774007", "T-D1000"),
    "NECKCHEST": ("417437006", "R-FAB52"),
    "NECKCHESTABDOMEN": ("416152001", "R-FAB53"),
    "NECKCHESTABDPELV": ("416319003", "R-FAB54"),
    "CHEST": ("816094009", "51185008", "43799004", "T-D3000", "T-D3200"),
    "LUNG": ("39607008", "T-28000"),
    "MEDIASTINUM": ("72410000", "T-D3300"),
    "HEART": ("80891009", "T-32000"),
    "BREAST": ("76752008", "T-04000"),
    "CHESTABDOMEN": ("416550000", "R-FAB55"),
    "CHESTABDPELVIS": ("416775004", "R-FAB56"),
    "ABDOMEN": ("818981001", "113345001", "T-D4000"),
    "LIVER": ("10200004", "303270005", "T-62000", "T-50007"),
    "STOMACH": ("69695003", "T-57000"),
    "PANCREAS": ("15776009", "T-65000"),
    "SPLEEN": ("78961009", "T-C3000"),
    "KIDNEY": ("64033007", "T-71000"),
    "COLON": ("71854001", "T-59300"),
    "RECTUM": ("34402009", "T-59600"),
    "ABDOMENPELVIS": ("818982008", "416949008", "R-FAB57"),
    "PELVIS": ("816092008", "12921003", "T-D6000"),
    "BLADDER": ("89837001", "T-74000"),
    "PROSTATE": ("41216001", "T-92000"),
    "UTERUS": ("35039007", "T-83000"),
    "SPINE": ("421060004", "T-D04FF"),
    "CSPINE": ("122494005", "T-11501"),
    "TSPINE": ("122495006", "T-11502"),
    "LSPINE": ("122496007", "T-11503"),
    "EXTREMITY": ("66019005", "T-D0300"),
    "SHOULDER": ("16982005", "T-D2220"),
    "ELBOW": ("16953009", "T-15430"),
    "FOREARM": ("14975008", "T-D8500"),
    "WRIST": ("74670003", "T-15460"),
    "HAND": ("85562004", "T-D8700"),
    "HIP": ("29836001", "24136001", "T-D2500", "T-15710"),
    "THIGH": ("68367000", "T-D9100"),
    "KNEE": ("72696002", "T-D9200"),
    "LEG": ("30021000", "T-D9400"),
    "ANKLE": ("70258002", "T-15750"),
    "FOOT": ("56459004", "T-D9700"),
    "WHOLEBODY": ("38266002", "T-D0010"),
}
"""Term of BodyPartExamined (PS3.16 annex L) -> codes of that region in CID 4 and CID 4031, of SNOMED CT, older ones
too, and of SNOMED RT (PS3.16 annex O)."""
SNOMED = {"SCT", "SRT", "SNM3", "99SDM"}
"""Designators of the two (PS3.16 8); the last two are older names of SRT."""
_TERMS = {code: part for part, codes in PARTS.items() for code in codes}

MAX_TEXT = 256
"""Characters of a text that are looked at; PS3.5 6.2 allows 64."""
DESCRIPTIONS = ("ProtocolName", "StudyDescription", "SeriesDescription")
PROCEDURES = (
    "ProcedureCodeSequence",
    "RequestedProcedureCodeSequence",
    "PerformedProtocolCodeSequence",
    "ScheduledProtocolCodeSequence",
)
"""Sequences of codes whose meanings name what was done."""


@dataclass(frozen=True)
class Examined:
    """What headers say of the part of the body; empty where they say nothing.

    part: BodyPartExamined (0018,0015), as it stands there.
    region: of AnatomicRegionSequence (0008,2218): its term in BodyPartExamined, else its meaning.
    texts: (element, its text) of what else names the procedure; never shown.
    """

    part: str = ""
    region: str = ""
    texts: tuple[tuple[str, str], ...] = ()

    @property
    def told(self) -> str:
        """The part of the body, by whichever says it."""
        return self.part or self.region


def read_examined(instance: Instance) -> Examined:
    """All that an image's header says; what is unreadable counts as absent."""
    tags = instance.tags
    return Examined(tags.label("BodyPartExamined"), _region(tags), tuple(_texts(tags)))


def _region(tags: Tags) -> str:
    shared = [tags.item_or_none(keyword) for keyword in GROUPS]
    anatomies = [tags, *(group.item_or_none("FrameAnatomySequence") for group in shared if group)]
    for holder in anatomies:
        region = holder.item_or_none("AnatomicRegionSequence") if holder else None
        if region:
            return _term(region)
    return ""


def _term(region: Tags) -> str:
    meaning = region.label("CodeMeaning")
    if region.text_or("CodingSchemeDesignator", "") not in SNOMED:
        return meaning
    return _TERMS.get(region.text_or("CodeValue", ""), meaning)


def _texts(tags: Tags) -> Iterator[tuple[str, str]]:
    for keyword in DESCRIPTIONS:
        if text := tags.text_or(keyword, ""):
            yield keyword, text[:MAX_TEXT]
    for holder in (tags, tags.item_or_none("RequestAttributesSequence")):
        for keyword in PROCEDURES if holder else ():
            for item in holder.items_or_none(keyword) if holder else ():
                if meaning := item.text_or("CodeMeaning", ""):
                    yield keyword, meaning[:MAX_TEXT]
