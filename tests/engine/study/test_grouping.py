"""Slices of volumes that lie within each other are never read as one; blocks one after the other may be."""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom.acquisition import OF_ACQUISITION
from mmcaf_engine.study.dicom.frames import Frame
from mmcaf_engine.study.dicom.tags import Tags
from mmcaf_engine.study.notes import Notes
from mmcaf_engine.study.reading import open_headers
from mmcaf_engine.study.selection.grouping import alternates, check_one_volume, groups
from mmcaf_engine.study.selection.labels import LABELS
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

LETTERS = "abc"
SET: dict[str, Callable[[Frame, str], Frame]] = {
    "acquisition": lambda frame, letter: replace(frame, acquisition=LETTERS.index(letter)),
    "stack": lambda frame, letter: replace(frame, stack=letter),
    "kernel": lambda frame, letter: replace(frame, kernel=letter),
    "kvp": lambda frame, letter: replace(frame, kvp=80.0 + 20 * LETTERS.index(letter)),
    "contrast": lambda frame, letter: replace(frame, contrast=letter.replace("a", "")),
    "b-value": lambda frame, letter: replace(frame, b_value=400.0 * LETTERS.index(letter)),
    "echo": lambda frame, letter: replace(frame, echo=10.0 + LETTERS.index(letter)),
    "phase": lambda frame, letter: replace(frame, phase=LETTERS.index(letter)),
    "dimension": lambda frame, letter: replace(frame, dimension=(LETTERS.index(letter),)),
    "image": lambda frame, letter: replace(frame, image=letter),
    "scan": lambda frame, letter: replace(frame, acquired=f"2024050610{15 * LETTERS.index(letter):02}00"),
}
"""What sets each label that slices may not alternate in."""

SEQUENCES = st.text(LETTERS, min_size=1, max_size=12)
MORE = [pytest.param(100, id="some"), pytest.param(5000, id="many", marks=pytest.mark.full)]


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frame, ...]:
    """Twelve frames, 2.5 mm apart."""
    path = save(ct_series(hounsfield(12)), tmp_path_factory.mktemp("study") / "study")
    with open_headers(path) as headers:
        return headers.catalogue.candidates[0].frames


def in_blocks(sequence: Sequence[object]) -> bool:
    """Whether nothing lies between two of the same kind: by looking at every three, not by counting changes."""
    return not any(one == last != middle for one, middle, last in combinations(sequence, 3))


@pytest.mark.parametrize("examples", MORE)
def test_a_label_alternates_where_it_comes_back(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(SEQUENCES)
    def check(sequence: str) -> None:
        assert alternates(sequence) == (not in_blocks(sequence))

    check()


@pytest.mark.parametrize("examples", MORE)
def test_no_volume_is_read_that_lies_within_another(examples: int, slices: tuple[Frame, ...]) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(SEQUENCES, st.sampled_from(sorted(SET)), st.permutations(range(12)))
    @example("abababababab", "kvp", list(range(12)))
    @example("aabbabababab", "kernel", list(range(12)))
    def check(sequence: str, label: str, order: Sequence[int]) -> None:
        frames = [SET[label](frame, letter) for frame, letter in zip(slices, sequence, strict=False)]
        letter_of = {id(frame): letter for frame, letter in zip(frames, sequence, strict=True)}
        found = groups([frames[at] for at in order if at < len(frames)])
        assert sorted(id(frame) for group in found for frame in group.frames) == sorted(letter_of)
        if in_blocks(sequence):
            assert len(found) == 1
            notes = check_one_volume(frames, "study")
            assert bool(notes.warnings or notes.remarks) >= (1 < len(set(sequence)) < len(sequence))
        for group in found:
            ordered = [frame for frame in frames if any(frame is member for member in group.frames)]
            if in_blocks([letter_of[id(frame)] for frame in ordered]):
                check_one_volume(ordered, "study")
            else:
                with pytest.raises(StudyError):
                    check_one_volume(ordered, "study")

    check()


def test_two_labels_at_once_give_four_volumes(slices: tuple[Frame, ...]) -> None:
    frames = [replace(frame, kernel="ab"[at % 2], kvp=80.0 + 60 * (at // 2 % 2)) for at, frame in enumerate(slices)]
    found = groups(frames)
    assert [len(group.frames) for group in found] == [3, 3, 3, 3]
    assert {group.label for group in found} == {
        f"(0018,1210) ConvolutionKernel {kernel}, (0018,0060) KVP {kvp}" for kernel in "ab" for kvp in (80, 140)
    }


def test_a_single_slice_of_another_acquisition_is_refused_and_never_taken_for_a_missing_one(tmp_path: Path) -> None:
    images = ct_series(hounsfield(12), AcquisitionNumber=1)
    images[5].AcquisitionNumber = 2
    path = save(images, tmp_path / "study")
    for gaps in ("refuse", "interpolate"):
        with refused(StudyError, "(0020,0012) AcquisitionNumber 1", "(0020,0012) AcquisitionNumber 2", 2, 1):
            read_study(path, gaps=gaps)


@pytest.mark.parametrize("policy", ["refuse", "first"])
def test_copies_that_a_policy_drops_do_not_mix_two_acquisitions(policy: Any, tmp_path: Path) -> None:
    """Neither covers the places of both, so that nothing tells them apart; what is left would be of both."""
    values = hounsfield(12)
    one, other = ct_series(values, AcquisitionNumber=1)[:8], ct_series(values, AcquisitionNumber=2)[3:]
    for at, image in enumerate(other):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{at}"
        image.InstanceNumber = 20 - 19 * (at % 2) + at
    with pytest.raises(StudyError):
        read_study(save([*one, *other], tmp_path / "study"), duplicates=policy)


def test_a_scan_with_pauses_for_breath_is_one(tmp_path: Path) -> None:
    images = ct_series(hounsfield(12), AcquisitionDate="20240506")
    for at, image in enumerate(images):
        image.AcquisitionTime = f"10{at // 4:02}{30 * (at % 2):02}"
    study = read_study(save(images, tmp_path / "study"))
    assert len(study.volume.values) == 12 and study.warnings == () == study.remarks


@pytest.mark.parametrize(("other", "volumes"), [(120.0, 1), (120.01, 1), (121.0, 2)])
@pytest.mark.parametrize("label", ["kvp", "echo"])
def test_values_whose_last_digits_differ_are_one(
    label: str, other: float, volumes: int, slices: tuple[Frame, ...]
) -> None:
    changes: list[dict[str, Any]] = [{label: 120.0}, {label: other}]
    frames = [replace(frame, **changes[at % 2]) for at, frame in enumerate(slices)]
    assert len(groups(frames)) == volumes
    if volumes == 1:
        assert check_one_volume(frames, "study").warnings == ()


@pytest.mark.parametrize(("began", "scans"), [("20240506100100.0", 1), ("20240506100101.0", 2)])
def test_a_pause_of_more_than_a_minute_begins_another_scan(began: str, scans: int, slices: tuple[Frame, ...]) -> None:
    frames = [replace(frame, acquired=("20240506100000.0", began)[at % 2]) for at, frame in enumerate(slices)]
    assert len(groups(frames)) == scans


@pytest.mark.parametrize(("longer", "found"), [(9, [9, 2]), (8, [11])], ids=["nine-tenths", "fewer"])
def test_what_has_nearly_all_places_is_a_volume_of_its_own(
    longer: int, found: list[int], slices: tuple[Frame, ...]
) -> None:
    """Of ten places, one of which both acquisitions have."""
    frames = [replace(frame, acquisition=1) for frame in slices[:longer]]
    frames += [replace(frame, acquisition=2) for frame in slices[longer - 1 : 10]]
    assert sorted((len(group.frames) for group in groups(frames)), reverse=True) == found


def test_every_label_is_tried() -> None:
    weak = {"ImageType", "SliceThickness", "SeriesDescription"}
    assert {label.name.split()[-1] for label in LABELS if label.within == "warning"} == weak
    assert len(SET) == len(LABELS) - len(weak)


def told(slices: Sequence[Frame], keyword: str, values: Sequence[str]) -> list[Frame]:
    """The slices, with an element of these values."""
    frames = []
    for frame, value in zip(slices, values, strict=False):
        dataset = copy.deepcopy(frame.instance.tags.dataset)
        setattr(dataset, keyword, value)
        frames.append(replace(frame, instance=replace(frame.instance, tags=Tags(dataset, frame.instance.name))))
    return frames


@pytest.mark.parametrize("steady", [True, False])
def test_elements_that_take_turns_tell_volumes_apart(steady: bool, slices: tuple[Frame, ...]) -> None:
    keywords = [keyword for keyword, kind in OF_ACQUISITION.items() if kind == steady]
    assert len(keywords) > 10
    for keyword in keywords:
        frames = told(slices, keyword, ["1", "2"] * 6)
        found = groups(frames)
        assert [len(group.frames) for group in found] == [6, 6], keyword
        assert {keyword in group.label for group in found} == {True}
        with pytest.raises(StudyError) if steady else nullcontext():
            check_one_volume(frames, "study")


@pytest.mark.parametrize("values", ["abba" * 3, "aabbbaabbbaa", "abcbabcbabcb", "aaabbb" * 2, "abcdef" * 2])
def test_a_current_that_follows_the_patient_is_one_volume(values: str, slices: tuple[Frame, ...]) -> None:
    """Scanners vary it along the patient; that even slices of two values lie within each other is no accident."""
    frames = told(slices, "XRayTubeCurrent", [str(100 + 10 * ord(value)) for value in values])
    assert len(groups(frames)) == 1
    assert check_one_volume(frames, "study") == Notes()


def test_an_element_that_never_changes_within_a_volume_is_refused_where_it_does(slices: tuple[Frame, ...]) -> None:
    with refused(StudyError, "FlipAngle 10", "FlipAngle 60", 6, 1):
        check_one_volume(told(slices, "FlipAngle", [str(10 + 50 * (value == "b")) for value in "abba" * 3]), "study")


def test_two_that_share_places_are_told_apart_by_any_element(slices: tuple[Frame, ...]) -> None:
    frames = [*told(slices, "FlipAngle", ["10"] * 12), *told(slices, "FlipAngle", ["60"] * 12)]
    assert [(len(group.frames), group.label[-2:]) for group in groups(frames)] == [(12, "10"), (12, "60")]


def test_no_text_that_may_name_the_patient_is_shown(slices: tuple[Frame, ...]) -> None:
    frames = told(slices, "ImageComments", ["Jane native", "Jane arterial"] * 6)
    assert [group.label for group in groups(frames)] == [f"(0020,4000) ImageComments no. {at}" for at in (1, 2)]
    assert len(groups(told(slices, "ImageComments", ["Jane"] * 12))) == 1


@pytest.mark.parametrize(
    ("keyword", "values"),
    [("PatientName", ("DOE^JANE", "ROE^RICHARD")), ("PatientBirthDate", ("19610203", "19800101"))]
    + [("PatientSex", ("M", "F")), ("IssuerOfPatientID", ("A", "B"))]
    + [("PatientAge", ("063Y", "040Y")), ("PatientWeight", ("60", "90"))],
)
def test_slices_of_two_patients_of_one_number_are_refused(
    keyword: str, values: tuple[str, str], tmp_path: Path
) -> None:
    images = ct_series(hounsfield(12))
    for at, image in enumerate(images):
        setattr(image, keyword, values[at % 2])
    with refused(StudyError, keyword, 2):
        read_study(save(images, tmp_path / "two"))
    for at, image in enumerate(images):
        setattr(image, keyword, ("", values[0])[at % 2])
    assert np.array_equal(read_study(save(images, tmp_path / "one")).volume.values, hounsfield(12))


def test_one_name_and_one_number_may_be_written_in_two_ways(slices: tuple[Frame, ...], tmp_path: Path) -> None:
    for keyword, values in {"GantryDetectorTilt": ("-0.0", "0"), "FlipAngle": ("10", "10.000")}.items():
        assert len(groups(told(slices, keyword, values * 6))) == 1
    images = ct_series(hounsfield(12))
    for at, image in enumerate(images):
        image.PatientName = ("DOE^JANE", "Doe^Jane ^^=DOE^JANE")[at % 2]
    assert len(read_study(save(images, tmp_path / "study")).volume.values) == 12
