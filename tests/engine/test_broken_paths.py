"""What the file system refuses, of callers in Python: an error of ours, by what was being opened."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from broken_paths import BY_THE_SYSTEM, FOR_ANYBODY, Refusing, broken_path
from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import infer, load_bundle, open_session, read_record, read_study
from mmcaf_engine.errors import BackendError, BundleError, MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.evaluation.cohort_table import read_cohort
from mmcaf_engine.record.report import read_report
from mmcaf_engine.result.deidentify import deidentify
from refusals import refused
from tiny_bundle import SIZE, make_tiny_bundle

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and error numbers of POSIX")

READERS: dict[str, tuple[type[MmcafError], Callable[[Path], object]]] = {
    "study": (StudyError, read_study),
    "record": (RecordError, lambda path: read_record(path, None)),
    "report": (RecordError, read_report),
    "bundle": (BundleError, load_bundle),
    "infer's bundle": (BundleError, lambda path: infer("study", {}, bundle=path)),
}


@pytest.mark.parametrize("kind", FOR_ANYBODY)
@pytest.mark.parametrize("what", READERS)
def test_a_path_that_nobody_can_read(what: str, kind: str, tmp_path: Path) -> None:
    error, read = READERS[what]
    with refused(error, FOR_ANYBODY[kind]) as caught:
        read(broken_path(kind, tmp_path))
    assert caught.value.remedies and str(caught.value).isprintable()


@pytest.mark.parametrize("kind", BY_THE_SYSTEM)
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_bundle_that_is_taken_away_after_it_was_loaded(
    backend: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf", name=f"{backend} {kind}"))
    with monkeypatch.context() as patch:
        Refusing(patch, tmp_path / "tiny.mmcaf", BY_THE_SYSTEM[kind][0], looking=BY_THE_SYSTEM[kind][1])
        with pytest.raises((BundleError, BackendError), match=os.strerror(BY_THE_SYSTEM[kind][0])):
            open_session(bundle, backend=backend)


@pytest.mark.parametrize("kind", BY_THE_SYSTEM)
def test_one_file_of_a_study(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = save(ct_series(hounsfield(4, SIZE, SIZE)), tmp_path / "study")
    first = min(study.iterdir())
    with monkeypatch.context() as patch:
        Refusing(patch, first, BY_THE_SYSTEM[kind][0], looking=BY_THE_SYSTEM[kind][1])
        with refused(StudyError, os.strerror(BY_THE_SYSTEM[kind][0])):
            read_study(study)


@pytest.mark.parametrize("kind", FOR_ANYBODY)
@pytest.mark.parametrize("column", ["study", "record"])
def test_a_row_of_a_cohort(column: str, kind: str, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "fine").touch()
    broken = broken_path(kind, tmp_path).relative_to(tmp_path)
    row = [str(broken) if name == column else "fine" for name in ("study", "record")]
    (tmp_path / "cohort.csv").write_text(f"study,record\n{','.join(row)}\n")
    with refused(UsageError, "cohort.csv", "line 2", column, FOR_ANYBODY[kind]) as caught:
        read_cohort(tmp_path / "cohort.csv", load_bundle(tiny_bundle).manifest)
    assert caught.value.exit_code == 2


def test_what_is_hidden_of_a_fifo(tmp_path: Path, tiny_bundle: Path) -> None:
    """Its name, and nothing is read from it: nobody would write to it again."""
    study = save(ct_series(hounsfield(12, SIZE, SIZE)), tmp_path / "study")
    result = infer(study, {"sex": "F", "age": 63}, bundle=tiny_bundle)
    os.mkfifo(tmp_path / "fifo")
    assert deidentify(result, study, tmp_path / "fifo").label == result.label
