"""A deidentified answer holds nothing of a header or a record: a mark in every text, looked for in all of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileDataset

from dicom_factory import change, ct_series, hounsfield, save, write
from mmcaf_engine import Result, infer
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.study.dicom.instance import KEYWORDS
from mmcaf_engine.study.dicom.source_header import KEYWORDS as TAKEN_OVER
from tiny_bundle import SIZE, make_tiny_bundle
from tiny_image import make_tiny_image, radiograph
from tiny_pictures import png
from tiny_report import make_tiny_report

NEEDED = {"Modality", "SOPClassUID", "PhotometricInterpretation", "RescaleType", "ImageType", "PatientSex"}
NEEDED |= {"PresentationIntentType", "ViewPosition", "LossyImageCompression", "BurnedInAnnotation", "PatientAge"}
NEEDED |= {"ConcatenationUID", "SOPInstanceUIDOfConcatenationSource", "RecognitionCode", "PatientOrientation"}
NEEDED |= {"VOILUTFunction", "PresentationLUTShape", "TimezoneOffsetFromUTC", "AcquisitionDateTime"}
"""Texts that decide what the image is."""
TEXTS = {
    "LO": "ZQ{}XK",
    "SH": "ZQ{}XK",
    "CS": "ZQ{}XK",
    "PN": "ZQ{}XK^ZQ{}XK",
    "UI": "1.2.4711.{}.88417",
    "DA": "1937{}",
}
TEXTS |= {"ST": "ZQ{}XK", "LT": "ZQ{}XK"}
RECORD: dict[str, Any] = {"sex": "F", "age": 63, "patient_id": "ZQ901XK", "ward": "ZQ902XK", "name": "ZQ903XK"}
MARKS = re.compile(r"ZQ|XK|\.4711\.|88417|(?<!\d)1937\d{4}(?!\d)")


def marked() -> dict[str, str]:
    """A text for every element that is read or taken over and can hold one."""
    found = {}
    for at, keyword in enumerate(sorted({*KEYWORDS, *TAKEN_OVER} - NEEDED)):
        form = TEXTS.get(dictionary_VR(keyword), "")
        if form:
            number = f"{at % 12 + 1:02d}{at % 28 + 1:02d}" if form.startswith("1937") else f"{100 + at}"
            found[keyword] = form.replace("{}", number)
    return found


def series() -> list[FileDataset]:
    images = ct_series(hounsfield(6, SIZE, SIZE))
    for at, image in enumerate(images):
        change(image, **marked())
        image.SOPInstanceUID = f"1.2.4711.{at}.88417.1"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return images


def leaks(result: Result, *sources: Path) -> list[str]:
    text = deidentify(result, *sources).to_json()
    whole = result.to_json()
    assert MARKS.search(whole), "nothing was there to be hidden"
    return [text[max(found.start() - 60, 0) : found.end() + 40] for found in MARKS.finditer(text)]


def test_every_text_is_marked() -> None:
    found = marked()
    assert len(found) >= 40
    assert {
        "PatientName",
        "StudyInstanceUID",
        "AccessionNumber",
        "StudyDate",
        "InstitutionName",
        "BodyPartExamined",
    } <= (found.keys())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("bundles")
    rule = {"accepted": ["CHEST"]}
    yield {
        "ct": make_tiny_bundle(folder / "ct.mmcaf"),
        "rule": make_tiny_bundle(folder / "rule.mmcaf", format_version=2, body_part=rule),
        "image": make_tiny_image(folder / "image.mmcaf"),
        "report": make_tiny_report(folder / "report.mmcaf"),
    }


@pytest.mark.parametrize("bundle", ["ct", "rule"])
def test_of_a_series_and_its_record(bundle: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    images = series()
    folder = save(images, tmp_path / "ZQ904XK")
    (folder / "ZQ905XK.txt").write_text("notes")
    (tmp_path / "ZQ906XK.json").write_text(json.dumps({**RECORD, "patient_id": images[0].PatientID}))
    result = infer(folder, tmp_path / "ZQ906XK.json", bundle=bundles[bundle], backend="onnxruntime", series="1")
    assert leaks(result, folder, tmp_path / "ZQ906XK.json") == []


@pytest.mark.parametrize("keyword", ["SeriesDescription", "ConvolutionKernel", "AcquisitionNumber", "Modality"])
def test_of_series_that_were_left_out(keyword: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    """Sentences tell by what they differ."""
    others = ct_series(hounsfield(4, SIZE, SIZE), SeriesInstanceUID="1.2.4711.9.88417", SeriesNumber=5)
    for image in (images := series()):
        image.StudyInstanceUID = "1.2.4711.7.88417"
    for at, image in enumerate(others):
        change(image, **{**marked(), "StudyInstanceUID": "1.2.4711.7.88417", "SeriesInstanceUID": "1.2.4711.9.88417"})
        change(image, **{keyword: "ZQ907XK" if keyword != "AcquisitionNumber" else 3 + at % 2})
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.4711.{at}.88417.2"
    save(images, tmp_path / "study")
    save(others, tmp_path / "study", "OTHER{:04d}")
    result = infer(tmp_path / "study", RECORD, bundle=bundles["ct"], backend="onnxruntime", allow_id_mismatch=True)
    assert leaks(result, tmp_path / "study") == []


def test_of_a_radiograph_and_of_a_picture(bundles: dict[str, Path], tmp_path: Path) -> None:
    image = radiograph(**marked())
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    path = write(image, tmp_path / "ZQ908XK.dcm")
    assert leaks(infer(path, bundle=bundles["image"], backend="onnxruntime"), path) == []
    picture = tmp_path / "ZQ909XK.png"
    picture.write_bytes(png((radiograph().pixel_array >> 4).astype(np.uint8)))
    result = infer(picture, bundle=bundles["image"], backend="onnxruntime", series=str(picture.name))
    assert leaks(result, picture) == []


def test_of_a_report(bundles: dict[str, Path], tmp_path: Path) -> None:
    folder = save(series(), tmp_path / "study")
    told = {**RECORD, "findings": "ZQ910XK nodule", "impression": "ZQ911XK " * 20}
    result = infer(folder, told, bundle=bundles["report"], backend="onnxruntime", allow_id_mismatch=True)
    assert leaks(result, folder) == []
