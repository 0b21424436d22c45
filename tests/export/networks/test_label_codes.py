"""Labels that the exporter gives a code have one that exists and means that; the others have none."""

import pytest
from pydicom.sr.codedict import codes
from torch import nn

from mmcaf_engine.manifest import Code
from mmcaf_export.networks.cmasg import entry as cmasg
from mmcaf_export.networks.cmasg.config import CmasgConfig
from mmcaf_export.networks.medfusionnet import entry as medfusionnet
from mmcaf_export.networks.mmcaf import entry as mmcaf

KNOWN = {**mmcaf.LABEL_CODES, **cmasg.LABEL_CODES, **medfusionnet.LABEL_CODES}


@pytest.mark.parametrize(("label", "code"), KNOWN.items(), ids=KNOWN)
def test_a_code_is_one_of_snomed_ct_with_its_meaning(label: str, code: Code) -> None:
    name = code.meaning.title().replace(" Of ", "Of").replace(" ", "")
    known = getattr(codes.SCT, name)
    assert (code.scheme, code.value, code.meaning) == ("SCT", known.value, known.meaning)
    words = {word.casefold() for word in code.meaning.split()}
    assert words & {word.casefold() for word in label.replace("-", " ").split()}


@pytest.mark.parametrize(
    ("classes", "metadata", "coded"),
    [
        (2, {}, ["normal", "abnormal"]),
        (3, {}, []),
        (2, {"labels": '["abnormal", "odd"]'}, ["abnormal"]),
        (3, {"labels": '["normal", "abnormal", "odd"]'}, []),
    ],
    ids=["two", "three", "named", "three-named"],
)
def test_labels_of_other_names_have_none(classes: int, metadata: dict[str, str], coded: list[str]) -> None:
    config = CmasgConfig(classes=classes)
    described = cmasg.CmasgEntry().describe(config, nn.Module(), metadata)
    assert list(described["label_codes"]) == coded and len(described["labels"]) == classes
