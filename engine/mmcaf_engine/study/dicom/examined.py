"""What an image says was examined: a part of the body, a coded region, and texts that name the procedure."""

from collections.abc import Iterator
from dataclasses import dataclass

from .instance import Instance
from .tags import Tags

PARTS: dict[str, tuple[str, ...]] = {
    "HEAD": ("69536005",),
    "BRAIN": ("12738006",),
    "SKULL": ("89546000",),
    "FACE": ("89545001",),
    "EYE": ("81745001",),
    "NECK": ("45048000",),
    "THYROID": ("69748006",),
    "HEADNECK": ("774007",),
    "NECKCHEST": ("417437006",),
    "NECKCHESTABDOMEN": ("416152001",),
    "NECKCHESTABDPELV": ("416319003",),
    "CHEST": ("816094009", "51185008", "43799004"),
    "LUNG": ("39607008",),
    "MEDIASTINUM": ("72410000",),
    "HEART": ("80891009",),
    "BREAST": ("76752008",),
    "CHESTABDOMEN": ("416550000",),
    "CHESTABDPELVIS": ("416775004",),
    "ABDOMEN": ("818981001", "113345001"),
    "LIVER": ("10200004", "303270005"),
    "STOMACH": ("69695003",),
    "PANCREAS": ("15776009",),
    "SPLEEN": ("78961009",),
    "KIDNEY": ("64033007",),
    "COLON": ("71854001",),
    "RECTUM": ("34402009",),
    "ABDOMENPELVIS": ("818982008", "416949008"),
    "PELVIS": ("816092008", "12921003"),
    "BLADDER": ("89837001",),
    "PROSTATE": ("41216001",),
    "UTERUS": ("35039007",),
    "SPINE": ("421060004",),
    "CSPINE": ("122494005",),
    "TSPINE": ("122495006",),
    "LSPINE": ("122496007",),
    "EXTREMITY": ("66019005",),
    "SHOULDER": ("16982005",),
    "ELBOW": ("16953009",),
    "FOREARM": ("14975008",),
    "WRIST": ("74670003",),
    "HAND": ("85562004",),
    "HIP": ("29836001", "24136001"),
    "THIGH": ("68367000",),
    "KNEE": ("72696002",),
    "LEG": ("30021000",),
    "ANKLE": ("70258002",),
    "FOOT": ("56459004",),
    "WHOLEBODY": ("38266002",),
}
"""Term of BodyPartExamined (PS3.16 annex L) -> SNOMED CT codes of that region in CID 4 and CID 4031, older ones too."""

MAX_TEXT = 256
"""Characters of a text that are looked at; PS3.5 6.2 allows 64."""
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
    groups = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    shared = [tags.item_or_none(keyword) for keyword in groups]
    anatomies = [tags, *(group.item_or_none("FrameAnatomySequence") for group in shared if group)]
    for holder in anatomies:
        region = holder.item_or_none("AnatomicRegionSequence") if holder else None
        if region:
            return _term(region)
    return ""


def _term(region: Tags) -> str:
    from pydicom.sr.coding import Code

    value, scheme = region.text_or("CodeValue", ""), region.text_or("CodingSchemeDesignator", "")
    meaning = region.label("CodeMeaning")
    coded = Code(value, scheme, meaning)
    for term, codes in PARTS.items():
        if any(coded == Code(code, "SCT", meaning) for code in codes):  # which knows SRT's codes, too
            return term
    return meaning


def _texts(tags: Tags) -> Iterator[tuple[str, str]]:
    if protocol := tags.text_or("ProtocolName", ""):
        yield "ProtocolName", protocol[:MAX_TEXT]
    for holder in (tags, tags.item_or_none("RequestAttributesSequence")):
        for keyword in PROCEDURES if holder else ():
            for item in holder.items_or_none(keyword) if holder else ():
                if meaning := item.text_or("CodeMeaning", ""):
                    yield keyword, meaning[:MAX_TEXT]
