"""A frame's diffusion b-value: the standard element, else where the vendors of scanners keep it."""

from .tags import Tags

GE, SIEMENS, PHILIPS = "GEMS_PARM_01", "SIEMENS MR HEADER", "Philips Imaging DD 001"

PRIVATE = (
    (0x00431039, GE, "IS"),
    (0x0019100C, SIEMENS, "IS"),
    (0x20011003, PHILIPS, "FL"),
)
"""(element, creator of its block, representation), from the conformance statements of the three vendors; GE's holds
four values, the first of which is the b-value."""

GE_OFFSET = 100_000
"""GE's newer software adds a multiple of it, such as 1 000 000 000, to mark how the value is meant."""


def b_value(tags: Tags, macro: Tags | None) -> float | None:
    """The b-value, s/mm2; None where nothing says it.

    Args:
        tags: the image's header.
        macro: what holds (0018,9087): of an Enhanced image's frame MRDiffusionSequence, else the header.
    """
    told = macro.number_or_none("DiffusionBValue") if macro else None
    if told is not None:
        return told
    for element, creator, representation in PRIVATE:
        values = tags.private(element, creator, representation)
        if values:
            return values[0] % GE_OFFSET if creator == GE else values[0]
    return None
