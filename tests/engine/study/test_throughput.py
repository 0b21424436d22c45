"""Slices in several threads and several at a time: the same bits as one after the other, and nothing left behind."""

import threading
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_factory import change, compress, ct_series, ct_slice, hounsfield, save, write
from engine.inputs.test_windows import MEAN, SCALE, crop, make_spec, make_volume, resize
from mmcaf_engine import workers
from mmcaf_engine.errors import StudyError
from mmcaf_engine.inputs.resize import resize_area
from mmcaf_engine.inputs.windows import preprocess
from mmcaf_engine.manifest import CenterCropStep, ClipScaleStep, PreprocessingSpec, ResizeStep
from mmcaf_engine.study import list_series, open_study, read_study
from mmcaf_engine.workers import Scratch, in_order
from refusals import refused
from study_variants import VARIANTS, Variant

FLOAT32 = np.dtype(np.float32)


# One slice after the other, by the definitions


def covered(source: int, target: int) -> Iterator[list[tuple[int, np.float32]]]:
    """For each output pixel of a shrinking axis: (input pixel, part of the output pixel that it covers)."""
    for output in range(target):
        start, stop = Fraction(output * source, target), Fraction((output + 1) * source, target)
        yield [
            (pixel, np.float32(float((min(stop, pixel + 1) - max(start, pixel)) * target / source)))
            for pixel in range(floor(start), ceil(stop))
        ]


def fewer_rows(plane: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    result = np.full((rows, plane.shape[1]), np.nan, np.float32)
    for output, parts in enumerate(covered(len(plane), rows)):
        for number, (pixel, weight) in enumerate(parts):
            result[output] = plane[pixel] * weight + (result[output] if number else np.float32(0))
    return result


def one_by_one(values: NDArray[Any], spec: PreprocessingSpec) -> NDArray[np.float32]:
    padding = np.full(values.shape[1:], spec.windows.pad_value, np.float32)
    planes = [*values, *[padding] * (spec.windows.slices - len(values))]
    return np.stack([processed(plane.astype(np.float32), spec) for plane in planes])


def processed(plane: NDArray[np.float32], spec: PreprocessingSpec) -> NDArray[np.float32]:
    for step in spec.steps:
        if isinstance(step, ResizeStep):
            plane = fewer_rows(fewer_rows(plane, step.rows).T, step.columns).T
            plane = np.rint(plane) if step.rounding == "half_even" else plane
        elif isinstance(step, CenterCropStep):
            top, left = (plane.shape[0] - step.rows) // 2, (plane.shape[1] - step.columns) // 2
            plane = plane[top : top + step.rows, left : left + step.columns]
        elif isinstance(step, ClipScaleStep):
            lower, upper = np.float32(step.lower), np.float32(step.upper)
            plane = np.minimum(np.maximum((plane - lower) / (upper - lower), np.float32(0)), np.float32(1))
        else:
            plane = plane - np.float32(step.value)
    assert plane.dtype == FLOAT32
    return plane


STEPS = {
    "as-trained": (resize(15), SCALE, MEAN),
    "as-tested": (resize(20), crop(15, 15), SCALE, MEAN),
    "unrounded": (resize(11, "none"), SCALE, MEAN),
    "scaled-before-the-resize": (SCALE, MEAN, resize(12, "none")),
    "resized-twice": (resize(24, "none"), crop(18, 20), resize(9, "none"), SCALE),
    "resized-back-to-one-size": (resize(12, "none"), crop(12, 12), SCALE, SCALE, resize(12, "none"), MEAN),
    "cropped-only": (crop(17, 16),),
    "nothing": (),
}
SHAPES = {"eighths": (9, 40, 32), "odd": (13, 33, 41), "short": (5, 31, 63), "single": (1, 40, 40)}


def drawn(shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    values = np.random.default_rng(7).integers(-1200, 1500, shape).astype(kind)
    return values if kind == "int16" else values + np.float32(0.3)


@pytest.mark.parametrize("kind", ["int16", "float32"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_the_bits_of_one_slice_after_the_other(
    steps: tuple[dict[str, Any], ...], shape: tuple[int, ...], kind: str
) -> None:
    values, spec = drawn(shape, kind), make_spec(*steps)
    before = values.copy()
    assert preprocess(make_volume(values), spec).slices.tobytes() == one_by_one(values, spec).tobytes()
    assert np.array_equal(values, before)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_same_bits_from_any_number_of_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values, spec = drawn((23, 100, 63), "float32"), make_spec(resize(48, "none"), SCALE, MEAN)
    monkeypatch.setattr(workers, "WORKERS", threads)
    assert preprocess(make_volume(values), spec).slices.tobytes() == one_by_one(values, spec).tobytes()


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_broken_slice_is_named(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((60, 64, 64), np.float32)
    values[[17, 18, 50], 2, 1] = np.nan
    monkeypatch.setattr(workers, "WORKERS", threads)
    for _ in range(5):
        with refused(StudyError, 18, 60, 1, "4096 pixels"):
            preprocess(make_volume(values), make_spec(resize(16)))


def test_scratch_is_the_callers_and_used_again() -> None:
    scratch = Scratch()
    image = drawn((3, 40, 32), "int16")
    first = resize_area(image, 15, 12, scratch)
    kept = first.copy()
    assert np.array_equal(kept, resize_area(image, 15, 12))
    again = resize_area(image[::-1], 15, 12, scratch)
    assert np.shares_memory(first, again)
    assert np.array_equal(again, kept[::-1])
    assert not np.shares_memory(resize_area(image, 15, 12), resize_area(image, 15, 12))


# Slices handed over one by one instead of a volume


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    "variant", [entry for entry in VARIANTS if entry.expected is not None], ids=lambda entry: entry.id
)
def test_streamed_slices_are_those_of_the_volume(variant: Variant, tmp_path: Path) -> None:
    path = variant.build(tmp_path)
    whole = read_study(path, **variant.options)
    streamed: dict[int, NDArray[Any]] = {}
    with open_study(path, **variant.options) as opened:
        facts = opened.stream(lambda slot, values, scratch: streamed.setdefault(slot, values.copy()))
        assert opened.shape == whole.volume.values.shape
    assert sorted(streamed) == list(range(len(whole.volume.values)))
    assert np.array_equal(np.stack([streamed[slot] for slot in range(len(streamed))]), whole.volume.values)
    assert (facts.warnings, facts.uids, facts.patient) == (whole.warnings, whole.uids, whole.patient)
    assert (facts.slices, facts.spacing_mm, facts.modality) == (whole.slices, whole.spacing_mm, whole.modality)


MIXTURES: dict[str, list[dict[str, Any]]] = {
    "one-real-rescale": [{}, {"RescaleSlope": 1.5}, {}],
    "one-beyond-int16": [{}, {"RescaleIntercept": 32000}, {}],
    "one-far-intercept": [{"RescaleIntercept": 500_000}, {}, {}],
    "padding": [{"PixelPaddingValue": 24}, {}, {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 3000}],
}


@pytest.mark.parametrize("name", MIXTURES)
def test_slices_of_unlike_types_are_streamed_with_the_volumes_values(name: str, tmp_path: Path) -> None:
    images = [
        change(image, **elements) for image, elements in zip(ct_series(hounsfield(3)), MIXTURES[name], strict=True)
    ]
    path = save(images, tmp_path / "study")
    whole = read_study(path)
    streamed: dict[int, NDArray[Any]] = {}
    with open_study(path) as opened:
        facts = opened.stream(lambda slot, values, scratch: streamed.setdefault(slot, values.copy()))
    assert [np.array_equal(streamed[slot], whole.volume.values[slot]) for slot in range(3)] == [True] * 3
    assert facts.warnings == whole.warnings
    assert {values.dtype for values in streamed.values()} <= {np.dtype(np.int16), FLOAT32}
    assert len({values.dtype for values in streamed.values()}) == (1 if name == "padding" else 2)


def test_a_receiver_that_fails_ends_the_reading(tmp_path: Path) -> None:
    path = save(ct_series(hounsfield(40)), tmp_path / "study")
    seen: list[int] = []

    def receive(slot: int, values: NDArray[Any], scratch: Scratch) -> None:
        seen.append(slot)
        if slot == 3:
            raise StudyError("slice 4 is odd")

    with open_study(path) as opened, refused(StudyError, "slice 4 is odd"):
        opened.stream(receive)
    assert {0, 1, 2, 3} <= set(seen)
    assert not left_behind()


# Headers that repeat: values are converted once for all slices that hold the same bytes


def test_the_same_bytes_in_another_character_set_are_another_text(tmp_path: Path) -> None:
    latin, cyrillic = ct_series(hounsfield(2))
    change(latin, SpecificCharacterSet="ISO_IR 100", PatientID="\u00c4")
    change(cyrillic, SpecificCharacterSet="ISO_IR 144", PatientID="\u0424")
    files = [write(image, tmp_path / name) for image, name in ((latin, "first"), (cyrillic, "second"))]
    assert all(b"\xc4" in file.read_bytes() for file in files)
    with refused(StudyError, 2, "(0010,0020) PatientID"):
        read_study(tmp_path)


def test_the_same_bytes_in_another_byte_order_are_another_number(tmp_path: Path) -> None:
    little = ct_slice(hounsfield(1, 256, 2)[0])
    big = compress(ct_slice(hounsfield(1, 1, 2)[0], series_uid="1.2.3"), ExplicitVRBigEndian)
    files = [write(image, tmp_path / name) for image, name in ((little, "first"), (big, "second"))]
    rows = [b"\x28\x00\x10\x00US\x02\x00\x00\x01", b"\x00\x28\x00\x10US\x00\x02\x00\x01"]
    assert all(element in file.read_bytes() for element, file in zip(rows, files, strict=True))
    assert sorted(entry.rows for entry in list_series(tmp_path).series) == [1, 256]


def test_the_same_bytes_of_another_element_are_another_value(tmp_path: Path) -> None:
    image = compress(ct_slice(hounsfield(1, 0x0141, 3)[0], PatientID="A\x01"), ImplicitVRLittleEndian)
    file = write(image, tmp_path / "slice")
    assert file.read_bytes().count(b"\x02\x00\x00\x00A\x01") == 2
    study = read_study(file)
    assert (study.patient.patient_id, study.volume.values.shape) == ("A\x01", (1, 0x0141, 3))


# Work in threads


def test_outcomes_come_in_order_and_every_job_runs_once() -> None:
    later = threading.Event()
    seen: list[int] = []

    def work(job: int, scratch: Scratch) -> int:
        if job == 0:
            assert later.wait(30)  # the first is done last
        seen.append(job)
        if job == 1:
            later.set()
        return 10 * job

    assert list(in_order(work, range(20), 2)) == [10 * job for job in range(20)]
    assert sorted(seen) == list(range(20))
    assert seen[0] == 1


def test_the_first_error_in_order_is_raised_and_waiting_jobs_are_dropped() -> None:
    later, never = threading.Event(), threading.Event()
    seen: list[int] = []

    def work(job: int, scratch: Scratch) -> int:
        seen.append(job)
        if job == 0:
            assert later.wait(30)
            raise ValueError("first")
        if job == 1:
            later.set()
            raise ValueError("second")
        return never.wait(0.1)

    with pytest.raises(ValueError, match="first"):
        list(in_order(work, range(1000), 2))
    assert len(seen) < 1000
    assert not left_behind()


def test_who_stops_early_leaves_no_thread_and_no_job_behind() -> None:
    never = threading.Event()
    seen: list[int] = []

    def work(job: int, scratch: Scratch) -> bool:
        seen.append(job)
        return never.wait(0.1)

    with closing(in_order(work, range(1000), 2)) as outcomes:
        next(outcomes)
    assert len(seen) < 1000
    assert not left_behind()


def test_each_thread_has_scratch_of_its_own() -> None:
    together = threading.Barrier(3, timeout=30)

    def work(job: int, scratch: Scratch) -> tuple[int, int]:
        mine = scratch.array("number", (1000,), np.int64)
        mine[:] = job
        together.wait()  # all three are at work now
        assert (mine == job).all()
        assert scratch.array("number", (1000,), np.int64) is mine
        assert scratch.array("number", (999,), np.int64) is not mine
        return threading.get_ident(), id(scratch)

    used = list(in_order(work, range(3), 3))
    assert len(set(used)) == len({thread for thread, _ in used}) == 3


def left_behind() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("slices")]
