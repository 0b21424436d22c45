"""The values that pass along the flow: what they say of themselves, and what they never show."""

from datetime import date

import numpy as np
import pytest

from mmcaf_engine.volume import HEAD_BACK_LEFT_LPS, PatientHeader, Study, Volume


def test_a_study_has_the_slices_and_spacing_of_its_volume() -> None:
    volume = Volume(np.zeros((3, 5, 7), np.int16), "hounsfield", (2.5, 0.7, 0.8))
    study = Study(volume, "CT", {}, PatientHeader())
    assert (study.slices, study.spacing_mm) == (3, (2.5, 0.7, 0.8))


def test_a_volume_runs_toward_head_back_and_left() -> None:
    volume = Volume(np.zeros((1, 1, 1), np.int16), "hounsfield", (1.0, 1.0, 1.0))
    head, back, left = volume.direction
    assert (head, back, left) == ((0, 0, 1), (0, 1, 0), (1, 0, 0)) == HEAD_BACK_LEFT_LPS
    assert volume.origin_mm == (0, 0, 0)


@pytest.mark.parametrize("identifier", ["", " ", "\t\n", None])
def test_a_blank_identifier_is_none(identifier: str | None) -> None:
    assert PatientHeader(patient_id=identifier).patient_id is None


def test_an_identifier_is_kept_as_it_is() -> None:
    assert PatientHeader(patient_id=" 4711").patient_id == " 4711"


def test_nothing_of_the_patient_is_shown() -> None:
    header = PatientHeader("4711", "F", 63.25, 58.5, date(2024, 3, 9))
    shown = repr(header) + repr(Study(Volume(np.zeros((1, 1, 1), np.int16), "stored", (1, 1, 1)), "CT", {}, header))
    assert not any(said in shown for said in ("4711", "'F'", "63.25", "58.5", "2024"))
