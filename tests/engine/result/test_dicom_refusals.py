"""What no DICOM object can be made of is refused before the network runs, and what is left of it is said."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import pipeline
from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.outputs import Output, check_writable
from mmcaf_engine.pipeline import answer_study
from mmcaf_engine.result.writers.dicom import dicom_files
from mmcaf_engine.result.writers.kinds import room_for
from mmcaf_engine.volume import Volume
from refusals import refused
from tiny_bundle import SIZE
from tiny_result import REPORT, picture, sources, tiny_result
from tiny_words import make_tiny_words

RECORD = {"sex": "F", "age": 63}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that runs fails the test."""

    def run(*_: Any, **__: Any) -> None:
        pytest.fail("the network ran", pytrace=False)

    monkeypatch.setattr(pipeline, "run_windows", run)


@pytest.mark.usefixtures("no_network")
def test_a_study_without_dicom_images(tiny_bundle: Path) -> None:
    volume = Volume(hounsfield(8, SIZE, SIZE), "hounsfield", (2.0, 1.0, 1.0))
    with refused(StudyError, "image", "not read from DICOM images", option="dicom_out"):
        answer_study(volume, RECORD, bundle=tiny_bundle, backend="onnxruntime", dicom_objects="sr")


@pytest.mark.usefixtures("no_network")
def test_a_header_that_lacks_what_every_object_needs(tiny_bundle: Path, tmp_path: Path) -> None:
    series = ct_series(hounsfield(8, SIZE, SIZE))
    for image in series:
        image.SeriesInstanceUID = ""
    with refused(StudyError, "image", "SeriesInstanceUID (0020,000E)", option="dicom_out"):
        answer_study(save(series, tmp_path / "study"), RECORD, bundle=tiny_bundle, dicom_objects="sr,sc")


@pytest.mark.usefixtures("no_network")
def test_an_object_of_another_name(tiny_bundle: Path, tmp_path: Path) -> None:
    """Before the study is looked at, which is none."""
    with refused(UsageError, "dicom_objects", "pdf", option="dicom_objects"):
        answer_study(tmp_path / "none", RECORD, bundle=tiny_bundle, dicom_objects="sr,pdf")


@pytest.mark.usefixtures("no_network")
def test_a_report_of_another_study_to_be_replaced(tiny_bundle: Path, tmp_path: Path) -> None:
    result = tiny_result()
    (tmp_path / REPORT).write_bytes(dicom_files(result, sources(result), picture, "sr")[REPORT])
    study = save(ct_series(hounsfield(8, SIZE, SIZE)), tmp_path / "study")
    with refused(UsageError, REPORT, "another", option="replaces"):
        answer_study(study, RECORD, bundle=tiny_bundle, dicom_objects="sr", replaces=tmp_path / REPORT)


@pytest.mark.usefixtures("no_network")
def test_a_report_to_be_replaced_by_none(tiny_bundle: Path, tmp_path: Path) -> None:
    """Before study and report are looked at, which are none."""
    with refused(UsageError, "replaces", "none is among", option="dicom_objects", value="sr,sc,ko"):
        answer_study(
            tmp_path / "none", RECORD, bundle=tiny_bundle, dicom_objects="ko,sc", replaces=tmp_path / REPORT
        )  # fmt: skip


@pytest.mark.usefixtures("no_network")
def test_a_map_of_a_network_whose_attention_is_to_words_alone(tmp_path: Path) -> None:
    """Before the study is looked at, which is none."""
    bundle = make_tiny_words(tmp_path / "words.mmcaf")
    with refused(UsageError, "pm", option="dicom_objects"):
        answer_study(tmp_path / "none", RECORD, bundle=bundle, explain="attention", dicom_objects="pm")


def test_a_disk_that_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder is not there yet; nothing is left of the attempt."""
    place = Output("dicom_out", tmp_path / "new" / "objects", kind="folder", room=room_for(("sr", "sc")))
    check_writable([place])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_500_000))
    with refused(UsageError, "objects", 1.5, "MB", option="dicom_out"):
        check_writable([place])
    assert list(tmp_path.iterdir()) == []
