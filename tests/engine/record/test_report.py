"""Reports: as a text file, as fields of a record, in a FHIR Bundle; and each that is refused, without quoting it."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.clinical import Clinical, expect_clinical, read_clinical
from mmcaf_engine.record.report import MAX_REPORT_BYTES, read_report
from mmcaf_engine.record.tokenizer import Tokenizer
from mmcaf_engine.volume import PatientHeader
from refusals import Fact, check_facts, refused
from tiny_bundle import tiny_manifest
from tiny_report import PIECES, make_tiny_report, report_manifest

SECRET = "QUIXANO"
TABLE = {"sex": "F", "age": 63}
FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz", "vocabulary.txt")}


def manifest(*, table: bool = True, **text: Any) -> Manifest:
    """Of the tiny network; without its table, and with other words about its text, if asked for."""
    document = {**report_manifest(), "files": FILES}
    document["text"] = {**document["text"], **text}
    if not table:
        document["inputs"] = [entry for entry in document["inputs"] if entry["name"] != "table"]
        document["table"] = None
    return Manifest.model_validate(document)


BOTH, ALONE = manifest(), manifest(table=False)
EMPTY = manifest(missing="empty")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_report(tmp_path_factory.mktemp("report") / "tiny.mmcaf") / "vocabulary.txt"


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(content: bytes | str, name: str = "report.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(vocabulary: Path, record: Any, report: Path | bytes | None = None, spec: Manifest = BOTH) -> Clinical:
    """As `prepare` reads them."""
    assert spec.text is not None
    expect_clinical(record, report, spec)
    return read_clinical(record, report, spec, Tokenizer(spec.text, vocabulary), PatientHeader())


def said(clinical: Clinical) -> str:
    """The report as its pieces tell it."""
    assert clinical.text is not None
    return " ".join(PIECES[number] for number in clinical.text.ids[0, 1 : 1 + clinical.text.kept])


@pytest.mark.parametrize("ending", ["", "\n", "\r\n\r\n"], ids=["none", "newline", "blank-line"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order-mark"])
def test_a_text_file_beside_the_record(vocabulary: Path, file: Callable[..., Path], mark: bytes, ending: str) -> None:
    clinical = read(vocabulary, TABLE, file(mark + f"New nodule.{ending}".encode()))
    assert said(clinical) == "new nodule ." and clinical.warnings == ()
    assert clinical.record is not None and clinical.record.values == {"sex": "F", "age": 63}


def test_a_text_file_alone_where_there_is_no_table(vocabulary: Path, file: Callable[..., Path]) -> None:
    assert said(read(vocabulary, file("Small XXXX effusion"), spec=ALONE)) == "small effusion"
    assert said(read(vocabulary, None, file("small effusion", "other.name"), spec=ALONE)) == "small effusion"


@pytest.mark.parametrize("spec", [BOTH, ALONE], ids=["with-table", "text-alone"])
def test_fields_of_the_record(vocabulary: Path, spec: Manifest) -> None:
    table = TABLE if spec is BOTH else {}
    clinical = read(vocabulary, {"Impression": "no change", **table, "FINDINGS": "Lungs clear."}, spec=spec)
    assert said(clinical) == "lungs clear . no change" and clinical.warnings == ()


@pytest.mark.parametrize("absent", [{}, {"impression": None}], ids=["absent", "null"])
def test_one_of_two_fields_is_enough_and_remarked_on(vocabulary: Path, absent: dict[str, Any]) -> None:
    clinical = read(vocabulary, {**TABLE, "findings": "lungs clear", **absent})
    assert said(clinical) == "lungs clear"
    assert clinical.warnings == ("impression not in the record; the report was read without.",)


def test_what_was_cut_is_told_in_numbers(vocabulary: Path) -> None:
    clinical = read(vocabulary, {**TABLE, "findings": "nodule " * 25, "impression": "clear"})
    assert said(clinical) == " ".join(["nodule"] * 10)
    assert clinical.warnings == ("16 of 26 word pieces of the report were left out, at its end; the network reads 10.",)


@pytest.mark.parametrize(
    ("text", "remarked"),
    [("lung Легкие right left", False), ("lung Легкие чистые left", True)],
    ids=["a-quarter", "a-half"],
)
def test_a_report_in_another_language_is_remarked_on(vocabulary: Path, text: str, remarked: bool) -> None:
    warnings = read(vocabulary, {**TABLE, "findings": text, "impression": ""}).warnings
    told = ("2 of 4 report tokens are unknown to the network; the report may be in another language.",)
    assert warnings == (told if remarked else ())


EMPTY_REPORTS: dict[str, dict[str, Any]] = {
    "empty": {"findings": "", "impression": ""},
    "blanks": {"findings": " \n\t"},
    "markers-alone": {"findings": "XXXX XXXX"},
    "control-characters": {"findings": "\u0007\u200b"},
}


@pytest.mark.parametrize("fields", [*EMPTY_REPORTS.values(), {}], ids=[*EMPTY_REPORTS, "absent"])
def test_an_empty_report_is_refused(vocabulary: Path, fields: dict[str, Any]) -> None:
    with refused(RecordError, "report", "tiny-report", "word" if fields else "record") as caught:
        read(vocabulary, {**TABLE, **fields})
    [remedy] = caught.value.remedies
    assert (remedy.option, remedy.value) == ("report", "FILE.txt")
    check_facts(remedy.text, "record", "findings", "impression")


@pytest.mark.parametrize("fields", [*EMPTY_REPORTS.values(), {}], ids=[*EMPTY_REPORTS, "absent"])
def test_an_empty_report_is_read_so_where_the_bundle_says(vocabulary: Path, fields: dict[str, Any]) -> None:
    clinical = read(vocabulary, {**TABLE, **fields}, spec=EMPTY)
    assert clinical.text is not None and clinical.text.ids.tolist() == [[2, 3, 0, 0]]
    assert clinical.text.mask.tolist() == [[1, 1, 0, 0]]
    assert "the network answered without one" in clinical.warnings[-1]


def test_an_empty_file_is_refused(vocabulary: Path, file: Callable[..., Path]) -> None:
    with refused(RecordError, "report", "word", "tiny-report", option="report", value="FILE.txt"):
        read(vocabulary, TABLE, file(""))


SECRET_TEXT = f"{SECRET} hat einen Erguß"

REFUSED: dict[str, tuple[bytes, tuple[Fact, ...], str]] = {
    "latin-1": (
        SECRET_TEXT.encode("latin-1"),
        ("UTF-8", "0xdf", "offset 22"),
        "iconv -f WINDOWS-1252 -t UTF-8",
    ),
    "utf-16": (SECRET_TEXT.encode("utf-16"), ("UTF-16LE", "UTF-8"), "iconv -f UTF-16LE -t UTF-8"),
    "utf-16-be": (
        b"\xfe\xff" + SECRET_TEXT.encode("utf-16-be"),
        ("UTF-16BE", "UTF-8"),
        "iconv -f UTF-16BE -t UTF-8",
    ),
    "utf-16-without-mark": (SECRET.encode("utf-16-le"), ("zero byte", "offset 1"), "UTF-8"),
    "zero-byte": (f"{SECRET}\0".encode(), ("zero byte", "offset 7"), "UTF-8"),
    "pdf": (b"%PDF-1.7 " + SECRET.encode(), ("PDF",), "UTF-8"),
    "docx": (b"PK\x03\x04" + SECRET.encode(), ("zip", "DOCX"), "UTF-8"),
    "rtf": (b"{\\rtf1 " + SECRET.encode(), ("RTF",), "UTF-8"),
    "huge": (SECRET.encode() * (MAX_REPORT_BYTES // 7 + 1), (f"{MAX_REPORT_BYTES} bytes",), "text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_text_is_refused(name: str, file: Callable[..., Path]) -> None:
    content, facts, remedy = REFUSED[name]
    for source, said in ((file(content), "report.txt"), (content, "report")):
        with refused(RecordError, said, *facts) as caught:
            read_report(source)
        check_facts(caught.value.remedy, remedy)
        assert SECRET not in str(caught.value)


def test_the_content_of_a_file_is_read_as_the_file_is(vocabulary: Path, file: Callable[..., Path]) -> None:
    content = b"\xef\xbb\xbfNew nodule."
    assert said(read(vocabulary, TABLE, content)) == said(read(vocabulary, TABLE, file(content))) == "new nodule ."


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with refused(RecordError, "report.txt", "no such file"):
        read_report(tmp_path / "report.txt")
    with refused(RecordError, str(tmp_path), "file", "directory"):
        read_report(tmp_path)


def test_two_reports_are_refused(vocabulary: Path, file: Callable[..., Path]) -> None:
    with refused(RecordError, "report.txt", "record", "second", option="report") as caught:
        read(vocabulary, {**TABLE, "findings": SECRET}, file("clear"))
    assert SECRET not in str(caught.value)


def test_a_report_that_is_no_string_is_refused(vocabulary: Path) -> None:
    with refused(RecordError, "record", "findings", "list", "string") as caught:
        read(vocabulary, {**TABLE, "findings": [SECRET]})
    assert SECRET not in str(caught.value)


def test_a_text_file_for_a_record_that_also_has_a_table_is_refused(vocabulary: Path, file: Callable[..., Path]) -> None:
    path = file("clear")
    with refused(RecordError, "report.txt", "sex", "age", option="report", value=str(path)):
        read(vocabulary, path)


@pytest.mark.parametrize(
    ("record", "report", "spec", "facts", "remedy"),
    [
        (None, None, ALONE, ("tiny-report", "report"), {"option": "report", "value": "FILE.txt"}),
        (None, "report.txt", BOTH, ("tiny-report", "record", "sex", "age"), {"option": "record"}),
        (
            TABLE,
            "report.txt",
            Manifest.model_validate({**tiny_manifest(), "files": FILES}),
            ("tiny", "report"),
            {"option": "report"},
        ),
    ],
    ids=["nothing", "report-without-table", "no-text-network"],
)
def test_what_was_not_asked_for_or_not_given_is_said_at_once(
    record: Any, report: str | None, spec: Manifest, facts: tuple[Fact, ...], remedy: dict[str, str]
) -> None:
    with refused(RecordError, *facts, **remedy):
        expect_clinical(record, report, spec)


def fhir(*reports: dict[str, Any]) -> dict[str, Any]:
    patient = {"resourceType": "Patient", "id": "7", "gender": "female", "birthDate": "1961-05-01"}
    resources = [patient, *({"resourceType": "DiagnosticReport", "status": "final", **report} for report in reports)]
    return {"resourceType": "Bundle", "entry": [{"resource": resource} for resource in resources]}


def form(text: str, kind: str = "text/plain") -> dict[str, Any]:
    return {"contentType": kind, "data": base64.b64encode(text.encode()).decode()}


ONLY_CONCLUSION = "the record's report has no plain text in presentedForm; its conclusion alone was read."
FHIR: dict[str, tuple[tuple[dict[str, Any], ...], str, tuple[str, ...]]] = {
    "text": (({"presentedForm": [form("Lungs clear.")], "conclusion": "new nodule"},), "lungs clear .", ()),
    "with-charset": (({"presentedForm": [form("left lung", "text/plain; charset=utf-8")]},), "left lung", ()),
    "second-form": (({"presentedForm": [form("x", "text/html"), form("left lung")]},), "left lung", ()),
    "conclusion": (({"conclusion": "small effusion"},), "small effusion", (ONLY_CONCLUSION,)),
    "last": (
        (
            {"effectiveDateTime": "2024-03-02", "presentedForm": [form("new nodule")]},
            {"effectiveDateTime": "2023-01-01", "presentedForm": [form("old nodule")]},
        ),
        "new nodule",
        ("the record holds 2 reports; the last one was read.",),
    ),
    "same-day": (
        ({"presentedForm": [form("old nodule")]}, {"presentedForm": [form("new nodule")]}),
        "new nodule",
        ("the record holds 2 reports; the last one was read.",),
    ),
    "of-another": (
        (
            {"presentedForm": [form("left lung")]},
            {"subject": {"reference": "Patient/8"}, "effectiveDateTime": "2030", "presentedForm": [form("no")]},
        ),
        "left lung",
        ("1 report(s) in the record refer to another patient and were left out.",),
    ),
    "entered-in-error": (
        ({"presentedForm": [form("left lung")]}, {"status": "entered-in-error", "presentedForm": [form("no")]}),
        "left lung",
        (),
    ),
}


@pytest.mark.parametrize("name", FHIR)
def test_a_fhir_bundle_holds_the_report(name: str, vocabulary: Path, tmp_path: Path) -> None:
    reports, text, warnings = FHIR[name]
    path = tmp_path / "record.json"
    path.write_text(json.dumps(fhir(*reports)))
    clinical = read(vocabulary, path, spec=ALONE)
    assert said(clinical) == text and clinical.warnings == warnings


@pytest.mark.parametrize(("dated", "remarked"), [({}, True), ({"issued": "soon"}, True), ({"issued": "2024"}, False)])
def test_a_fhir_report_without_a_date_is_remarked_on(dated: dict[str, Any], remarked: bool, vocabulary: Path) -> None:
    clinical = read(vocabulary, fhir({"presentedForm": [form("Lungs clear.")], **dated}), spec=ALONE)
    assert any("no date" in remark for remark in clinical.remarks) == remarked


@pytest.mark.parametrize(
    "reports",
    [(), ({"presentedForm": [{"contentType": "application/pdf", "data": "JVBERi0="}]},), ({"status": "cancelled"},)],
    ids=["none", "pdf", "cancelled"],
)
def test_a_fhir_bundle_without_a_report_is_refused(reports: tuple[dict[str, Any], ...], vocabulary: Path) -> None:
    with refused(RecordError, "report", "record", option="report", value="FILE.txt"):
        read(vocabulary, fhir(*reports), spec=ALONE)


@pytest.mark.parametrize("data", ["####", base64.b64encode(SECRET_TEXT.encode("latin-1")).decode()])
def test_a_fhir_report_that_is_no_text_is_refused(data: str, vocabulary: Path) -> None:
    record = fhir({"presentedForm": [{"contentType": "text/plain", "data": data}]})
    with refused(RecordError, "presentedForm.data", "Base64", "UTF-8") as caught:
        read(vocabulary, record, spec=ALONE)
    assert SECRET not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_report(file: Callable[..., Path]) -> None:
    text = "Größe: 4 mm.\r\n"
    assert (
        read_report(file(text)) == read_report(file("\ufeff" + text)) == read_report(("\ufeff" + text).encode()) == text
    )


def test_the_largest_report(file: Callable[..., Path]) -> None:
    assert len(read_report(file(b"x" * MAX_REPORT_BYTES))) == MAX_REPORT_BYTES
    for source in (file(b"x" * (MAX_REPORT_BYTES + 1)), b"x" * (MAX_REPORT_BYTES + 1)):
        with pytest.raises(RecordError):
            read_report(source)


def test_arrays_by_the_names_of_the_inputs(vocabulary: Path) -> None:
    clinical = read(vocabulary, {**TABLE, "findings": "chest chest", "impression": "chest"})
    arrays = clinical.inputs(BOTH)
    assert clinical.text is not None and clinical.record is not None
    assert arrays[BOTH.input("tokens").name] is clinical.text.ids
    assert arrays[BOTH.input("token_mask").name] is clinical.text.mask
    assert (arrays[BOTH.input("table").name] == clinical.record.table()).all() and len(arrays) == 3
    assert not (clinical.text.ids == clinical.text.mask).all()


def test_contradictions_with_the_study_are_remarks_of_the_record(vocabulary: Path) -> None:
    assert BOTH.text is not None
    record, header = {**TABLE, "findings": "no nodule.", "impression": "clear."}, PatientHeader(sex="M", age=40.0)
    agreed = read(vocabulary, record).warnings
    found = read_clinical(record, None, BOTH, Tokenizer(BOTH.text, vocabulary), header).warnings
    assert len(found) == len(agreed) + 2 and set(agreed) < set(found)


@pytest.mark.parametrize(("said", "as_if"), [("noXXXXnodule", "no nodule"), ("XXXX", ""), ("lung XXXX.", "lung .")])
def test_a_marker_is_a_blank(said: str, as_if: str, vocabulary: Path) -> None:
    assert BOTH.text is not None
    tokenizer = Tokenizer(BOTH.text, vocabulary)
    assert tokenizer.tokenise(said).ids.tolist() == tokenizer.tokenise(as_if).ids.tolist()
