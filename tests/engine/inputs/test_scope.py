"""Which slices of a series are scored, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_factory import ct_series, enhanced_ct, hounsfield, save, write
from mmcaf_engine.errors import RecordError, UsageError
from mmcaf_engine.inputs.prepare import Prepared, prepare
from mmcaf_engine.inputs.scope import slices_asked
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.slices import SliceImages, SliceSpan
from mmcaf_engine.volume import PatientHeader, SourceImage, Study, Volume
from refusals import Fact, check_facts, refused
from tiny_bundle import SIZE, SLICES, tiny_manifest

FILES = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "golden.npz")}


def lung(**windows: Any) -> Manifest:
    preprocessing = tiny_manifest()["preprocessing"]
    preprocessing["windows"] |= windows
    return Manifest.model_validate({**tiny_manifest(), "preprocessing": preprocessing, "files": FILES})


LUNG = lung()
LESION = lung(trained_on="lesion", lesion_field="lesion_slices")
RECORD = {"sex": "F", "age": 63}
HU = hounsfield(9, SIZE, SIZE)


def scored(slices: Any, study: Any = None, **options: Any) -> Prepared:
    given = Volume(HU, "hounsfield", (2.5, 0.7, 0.7)) if study is None else study
    return prepare(given, RECORD, LUNG, slices=slices, **options)


def said(prepared: Prepared) -> list[str]:
    """The remarks on what was scored."""
    return [remark for remark in prepared.remarks if "scored" in remark]


@pytest.mark.parametrize("given", ["3-8", " 3 - 8 ", (3, 8), [3, 8]], ids=str)
def test_the_first_and_the_last_slice(given: Any) -> None:
    assert slices_asked(given) == SliceSpan(3, 8) and str(SliceSpan(3, 8)) == "3-8"
    assert scored(given).starts == (2, 4)


def test_without_them_all_are_scored_and_nothing_is_said() -> None:
    assert slices_asked(None) is None
    prepared = scored(None)
    assert prepared.starts == (0, 4, 5) and said(prepared) == [] and prepared.study_warnings == ()


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ("", ("''",)),
        ("3", ("'3'",)),
        ("3-", ("'3-'",)),
        ("-3-8", ("'-3-8'",)),
        ("a-b", ("'a-b'",)),
        ("3-8-9", ("'3-8-9'",)),
        ("3.0-8", ("'3.0-8'",)),
        ("٣-٨", ("'٣-٨'",)),
        ("1-9999999999", ("'1-9999999999'",)),
        ("8-3", ("8-3", "3-8")),
        ("0-3", ("0-3", 1)),
        ([3], ("1 values",)),
        ([3, 8, 9], ("3 values",)),
        ((True, 8), ("2 values",)),
    ],
    ids=str,
)
def test_what_names_no_slices(given: Any, facts: tuple[Fact, ...]) -> None:
    """Before anything is read."""
    with refused(UsageError, "slices", *facts, option="slices", value="40-52"):
        prepare("nowhere.dcm", "nowhere.json", LUNG, slices=given)


@pytest.mark.parametrize("given", ["9-10", "10-12", "1-10"])
def test_slices_that_the_series_does_not_have(given: str) -> None:
    with refused(UsageError, given, 9, 1, option="slices", value="1-9"):
        scored(given)


@pytest.mark.parametrize(("given", "starts"), [("3-8", (2, 4)), ("5-5", (2,)), ("1-2", (0,)), ("1-9", (0, 4, 5))])
def test_the_network_sees_of_them_what_it_sees_of_the_whole(given: str, starts: tuple[int, ...]) -> None:
    every = scored(None, stride=1)
    part = scored(given)
    assert part.starts == starts
    for at, start in enumerate(starts):
        mine, whole = (one.inputs(index, LUNG)["image"] for one, index in ((part, at), (every, start)))
        np.testing.assert_array_equal(mine, whole)


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ("3-8", ("slices 3 to 8 of 9",)),
        ("5-5", ("slices 3 to 6 of 9", "5-5")),
        ("1-2", ("slices 1 to 4 of 9", "1-2")),
        ("1-9", ("slices 1 to 9 of 9",)),
    ],
)
def test_a_remark_says_which_were_scored(given: str, facts: tuple[Fact, ...]) -> None:
    (remark,) = said(scored(given))
    check_facts(remark, *facts)
    assert ("window around" in remark) == (len(facts) == 2) and "InstanceNumber" not in remark


def test_of_a_short_series_the_padding_is_not_counted() -> None:
    study = Volume(HU[: SLICES - 1], "hounsfield", (2.5, 0.7, 0.7))
    check_facts(said(scored("2-2", study))[0], "slices 1 to 3 of 3", "2-2")


@pytest.mark.parametrize("rising", [True, False])
def test_the_remark_gives_the_numbers_of_a_viewer(rising: bool, tmp_path: Path) -> None:
    """InstanceNumber may fall from the feet to the head."""
    images = ct_series(HU)
    for at, image in enumerate(images):
        image.InstanceNumber = 101 + at if rising else 109 - at
    (remark,) = said(scored("3-8", save(images, tmp_path / "study")))
    check_facts(remark, "slices 3 to 8 of 9", "InstanceNumber 103 to 108" if rising else "InstanceNumber 107 to 102")


def test_frames_have_numbers_of_their_own(tmp_path: Path) -> None:
    (remark,) = said(scored("3-8", write(enhanced_ct(HU), tmp_path / "frames.dcm")))
    check_facts(remark, "slices 3 to 8 of 9", "frame 3 to 8")


def test_images_without_a_number(tmp_path: Path) -> None:
    images = ct_series(HU)
    for image in images:
        image.InstanceNumber = None
    (remark,) = said(scored("3-8", save(images, tmp_path / "study")))
    assert "InstanceNumber" not in remark


# The record's


def named(by_record: Any, study: Any = None, **options: Any) -> Prepared:
    given = Volume(HU, "hounsfield", (2.5, 0.7, 0.7)) if study is None else study
    return prepare(given, {**RECORD, "lesion_slices": by_record}, LESION, **options)


def uids(*slices: int) -> list[str]:
    return [ct_series(HU)[at - 1].SOPInstanceUID for at in slices]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ct_series(HU)[::-1], tmp_path_factory.mktemp("series") / "study")


@pytest.mark.parametrize(("lesion", "starts"), [("3-8", (2, 4)), ([5, 5], (2,)), ([1, 9], (0, 4, 5))])
def test_the_record_names_slices(lesion: Any, starts: tuple[int, ...]) -> None:
    prepared = named(lesion)
    assert prepared.starts == starts and len(said(prepared)) == 1 and prepared.record_warnings == ()


@pytest.mark.parametrize(
    ("images", "starts"),
    [((3, 4, 5, 6, 7, 8), (2, 4)), ((8, 3), (2, 4)), ((5,), (2,)), ((5, 5), (2,)), ((9,), (5,))],
)
def test_the_record_names_images(images: tuple[int, ...], starts: tuple[int, ...], series: Path) -> None:
    """From the first to the last of them, in whatever order they stand."""
    assert named(uids(*images), series).starts == starts


def test_images_of_a_volume_that_is_turned() -> None:
    images = tuple(SourceImage("1.2", f"1.2.3.{at}") for at in range(1, 10))
    down = Volume(HU, "hounsfield", (2.5, 0.7, 0.7), direction=((0, 0, -1), (0, 1, 0), (1, 0, 0)))
    study = Study(down, "CT", {}, PatientHeader(), images=images)
    assert named(["1.2.3.1", "1.2.3.6"], study).starts == (3, 5)


def test_images_of_another_series(series: Path) -> None:
    with refused(RecordError, "lesion_slices", 1, 3, 9, option="slices", value="1-9"):
        named([*uids(3, 4), "1.2.840.9"], series)


def test_images_of_what_is_not_of_images() -> None:
    with refused(RecordError, "lesion_slices", 2, 9, option="slices", value="1-9"):
        named(uids(3, 4))


def test_an_image_of_several_frames(tmp_path: Path) -> None:
    image = enhanced_ct(HU)
    with refused(RecordError, "lesion_slices", "frames", 9, option="slices", value="1-9"):
        named([image.SOPInstanceUID], write(image, tmp_path / "frames.dcm"))


@pytest.mark.parametrize("lesion", ["9-10", [1, 10]])
def test_slices_of_the_record_that_the_series_does_not_have(lesion: Any) -> None:
    with refused(RecordError, "lesion_slices", 10, 9, option="slices", value="1-9"):
        named(lesion)


@pytest.mark.parametrize("lesion", ["2-7", "9-10", ["1.2.840.9"]], ids=["others", "beyond", "strangers"])
def test_the_callers_slices_come_first_and_a_warning_says_so(lesion: Any) -> None:
    prepared = named(lesion, slices="3-8")
    assert prepared.starts == (2, 4)
    (warning,) = prepared.record_warnings
    check_facts(warning, "lesion_slices", "3-8")


def test_both_may_name_the_same(series: Path) -> None:
    for lesion in ("3-8", uids(3, 8)):
        assert named(lesion, series, slices=[3, 8]).record_warnings == ()


def test_a_cohort_names_them_in_the_records_place() -> None:
    prepared = named("1-2", lesion=SliceSpan(3, 8))
    assert prepared.starts == (2, 4) and prepared.record_warnings == ()
    with refused(RecordError, "lesion_slices", 10, 9):
        named("1-2", lesion=SliceSpan(3, 10))
    with refused(RecordError, "lesion_slices", 1, 9):
        named("1-2", lesion=SliceImages(("1.2.3",)))


# The whole study, of a network that was given a lesion's windows


@pytest.mark.parametrize("field", [None, "lesion_slices"])
def test_the_whole_study_is_remarked_on(field: str | None) -> None:
    manifest = lung(trained_on="lesion", lesion_field=field)
    prepared = prepare(Volume(HU, "hounsfield", (2.5, 0.7, 0.7)), RECORD, manifest)
    assert prepared.starts == scored(None).starts and prepared.record_warnings == prepared.study_warnings == ()
    (remark,) = said(prepared)
    check_facts(remark, "all 9 slices", "lesion", "slices")
    assert ("lesion_slices" in remark) == (field is not None)


def test_one_window_is_the_lesions_anyway() -> None:
    study = Volume(HU[:SLICES], "hounsfield", (2.5, 0.7, 0.7))
    assert said(prepare(study, RECORD, LESION)) == []


def test_of_a_network_of_whole_studies_nothing_is_said() -> None:
    manifest = lung(lesion_field="lesion_slices")
    assert said(prepare(Volume(HU, "hounsfield", (2.5, 0.7, 0.7)), RECORD, manifest)) == []
