"""The digest of a record: of the bytes that came, whatever way, and of a report after them."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.clinical import Clinical, read_clinical
from mmcaf_engine.record.document import canonical
from mmcaf_engine.record.tokenizer import TokenisedText
from mmcaf_engine.volume import PatientHeader
from tiny_bundle import tiny_manifest
from tiny_image import tiny_image_manifest
from tiny_report import report_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz", "vocabulary.txt")}
TABLE = Manifest.model_validate({**tiny_manifest(), "files": FILES})
REPORT = Manifest.model_validate({**report_manifest(), "files": FILES})
RECORD = {"sex": "F", "age": 63}
TEXT = json.dumps(RECORD, indent=3).encode()


class Whole:
    """A tokenizer that keeps one word."""

    spec = REPORT.text

    def tokenise(self, text: str) -> TokenisedText:
        ids = np.ones((1, 4), np.int64)
        return TokenisedText(ids, ids, kept=1, cut=0, unknown=0)


def read(record: Any, report: Any = None, manifest: Manifest = TABLE, **options: Any) -> Clinical:
    return read_clinical(record, report, manifest, Whole(), PatientHeader(), **options)  # type: ignore[arg-type]


def test_it_is_of_the_bytes_that_came(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(TEXT)
    assert read(file).sha256 == read(str(file)).sha256 == read(TEXT).sha256 == sha256(TEXT).hexdigest()
    table = b"sex,age\nM,20\nF,63\n"
    assert read(table, row=2).sha256 == sha256(table).hexdigest()


def test_a_report_beside_it_comes_after_it(tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_bytes(b"new nodule")
    both = sha256(TEXT + b"new nodule").hexdigest()
    assert read(TEXT, report, REPORT).sha256 == read(TEXT, b"new nodule", REPORT).sha256 == both
    within = json.dumps({**RECORD, "findings": "new nodule"}).encode()
    assert read(within, None, REPORT).sha256 == sha256(within).hexdigest()


def test_of_an_object_it_is_of_its_json_in_one_form() -> None:
    assert canonical(RECORD) == b'{"age":63,"sex":"F"}' == canonical(dict(reversed(RECORD.items())))
    assert read(RECORD).sha256 == sha256(b'{"age":63,"sex":"F"}').hexdigest()
    assert read({"sex": "F", "age": np.float64(63)}).sha256 == sha256(b'{"age":63.0,"sex":"F"}').hexdigest()


@pytest.mark.parametrize(
    ("value", "written"),
    [({"b": [1, (2.5, None)], "a": "ü"}, b'{"x":{"a":"\\u00fc","b":[1,[2.5,null]]}}'), ({1, 2}, b'{"x":"set"}')],
    ids=["nested", "no-json"],
)
def test_whatever_else_it_holds_has_a_form(value: Any, written: bytes) -> None:
    assert canonical({"x": value}) == written


def test_an_object_that_holds_itself_has_one_too() -> None:
    endless: dict[str, Any] = {}
    endless["x"] = endless
    assert canonical(endless).endswith(b'"dict"' + b"}" * 32)


def test_without_either_there_is_none() -> None:
    files = {name: FILES[name] for name in ("model.onnx", "golden.npz")}
    assert read(None, None, Manifest.model_validate({**tiny_image_manifest(), "files": files})).sha256 is None
