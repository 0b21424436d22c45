"""Which candidate is the volume, rule by rule, without any file."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study.nifti import NIFTI
from mmcaf_engine.study.selection.ranking import choose, rank
from mmcaf_engine.study.selection.series import Candidate, Catalogue

AXIAL, CORONAL, SAGITTAL, UNKNOWN = 2, 1, 0, -1
ORIGINAL, DERIVED = (
    SimpleNamespace(image_type=(kind, "PRIMARY"), rows=8, columns=8) for kind in ("ORIGINAL", "DERIVED")
)
GOOD = Candidate(
    study_uid="1",
    series_uid="1.1",
    series_number=1,
    modality="CT",
    description="",
    kernel="",
    plane=AXIAL,
    frames=(ORIGINAL,),  # type: ignore[arg-type]
    slices=100,
    step_mm=2.5,
    extent_mm=247.5,
    patient="A",
    number=1,
)


def catalogue(*changes: dict[str, Any]) -> Catalogue:
    """`GOOD` with each of these changes, numbered from 1."""
    entries = [
        replace(GOOD, **{"series_uid": f"1.{at}", "number": at, **change}) for at, change in enumerate(changes, start=1)
    ]
    return Catalogue(tuple(entries))


LESSER: dict[str, dict[str, Any]] = {
    "sagittal": {"plane": SAGITTAL},
    "coronal": {"plane": CORONAL},
    "fragment": {"extent_mm": 123.0, "slices": 200},
    "oblique": {"oblique_degrees": 5.1},
    "derived": {"frames": (DERIVED,)},
    "fewer slices": {"slices": 90},
    "wider spacing": {"step_mm": 2.8},
}


@pytest.mark.parametrize("lesser", LESSER.values(), ids=LESSER)
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_what_is_lesser_is_left_out(lesser: dict[str, Any], first: bool) -> None:
    study = catalogue(lesser, {}) if first else catalogue({}, lesser)
    chosen, warnings = choose(study, "study", modality="CT", series=None)
    assert chosen.number == (2 if first else 1) and len(warnings) == 1


EQUAL: dict[str, dict[str, Any]] = {
    "the same": {},
    "unknown plane": {"plane": UNKNOWN},
    "half as long": {"extent_mm": 123.75},
    "leaning a little": {"oblique_degrees": 5.0},
    "a few slices less": {"slices": 91},
    "as many more": {"slices": 110},
    "a little wider": {"step_mm": 2.75},
    "another kernel": {"kernel": "LUNG"},
}


@pytest.mark.parametrize("other", EQUAL.values(), ids=EQUAL)
def test_no_choice_is_made_among_equals(other: dict[str, Any]) -> None:
    for study in (catalogue({}, other), catalogue(other, {})):
        assert rank(study, "CT").best is None
        with pytest.raises(StudyError):
            choose(study, "study", modality="CT", series=None)


@pytest.mark.parametrize(("slices", "best"), [(20, None), (22, None), (23, 2)], ids=["as-many", "a-tenth", "more"])
def test_a_tenth_more_slices_decide_nothing_however_few_there_are(slices: int, best: int | None) -> None:
    """1.1 times 20 is 22, while 1.1 times 100 is more than 110 in floating point."""
    found = rank(catalogue({"slices": 20}, {"slices": slices}), "CT").best
    assert (found and found.number) == best


@pytest.mark.parametrize("changes", [{"patient": "B"}, {"study_uid": "2"}], ids=["patients", "studies"])
def test_no_choice_is_made_among_studies_or_patients(changes: dict[str, Any]) -> None:
    study = catalogue({}, {**changes, "slices": 10})
    assert rank(study, "CT").studies == 2 and rank(study, "CT").best is None
    with pytest.raises(StudyError):
        choose(study, "study", modality="CT", series=None)
    assert choose(study, "study", modality="CT", series="2")[0].number == 2


def test_rules_come_in_their_order() -> None:
    worst_first = [
        {"plane": CORONAL, "slices": 1000, "step_mm": 0.5},
        {"extent_mm": 100.0, "slices": 900, "step_mm": 0.5},
        {"oblique_degrees": 6.0, "slices": 800, "step_mm": 0.5},
        {"frames": (DERIVED,), "slices": 700, "step_mm": 0.5},
        {"slices": 80, "step_mm": 0.5},
        {"step_mm": 5.0},
        {},
    ]
    assert [entry.number for entry in rank(catalogue(*worst_first), "CT").order] == [7, 6, 5, 4, 3, 2, 1]


def test_only_the_networks_modality_competes() -> None:
    study = catalogue({"modality": "MR"}, {}, {"modality": NIFTI})
    assert choose(study, "study", modality="CT", series=None)[0].number == 2
    for number in ("1", "3"):
        with pytest.raises(StudyError, match="CT"):
            choose(study, "study", modality="CT", series=number)
    with pytest.raises(StudyError, match="PT"):
        choose(catalogue({}, {"modality": "MR"}), "study", modality="PT", series=None)
    assert [entry.number for entry in rank(study, None).order] == [1, 2, 3]
    assert {entry.number for entry in rank(study, "MR").order} == {1, 3}


def test_the_best_that_cannot_be_read_is_not_replaced() -> None:
    fault = StudyError("damaged.", "Send it again.")
    study = catalogue({"fault": fault, "frames": ()}, {"slices": 50})
    with pytest.raises(StudyError, match="damaged") as caught:
        choose(study, "study", modality="CT", series=None)
    assert len(caught.value.remedies) == 3
    with pytest.raises(StudyError, match="damaged"):
        choose(study, "study", modality="CT", series="1")
    assert choose(study, "study", modality="CT", series="2")[0].number == 2


@pytest.mark.parametrize(("series", "number"), [("2", 2), (" 2 ", 2), ("1.2", 2), ("3", None), ("1", 1), ("1.9", None)])
def test_one_by_its_number_or_uid(series: str, number: int | None) -> None:
    study = catalogue({}, {"series_uid": "1.2"}, {"series_uid": "1.2.3"})
    study.candidates = study.candidates[:2]
    if number is None:
        with pytest.raises(StudyError):
            choose(study, "study", modality="CT", series=series)
    else:
        assert choose(study, "study", modality="CT", series=series)[0].number == number


def test_a_uid_of_several_groups_names_none() -> None:
    with pytest.raises(StudyError):
        choose(catalogue({"series_uid": "1.2"}, {"series_uid": "1.2"}), "study", modality="CT", series="1.2")


def test_nothing_to_choose_from() -> None:
    study = Catalogue()
    study.left_out.update(["localizer", "localizer"])
    with pytest.raises(StudyError):
        choose(study, "study", modality="CT", series=None)
