"""Results as DICOM structured reports: what they hold, that they are the same again, and what dciodvfy says of them."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from counterparts import need
from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.errors import BackendError, StudyError, UsageError
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.pipeline import answer_study
from mmcaf_engine.result.decisions.statements import PRESENT
from mmcaf_engine.result.parts import Evidence, LabelCode
from mmcaf_engine.result.result import Result
from mmcaf_engine.result.sources import SourceImages
from mmcaf_engine.result.writers import structured_report as writer
from mmcaf_engine.result.writers.dicom import dicom_files
from mmcaf_engine.volume import SourceImage
from refusals import refused
from tiny_bundle import SIZE
from tiny_result import CAPTURE, REPORT, RESULTS, UID, encoded_header, multilabel, picture, source, sources, tiny_result

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDIED = [name for name in RESULTS if name not in ("no study", "deidentified")]
SECONDS = 60


def report_of(result: Result, *headers: Dataset) -> Dataset:
    """As it is read from its file."""
    return dcmread(BytesIO(files(result, *headers)[REPORT]))


def files(result: Result, *headers: Dataset) -> dict[str, bytes]:
    return dicom_files(result, sources(result, *headers), picture)


def items(report: Dataset, kind: str) -> Iterator[Dataset]:
    """All content items of a value type, at any depth."""
    for item in report.ContentSequence:
        if item.ValueType == kind:
            yield item
        if "ContentSequence" in item:
            yield from items(item, kind)


def name_of(item: Dataset) -> str:
    meaning: str = item.ConceptNameCodeSequence[0].CodeMeaning
    return meaning


def values(report: Dataset) -> dict[str, float]:
    return {name_of(item): float(item.MeasuredValueSequence[0].NumericValue) for item in items(report, "NUM")}


def coded(report: Dataset, name: str) -> list[tuple[str, str]]:
    found = [item.ConceptCodeSequence[0] for item in items(report, "CODE") if name_of(item) == name]
    return [(code.CodingSchemeDesignator, code.CodeValue) for code in found]


def test_label_and_probabilities_are_read_back() -> None:
    report = report_of(tiny_result())
    assert values(report) == {"Probability of quiet": 0.3, "Probability of loud": 0.7}
    loud = tiny_result().labels["loud"]  # type: ignore[index]
    assert coded(report, "Label") == coded(report, "Finding") == [(loud.scheme, loud.value)]
    units = {item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue for item in items(report, "NUM")}
    assert units == {"1"}


def test_each_finding_has_a_group_of_its_own() -> None:
    report = report_of(multilabel())
    assert coded(report, "Finding") == [("SCT", "4147007"), ("99LAB", "E")]
    assert coded(report, "Mass") == [(PRESENT.scheme, PRESENT.value)]
    assert len(coded(report, "Effusion")) == 1
    assert values(report)["Probability of mass"] == 0.8
    tracked = [item.UID for item in items(report, "UIDREF") if name_of(item) == "Tracking Unique Identifier"]
    assert len(set(tracked)) == 2


def test_how_far_an_ensemble_agrees_is_a_standard_deviation_of_its_own() -> None:
    report = report_of(RESULTS["ensemble"]())
    spreads = {"Spread of the probability of quiet": 0.2, "Spread of the probability of loud": 0.2}
    assert values(report) == {"Probability of quiet": 0.3, "Probability of loud": 0.7} | spreads
    derived = {
        name_of(item): [(one.ConceptCodeSequence[0].CodeValue, name_of(one)) for one in item.get("ContentSequence", ())]
        for item in items(report, "NUM")
    }
    deviation = (codes.SCT.StandardDeviation.value, "Derivation")
    assert [name for name, found in derived.items() if deviation in found] == list(spreads)
    said = [item.TextValue for item in items(report, "TEXT")]
    assert "RESEARCH, unverified. loud, probability 0.700. Ensemble of 2 members, spread 0.20." in said
    assert "ensemble=2 members" in said and "ensemble" not in str(report_of(tiny_result()))


def test_it_says_that_nobody_has_verified_it() -> None:
    report = report_of(tiny_result())
    flags = (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag)
    assert flags == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
    said = [item.TextValue for item in items(report, "TEXT") if name_of(item) == codes.DCM.Comment.meaning]
    assert said == ["RESEARCH, unverified. loud, probability 0.700."] and "RESEARCH" in report.SeriesDescription


def test_the_bundle_is_its_algorithm_and_contributed() -> None:
    report, result = report_of(tiny_result()), tiny_result()
    [own] = [one for one in report.ContributingEquipmentSequence if "DeviceUID" in one]
    assert own.DeviceUID == result.model.device_uid and own.ManufacturerModelName == "tiny"
    texts = {name_of(item): item.TextValue for item in items(report, "TEXT")}
    assert texts["Algorithm Name"] == "tiny" and texts["Algorithm Version"] == "bundle 000000000000"
    assert coded(report, "Algorithm Family") == [("DCM", "123110")]


def test_patient_and_study_are_those_of_the_images() -> None:
    report = report_of(tiny_result())
    assert (report.PatientID, report.StudyInstanceUID, report.AccessionNumber) == ("PID 7", UID, "A1")
    assert report.TimezoneOffsetFromUTC == "+0100" and report.ContentTime == "100848"  # 9:08:48 UTC
    [series] = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == f"{UID}.9"
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == [f"{UID}.1"]


def test_what_a_header_lacks_of_the_patient_is_empty() -> None:
    bare = source()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber"):
        delattr(bare, keyword)
    report = report_of(tiny_result(), bare)
    assert report.PatientID == "" and str(report.PatientName) == "" and report.StudyDate == ""


@pytest.mark.parametrize(
    ("modality", "given", "expected"),
    [
        ("CT", None, ("LN", "25045-6")),
        ("MR", None, ("LN", "25056-3")),
        ("DX", None, ("SCT", "363679005")),
        ("CT", ("49118-3", "LN", "NM unspecified body region"), ("LN", "49118-3")),
        ("CT", ("36643-5", "LN", "not in CID 100"), ("LN", "25045-6")),
        ("CT", ("49118-3", "99LOCAL", "of another scheme"), ("LN", "25045-6")),
        ("OT", None, ("SCT", "363679005")),
    ],
)
def test_the_procedure_is_the_headers_or_the_modalitys(
    modality: str, given: tuple[str, str, str] | None, expected: tuple[str, str]
) -> None:
    about = source()
    if given is not None:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = given
        about.ProcedureCodeSequence = [code]
    result = tiny_result()
    report = report_of(replace(result, study=replace(result.study, modality=modality)), about)
    assert coded(report, "Procedure reported") == [expected]


def test_codes_are_those_of_the_standard() -> None:
    known = {code.value: code.meaning for code in codes.cid100.concepts.values()}
    for code in (*writer._PROCEDURES.values(), writer._ANY_PROCEDURE):
        assert known[code.value] == code.meaning


def test_the_same_result_gives_the_same_bytes_and_another_another_object() -> None:
    once, again = (files(tiny_result()) for _ in range(2))
    assert once == again
    slower = replace(tiny_result(), timing_ms={"total": 7.0})
    assert report_of(slower).SOPInstanceUID == report_of(tiny_result()).SOPInstanceUID
    other = report_of(replace(tiny_result(), probability=0.71))
    assert other.SOPInstanceUID != report_of(tiny_result()).SOPInstanceUID


def test_an_image_of_several_frames_is_evidence_once() -> None:
    frames = tuple(Evidence("image", CT, f"{UID}.5", at) for at in range(1, 5))
    report = report_of(replace(tiny_result(), evidence=frames))
    [series] = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert len(series.ReferencedSOPSequence) == 1
    assert len(list(items(report, "IMAGE"))) == 1


def test_every_input_has_its_series() -> None:
    evidence = tuple(Evidence(name, CT, f"{UID}.{name}", None) for name in ("1", "2"))
    other = source()
    other.SeriesInstanceUID = f"{UID}.8"
    report = report_of(replace(tiny_result(), evidence=evidence), source(), other)
    found = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert {one.SeriesInstanceUID for one in found} == {f"{UID}.9", f"{UID}.8"}


@pytest.mark.parametrize("name", STUDIED)
def test_dciodvfy_finds_no_error(name: str, tmp_path: Path) -> None:
    dciodvfy = need("dciodvfy")
    file = tmp_path / REPORT
    long = {"quiet": LabelCode("SCT", "1234567", "quiet"), "loud": LabelCode("99LAB", "L" * 16, "l" * 64)}
    result = RESULTS[name]()
    file.write_bytes(files(replace(result, labels=long | (result.labels or {})))[REPORT])
    assert "Error" not in judged(dciodvfy, file)
    broken = dcmread(file)
    del broken.PreliminaryFlag, broken.CompletionFlag
    broken.save_as(file)
    assert "Error" in judged(dciodvfy, file)


def judged(dciodvfy: str, file: Path) -> str:
    ran = subprocess.run([dciodvfy, "-new", str(file)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert "Comprehensive3DSR" in ran.stderr + ran.stdout
    return ran.stderr + ran.stdout


def test_dcmtk_reads_what_was_written(tmp_path: Path) -> None:
    dsrdump, dsr2html = need("dsrdump"), need("dsr2html")
    file = tmp_path / REPORT
    file.write_bytes(files(tiny_result())[REPORT])
    tree = output(dsrdump, file)
    assert "Comprehensive 3D SR" in tree and "PRELIMINARY" in tree and "UNVERIFIED" in tree
    assert '"Probability of loud")="0.7" (1,UCUM,"no units")' in tree
    output(dsr2html, file, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "RESEARCH, unverified. loud, probability 0.700." in page and "PRELIMINARY" in page


def output(*command: object) -> str:
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout + ran.stderr


# What cannot be written


def test_a_network_that_reads_no_study() -> None:
    with refused(StudyError, "reads none", option="dicom_out"):
        dicom_files(tiny_result(), {}, picture)


def test_a_study_that_is_not_of_dicom_images() -> None:
    result = tiny_result()
    with refused(StudyError, "image", "not read from DICOM images", "structured report", option="dicom_out"):
        dicom_files(result, {"image": SourceImages((), None, None)}, picture)
    with refused(StudyError, "t2", "not read from DICOM images"):
        dicom_files(result, sources(result) | {"t2": SourceImages((), None, None)}, picture)


def test_a_deidentified_result() -> None:
    result = RESULTS["deidentified"]()
    with refused(StudyError, "deidentified", option="deidentify"):
        files(result)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_header_without_a_uid_that_every_object_has(keyword: str) -> None:
    bare = source()
    delattr(bare, keyword)
    with refused(StudyError, "image", keyword, option="dicom_out"):
        files(tiny_result(), bare)


def test_images_without_a_uid() -> None:
    nameless = SourceImages((SourceImage(CT, f"{UID}.1"), None, SourceImage(CT, "")), encoded_header(source()), None)
    with refused(StudyError, "image", "SOPInstanceUID", 1, 2, option="dicom_out"):
        dicom_files(tiny_result(), {"image": nameless}, picture)


@pytest.mark.parametrize("kinds", ["sr;sc", "SR", [], ["sc", "pdf"], ""])
def test_objects_that_there_are_none_of(kinds: str | list[str]) -> None:
    with refused(UsageError, "dicom_objects", "sr, sc", option="dicom_objects", value="sr,sc"):
        dicom_files(tiny_result(), sources(tiny_result()), picture, kinds)


def test_those_that_were_asked_for() -> None:
    result = tiny_result()
    for kinds in ("sc", ["sc"], " sc,sc"):
        assert list(dicom_files(result, sources(result), picture, kinds)) == [CAPTURE]
    assert list(dicom_files(result, sources(result), picture, "sc,sr")) == [REPORT, CAPTURE]


def test_a_header_that_says_something_else_gives_another_object() -> None:
    same, other = report_of(tiny_result()), report_of(tiny_result(), source(PatientName="Corrected^Name"))
    assert same.SOPInstanceUID != other.SOPInstanceUID and same.SeriesInstanceUID == other.SeriesInstanceUID
    assert other.file_meta.MediaStorageSOPInstanceUID == other.SOPInstanceUID


def test_without_highdicom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with refused(BackendError, "highdicom", command=install_command("dicom")):
        files(tiny_result())


def test_an_answer_writes_it_into_a_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    study = save(ct_series(hounsfield(8, SIZE, SIZE)), tmp_path / "study")
    answer = answer_study(study, {"sex": "F", "age": 63}, bundle=tiny_bundle, backend="onnxruntime")
    file, capture = answer.write_dicom(tmp_path / "out" / "objects")
    assert capture.name == CAPTURE and dcmread(capture).PatientID == dcmread(file).PatientID
    report = dcmread(file)
    assert report.PatientID == dcmread(next(study.iterdir())).PatientID
    [series] = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert len(series.ReferencedSOPSequence) == 8
    assert values(report)[f"Probability of {answer.result.label}"] == pytest.approx(answer.result.probability)
    with refused(UsageError, "objects", "not empty", option="force"):
        answer.write_dicom(file.parent)
    assert answer.write_dicom(file.parent, force=True) == (file, capture)
    (file.parent / "notes.txt").touch()
    with refused(UsageError, "objects", "secondary-capture.dcm of another answer", option="dicom_out"):
        answer.write_dicom(file.parent, objects="sr", force=True)
    (file.parent / "parametric-map-2.dcm").touch()
    with refused(UsageError, "objects", "parametric-map-2.dcm of another answer", option="dicom_out"):
        answer.write_dicom(file.parent, force=True)
    assert sorted(path.name for path in file.parent.iterdir())[0] == "notes.txt"
    with refused(UsageError, "structured-report.dcm", option="dicom_out"):
        answer.write_dicom(file, force=True)
