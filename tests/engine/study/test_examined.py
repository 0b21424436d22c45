"""The table of regions: every code is one of DICOM's own lists, and stands for one part of the body."""

from itertools import chain

from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from mmcaf_engine.study.dicom.examined import PARTS

OLDER = {"51185008", "113345001", "12921003", "416949008"}
"""Thorax, abdomen, pelvis, and abdomen with pelvis, as editions before 2020 code them."""


def test_regions_are_those_of_the_standard() -> None:
    names = chain(cid_concepts[4]["SCT"], cid_concepts[4031]["SCT"])
    listed = {code for name in names for code in concepts["SCT"][name]}
    codes = list(chain.from_iterable(PARTS.values()))
    assert {code for code in codes if code.isdigit()} - listed == OLDER
    for part, entry in PARTS.items():
        assert {mapping["SRT"][code] for code in entry if not code.isdigit()} <= set(entry), part
    assert len(codes) == len(set(codes))
    assert all(isinstance(entry, tuple) and part == part.upper() and len(part) <= 16 for part, entry in PARTS.items())
