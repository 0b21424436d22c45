"""Whose a study and a record must say that they are, by what the network reads."""

from typing import Any

import pytest

from mmcaf_engine.errors import MmcafError, RecordError, StudyError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.identity import Compared, compare_identity
from mmcaf_engine.volume import PatientHeader
from refusals import refused
from tiny_bundle import tiny_manifest
from tiny_image import TABLE, tiny_image_manifest

FILES = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "golden.npz")}
AGE = {"name": "table", "kind": "table", "shape": ["N", 1]}


def manifest(fields: dict[str, Any], identity: str = "required") -> Manifest:
    return Manifest.model_validate({**fields, "files": FILES, "identity": identity})


BOTH = manifest(tiny_manifest())
STUDY = manifest(tiny_image_manifest())
RECORD = manifest({**tiny_image_manifest(), "inputs": [AGE], "image": None, "table": TABLE})

NAMED, NAMELESS = PatientHeader(patient_id="A"), PatientHeader()


@pytest.mark.parametrize(
    ("spec", "ids", "header", "error"),
    [
        (BOTH, ("A",), NAMED, None),
        (BOTH, ("A",), NAMELESS, StudyError),
        (BOTH, (), NAMED, RecordError),
        (BOTH, (), NAMELESS, StudyError),
        (STUDY, (), NAMED, None),
        (STUDY, (), NAMELESS, StudyError),
        (RECORD, ("A",), NAMELESS, None),
        (RECORD, (), NAMELESS, RecordError),
    ],
)
def test_who_must_be_named(
    spec: Manifest, ids: tuple[str, ...], header: PatientHeader, error: type[MmcafError] | None
) -> None:
    optional = compare_identity(ids, spec.model_copy(update={"identity": "optional"}), header)
    assert optional.warnings == ()
    if error is None:
        expected = Compared("matched" if spec is BOTH else "not_compared")
        assert compare_identity(ids, spec, header) == optional == expected
        assert compare_identity(ids, spec, header, allow_id_mismatch=True) == expected
        return
    with pytest.raises(error):
        compare_identity(ids, spec, header)
    accepted = compare_identity(ids, spec, header, allow_id_mismatch=True)
    assert accepted.identity == "overridden" and len(accepted.warnings) == 1
    assert optional.identity == "not_compared"


@pytest.mark.parametrize(
    ("ids", "header", "said"),
    [
        ((), NAMED, [("record", "patient_id")]),
        (("A",), NAMELESS, [("study", "(0010,0020)")]),
        ((), NAMELESS, [("study", "(0010,0020)"), ("record", "patient_id")]),
        (("A",), NAMED, []),
    ],
)
def test_what_ties_record_and_study_is_remarked_on_where_it_is_absent(
    ids: tuple[str, ...], header: PatientHeader, said: list[tuple[str, str]]
) -> None:
    optional = BOTH.model_copy(update={"identity": "optional"})
    remarks = compare_identity(ids, optional, header).remarks
    assert len(remarks) == len(said)
    for remark, words in zip(remarks, said, strict=True):
        assert all(word in remark for word in words)
    for alone in (STUDY, RECORD):
        assert compare_identity(ids, alone.model_copy(update={"identity": "optional"}), header).remarks == ()


def test_another_patients_record_is_refused_without_naming_anyone() -> None:
    optional, other = BOTH.model_copy(update={"identity": "optional"}), PatientHeader(patient_id="BETA")
    for spec in (BOTH, optional):
        with refused(RecordError, "(0010,0020)", "PatientID", "patient_id", option="allow_id_mismatch") as caught:
            compare_identity(("ALPHA",), spec, other)
        assert "ALPHA" not in str(caught.value) and "BETA" not in str(caught.value)
        accepted = compare_identity(("ALPHA",), spec, other, allow_id_mismatch=True)
        assert accepted.identity == "overridden" and len(accepted.warnings) == 1
        assert compare_identity(("ALPHA", "BETA"), spec, other) == Compared("matched")


def test_an_identifier_that_the_patient_no_longer_has_is_warned_of() -> None:
    found = compare_identity(("NEW",), BOTH, NAMED, former_ids=("A",))
    assert found.identity == "matched" and len(found.warnings) == 1 and "A " not in found.warnings[0]
    assert compare_identity(("A",), BOTH, NAMED, former_ids=("A",)) == Compared("matched")
    optional = BOTH.model_copy(update={"identity": "optional"})
    for spec in (BOTH, optional):
        with refused(RecordError, "(0010,0020)", "different patients", option="allow_id_mismatch"):
            compare_identity((), spec, NAMED, former_ids=("B",))
        alone = compare_identity((), spec, NAMED, former_ids=("A", "B"))
        assert alone.identity == "matched" and len(alone.warnings) == 1
