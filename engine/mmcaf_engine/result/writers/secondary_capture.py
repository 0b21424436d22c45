"""A result as a colour Secondary Capture (PS3.3 A.8.5): a picture of the answer, which every viewer shows."""

from typing import TYPE_CHECKING

from ..drawing import Picture
from .objects import Objects, highdicom

if TYPE_CHECKING:
    from pydicom import Dataset

KIND = "secondary capture"
SERIES_NUMBER = 9002
_TAKEN_OVER = ("IssuerOfPatientID", "StudyDescription", "PatientAge", "PatientWeight")
"""Of patient and study, beside what every object has."""


def secondary_capture(objects: Objects, picture: Picture) -> bytes:
    """The picture as an object of the study, ready to be saved.

    It is no image of the patient in any frame of reference: it has no orientation, spacing or laterality.

    Args:
        picture: RGB, uint8 [H, W, 3].

    Raises:
        BackendError: highdicom is not installed.
    """
    from pydicom.uid import ExplicitVRLittleEndian

    first = objects.evidence[0]
    made: Dataset = highdicom().sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=first.StudyInstanceUID,
        patient_id=first.get("PatientID"),
        patient_name=str(first.get("PatientName") or ""),
        patient_birth_date=first.get("PatientBirthDate"),
        patient_sex=first.get("PatientSex") or None,
        accession_number=first.get("AccessionNumber"),
        study_id=first.get("StudyID"),
        study_date=first.get("StudyDate") or None,
        study_time=first.get("StudyTime") or None,
        referring_physician_name=str(first.get("ReferringPhysicianName") or ""),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **objects.arguments(KIND, SERIES_NUMBER),
    )
    made.DateOfSecondaryCapture = objects.date
    made.TimeOfSecondaryCapture = objects.time
    made.SpecificCharacterSet = "ISO_IR 192"
    made.Laterality = None  # of type 2C, whose condition nobody can tell
    made.PatientOrientation = None
    made.BurnedInAnnotation = "YES"
    for keyword in _TAKEN_OVER:
        if keyword in first:
            made[keyword] = first[keyword]
    return objects.finished(made, KIND)
