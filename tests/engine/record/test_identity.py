"""Whose a study and a record must say that they are, by what the network reads."""

from typing import Any

import pytest

from mmcaf_engine.errors import MmcafError, RecordError, StudyError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.clinical import Clinical
from mmcaf_engine.record.identity import check_identity
from mmcaf_engine.record.record import Record
from mmcaf_engine.volume import PatientHeader
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
OF_A, OF_NOBODY = (Clinical(Record({}, {}, patient_ids=names)) for names in (("A",), ()))
NONE = Clinical()


@pytest.mark.parametrize(
    ("spec", "clinical", "header", "error"),
    [
        (BOTH, OF_A, NAMED, None),
        (BOTH, OF_A, NAMELESS, StudyError),
        (BOTH, OF_NOBODY, NAMED, RecordError),
        (BOTH, NONE, NAMED, RecordError),
        (BOTH, OF_NOBODY, NAMELESS, StudyError),
        (STUDY, NONE, NAMED, None),
        (STUDY, NONE, NAMELESS, StudyError),
        (RECORD, OF_A, NAMELESS, None),
        (RECORD, OF_NOBODY, NAMELESS, RecordError),
    ],
)
def test_who_must_be_named(
    spec: Manifest, clinical: Clinical, header: PatientHeader, error: type[MmcafError] | None
) -> None:
    if error is None:
        assert check_identity(clinical, spec, header) == ()
        assert check_identity(clinical, spec, header, allow_id_mismatch=True) == ()
        return
    with pytest.raises(error):
        check_identity(clinical, spec, header)
    assert len(check_identity(clinical, spec, header, allow_id_mismatch=True)) == 1
    optional = spec.model_copy(update={"identity": "optional"})
    assert check_identity(clinical, optional, header) == ()
