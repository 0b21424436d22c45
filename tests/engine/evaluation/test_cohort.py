"""Cohorts: synthetic ones equal their DICOM files; tables are read strictly, with the line of every mistake."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo import make_patient, make_phantom, record
from mmcaf_engine.demo.write_dicom import write_multiframe
from mmcaf_engine.errors import RecordError, StudyError, UsageError
from mmcaf_engine.evaluation.cases import Cohort, FileCase
from mmcaf_engine.evaluation.cohort import open_cohort
from mmcaf_engine.evaluation.cohort_table import columns_of, read_cohort
from mmcaf_engine.evaluation.synthetic import PHANTOM_LABELS, PhantomCase, demo_cohort, reads_lung
from mmcaf_engine.inputs.windows import preprocess
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.slices import SliceImages, SliceSpan
from mmcaf_engine.result.decisions import BinaryDecision
from mmcaf_engine.study import read_study
from refusals import Fact, refused

SEED = 40_000


@pytest.fixture(scope="session")
def demo_manifest() -> Manifest:
    return load_bundle(demo_bundle()).manifest


@pytest.fixture(scope="session")
def tiny_manifest(tiny_bundle_source: Path) -> Manifest:
    return load_bundle(tiny_bundle_source).manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that a table may name; they are not read."""
    for name in ("a.dcm", "b.dcm", "müller, c.dcm", "a.json", "b.json"):
        (tmp_path / name).touch()
    return tmp_path


def written(folder: Path, content: str | bytes) -> Path:
    table = folder / "cohort.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    return table


@pytest.mark.parametrize("intensity", ["hounsfield", "stored"])
def test_a_phantom_in_memory_equals_its_dicom_file(demo_manifest: Manifest, tmp_path: Path, intensity: str) -> None:
    spec = demo_manifest.preprocessing.model_copy(update={"intensity": intensity})
    manifest = demo_manifest.model_copy(update={"preprocessing": spec})
    phantom = make_phantom(SEED)
    (tmp_path / "record.json").write_text(json.dumps(record(phantom.patient)))
    table = written(tmp_path, f"study,record\n{write_multiframe(phantom, tmp_path / 'study.dcm').name},record.json\n")
    (from_file,) = read_cohort(table, manifest)
    loaded, expected = PhantomCase(SEED).load(manifest), from_file.load(manifest)
    (rendered,), (read,) = loaded.series, expected.series
    np.testing.assert_array_equal(rendered.windows.slices, read.windows.slices)
    assert loaded.starts == expected.starts
    assert loaded.record == expected.record and loaded.record_warnings == expected.record_warnings == ()
    study = read_study(tmp_path / "study.dcm", intensity=spec.intensity, modality="CT")
    np.testing.assert_array_equal(rendered.windows.slices, preprocess(study.volume, spec).slices)


def test_demo_cohort() -> None:
    cohort = demo_cohort(SEED, 30)
    assert cohort.source == "demo:40000-40029" and len(cohort) == 30
    assert [case.id for case in cohort][:2] == ["demo:40000", "demo:40001"]
    assert [case.label for case in cohort] == [make_patient(s).label for s in range(SEED, SEED + 30)]
    assert cohort.first(3).source == "demo:40000-40029, first 3" and len(cohort.first(3)) == 3
    assert cohort.first(30) is cohort
    unlabelled = cohort.unlabelled("other people")
    assert [case.label for case in unlabelled] == [None] * 30
    assert [case.id for case in unlabelled] == [case.id for case in cohort] and unlabelled.source == cohort.source


def test_one_patient_is_a_cohort(tiny_manifest: Manifest) -> None:
    assert [case.id for case in open_cohort("demo:7-7", tiny_manifest)] == ["demo:7"]
    assert [case.id for case in open_cohort("demo:7-9", tiny_manifest)] == ["demo:7", "demo:8", "demo:9"]


def test_reports_are_files_of_a_cohort_too() -> None:
    case = FileCase("a", None, Path("a.dcm"), None, Path("a.txt"))
    assert Cohort("table.csv", (case,)).files == (Path("a.dcm"), Path("a.txt"))


def test_labels_of_a_demo_cohort_follow_the_network() -> None:
    truth = [case.label for case in demo_cohort(SEED, 20)]
    swapped = [case.label for case in demo_cohort(SEED, 20, BinaryDecision(PHANTOM_LABELS[::-1], 0.5))]
    assert set(truth) == {0, 1} and swapped == [1 - label for label in truth if label is not None]
    assert {case.label for case in demo_cohort(SEED, 20, BinaryDecision(("quiet", "loud"), 0.5))} == {None}


def test_a_network_of_several_series_reads_no_synthetic_lungs() -> None:
    manifest: Any = SimpleNamespace(modalities=("CT",), volumes=("image",))
    assert reads_lung(manifest)
    for changes in ({"volumes": ("plain", "contrast")}, {"modalities": ("CT", "MR")}, {"modalities": ("MR",)}):
        other: Any = SimpleNamespace(**{**vars(manifest), **changes})
        assert not reads_lung(other)


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        *((f"demo:{seeds}", (f"'demo:{seeds}'",)) for seeds in ("", "5", "5-3", "-1-3", "a-b", "1-2-3", "٣-٤")),
        ("demo:0-100000", (100001, 0, 1, 100000)),
    ],
)
def test_no_such_phantoms(tiny_manifest: Manifest, source: str, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, *facts):
        open_cohort(source, tiny_manifest)


def test_a_phantom_is_refused_where_it_does_not_fit(demo_manifest: Manifest) -> None:
    spec = demo_manifest.preprocessing.model_copy(update={"modality": "MR"})
    with refused(StudyError, "demo:40000", "CT", "MR", "image"):
        PhantomCase(SEED).load(demo_manifest.model_copy(update={"preprocessing": spec}))
    assert demo_manifest.table is not None
    field = demo_manifest.table.fields[0].model_copy(update={"name": "height"})
    with refused(RecordError, "height", "missing"):
        PhantomCase(SEED).load(demo_manifest.model_copy(update={"table": type(demo_manifest.table)(fields=(field,))}))


def test_a_table(folder: Path, tiny_manifest: Manifest) -> None:
    cohort = read_cohort(
        written(folder, "study,record,label,id\na.dcm,a.json,loud,one\nb.dcm,b.json,,\n"), tiny_manifest
    )
    assert cohort.source == "cohort.csv"
    assert [(case.id, case.label) for case in cohort] == [("one", 1), ("b.dcm", None)]
    assert open_cohort(str(folder / "cohort.csv"), tiny_manifest) == cohort


@pytest.mark.parametrize(
    "content",
    [
        "record,label,id,study\na.json,1,1,a.dcm\n",
        "\ufeffstudy,record,label,id\r\na.dcm,a.json,LOUD,1\r\n",
        '"study","record","label","id"\n"a.dcm","a.json","1","1"',
        "study , record, label, id\n a.dcm , a.json, 1 , 1\n\n,,,\n",
        'study,record,label,id\na.dcm,a.json," loud",1\n',
    ],
    ids=["order", "byte-order mark and CRLF", "quoted", "blanks", "quoted blanks"],
)
def test_spellings_of_one_table(folder: Path, tiny_manifest: Manifest, content: str) -> None:
    (case,) = read_cohort(written(folder, content), tiny_manifest)
    assert (case.id, case.label, case.study, case.record) == ("1", 1, folder / "a.dcm", folder / "a.json")


def test_a_quoted_comma_and_a_line_break(folder: Path, tiny_manifest: Manifest) -> None:
    content = 'study,record,id\n"müller, c.dcm",a.json,"two\nlines"\nb.dcm,absent.json,b\n'
    with refused(UsageError, "cohort.csv", "line 4", "record", "'absent.json'"):
        read_cohort(written(folder, content), tiny_manifest)
    (case,) = read_cohort(written(folder, content.replace("b.dcm,absent.json,b\n", "")), tiny_manifest)
    assert case.id == "two\nlines"


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("", ("empty",)),
        ("\n\n", ("empty",)),
        ("study,record\n", ("studies", "header")),
        ("a.dcm,a.json\n", ("line 1", "'a.dcm'", "'a.json'")),
        ("study,record,diagnosis\na.dcm,a.json,1\n", ("line 1", "'diagnosis'")),
        ("study;record\na.dcm;a.json\n", ("line 1", "'study;record'")),
        ("study\na.dcm\n", ("line 1", "column", "record")),
        ("record\na.json\n", ("line 1", "column", "study")),
        ("study,record,study\na.dcm,a.json,b.dcm\n", ("line 1", "twice", "study, record, study")),
        ("study,record\na.dcm\n", ("line 2", "1 cells", 2, "study,record")),
        ("study,record\na.dcm,a.json,1\n", ("line 2", "3 cells", 2, "study,record")),
        ("study,record\n,a.json\n", ("line 2", "no study")),
        ("study,record\na.dcm,\n", ("line 2", "no record")),
        ("study,record\nA.txt,a.json\n", ("line 2", "study", "'A.txt'")),
        (f"study,record\n{'x' * 5000},a.json\n", ("line 2", "study", "File name too long")),
        ("study,record\na\0.dcm,a.json\n", ("line 2", "study", r"'a\x00.dcm'")),
        ("study,record,label\na.dcm,a.json,2\n", ("line 2", "'2'", "quiet", "loud", 0, 1)),
        ("study,record\na.dcm,a.json\n\na.dcm,b.json\n", ("line 4", "'a.dcm'", "line 2")),
        ('study,record\na.dcm,"a.json\n', ("line 2", "CSV")),
        ('study,record\na.dcm,"a.json"x\n', ("line 2", "CSV")),
        (b"study,record\n\xff.dcm,a.json\n", ("UTF-8", "0xff", "offset 13")),
        ("study,record\n" + "\n".join(f"absent{at},a.json" for at in range(9)), ("line 6", "'absent4'", 4)),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, str | bytes) else None,
)
def test_unusable_tables(folder: Path, tiny_manifest: Manifest, content: str | bytes, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, "cohort.csv", *facts):
        read_cohort(written(folder, content), tiny_manifest)


def test_only_a_study_may_be_a_folder(folder: Path, tiny_manifest: Manifest) -> None:
    (folder / "series").mkdir()
    (case,) = read_cohort(written(folder, "study,record\nseries,a.json\n"), tiny_manifest)
    assert isinstance(case, FileCase) and case.study == folder / "series"
    with refused(UsageError, "cohort.csv", "line 2", "'series'"):
        read_cohort(written(folder, "study,record\na.dcm,series\n"), tiny_manifest)


def test_a_table_is_read_up_to_a_limit(folder: Path, tiny_manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    table = written(folder, "study,record\na.dcm,a.json\n")
    monkeypatch.setattr("mmcaf_engine.evaluation.cohort_table.MAX_TABLE_BYTES", table.stat().st_size)
    assert len(read_cohort(table, tiny_manifest)) == 1
    monkeypatch.setattr("mmcaf_engine.evaluation.cohort_table.MAX_TABLE_BYTES", table.stat().st_size - 1)
    with refused(UsageError, "cohort.csv", table.stat().st_size - 1):
        read_cohort(table, tiny_manifest)


def test_no_table(folder: Path, tiny_manifest: Manifest) -> None:
    with refused(UsageError, "absent.csv", "no such file"):
        read_cohort(folder / "absent.csv", tiny_manifest)
    with refused(UsageError, str(folder), "directory", "CSV"):
        read_cohort(folder, tiny_manifest)


def test_slices_of_a_lesion(folder: Path, tiny_bundle_source: Path) -> None:
    """In a column of the field's name, where the manifest has one."""
    manifest = load_bundle(tiny_bundle_source).manifest
    spec = manifest.of_volumes
    assert spec.windows is not None
    windows = spec.windows.model_copy(update={"lesion_field": "lesion_slices"})
    declared = manifest.model_copy(update={"preprocessing": spec.model_copy(update={"windows": windows})})
    content = "study,record,lesion_slices,id\na.dcm,a.json,3-8,1\na.dcm,a.json,,2\na.dcm,a.json,1.2.3.4 1.2.3.5,3\n"
    cases = [case for case in read_cohort(written(folder, content), declared) if isinstance(case, FileCase)]
    assert [case.lesion for case in cases] == [SliceSpan(3, 8), None, SliceImages(("1.2.3.4", "1.2.3.5"))]
    with refused(UsageError, "line 1", "'lesion_slices'"):
        read_cohort(written(folder, content), manifest)
    with refused(UsageError, "line 2", "lesion_slices", "8-3"):
        read_cohort(written(folder, content.replace("3-8", "8-3")), declared)
    save(ct_series(hounsfield(9, 16, 16)), folder / "series")
    (folder / "a.json").write_text('{"sex": "F", "age": 63}')
    table = written(folder, content.replace("a.dcm", "series").replace("1.2.3.4 1.2.3.5", "3-10"))
    first, second, third = read_cohort(table, declared)
    assert (first.load(declared).starts, second.load(declared).starts) == ((2, 4), (0, 4, 5))
    with refused(RecordError, "lesion_slices", 10, 9):
        third.load(declared)


def test_a_network_without_a_record(folder: Path, tiny_bundle_source: Path, tmp_path: Path) -> None:
    manifest = load_bundle(tiny_bundle_source).manifest
    alone = manifest.model_copy(update={"table": None})
    (case,) = read_cohort(written(folder, "study\na.dcm\n"), alone)
    assert case.record is None and case.label is None
    with refused(UsageError, "cohort.csv", "line 1", "column", "record", "tiny"):
        read_cohort(written(folder, "study,record\na.dcm,a.json\n"), alone)


@pytest.fixture
def table_only(tiny_manifest: Manifest) -> Manifest:
    """Of a network that reads records alone."""
    return tiny_manifest.model_copy(update={"preprocessing": None})


def test_a_network_of_records_alone_has_a_cohort_of_records(folder: Path, table_only: Manifest) -> None:
    cohort = read_cohort(written(folder, "record,label\na.json,loud\nb.json,\n"), table_only)
    assert [(case.id, case.study) for case in cohort if isinstance(case, FileCase)] == [
        ("a.json", None),
        ("b.json", None),
    ]
    assert [path.name for path in cohort.files] == ["a.json", "b.json"]


def test_a_study_that_is_not_read_is_refused(folder: Path, table_only: Manifest) -> None:
    with refused(UsageError, "line 1", "column study", "takes no study"):
        read_cohort(written(folder, "study,record\na.dcm,a.json\n"), table_only)


def test_the_columns_are_those_that_the_network_reads(
    folder: Path, tiny_manifest: Manifest, table_only: Manifest
) -> None:
    assert (columns_of(tiny_manifest), columns_of(table_only)) == ("study,record", "record")
    with pytest.raises(UsageError, match=r"no column record.* columns: record,label,id "):
        read_cohort(written(folder, "label\nloud\n"), table_only)
