"""Which slices of a series are scored, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_factory import ct_series, enhanced_ct, hounsfield, save, write
from mmcaf_engine.errors import UsageError
from mmcaf_engine.inputs.prepare import Prepared, prepare
from mmcaf_engine.inputs.scope import slices_asked
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.slices import SliceSpan
from mmcaf_engine.volume import Volume
from refusals import Fact, check_facts, refused
from tiny_bundle import SIZE, SLICES, tiny_manifest

FILES = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "golden.npz")}
LUNG = Manifest.model_validate({**tiny_manifest(), "files": FILES})
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
