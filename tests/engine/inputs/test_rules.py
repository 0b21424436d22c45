"""What a manifest asks of a study and a record before their values count: whose they are, and what was examined."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_factory import PHI, ct_series, enhanced_ct, hounsfield, save, write
from mmcaf_engine.errors import MmcafError, RecordError, StudyError
from mmcaf_engine.inputs.prepare import Prepared, prepare
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.tokenizer import Tokenizer
from mmcaf_engine.study import read_study
from refusals import Fact, refused
from tiny_bundle import SIZE, tiny_manifest
from tiny_image import TABLE, radiograph, tiny_image_manifest
from tiny_report import PIECES, report_manifest

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

FILE = {"sha256": "0" * 64, "size": 0}
FILES = {"model.onnx": FILE, "golden.npz": FILE, "vocabulary.txt": FILE}
RECORD = {"sex": "F", "age": 63}
OWN = {**RECORD, "patient_id": PHI["PatientID"]}
RULE = {"accepted": ["CHEST", "LUNG"], "warned": ["ABDOMEN"], "refused": ["HEAD"]}


def lung(**changes: Any) -> Manifest:
    return Manifest.model_validate({**tiny_manifest(), "files": FILES, **changes})


def radiographic(**changes: Any) -> Manifest:
    return Manifest.model_validate({**tiny_image_manifest(), "files": FILES, **changes})


def chest(folder: Path, **elements: Any) -> Path:
    """A CT series of the tiny network's matrix."""
    images = ct_series(hounsfield(4, SIZE, SIZE))
    for image in images:
        for keyword, value in elements.items():
            setattr(image, keyword, value)
    return save(images, folder)


def tokenizer(folder: Path, manifest: Manifest) -> Tokenizer:
    assert manifest.text is not None
    vocabulary = folder / "vocabulary.txt"
    vocabulary.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return Tokenizer(manifest.text, vocabulary)


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        ("CHEST", None),
        ("lung", None),
        (" Chest", None),
        ("", None),
        ("KNEE", "is KNEE, which this network was not made for; this network is for CHEST, LUNG."),
        ("abdomen", "is abdomen, which this network was not made for"),
    ],
    ids=["accepted", "lower-case", "blanks", "absent", "unknown", "warned"],
)
def test_body_part(value: str, warning: str | None, tmp_path: Path) -> None:
    study = chest(tmp_path / "ct", BodyPartExamined=value)
    prepared = prepare(study, RECORD, lung(body_part=RULE))
    assert prepared.series[0].facts.body_part == value.strip()
    said = [text for text in prepared.study_warnings if "BodyPartExamined" in text]
    assert len(said) == (warning is not None)
    assert warning is None or warning in said[0]
    assert prepare(study, RECORD, lung()).study_warnings == ()


def coded(value: str, scheme: str = "SCT", meaning: str = "a region") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def nested(keyword: str, sequence: list[Dataset]) -> list[Dataset]:
    item = Dataset()
    setattr(item, keyword, sequence)
    return [item]


HEAD, CHEST = coded("69536005"), coded("816094009")
SAID: dict[str, tuple[dict[str, Any], str]] = {
    "region": ({"AnatomicRegionSequence": CHEST}, ""),
    "older-region": ({"AnatomicRegionSequence": coded("T-D3000", "SRT")}, ""),
    "region-by-its-meaning": ({"AnatomicRegionSequence": coded("X1", "99OWN", "Lung")}, ""),
    "another-region": ({"AnatomicRegionSequence": coded("72696002")}, "AnatomicRegionSequence is KNEE"),
    "part-and-another-region": (
        {"BodyPartExamined": "CHEST", "AnatomicRegionSequence": coded("818981001")},
        "AnatomicRegionSequence is ABDOMEN",
    ),
    "protocol": ({"ProtocolName": "Chest routine"}, ""),
    "protocol-of-two": ({"ProtocolName": "HEAD_CHEST"}, ""),
    "another-study": ({"StudyDescription": "CT Head"}, "StudyDescription names HEAD"),
    "another-series": ({"SeriesDescription": "Abdomen 5 mm"}, "SeriesDescription names ABDOMEN"),
    "series-of-two": ({"SeriesDescription": "Chest and abdomen"}, ""),
    "another-protocol": ({"ProtocolName": "1.2_Head-Routine"}, "ProtocolName names HEAD"),
    "part-and-another-protocol": ({"BodyPartExamined": "CHEST", "ProtocolName": "HEAD"}, "ProtocolName names HEAD"),
    "protocol-of-another-word": ({"BodyPartExamined": "CHEST", "ProtocolName": "headphones"}, ""),
    "procedure": (
        {"ProcedureCodeSequence": coded("1", "99OWN", "CT of abdomen")},
        "ProcedureCodeSequence names ABDOMEN",
    ),
    "requested-procedure": (
        {"RequestedProcedureCodeSequence": coded("1", "99OWN", "CT Head w/o contrast")},
        "RequestedProcedureCodeSequence names HEAD",
    ),
    "request": (
        {
            "RequestAttributesSequence": nested(
                "ScheduledProtocolCodeSequence", coded("1", "99OWN", "Head without contrast")
            )
        },
        "ScheduledProtocolCodeSequence names HEAD",
    ),
}


@pytest.mark.parametrize(("elements", "warning"), SAID.values(), ids=SAID)
def test_what_else_says_the_body_part(elements: dict[str, Any], warning: str, tmp_path: Path) -> None:
    study = chest(tmp_path / "ct", **elements)
    prepared = prepare(study, RECORD, lung(body_part=RULE))
    said = [text for text in prepared.study_warnings if "this network" in text]
    assert [warning in text for text in said] == [True] * bool(warning)
    assert not [text for text in prepared.remarks if "body" in text]
    assert prepare(study, RECORD, lung()).study_warnings == ()


@pytest.mark.parametrize("form", ["ct", "enhanced", "enhanced-of-each", "radiograph"])
def test_a_coded_region_that_is_refused(form: str, tmp_path: Path) -> None:
    if form == "radiograph":
        path = write(radiograph(AnatomicRegionSequence=HEAD), tmp_path / form)
        manifest = radiographic(body_part=RULE)
    elif form == "ct":
        path, manifest = chest(tmp_path / form, AnatomicRegionSequence=HEAD), lung(body_part=RULE)
    else:
        image = enhanced_ct(hounsfield(4, SIZE, SIZE))
        groups = image.SharedFunctionalGroupsSequence if form == "enhanced" else image.PerFrameFunctionalGroupsSequence
        for group in groups:
            group.FrameAnatomySequence = nested("AnatomicRegionSequence", HEAD)
        path, manifest = write(image, tmp_path / form), lung(body_part=RULE)
    with refused(StudyError, "(0008,2218) AnatomicRegionSequence", "HEAD", "CHEST", "LUNG"):
        prepare(path, None if form == "radiograph" else RECORD, manifest)


def test_one_slice_of_a_refused_part(tmp_path: Path) -> None:
    images = ct_series(hounsfield(4, SIZE, SIZE), BodyPartExamined="CHEST")
    images[2].BodyPartExamined = "HEAD"
    with refused(StudyError, "(0018,0015) BodyPartExamined", "HEAD"):
        prepare(save(images, tmp_path / "ct"), RECORD, lung(body_part=RULE))


def test_nothing_that_says_the_body_part_is_a_remark(tmp_path: Path) -> None:
    prepared = prepare(chest(tmp_path / "ct", SeriesDescription=""), RECORD, lung(body_part=RULE))
    assert prepared.study_warnings == ()
    assert len([text for text in prepared.remarks if "which part of the body" in text]) == 1
    assert prepared.series[0].facts.body_part == ""
    said = prepare(chest(tmp_path / "said", SeriesDescription="Chest"), RECORD, lung(body_part=RULE)).remarks
    assert not any("which part of the body" in text for text in said)


def test_the_text_of_a_protocol_is_never_shown(tmp_path: Path) -> None:
    study = chest(tmp_path / "ct", ProtocolName="DOE^JANE head")
    assert "DOE" not in " ".join(prepare(study, RECORD, lung(body_part=RULE)).study_warnings)


def test_a_refused_body_part_costs_no_pixel(tmp_path: Path) -> None:
    study = chest(tmp_path / "ct", BodyPartExamined="Head")
    accepted: list[bool] = []
    with refused(StudyError, "ct", "(0018,0015) BodyPartExamined", "Head", "CHEST", "LUNG"):
        prepare(study, RECORD, lung(body_part=RULE), accepted=lambda: accepted.append(True))
    assert accepted == []


def test_a_header_that_tries_to_write_elsewhere(tmp_path: Path) -> None:
    study = chest(tmp_path / "ct", BodyPartExamined="KNEE\x1b[2J" + "X" * 200)
    warning = prepare(study, RECORD, lung(body_part=RULE)).study_warnings[0]
    assert warning.isprintable() and len(warning) < 300


def test_body_part_of_a_radiograph(tmp_path: Path) -> None:
    manifest = radiographic(body_part=RULE)
    prepared = prepare(write(radiograph(BodyPartExamined="HAND"), tmp_path / "hand"), None, manifest)
    assert prepared.image is not None and prepared.image.facts.body_part == "HAND"
    assert "is HAND, which this network was not made for" in prepared.study_warnings[0]
    with refused(StudyError, "(0018,0015) BodyPartExamined", "HEAD", "CHEST", "LUNG"):
        prepare(write(radiograph(BodyPartExamined="HEAD"), tmp_path / "head"), None, manifest)


def test_the_study_tells_its_body_part(tmp_path: Path) -> None:
    assert read_study(chest(tmp_path / "ct", BodyPartExamined="CHEST")).body_part == "CHEST"
    assert read_study(chest(tmp_path / "other")).body_part == ""


def required(record: dict[str, Any], folder: Path, *, allow: bool = False, **elements: Any) -> Prepared:
    return prepare(chest(folder, **elements), record, lung(identity="required"), allow_id_mismatch=allow)


def test_identity_that_both_tell(tmp_path: Path) -> None:
    assert required(OWN, tmp_path / "ct").record_warnings == ()
    assert prepare(chest(tmp_path / "other", PatientID=""), RECORD, lung()).record_warnings == ()


@pytest.mark.parametrize(
    ("record", "elements", "error", "facts"),
    [
        (RECORD, {}, RecordError, ("patient_id", "tiny")),
        ({**RECORD, "patient_id": None}, {}, RecordError, ("patient_id", "tiny")),
        (OWN, {"PatientID": ""}, StudyError, ("PatientID", "(0010,0020)", "tiny")),
        (RECORD, {"PatientID": ""}, StudyError, ("PatientID", "(0010,0020)", "tiny")),
        ({**RECORD, "patient_id": "OTHER"}, {}, RecordError, ("patient_id", "PatientID", "(0010,0020)")),
    ],
    ids=["record", "null", "study", "both", "other"],
)
def test_identity_that_is_required_and_not_told(
    record: dict[str, Any], elements: dict[str, Any], error: type[MmcafError], facts: tuple[Fact, ...], tmp_path: Path
) -> None:
    with refused(error, *facts) as caught:
        required(record, tmp_path / "ct", **elements)
    assert [remedy.option for remedy in caught.value.remedies] == ["allow_id_mismatch"]
    warnings = required(record, tmp_path / "again", allow=True, **elements).record_warnings
    assert len(warnings) == 1 and "accepted as asked" in warnings[0]


def test_what_is_accepted_names_what_is_not_known(tmp_path: Path) -> None:
    both = required(RECORD, tmp_path / "ct", allow=True, PatientID="").record_warnings
    assert both == ("the study and the record do not say whose it is, which tiny requires; accepted as asked.",)


def test_a_report_alone_does_not_say_whose_it_is(tmp_path: Path) -> None:
    document = {**report_manifest(), "table": None, "identity": "required", "files": FILES}
    document["inputs"] = [spec for spec in document["inputs"] if spec["kind"] != "table"]
    manifest = Manifest.model_validate(document)
    report = tmp_path / "report.txt"
    report.write_text("no nodule seen")
    study, words = chest(tmp_path / "ct"), tokenizer(tmp_path, manifest)
    with refused(RecordError, "patient_id", "tiny-report", option="allow_id_mismatch"):
        prepare(study, report, manifest, tokenizer=words)
    with refused(RecordError, "patient_id", "tiny-report", option="allow_id_mismatch"):
        prepare(study, None, manifest, report=report, tokenizer=words)
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"patient_id": PHI["PatientID"], "findings": "no nodule seen"}))
    assert prepare(study, record, manifest, tokenizer=words).clinical.text is not None


def test_identity_of_a_network_that_reads_no_record_or_no_study(tmp_path: Path) -> None:
    image = write(radiograph(), tmp_path / "image")
    assert len(prepare(image, None, radiographic(identity="required"))) == 1
    with refused(StudyError, "PatientID", "(0010,0020)", "tiny", option="allow_id_mismatch"):
        prepare(write(radiograph(PatientID=""), tmp_path / "b"), None, radiographic(identity="required"))
    alone = radiographic(
        identity="required", image=None, inputs=[{"name": "table", "kind": "table", "shape": ["N", 1]}], table=TABLE
    )
    assert np.isfinite(prepare(None, {"age": 63, "patient_id": "x"}, alone).inputs(0, alone)["table"]).all()
    with refused(RecordError, "patient_id", "tiny", option="allow_id_mismatch"):
        prepare(None, {"age": 63}, alone)


def test_rules_hold_for_a_volume_in_memory(tmp_path: Path) -> None:
    study = read_study(chest(tmp_path / "ct", BodyPartExamined="KNEE"))
    prepared = prepare(study, OWN, lung(body_part=RULE, identity="required"))
    assert prepared.series[0].facts.body_part == "KNEE"
    assert "is KNEE, which this network was not made for" in prepared.study_warnings[0]
    with refused(StudyError, "(0018,0015) BodyPartExamined", "HEAD", "CHEST", "LUNG"):
        prepare(replace(study, body_part="HEAD"), OWN, lung(body_part=RULE))
    with refused(StudyError, "PatientID", "(0010,0020)", "tiny", option="allow_id_mismatch"):
        prepare(study.volume, OWN, lung(identity="required"))
