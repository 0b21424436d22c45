"""An answer made by hand: one window of one series, and a record of two fields."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from mmcaf_engine.bundle.device import device_uid
from mmcaf_engine.bundle.summary import ModelSummary
from mmcaf_engine.result.codes import private_code
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.drawing import Picture
from mmcaf_engine.result.parts import (
    EngineSummary,
    Ensemble,
    Evidence,
    Finding,
    LabelCode,
    Options,
    Positive,
    RecordSummary,
    RiskLevel,
    SelectedSeries,
    Software,
    StudySummary,
    Window,
)
from mmcaf_engine.result.result import Result, Wording
from mmcaf_engine.result.sources import SourceImages
from mmcaf_engine.volume import SourceHeader, SourceImage

UID = "1.2.840.1"
OPTIONS = Options(
    backend="openvino",
    precision="fp32",
    threads=2,
    series=None,
    gaps="refuse",
    tilt="refuse",
    duplicates="refuse",
    oblique=None,
    stride=None,
    slices=None,
    row=None,
    allow_id_mismatch=False,
)


def tiny_result(*warnings: str, sources: tuple[str, ...] = ()) -> Result:
    """Study, record and the result as a whole say the same warnings, and these as remarks; a series for each of the
    sources.
    """
    spacing = (1.0, 1.0, 1.0)
    selection = tuple(SelectedSeries("image", source, "the only one", 1, spacing) for source in sources)
    sha256 = "0" * 64
    return Result(
        created=datetime(2026, 11, 30, 9, 8, 48, tzinfo=UTC),
        label="loud",
        probability=0.7,
        probabilities={"quiet": 0.3, "loud": 0.7},
        positive=Positive("loud", 0.7, 0.8, 0.5),
        findings=(),
        windows=(Window(0, 1, 0.8, 0.7),),
        study=StudySummary({"study": UID}, "CT", None, 1, spacing, selection, warnings),
        evidence=(Evidence("image", "1.2.840.10008.5.1.4.1.1.2", f"{UID}.1", None),),
        record=RecordSummary({"age": 0.5}, ("weight",), "1" * 64, "matched", warnings),
        labels={label: private_code(label) for label in ("quiet", "loud")},
        model=ModelSummary("tiny", None, sha256, device_uid(sha256), None),
        software=Software("mmcaf-infer", "0.1.0"),
        engine=EngineSummary("openvino", "fp32", "CPU", "openvino", "2026.4.1", "a processor", 2, {}, None, None),
        options=OPTIONS,
        timing_ms={"total": 1.0},
        warnings=warnings,
        disclaimer="",
        wording=Wording("loud", (), windows=True),
        remarks=warnings,
    )


def header(**elements: str) -> Dataset:
    given = {
        "SpecificCharacterSet": "ISO_IR 192",  # as `SourceHeader` has it
        "PatientID": "PID 7",
        "IssuerOfPatientID": "Hospital",
        "AccessionNumber": "A1",
        "StudyDate": "20260102",
        "StudyTime": "101112.345",
        "TimezoneOffsetFromUTC": "+0100",
        "PatientName": "Sentinel^Name",
        "PatientBirthDate": "19501231",
        "PatientSex": "F",
    }
    found = Dataset()
    for keyword, value in (given | elements).items():
        setattr(found, keyword, value)
    return found


def multilabel() -> Result:
    findings = (Finding("mass", 0.8, 1.4, 0.5, present=True), Finding("effusion", 0.2, -1.4, 0.3, present=False))
    return replace(
        tiny_result(),
        label="mass",
        probability=0.8,
        probabilities={"mass": 0.8, "effusion": 0.2},
        positive=None,
        findings=findings,
        labels={"mass": LabelCode("SCT", "4147007", "Mass"), "effusion": LabelCode("99LAB", "E", "Effusion")},
    )


def multiclass() -> Result:
    return replace(
        tiny_result(sources=(f"{UID}.9",)),
        label="b",
        probability=0.5,
        probabilities={"a": 0.2, "b": 0.5, "c": 0.3},
        positive=None,
        labels={label: LabelCode("RADLEX", f"RID{at}", label) for at, label in enumerate("abc")},
    )


def without_study() -> Result:
    empty = StudySummary({}, "", None, 0, (0.0, 0.0, 0.0), (), ())
    return replace(tiny_result(), study=empty, evidence=(), created=None, software=None, labels=None)


RESULTS: dict[str, Callable[[], Result]] = {
    "binary": lambda: tiny_result("a gap", sources=(f"{UID}.9",)),
    "multiclass": multiclass,
    "multilabel": multilabel,
    "levels of risk": lambda: replace(
        multilabel(),
        risk_level=(
            RiskLevel("mass", "high", 3, 3, 0.8, 0.6, None, "a made-up cohort"),
            RiskLevel("effusion", "low", 1, 2, 0.2, None, 0.3, ""),
        ),
    ),
    "none present": lambda: replace(
        multilabel(), label="none", findings=tuple(replace(one, present=False) for one in multilabel().findings)
    ),
    "no study": without_study,
    "ensemble": lambda: replace(
        tiny_result(),
        ensemble=Ensemble(2, {"quiet": (0.5, 0.1), "loud": (0.5, 0.9)}, {"quiet": 0.2, "loud": 0.2}, 0.1),
    ),
    "deidentified": lambda: deidentify(tiny_result("a gap", sources=(f"{UID}.9",))),
}
"""Of every kind of output, with and without a study."""


def source(**elements: str) -> Dataset:
    found = header(**elements)
    found.StudyInstanceUID, found.SeriesInstanceUID, found.Modality = UID, f"{UID}.9", "CT"
    return found


def sources(result: Result, *headers: Dataset | None) -> dict[str, SourceImages]:
    """What its evidence was read from, with a header for each input."""
    inputs = dict.fromkeys(image.input for image in result.evidence or ())
    return {
        name: SourceImages(
            tuple(
                SourceImage(image.sop_class_uid, image.sop_instance_uid, image.frame)
                for image in result.evidence or ()
                if image.input == name
            ),
            None if about is None else encoded_header(about),
            None,
        )
        for name, about in zip(inputs, headers or [source()] * len(inputs), strict=True)
    }


def encoded_header(about: Dataset) -> SourceHeader:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, about, parent_encoding="utf8")
    return SourceHeader(stream.getvalue())


def picture() -> Picture:
    return PICTURE


PICTURE: Picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
REPORT, CAPTURE = "structured-report.dcm", "secondary-capture.dcm"
"""Files of DICOM objects."""
