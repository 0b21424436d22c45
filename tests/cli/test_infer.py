"""`mmcaf-infer`: the answer, its forms, and what every wrong input is told."""

import hashlib
import json
import shutil
import socket
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest

from command import Command
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.phantom import Phantom
from mmcaf_engine.demo.write_dicom import write_multiframe
from mmcaf_engine.demo.write_mr import write_nifti
from mmcaf_engine.machine.cpu import processor, usable_cores
from refusals import Fact
from tiny_liver import make_tiny_liver

GOOD_RECORD = {"sex": "M", "age": 60}


@pytest.fixture
def own_series(series: Path, tmp_path: Path) -> Path:
    """A copy of the series that a test may change."""
    return Path(shutil.copytree(series, tmp_path / "series"))


@pytest.fixture
def record(phantom: Phantom, tmp_path: Path) -> Path:
    """A record that agrees with the study's header."""
    patient = phantom.patient
    return write_record(tmp_path, {"patient_id": patient.patient_id, "sex": patient.sex, "age": patient.age})


def write_record(folder: Path, content: Any) -> Path:
    file = folder / "record.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def windows_of(slices: int, stride: int) -> list[int]:
    """Starts of the tiny network's windows of four slices; the last ends at the last slice."""
    return sorted({*range(0, slices - 3, stride), slices - 4})


def test_text_answer(run: Command, phantom: Phantom, series: Path, record: Path, tiny_bundle: Path) -> None:
    outcome = run("mmcaf-infer", series, record, "--bundle", tiny_bundle)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    first = outcome.out.splitlines()[0]
    label, probability, *threshold = first.split()
    assert label in ("quiet", "loud") and float(probability) >= 0.5 and threshold == ["(loud", "from", "0.5)"]
    for said in (
        "  slices        ",
        f"CT, {len(phantom.hu)} slices",
        "2 fields, none missing",
        "openvino fp32 on CPU",
    ):
        assert said in outcome.out
    assert outcome.out.rstrip().endswith("Not a medical device: for research, not for diagnosis or treatment.")


def test_json_answer(run: Command, phantom: Phantom, series: Path, record: Path, tiny_bundle: Path) -> None:
    outcome = run("mmcaf-infer", series, record, "--bundle", tiny_bundle, "--json")
    result = json.loads(outcome.out)
    assert result["warnings"] == [] and outcome.err == ""
    assert result["probability"] == result["probabilities"][result["label"]] >= 0.5
    loud = [abs(window["probability"] - float(result["label"] == "quiet")) for window in result["windows"]]
    assert result["positive"]["probability"] == pytest.approx(max(loud), abs=1e-12)
    assert [window["start_slice"] for window in result["windows"]] == windows_of(len(phantom.hu), 4)
    assert result["engine"] == {
        "backend": "openvino",
        "precision": "fp32",
        "device": "CPU",
        "runtime": "openvino",
        "runtime_version": OpenVinoBackend.version(),
        "processor": processor().name,
        "threads": usable_cores(),
        "kernels": {},
        "fallback": None,
        "accuracy": None,
    }
    assert {"read", "decode", "preprocess", "infer", "total"} <= set(result["timing_ms"])
    (read,) = result["study"]["selection"]
    assert (read["input"], read["chosen"], read["slices"]) == ("image", "the only one that fits", len(phantom.hu))
    assert read["source"] == result["study"]["uids"]["series"]
    assert result["record"]["identity"] == "matched" and result["remarks"] == []
    assert result["record"]["sha256"] == hashlib.sha256(record.read_bytes()).hexdigest()
    sent = sorted((pydicom.dcmread(file) for file in series.iterdir()), key=lambda image: image.ImagePositionPatient[2])
    assert result["evidence"] == [
        {"input": "image", "sop_class_uid": image.SOPClassUID, "sop_instance_uid": image.SOPInstanceUID, "frame": None}
        for image in sent
    ]


def test_every_form_of_a_study_gives_the_same_numbers(
    run: Command, phantom: Phantom, series: Path, record: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    write_multiframe(phantom, tmp_path / "study.dcm")
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in series.iterdir():
            archive.write(file, f"DICOM/{file.stem}")
    answers = []
    for study in (series, tmp_path / "study.dcm", tmp_path / "study.zip"):
        result = json.loads(run("mmcaf-infer", study, record, "--bundle", tiny_bundle, "--json").out)
        assert len(result["evidence"]) == len(phantom.hu)
        for name in ("created", "timing_ms", "evidence"):
            del result[name]
        del result["study"]["uids"], result["study"]["selection"][0]["source"]
        answers.append(result)
    assert answers[0] == answers[1] == answers[2]


def test_output_is_the_same_object(run: Command, series: Path, record: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "answer.json"
    outcome = run("mmcaf-infer", series, record, "--bundle", tiny_bundle, "--json", "-o", out)
    assert json.loads(out.read_text()) == json.loads(outcome.out)
    assert [file.name for file in tmp_path.glob(".answer*")] == []


def test_stride(run: Command, phantom: Phantom, series: Path, record: Path, tiny_bundle: Path) -> None:
    outcome = run("mmcaf-infer", series, record, "--bundle", tiny_bundle, "--json", "--stride", 3)
    assert [window["start_slice"] for window in json.loads(outcome.out)["windows"]] == windows_of(len(phantom.hu), 3)


def test_slices(run: Command, phantom: Phantom, series: Path, record: Path, tiny_bundle: Path) -> None:
    call = ("mmcaf-infer", series, record, "--bundle", tiny_bundle)
    result = json.loads(run(*call, "--json", "--slices", "3-12").out)
    assert [window["start_slice"] for window in result["windows"]] == [2, 6, 8]
    assert result["options"]["slices"] == [3, 12] and len(result["evidence"]) == 10
    assert f"remark        slices 3 to 12 of {len(phantom.hu)}, counted" in run(*call, "--slices", "3-12").out


def test_backends_agree(run: Command, series: Path, record: Path, tiny_bundle: Path) -> None:
    logits = [
        json.loads(run("mmcaf-infer", series, record, "--bundle", tiny_bundle, "--backend", name, "--json").out)[
            "positive"
        ]["logit"]
        for name in ("openvino", "onnxruntime")
    ]
    assert logits[0] == pytest.approx(logits[1], abs=1e-4)


def test_without_a_bundle_the_demonstration_answers_and_says_so(
    run: Command, series: Path, phantom: Phantom, tmp_path: Path
) -> None:
    from mmcaf_engine.demo.phantom import record as clinical_record

    given = write_record(tmp_path, clinical_record(phantom.patient))
    outcome = run("mmcaf-infer", series, given, "--json")
    result = json.loads(outcome.out)
    assert "demonstration bundle answered" in outcome.err
    assert "demo" in result["model"]["name"] and "ynthetic" in result["disclaimer"]
    assert run("mmcaf-infer", series, given, "--strict").code == 7


def test_no_network_call(
    run: Command, series: Path, record: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert run("mmcaf-infer", series, record, "--bundle", tiny_bundle).code == 0


def test_fallback_is_reported_and_forbidden_by_strict(
    run: Command, series: Path, record: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(OpenVinoBackend, "availability", classmethod(lambda cls: Availability(False, "not here")))
    outcome = run("mmcaf-infer", series, record, "--bundle", tiny_bundle, "--json")
    assert json.loads(outcome.out)["engine"]["fallback"] == "openvino: not here"
    assert "onnxruntime answered instead of a preferred backend" in outcome.err
    assert run("mmcaf-infer", series, record, "--bundle", tiny_bundle, "--strict").code == 7


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("sex: M", ("JSON", "line 1")),
        ({"sex": "M"}, ("age", "missing")),
        ({**GOOD_RECORD, "sex": "X"}, ("sex", "'X'", "M", "F")),
        ({**GOOD_RECORD, "age": "60"}, ("age", "string", "years", 0, 120)),
        ('{"sex": "M", "age": NaN}', ("NaN", "JSON")),
        ({**GOOD_RECORD, "age": 500}, ("age", "500 years", 120)),
        ({**GOOD_RECORD, "patient_id": "SOMEONE-ELSE"}, ("(0010,0020)", "--allow-id-mismatch")),
    ],
    ids=["not-json", "lacks-field", "unknown-category", "string-for-number", "nan", "age-500", "another-patient"],
)
def test_wrong_record(
    run: Command, series: Path, tiny_bundle: Path, tmp_path: Path, content: Any, facts: tuple[Fact, ...]
) -> None:
    outcome = run("mmcaf-infer", series, write_record(tmp_path, content), "--bundle", tiny_bundle)
    outcome.refused(4, *facts)
    assert "SOMEONE-ELSE" not in outcome.err


def test_another_patients_record_can_be_allowed(
    run: Command, series: Path, tiny_bundle: Path, tmp_path: Path, phantom: Phantom
) -> None:
    content = {"patient_id": "SOMEONE-ELSE", "sex": phantom.patient.sex, "age": phantom.patient.age}
    given = write_record(tmp_path, content)
    outcome = run("mmcaf-infer", series, given, "--bundle", tiny_bundle, "--allow-id-mismatch", "--json")
    assert outcome.code == 0 and "accepted as asked" in outcome.err


def test_record_that_contradicts_the_header_is_a_warning_and_strict_refuses(
    run: Command, series: Path, tiny_bundle: Path, tmp_path: Path, phantom: Phantom
) -> None:
    given = write_record(tmp_path, {"sex": "F" if phantom.patient.sex == "M" else "M", "age": phantom.patient.age})
    outcome = run("mmcaf-infer", series, given, "--bundle", tiny_bundle)
    assert outcome.code == 0 and "record's sex contradicts the study's PatientSex" in outcome.out
    strict = run("mmcaf-infer", series, given, "--bundle", tiny_bundle, "--strict")
    strict.refused(7, "record's sex", "PatientSex", "--strict")


def test_no_record(run: Command, series: Path, tiny_bundle: Path) -> None:
    outcome = run("mmcaf-infer", series, "--bundle", tiny_bundle)
    outcome.refused(4, "tiny", "record", "sex", "age")


def damage_missing(folder: Path) -> Path:
    return folder / "absent.dcm"


def damage_empty(folder: Path) -> Path:
    for file in folder.iterdir():
        file.unlink()
    (folder / "notes.txt").write_text("nothing to see")
    return folder


def damage_text(folder: Path) -> Path:
    (folder / "study.dcm").write_text("this is no DICOM file, whatever its name says\n" * 10)
    return folder / "study.dcm"


def damage_pixels(folder: Path) -> Path:
    file = sorted(folder.iterdir())[0]
    dataset = pydicom.dcmread(file)
    del dataset.PixelData
    dataset.save_as(file)
    return file


def damage_modality(folder: Path) -> Path:
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.Modality = "MR"
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        dataset.save_as(file)
    return folder


def damage_two_series(folder: Path) -> Path:
    for file in sorted(folder.iterdir())[::2]:
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = "1.2.3.4"
        dataset.SOPInstanceUID = "1.2.3.4"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(file)
    return folder


def damage_gap(folder: Path) -> Path:
    sorted(folder.iterdir())[10].unlink()
    return folder


def damage_duplicate(folder: Path) -> Path:
    file = sorted(folder.iterdir())[5]
    dataset = pydicom.dcmread(file)
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(folder / "again.dcm")
    return folder


def damage_truncated(folder: Path) -> Path:
    file = sorted(folder.iterdir())[3]
    file.write_bytes(file.read_bytes()[:-1000])
    return folder


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (damage_missing, ("absent.dcm", "no such file")),
        (damage_empty, ("DICOM", "1 files")),
        (damage_text, ("study.dcm", "DICM")),
        (damage_pixels, ("slice-001.dcm", "PixelData", "missing")),
        (damage_modality, ("MR", "CT")),
        (damage_two_series, (2, "--series=1")),
        (damage_gap, (1, "mm", "--gaps=interpolate")),
        (damage_duplicate, (1, "--duplicates=first")),
        (damage_truncated, ("PixelData", "truncated", "bytes")),
    ],
    ids=lambda value: value.__name__.removeprefix("damage_") if callable(value) else "",
)
def test_wrong_study(
    run: Command, own_series: Path, record: Path, tiny_bundle: Path, damage: Any, facts: tuple[Fact, ...]
) -> None:
    outcome = run("mmcaf-infer", damage(own_series), record, "--bundle", tiny_bundle)
    outcome.refused(3, *facts)
    assert "PHANTOM" not in outcome.err, "the patient's name or id is in the message"


def flip_a_byte(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[100] ^= 0x10
    (bundle / "model.onnx").write_bytes(data)


def remove_a_file(bundle: Path) -> None:
    (bundle / "golden.npz").unlink()


def newer_version(bundle: Path) -> None:
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 2', '"format_version": 3'))


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (flip_a_byte, ("model.onnx", "SHA-256")),
        (remove_a_file, ("golden.npz", "missing")),
        (newer_version, ("manifest.json", 3, 2)),
    ],
)
def test_wrong_bundle(
    run: Command,
    series: Path,
    record: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Any,
    facts: tuple[Fact, ...],
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "no engine kept yet"))
    damage(tiny_bundle)
    outcome = run("mmcaf-infer", series, record, "--bundle", tiny_bundle)
    outcome.refused(5, *facts)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--backend", "abacus"], 2),
        (["--precision", "int8"], 6),
        (["--stride", "0"], 2),
        (["--stride", "5"], 2),
        (["--threads", "0"], 2),
        (["--stride", "x"], 2),
        (["--slices", "12-3"], 2),
        (["--slices", ""], 2),
        (["--slices", "1-999"], 2),
        (["--nonsense"], 2),
        (["--series", "99"], 3),
        (["-o", "/nonexistent/folder/answer.json"], 2),
        (["--deadline", "0"], 2),
        (["--deadline", "soon"], 2),
        (["--quiet", "--verbose"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options(
    run: Command, series: Path, record: Path, tiny_bundle: Path, options: list[str], code: int
) -> None:
    outcome = run("mmcaf-infer", series, record, "--bundle", tiny_bundle, *options)
    assert outcome.code == code and outcome.out == "" and "Traceback" not in outcome.err, outcome.err


def test_when_it_was_made_can_be_fixed(run: Command, series: Path, record: Path, tiny_bundle: Path) -> None:
    """Two runs are then the same but for their times."""
    call = ("mmcaf-infer", series, record, "--bundle", tiny_bundle, "--json", "--created")
    first, second = (json.loads(run(*call, "2026-11-30T10:08:48+01:00").out) for _ in range(2))
    assert first.pop("timing_ms").keys() == second.pop("timing_ms").keys() and first == second
    assert first["created"] == "2026-11-30T09:08:48Z"
    run(*call, "yesterday").refused(2, "created", "yesterday", "--created=2026-11-30T09:08:48Z")
    run(*call, "2026-11-30T09:08:48").refused(2, "time zone", "--created=2026-11-30T09:08:48Z")


def test_the_answer_as_a_page(run: Command, own_series: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    given, out = write_record(tmp_path, {"sex": "F", "age": 25}), tmp_path / "answer.html"
    call = ["mmcaf-infer", own_series, given, "--bundle", tiny_bundle, "--json", "--html", out]
    result = json.loads(run(*call).out)
    page = out.read_text()
    assert f"<title>{result['label']}" in page and result["study"]["uids"]["study"] in page
    assert result["created"] in page and page.count("src=") > 6 and ">25<" in page
    run(*call).refused(2, str(out), "--force")
    hidden = json.loads(run(*call, "--force", "--deidentify").out)
    page = out.read_text()
    assert hidden["study"]["uids"]["study"] in page and result["study"]["uids"]["study"] not in page
    assert ">25<" not in page and "Deidentified" in page
    run(*call[:-1], "-").refused(2, "--html")
    run(*call[:-1], given, "--force").refused(2, "record.json", "input")


def test_the_answer_as_fhir(run: Command, own_series: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    given, out = write_record(tmp_path, {"sex": "F", "age": 25}), tmp_path / "answer.json"
    patient = pydicom.dcmread(next(own_series.iterdir())).PatientID
    call = ["mmcaf-infer", own_series, given, "--bundle", tiny_bundle, "--json", "--fhir-out", out]
    outcome = run(*call)
    result = json.loads(outcome.out)
    report, seen, *_ = [entry["resource"] for entry in json.loads(out.read_text())["entry"]]
    assert report["resourceType"] == "DiagnosticReport" and report["subject"]["identifier"]["value"] == patient
    assert seen["valueCodeableConcept"]["text"] == result["label"] and report["issued"] == result["created"]
    run(*call).refused(2, str(out), "--force")
    outcome = run(*call, "--force", "--deidentify")
    assert patient not in out.read_text() and json.loads(outcome.out)["study"]["uids"]["study"] in out.read_text()
    run(*call[:-1], "-").refused(2, "--fhir-out")
    run(*call[:-1], given, "--force").refused(2, "record.json", "input")


def test_the_answer_as_a_structured_report(run: Command, own_series: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    given, out = write_record(tmp_path, {"sex": "F", "age": 25}), tmp_path / "objects"
    call = ["mmcaf-infer", own_series, given, "--bundle", tiny_bundle, "--created", "2026-11-30T09:08:48Z"]
    assert run(*call, "--dicom-out", out).code == 0
    capture, file = sorted(out.iterdir())
    assert pydicom.dcmread(capture).pixel_array.shape[2] == 3
    report, written = pydicom.dcmread(file), file.read_bytes()
    assert report.Modality == "SR" and report.PatientID == pydicom.dcmread(next(own_series.iterdir())).PatientID
    assert file.stat().st_mode & 0o777 == 0o600 and out.stat().st_mode & 0o777 == 0o700
    run(*call, "--dicom-out", out).refused(2, "objects", "not empty", "--force")
    assert run(*call, "--dicom-out", out, "--force").code == 0
    assert file.read_bytes() == written, "the same result gives the same bytes"
    run(*call, "--dicom-out", given, "--force").refused(2, "record.json")
    run(*call, "--dicom-objects", "sr").refused(2, "--dicom-out")
    run(*call, "--dicom-out", tmp_path / "pdf", "--dicom-objects", "pdf").refused(2, "pdf", "--dicom-objects=sr,sc")
    assert run(*call, "--dicom-out", tmp_path / "alone", "--dicom-objects", "sr").code == 0
    assert [one.read_bytes() for one in (tmp_path / "alone").iterdir()] == [written]
    run(*call, "--dicom-out", own_series, "--force").refused(2, "input")
    run(*call, "--dicom-out", tmp_path / "other", "--deidentify").refused(2, "--dicom-out")
    assert not (tmp_path / "other").exists()


def test_a_study_of_no_dicom_gives_no_dicom(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    """Nothing at all is written then."""
    out = tmp_path / "objects"
    bundle = make_tiny_liver(tmp_path / "liver.mmcaf")
    write_nifti(liver_study(5, slices=16, size=16), tmp_path / "nifti")
    call = [
        "mmcaf-infer",
        tmp_path / "nifti",
        "--bundle",
        bundle,
        "--backend",
        "onnxruntime",
        "-o",
        tmp_path / "a.json",
    ]
    run(*call, "--dicom-out", out).refused(3, "not read from DICOM images", "--dicom-out")
    assert not out.exists() and not (tmp_path / "a.json").exists()


def test_deidentify_leaves_no_name(run: Command, own_series: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """A folder and a file named after the patient, remarks that quote both, features of the record."""
    folder = own_series.rename(tmp_path / "DOE_JANE")
    (folder / "DOE_JANE_notes.dcm").write_text("no DICOM")
    given = write_record(tmp_path, {"sex": "F", "age": 25})
    out = tmp_path / "answer.json"
    call = ["mmcaf-infer", folder, given, "--bundle", tiny_bundle, "--json", "-o", out, "--force"]
    assert "DOE_JANE" in run(*call).out
    outcome = run(*call, "--deidentify")
    result = json.loads(outcome.out)
    assert "DOE" not in outcome.out + outcome.err + out.read_text()
    assert result["record"]["features"] == {} and result["study"]["uids"]["study"].startswith("2.25.")
    assert len(result["warnings"]) >= 2
