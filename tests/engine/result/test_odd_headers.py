"""Of a header that holds what DICOM does not allow, objects are written all the same, of the same patient and study."""

import subprocess
from io import BytesIO
from pathlib import Path

from pydicom import config, dcmread

from answered_objects import OF_VOLUME, answered_of
from counterparts import need
from dicom_factory import PHI, ct_series, hounsfield
from tiny_bundle import SIZE

SECONDS = 60


def test_all_objects(tmp_path: Path) -> None:
    """A sex, a day, a time zone and a grey-value window that are none, a name of two values, a time before DICOM."""
    odd = {"PatientSex": "U", "PatientBirthDate": "19501399", "StudyTime": "12:30:11", "WindowWidth": 0}
    odd |= {"WindowCenter": 40, "TimezoneOffsetFromUTC": "CET", "PatientName": "A^B\\C^D"}
    with config.disable_value_validation():
        answer = answered_of(ct_series(hounsfield(8, SIZE, SIZE), **odd), tmp_path)
    for name, data in answer.to_dicom(OF_VOLUME).items():
        made = dcmread(BytesIO(data))
        assert (made.PatientID, made.PatientSex, made.PatientBirthDate) == (PHI["PatientID"], "", ""), name
        assert made.StudyTime == "123011" and made.ContentTime == "090848" and "TimezoneOffsetFromUTC" not in made
        (tmp_path / name).write_bytes(data)
        call = [need("dciodvfy"), "-new", tmp_path / name]
        ran = subprocess.run(call, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert "Error" not in ran.stderr, name
