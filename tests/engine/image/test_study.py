"""Which file of a study is the image: views, kinds, several of them, and what is said where none or many fit."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset

from dicom_factory import PHI, ct_series, hounsfield, save, save_dicomdir, save_zip, write
from mmcaf_engine.errors import MmcafError, StudyError, UsageError
from mmcaf_engine.image import list_images, open_image
from mmcaf_engine.image.view import read_view
from mmcaf_engine.manifest import BodyPartRule, ImageSpec
from mmcaf_engine.study.dicom.tags import Tags
from mmcaf_engine.volume import StudyFacts
from refusals import Fact, check_facts, holds, refused
from tiny_image import STUDY_UID, radiograph, stored
from tiny_pictures import png

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def spec(**changes: Any) -> ImageSpec:
    return ImageSpec(**{"size": (8, 8), "channels": 1, "mean": (0.0,), "std": (1.0,), **changes})


def read(path: Path, series: str | None = None, **changes: Any) -> StudyFacts:
    with open_image(path, spec(**changes), series=series) as opened:
        return opened.read()[1]


def code(value: str, scheme: str = "SCT") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "a view"
    return [item]


LATERAL: dict[str, Any] = {"ViewPosition": "LL", "PatientOrientation": ["A", "F"]}
UNKNOWN: dict[str, Any] = {"ViewPosition": None, "PatientOrientation": None}


def test_facts_of_an_image(tmp_path: Path) -> None:
    facts = read(write(radiograph(), tmp_path / "image"))
    assert facts.modality == "DX"
    assert facts.slices == 1
    assert facts.spacing_mm == (0.0, 0.143, 0.139)
    assert facts.uids == {"study": STUDY_UID, "series": f"{STUDY_UID}.1", "image": f"{STUDY_UID}.1.1"}
    assert (facts.patient.sex, facts.patient.age, facts.patient.patient_id) == ("F", 63.0, PHI["PatientID"])
    assert facts.warnings == ()


def test_calibrated_spacing_comes_before_that_of_the_detector(tmp_path: Path) -> None:
    assert read(write(radiograph(PixelSpacing=[0.2, 0.3]), tmp_path / "a")).spacing_mm == (0.0, 0.2, 0.3)
    assert read(write(radiograph(ImagerPixelSpacing=None), tmp_path / "b")).spacing_mm == (0.0, 0.0, 0.0)


TELLING = ("(0018,5101) ViewPosition", "(0020,0020) PatientOrientation", "(0054,0220) ViewCodeSequence")
VIEWS: dict[str, tuple[dict[str, Any], str]] = {
    "pa": ({"ViewPosition": "PA"}, "frontal"),
    "ap": ({"ViewPosition": "AP"}, "frontal"),
    "ll": ({"ViewPosition": "LL", "PatientOrientation": None}, "lateral"),
    "rl": ({"ViewPosition": "RL", "PatientOrientation": ["P", "F"]}, "lateral"),
    "lateral": ({"ViewPosition": "LATERAL", "PatientOrientation": None}, "lateral"),
    "pa-code": ({**UNKNOWN, "ViewCodeSequence": code("272479007")}, "frontal"),
    "old-pa-code": ({**UNKNOWN, "ViewCodeSequence": code("R-10214", "SNM3")}, "frontal"),
    "ap-code": ({**UNKNOWN, "ViewCodeSequence": code("399348003")}, "frontal"),
    "lateral-code": ({**UNKNOWN, "ViewCodeSequence": code("399173006")}, "lateral"),
    "across": ({"ViewPosition": None, "PatientOrientation": ["L", "F"]}, "frontal"),
    "along": ({"ViewPosition": None, "PatientOrientation": ["A", "F"]}, "lateral"),
    "all-of-them": ({"ViewCodeSequence": code("399348003")}, "frontal"),
}


@pytest.mark.parametrize(("elements", "view"), VIEWS.values(), ids=VIEWS.keys())
def test_only_the_wanted_view_is_read(elements: dict[str, Any], view: str, tmp_path: Path) -> None:
    path = write(radiograph(**elements), tmp_path / "image")
    assert read(path, view=view).warnings == ()
    assert read(path, view="any").warnings == ()
    other = {"frontal": "lateral", "lateral": "frontal"}[view]
    with refused(StudyError, "image", view, other) as caught:
        read(path, view=other)
    assert any(holds(caught.value.problem, tag) for tag in TELLING) and other in caught.value.remedy


@pytest.mark.parametrize(("position", "kind"), [("RLO", "oblique"), ("LLD", "decubitus")])
def test_other_views_are_neither(position: str, kind: str, tmp_path: Path) -> None:
    path = write(radiograph(ViewPosition=position, PatientOrientation=None), tmp_path / "image")
    for view in ("frontal", "lateral"):
        with refused(StudyError, "image", kind, "(0018,5101) ViewPosition", position, view):
            read(path, view=view)
    assert read(path, view="any").warnings == ()


UNSURE: dict[str, tuple[dict[str, Any], str]] = {
    "absent": (UNKNOWN, "(0018,5101) ViewPosition is absent"),
    "empty": ({**UNKNOWN, "ViewPosition": ""}, "(0018,5101) ViewPosition is absent"),
    "unheard-of": (
        {**UNKNOWN, "ViewPosition": "SWIMMERS"},
        "(0018,5101) ViewPosition is no view that is known here",
    ),
    "contradiction": (
        {"ViewPosition": "PA", "PatientOrientation": ["A", "F"]},
        "(0018,5101) ViewPosition says frontal and (0020,0020) PatientOrientation says lateral",
    ),
}


@pytest.mark.parametrize(("elements", "why"), UNSURE.values(), ids=UNSURE.keys())
@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_an_unknown_view_is_read_with_a_warning(elements: dict[str, Any], why: str, view: str, tmp_path: Path) -> None:
    path = write(radiograph(**elements), tmp_path / "image")
    assert read(path, view=view).warnings == (f"image: its view is not known, since {why}; it was taken to be {view}.",)
    assert read(path, view="any").warnings == ()


@pytest.mark.parametrize(
    ("orientation", "how"),
    [
        (["R", "F"], "its rows run to the patient's right, so that it is mirrored"),
        (["F", "R"], "its rows run to F and its columns to R of the patient, so that it does not stand upright"),
        (["L", "H"], "its rows run to L and its columns to H of the patient, so that it does not stand upright"),
    ],
    ids=["mirrored", "lying", "upside-down"],
)
def test_an_image_that_lies_otherwise_is_not_turned(orientation: list[str], how: str, tmp_path: Path) -> None:
    path = write(radiograph(PatientOrientation=orientation), tmp_path / "image")
    with open_image(path, spec()) as opened:
        plane, facts = opened.read()
    assert facts.warnings == (f"image: by (0020,0020) PatientOrientation {how}; it was read as it lies.",)
    with open_image(write(radiograph(), tmp_path / "upright"), spec()) as opened:
        assert np.array_equal(plane, opened.read()[0])


OTHERS: dict[str, tuple[dict[str, Any], tuple[Fact, ...]]] = {
    "ct": ({"Modality": "CT"}, ("CT", "DX", "CR")),
    "no-modality": ({"Modality": None}, ("modality", "DX", "CR")),
    "multi-frame": (
        {"NumberOfFrames": 3, "PixelData": stored().tobytes() * 3},
        ("(0028,0008) NumberOfFrames", 3),
    ),
    "colour": ({"SamplesPerPixel": 3}, ("colour", "(0028,0002) SamplesPerPixel", 3)),
    "raw": ({"PresentationIntentType": "FOR PROCESSING"}, ("(0008,0068) PresentationIntentType", "FOR PROCESSING")),
    "no-pixels": ({"PixelData": None}, ("pixel data",)),
}


@pytest.mark.parametrize(("elements", "facts"), OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside-a-radiograph"])
def test_other_kinds_of_images(elements: dict[str, Any], facts: tuple[Fact, ...], beside: bool, tmp_path: Path) -> None:
    write(radiograph(**elements), tmp_path / "other")
    if beside:
        write(radiograph(instance=2), tmp_path / "right")
        assert read(tmp_path).warnings == ()
        return
    with refused(StudyError, "other", *facts) as caught:
        read(tmp_path / "other")
    assert "frontal" in caught.value.remedy


def test_a_ct_study_is_counted_not_listed(tmp_path: Path) -> None:
    save(ct_series(hounsfield(4)), tmp_path / "ct")
    with refused(StudyError, "4 images", "frontal", "4 CT", "DX", "CR"):
        read(tmp_path / "ct")
    write(radiograph(**LATERAL), tmp_path / "ct" / "lateral")
    with refused(StudyError, "5 images", "4 CT", "DX", "CR", "1 lateral"):
        read(tmp_path / "ct")


@pytest.mark.parametrize("form", ["folder", "zip", "dicomdir"])
def test_the_frontal_of_two_views_is_read_from_every_form(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    save([radiograph(**LATERAL), radiograph(instance=2)], folder, "IM{:04d}")
    path = folder
    if form == "zip":
        path = save_zip(folder, tmp_path / "study.zip", prefix=f"{PHI['PatientName']}/")
    if form == "dicomdir":
        path = save_dicomdir(folder / "DICOMDIR", [["IM0000"], ["IM0001"]])
    facts = read(path)
    assert facts.uids["image"].endswith(".2")
    assert facts.warnings == ()
    assert read(path, view="lateral").uids["image"].endswith(".1")


def test_copies_of_an_image_are_one(tmp_path: Path) -> None:
    path = save([radiograph(), radiograph()], tmp_path / "study")
    facts = read(path)
    assert facts.warnings == () and len(facts.remarks) == 1
    check_facts(facts.remarks[0], "1 file is a copy", "IM0001")
    assert len(list_images(path, spec()).series) == 1


def test_images_of_one_uid_that_differ_are_refused(tmp_path: Path) -> None:
    other = radiograph()
    other.PixelData = bytes(len(other.PixelData))
    path = save([radiograph(), other], tmp_path / "study")
    for series in ("1", "2"):
        with refused(StudyError, "(0008,0018) SOPInstanceUID", "IM0000", "IM0001", "(7FE0,0010) PixelData"):
            read(path, series)


def two(folder: Path, **elements: Any) -> Path:
    return save([radiograph(), radiograph(instance=2, **elements)], folder)


def test_several_that_fit_are_listed(tmp_path: Path) -> None:
    path = two(tmp_path / "study", SeriesNumber=7, SeriesDescription="Thorax")
    with refused(StudyError, str(path), "2 images", option="series", value="1") as caught:
        read(path)
    [first] = [line for line in caught.value.problem.splitlines() if "IM0000" in line]
    [second] = [line for line in caught.value.problem.splitlines() if "IM0001" in line]
    check_facts(first, 1, "series 1", "DX", "33 x 47", "frontal", "Chest")
    check_facts(second, 2, "series 7", "DX", "33 x 47", "frontal", "Thorax")


@pytest.mark.parametrize("series", ["2", "IM0001", f"{STUDY_UID}.1.2", f"{STUDY_UID}.2", "image=2", "image=IM0001"])
def test_one_of_several_by_name(series: str, tmp_path: Path) -> None:
    path = two(tmp_path / "study", SeriesInstanceUID=f"{STUDY_UID}.2", SeriesNumber=2)
    assert read(path, series).uids["image"].endswith(".1.2")


@pytest.mark.parametrize(("series", "why"), [("9", "none"), (f"{STUDY_UID}.1", "several"), ("t2=1", "none")])
def test_a_choice_that_names_no_single_image(series: str, why: str, tmp_path: Path) -> None:
    with refused(StudyError, series, why, "IM0000", "IM0001", option="series", value="1"):
        read(two(tmp_path / "study"), series)


def test_a_choice_for_another_input(tmp_path: Path) -> None:
    with (
        refused(UsageError, "series", "t2", "image", option="series", value="image=3"),
        open_image(two(tmp_path / "study"), spec(), series={"t2": "1"}),
    ):
        pass


def test_a_named_image_must_still_be_the_right_view(tmp_path: Path) -> None:
    path = two(tmp_path / "study", **LATERAL)
    assert read(path).uids["image"].endswith(".1")
    with refused(StudyError, "IM0001", "lateral", "frontal", "(0018,5101) ViewPosition"):
        read(path, "2")


def test_a_known_view_comes_before_an_unknown_one(tmp_path: Path) -> None:
    (warning,) = read(two(tmp_path / "study", **UNKNOWN)).warnings
    assert "left out, since their view is not known, series 1, DX, 33 x 47, unknown view, IM0001" in warning
    (warning,) = read(tmp_path / "study", "2").warnings
    assert "IM0001: its view is not known" in warning


def test_an_unreadable_image_that_would_be_read_is_not_replaced(tmp_path: Path) -> None:
    path = save([radiograph(Rows=40), radiograph(instance=2, **UNKNOWN)], tmp_path / "study")
    with refused(StudyError, "IM0000", "(7FE0,0010) PixelData", "truncated", 3102, 3760):
        read(path)


@pytest.mark.parametrize("content", [b"", b"text", bytes(range(200))], ids=["empty", "text", "nonsense"])
def test_a_file_that_is_no_image(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.dcm").write_bytes(content)
    with refused(StudyError, "file.dcm", "DICOM", "PNG", "JPEG", "radiograph"):
        read(tmp_path / "file.dcm")
    with refused(StudyError, "DICOM", "PNG", "JPEG", "1 files", "directory"):
        read(tmp_path)
    write(radiograph(), tmp_path / "image")
    (warning,) = read(tmp_path).warnings
    assert "1 files named like DICOM are not and were skipped, first file.dcm" in warning


def test_a_nifti_file_is_no_radiograph(tmp_path: Path) -> None:
    (tmp_path / "t2.nii.gz").write_bytes(b"\x1f\x8b")
    with refused(StudyError, "t2.nii.gz", "NIfTI", "radiograph"):
        read(tmp_path / "t2.nii.gz")


def test_nothing_there(tmp_path: Path) -> None:
    with refused(StudyError, "nowhere", "no such file"):
        read(tmp_path / "nowhere")


def test_a_truncated_header(tmp_path: Path) -> None:
    path = write(radiograph(), tmp_path / "image")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(StudyError):
        read(path)


def test_list_of_images(tmp_path: Path) -> None:
    folder = save(ct_series(hounsfield(3)), tmp_path / "study", "CT{:04d}")
    write(radiograph(**LATERAL), folder / "a")
    write(radiograph(instance=2), folder / "b")
    (folder / "c.png").write_bytes(png(stored(20, 30, 8).astype(np.uint8)))
    found = list_images(folder, spec())
    shown = [(entry.number, entry.modality, entry.plane, entry.chosen, entry.reason) for entry in found.series]
    assert shown == [
        (1, "DX", "lateral view", False, "lateral view"),
        (2, "DX", "frontal view", True, "the only frontal view"),
        (6, "PNG", "unknown view", False, "fits as well"),
    ]
    assert found.left_out == {"CT, not DX or CR": 3}
    assert found.problem is None
    assert [(entry.rows, entry.columns) for entry in found.series] == [(33, 47), (33, 47), (20, 30)]
    for entry in found.series:
        if not entry.chosen:
            continue
        assert read(folder, str(entry.number)).uids["image"] == entry.instance_uid == entry.source
    assert [entry.series_uid for entry in found.series] == [f"{STUDY_UID}.1", f"{STUDY_UID}.1", ""]
    assert (found.series[2].source, found.series[2].instance_uid) == ("c.png", "")
    assert list_images(two(tmp_path / "two"), spec()).problem is not None


def unreadable_zip(folder: Path) -> Path:
    path = save_zip(save([radiograph()], folder / "study"), folder / "study.zip", prefix=f"{PHI['PatientName']}/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{PHI['PatientID']}/image.png", png(stored(20, 30, 8).astype(np.uint8))[:60])
    return path


SPOILT: dict[str, Callable[[Path], Path]] = {
    "view": lambda folder: write(radiograph(**LATERAL), folder / "image"),
    "view-holds-a-name": lambda folder: write(radiograph(**{**UNKNOWN, "ViewPosition": "DOE^JANE"}), folder / "image"),
    "several": lambda folder: save([radiograph(), radiograph(instance=2)], folder / "study"),
    "no-window": lambda folder: write(radiograph(WindowCenter=None, WindowWidth=None), folder / "image"),
    "zip": unreadable_zip,
}


@pytest.mark.parametrize("make", SPOILT.values(), ids=SPOILT.keys())
def test_no_message_holds_the_patient(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    try:
        told = " ".join(read(path).warnings)
    except MmcafError as failure:
        told = str(failure)
    assert told
    assert not [value for value in PHI.values() if value in told]


def test_headers_of_several_images(tmp_path: Path) -> None:
    images: list[FileDataset] = [
        radiograph(instance=at, ViewPosition="LL", PatientOrientation=None) for at in range(12)
    ]
    with refused(StudyError, "12 images", "IM0007", 4, option="series", value="1"):
        read(save(images, tmp_path / "study"), view="lateral")


@pytest.mark.parametrize(
    ("examined", "warnings"),
    [("CHEST", 0), ("", 0), ("ABDOMEN", 1), ("HEAD", None)],
    ids=["own", "none", "other", "refused"],
)
def test_the_part_of_the_body_that_a_network_is_for(examined: str, warnings: int | None, tmp_path: Path) -> None:
    rule = BodyPartRule(accepted=("CHEST",), refused=("HEAD",))
    path = write(radiograph(BodyPartExamined=examined), tmp_path / "image")
    if warnings is None:
        with pytest.raises(StudyError, match="BodyPartExamined"), open_image(path, spec(), body_part=rule):
            pass
    else:
        with open_image(path, spec(), body_part=rule) as opened:
            assert len(opened.read()[1].warnings) == warnings


@pytest.mark.parametrize(
    ("orientation", "view"),
    [
        (["L", "F"], "frontal"),
        (["A", "F"], "lateral"),
        (["L", "H"], ""),
        (["A", "L"], ""),
        (["H", "F"], ""),
        (["L"], ""),
    ],
)
def test_only_an_upright_image_tells_its_view_by_how_it_lies(orientation: list[str], view: str) -> None:
    tags = Tags(radiograph(ViewPosition=None, PatientOrientation=orientation), "image")
    assert read_view(tags).view == view


RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"


@pytest.mark.parametrize(
    ("elements", "warning"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "", "BONE"]}, "names BONE"),
        ({"ImageType": ["DERIVED", "PRIMARY", "SOFT_TISSUE"]}, "names SOFT"),
        ({"ImageType": ["DERIVED", "SECONDARY", "TOMOSYNTHESIS"]}, "names TOMOSYNTHESIS"),
        ({"ImageType": ["DERIVED", "PRIMARY", "GRID"]}, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "SOPClassUID is that of CT images"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, ""),
        ({"PixelSpacing": [0.3, 0.1]}, "its pixels are 0.3 x 0.1 mm large, rows first"),
        ({"PixelSpacing": [0.12, 0.1]}, ""),
    ],
)
def test_images_of_another_kind_are_warned_of(elements: dict[str, Any], warning: str, tmp_path: Path) -> None:
    warnings = read(write(radiograph(**elements), tmp_path / "image")).warnings
    assert len(warnings) == bool(warning) and all(warning in text for text in warnings)


def test_raw_detector_values_are_told_by_the_class_alone(tmp_path: Path) -> None:
    raw = radiograph(SOPClassUID=RAW, PresentationIntentType=None)
    with refused(StudyError, "raw detector values", "(0008,0016) SOPClassUID"):
        read(write(raw, tmp_path / "raw"))
    shown = radiograph(SOPClassUID=RAW, PresentationIntentType="FOR PRESENTATION")
    assert read(write(shown, tmp_path / "shown")).modality == "DX"
