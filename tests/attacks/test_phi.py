"""Nothing that names a patient leaves a study or record: no error, warning, log, cache or temporary file holds it."""

import io
import json
import logging
import re
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_factory import change, ct_series, enhanced_ct, hounsfield, save, save_zip, write
from mmcaf_engine import Answerer, load_bundle, open_session
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.errors import BackendError, MmcafError, StudyError
from mmcaf_engine.pipeline import answer_study
from mmcaf_engine.study.faults import DamagedError, doing
from pages import without_pictures
from refusals import refused
from tiny_report import make_tiny_report

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # as at import, which pytest undoes

NAME, NUMBER, BORN = "QUIXANO^ALONSO", "ZQ-8841-XK", "19370823"
SECRETS = ("QUIXANO", "ALONSO", NUMBER, "8841", BORN, "1937-08-23", "1937")


def secrets_in(text: str) -> list[str]:
    """The secrets that a text tells; four digits in the middle of a measured time or a hash are not the patient's."""
    alone = [rf"(?<![0-9a-f.]){secret}(?![0-9a-f])" if secret.isdigit() else re.escape(secret) for secret in SECRETS]
    return [secret for secret, pattern in zip(SECRETS, alone, strict=True) if re.search(pattern, text)]


PATIENT = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BORN, "PatientComments": NAME}
RECORD: dict[str, Any] = {"sex": "F", "age": 63, "patient_id": NUMBER, "name": NAME, "birth_date": "1937-08-23"}
VALUES = hounsfield(4, 33, 35)


def images(**elements: Any) -> list[FileDataset]:
    return ct_series(VALUES, **{**PATIENT, **elements})


def spoilt(old: bytes, new: bytes) -> Callable[[Path], Path]:
    """A study in whose files bytes are replaced."""

    def make(folder: Path) -> Path:
        save(images(), folder / "study")
        for path in (folder / "study").iterdir():
            path.write_bytes(path.read_bytes().replace(old, new))
        return folder / "study"

    return make


def with_elements(**elements: Any) -> Callable[[Path], Path]:
    return lambda folder: save(images(**elements), folder / "study")


def first_differs(**elements: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        series = images()
        change(series[0], **elements)
        return save(series, folder / "study")

    return make


def truncated(kept: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save(images(), folder / "study")
        path = folder / "study" / "IM0002"
        path.write_bytes(path.read_bytes()[:kept])
        return folder / "study"

    return make


def packed(syntax: str, damage: int = 0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        series = images()
        for image in series:
            image.compress(syntax)
            data = bytearray(image.PixelData)
            data[150 : 150 + damage] = b"\x80" * damage
            image.PixelData = bytes(data)
        return save(series, folder / "study")

    return make


def zipped(folder: Path) -> Path:
    """Its folders are named after the patient, as archives of clinics do."""
    return save_zip(save(images(), folder / "study"), folder / "study.zip", prefix=f"{NAME}/{NUMBER}/")


def in_a_sequence(folder: Path) -> Path:
    image = enhanced_ct(VALUES, **PATIENT)
    item = Dataset()
    change(item, **PATIENT)
    image.PerFrameFunctionalGroupsSequence[1].RequestAttributesSequence = [item]
    del image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    return write(image, folder / "enhanced")


def as_a_sequence(keyword: str) -> Callable[[Path], Path]:
    """A text element whose type says that it is a sequence, with the patient in its item."""

    def make(folder: Path) -> Path:
        series = images()
        for image in series:
            item = Dataset()
            change(item, **PATIENT)
            image.pop(keyword, None)
            image.add_new(keyword, "SQ", [item])
        return save(series, folder / "study")

    return make


TEXTS = ("Modality", "ImageType", "SeriesDescription", "StudyDate", "PatientAge", "PatientSex", "BodyPartExamined")
TEXTS += ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PhotometricInterpretation", "RescaleType")
TEXTS += ("PatientID", "PatientWeight", "PatientPosition", "ConvolutionKernel", "ProtocolName")

STUDIES: dict[str, Callable[[Path], Path]] = {
    **{f"{keyword}-as-a-sequence": as_a_sequence(keyword) for keyword in TEXTS},
    "sound": with_elements(),
    "zip": zipped,
    "jpeg-2000": packed(JPEG2000Lossless),
    "no-image": lambda folder: write(images(Rows=None)[0], folder / "slice"),
    "other-modality": with_elements(Modality="MR"),
    "two-patients": first_differs(PatientID=f"{NUMBER}-B"),
    "name-as-number": with_elements(PatientWeight=None, SeriesDescription=NAME),
    "odd-uid": spoilt(b"1.2.826.0.1.3680043.10.9999.1.3", NAME.encode().ljust(31)),
    "name-in-numbers": spoilt(b"0.7\\0.8 ", b"QUIXANO "),
    "name-in-position": spoilt(b"-30\\-20\\", b"QUIXANO\\"),
    "name-in-rescale": spoilt(b"-1024 ", b"ALONSO"),
    "name-for-age": with_elements(StudyDate=BORN, PatientAge=NAME),
    "header-cut": truncated(500),
    "pixels-cut": truncated(2000),
    "damaged-jpeg-2000": packed(JPEG2000Lossless, 400),
    "damaged-run-lengths": packed(RLELossless, 400),
    "frame-without-position": in_a_sequence,
    "inverted": with_elements(PhotometricInterpretation="MONOCHROME1"),
    "wrong-character-set": with_elements(SpecificCharacterSet=NAME),
}
RECORDS: dict[str, Any] = {
    "sound": RECORD,
    "of-another": {**RECORD, "patient_id": f"{NUMBER}-C"},
    "name-for-age": {**RECORD, "age": [NAME]},
    "birth-date-twice": '{"birth_date": "1937-08-23", "birth_date": "1937-08-23"}',
    "cut": json.dumps(RECORD)[:-3],
    "number-for-id": {**RECORD, "patient_id": [NUMBER]},
    "fhir": {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Patient", "name": [NAME], "birthDate": "1937-08-23-1", "id": NUMBER}}],
    },
    "fhir-of-two": {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Patient", "id": NUMBER}}] * 2,
    },
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that is logged, at any level, by anyone."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.DEBUG)
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)


def check(
    study: Path,
    record: Any,
    tmp_path: Path,
    bundle: Path,
    said: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    report: Path | None = None,
) -> str:
    """Answer or refuse, and look everywhere; returns "answered" or the error's class."""
    cache, scratch = tmp_path / "cache", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("MMCAF_CACHE", str(cache))
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    path = tmp_path / "record.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    outcome = "answered"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", append=True)
        try:
            answer = answer_study(study, path, report=report, bundle=bundle, backend="onnxruntime")
            result = answer.result
            text = repr(result).replace(repr(result.study.uids), "")  # whatever they are, the answer carries them
            page = without_pictures(answer.to_html())
            for uid in result.study.uids.values():
                page = page.replace(uid, "")
            text += page
        except MmcafError as failure:
            outcome = type(failure).__name__
            text = "".join(traceback.format_exception(failure))
    text += "".join(str(entry.message) for entry in caught) + said.getvalue() + "".join(capfd.readouterr())
    text += "".join(f"{file.relative_to(cache)}{file.read_bytes()!r}" for file in cache.rglob("*") if file.is_file())
    assert secrets_in(text) == []
    assert list(scratch.iterdir()) == []
    return outcome


@pytest.mark.parametrize("name", STUDIES)
def test_of_the_study(
    name: str,
    tmp_path: Path,
    tiny_bundle: Path,
    said: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = STUDIES[name](tmp_path)
    outcome = check(study, RECORD, tmp_path, tiny_bundle, said, capfd, monkeypatch)
    assert outcome in ("answered", "StudyError")
    if name in ("sound", "zip", "jpeg-2000"):
        assert outcome == "answered"


@pytest.mark.parametrize("name", RECORDS)
def test_of_the_record(
    name: str,
    tmp_path: Path,
    tiny_bundle: Path,
    said: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = STUDIES["sound"](tmp_path)
    outcome = check(study, RECORDS[name], tmp_path, tiny_bundle, said, capfd, monkeypatch)
    assert outcome == ("answered" if name == "sound" else "RecordError")


TOLD = f"{NAME} ({NUMBER}), born {BORN}: new nodule"
REPORTS: dict[str, bytes] = {
    "sound": f"{TOLD}, lungs clear".encode(),
    "cut": f"{TOLD} ".encode() * 20,
    "latin-1": f"{TOLD} Erguß".encode("latin-1"),
    "utf-16": TOLD.encode("utf-16"),
    "zero-byte": f"{TOLD}\0".encode(),
    "pdf": f"%PDF-1.7 {TOLD}".encode(),
    "too-large": TOLD.encode() * 30_000,
}
TEXT_FIELDS: dict[str, dict[str, Any]] = {
    "fields": {"findings": TOLD, "impression": TOLD * 9},
    "unknown-field": {"findings": TOLD, "indication": TOLD},
    "no-string": {"findings": [TOLD]},
    "nested": {"findings": {"text": TOLD}},
}


@pytest.fixture(scope="module")
def report_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_report(tmp_path_factory.mktemp("report") / "tiny.mmcaf")


@pytest.mark.parametrize("name", REPORTS)
def test_of_the_report(
    name: str,
    tmp_path: Path,
    report_bundle: Path,
    said: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = tmp_path / "report.txt"
    report.write_bytes(REPORTS[name])
    study = STUDIES["sound"](tmp_path)
    outcome = check(study, RECORD, tmp_path, report_bundle, said, capfd, monkeypatch, report)
    assert outcome == ("answered" if name in ("sound", "cut") else "RecordError")


@pytest.mark.parametrize("name", TEXT_FIELDS)
def test_of_the_records_text(
    name: str,
    tmp_path: Path,
    report_bundle: Path,
    said: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = STUDIES["sound"](tmp_path)
    outcome = check(study, {**RECORD, **TEXT_FIELDS[name]}, tmp_path, report_bundle, said, capfd, monkeypatch)
    assert outcome == ("answered" if name in ("fields", "unknown-field") else "RecordError")


def test_a_runtime_that_quotes_what_it_was_given_is_not_quoted(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: OnnxRuntimeBackend, window: object) -> None:
        raise RuntimeError(f"cannot cast {NAME}")

    study = save(images(), tmp_path / "study")
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as session:
        answerer = Answerer(session)
        assert answerer.answer(study, RECORD).result.probability > 0
        monkeypatch.setattr(OnnxRuntimeBackend, "_infer", fail)
        with pytest.raises(BackendError) as caught:
            answerer.answer(study, RECORD)
    assert "RuntimeError" in str(caught.value) and "model.onnx" in str(caught.value)
    assert secrets_in(str(caught.value)) == []


def test_of_stored_cases_a_runtime_is_quoted_whole(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: OnnxRuntimeBackend, window: object) -> None:
        raise RuntimeError("node 7:\n\x1b[31m" + "x" * 10_000)

    monkeypatch.setattr(OnnxRuntimeBackend, "_infer", fail)
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))  # where no passed self-test is remembered
    with pytest.raises(BackendError, match=r"RuntimeError: node 7: \[31mx{1000}") as caught:
        open_session(load_bundle(tiny_bundle), backend="onnxruntime")
    assert len(str(caught.value)) < 5000 and "\x1b" not in str(caught.value)


def test_a_decoder_that_warns_quotes_nothing(said: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    """libpng names a colour profile by the file's own words."""
    import imagecodecs

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    plain = bytes(imagecodecs.png_encode(VALUES[0].astype("uint8")))
    profile = zlib.compress(b"\0" * 200)
    picture = plain[:33] + chunk(b"iCCP", NAME.encode() + b"\0\0" + profile) + chunk(b"pHYs", b"x") + plain[33:]
    assert imagecodecs.png_decode(picture).shape == VALUES[0].shape
    assert said.getvalue() + "".join(capfd.readouterr()) == ""


def test_a_decoder_that_quotes_the_file_is_not_quoted() -> None:
    for failure, told in ((RuntimeError(NAME), "RuntimeError"), (DamagedError("2 of 3 frames"), "2 of 3 frames")):
        with refused(StudyError, "slice", told) as caught, doing("slice"):
            raise failure
        assert secrets_in(str(caught.value)) == []
