"""One session for many studies: what an answer keeps, the forms of a study, and calls from several threads."""

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from dicom_factory import change, compress, ct_series, enhanced_ct, hounsfield, save
from mmcaf_engine import Answerer, Study, Volume, infer, load_bundle, open_session
from mmcaf_engine.errors import MmcafError, RecordError, StrictError, StudyError, UsageError
from mmcaf_engine.study import read_study
from mmcaf_engine.volume import PatientHeader, SourceImage
from refusals import Fact, refused
from tiny_bundle import SIZE, SLICES, make_tiny_bundle
from tiny_image import make_tiny_image
from tiny_liver import make_tiny_liver

RECORD = {"sex": "F", "age": 63}
HU = hounsfield(6, SIZE, SIZE)


@pytest.fixture(scope="module")
def answerer(tiny_bundle_source: Path) -> Iterator[Answerer]:
    with open_session(load_bundle(tiny_bundle_source), backend="onnxruntime") as session:
        yield Answerer(session)


def same(result: Any) -> dict[str, Any]:
    """What two forms of one study must agree on to the last bit."""
    fields = json.loads(result.to_json())
    return {name: fields[name] for name in ("label", "probability", "positive", "windows")} | {
        "record": {name: value for name, value in fields["record"].items() if name != "sha256"}
        if fields["record"]
        else None
    }


@pytest.mark.parametrize(("examined", "told"), [("CHEST", "CHEST"), ("", None)])
def test_the_result_says_what_was_examined(examined: str, told: str | None, answerer: Answerer, tmp_path: Path) -> None:
    images = ct_series(HU, BodyPartExamined=examined)
    result = answerer.answer(save(images, tmp_path / "study"), RECORD).result
    assert json.loads(result.to_json())["study"]["body_part"] == told


def test_what_an_answer_keeps(answerer: Answerer, tmp_path: Path) -> None:
    images = ct_series(HU)
    answer = answerer.answer(save(images[::-1], tmp_path / "study"), RECORD)
    (series,) = answer.prepared.series
    assert series.windows.values.shape == (2, 1, SLICES, SIZE, SIZE)
    assert answer.outputs["logit"].shape == (2, 1)
    assert answer.result.positive is not None
    assert max(answer.outputs["logit"][:, 0]) == np.float32(answer.result.positive.logit)
    assert answer.outputs["logit"][answer.score.deciding, 0] == np.float32(answer.result.positive.logit)
    assert answer.source_images["image"].images == tuple(
        SourceImage(
            image.SOPClassUID,
            image.SOPInstanceUID,
            position_mm=tuple(map(float, image.ImagePositionPatient)),
            number=image.InstanceNumber,
        )
        for image in images
    )
    placement = answer.source_images["image"].placement
    assert placement is not None and placement.shape == HU.shape and placement.frame == images[0].FrameOfReferenceUID
    assert placement.origin_mm == tuple(map(float, images[0].ImagePositionPatient))
    assert answer.bundle.sha256 == answer.result.model.bundle_sha256


def test_an_answer_keeps_the_pixels_once_as_the_network_saw_them(answerer: Answerer, tmp_path: Path) -> None:
    """Whatever it was read from: no array but the slices of the windows, the table's row and the outputs."""
    for study in (save(ct_series(HU), tmp_path / "study"), ct_series(HU), volume(HU)):
        answer = answerer.answer(study, RECORD)
        found = {id(array): array for array in arrays_of(answer)}
        (series,) = answer.prepared.series
        small = sum(array.nbytes for array in answer.outputs.values())
        assert sum(array.nbytes for array in found.values()) <= series.windows.slices.nbytes + small
        assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def arrays_of(value: Any, seen: set[int] | None = None) -> list[NDArray[Any]]:
    """Every array that a value leads to and that owns its memory, but those of the bundle."""
    seen = set() if seen is None else seen
    if id(value) in seen or type(value).__name__ == "Bundle":
        return []
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return [value] if value.base is None else arrays_of(value.base, seen)
    if isinstance(value, dict):
        parts: Any = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        parts = vars(value).values() if hasattr(value, "__dict__") else ()
    return [found for part in parts for found in arrays_of(part, seen)]


def test_source_images_of_frames_and_of_slices_that_were_interpolated(answerer: Answerer, tmp_path: Path) -> None:
    multiframe = enhanced_ct(HU)
    answer = answerer.answer(save([multiframe], tmp_path / "frames"), RECORD)
    images = answer.source_images["image"].images
    assert {image.position_mm for image in images if image} == {tuple(map(float, at)) for at in positions(multiframe)}
    assert [image.frame for image in images if image is not None] == [1, 2, 3, 4, 5, 6]
    assert {image.sop_instance_uid for image in images if image is not None} == {str(multiframe.SOPInstanceUID)}
    holed = [image for at, image in enumerate(ct_series(hounsfield(30, SIZE, SIZE))) if at != 7]
    answer = answerer.answer(save(holed, tmp_path / "gap"), RECORD, gaps="interpolate")
    images = answer.source_images["image"].images
    assert len(images) == 30 and [at for at, image in enumerate(images) if image is None] == [7]
    kept = [image.sop_instance_uid for image in images if image is not None]
    assert kept == [str(image.SOPInstanceUID) for image in holed]


def positions(multiframe: Dataset) -> list[Any]:
    groups = multiframe.PerFrameFunctionalGroupsSequence
    return [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]


@pytest.mark.parametrize("form", ["as made", "read back", "compressed", "one multi-frame", "without file meta"])
def test_data_sets_answer_as_their_files_do(form: str, answerer: Answerer, tmp_path: Path) -> None:
    images: list[Dataset] = list(ct_series(HU))
    if form == "one multi-frame":
        images = [enhanced_ct(HU)]
    if form == "compressed":
        images = [compress(image, "1.2.840.10008.1.2.5") for image in ct_series(HU)]
    folder = save(images, tmp_path / "study")  # type: ignore[arg-type]
    if form == "read back":
        images = [pydicom.dcmread(path) for path in sorted(folder.iterdir(), reverse=True)]
    if form == "without file meta":
        images = [Dataset(image) for image in images]
    before = [image.to_json() for image in images]
    answer = answerer.answer(images, RECORD)
    of_files = answerer.answer(folder, RECORD)
    assert same(answer.result) == same(of_files.result)
    assert answer.source_images == of_files.source_images and answer.result.study.uids == of_files.result.study.uids
    assert [image.to_json() for image in images] == before, "the caller's data sets were changed"


def test_a_data_set_of_a_radiograph(tmp_path: Path) -> None:
    from tiny_image import radiograph

    bundle = make_tiny_image(tmp_path / "image.mmcaf")
    image = radiograph()
    path = tmp_path / "image.dcm"
    image.save_as(path, enforce_file_format=True)
    with open_session(load_bundle(bundle), backend="onnxruntime") as session:
        of_memory, of_file = (Answerer(session).answer(study) for study in ([image], path))
        assert same(of_memory.result) == same(of_file.result)
        (source,) = of_memory.source_images["image"].images
        assert source is not None and source.sop_instance_uid == str(image.SOPInstanceUID)
        with refused(UsageError, "tiny image", "2D", "volume"):
            Answerer(session).answer(Volume(HU, "hounsfield", (2.5, 0.7, 0.7)))


def test_compressed_pixels_without_a_transfer_syntax(answerer: Answerer) -> None:
    images = [Dataset(compress(image, "1.2.840.10008.1.2.5")) for image in ct_series(HU)]
    with refused(StudyError, "data set 1", "compressed", "(0002,0010)"):
        answerer.answer(images, RECORD)


@pytest.mark.parametrize(
    ("study", "facts"),
    [
        ([], ("study", "empty")),
        ([{"PatientID": "x"}], ("pydicom", "dict", "data set 1")),
        (["a.dcm", "b.dcm"], ("pydicom", "str", "data set 1")),
        (7, ("study", "pydicom", "Volume", "int")),
        (b"DICM", ("study", "Volume", "bytes")),
        (Dataset(), ("study", "Volume", "Dataset")),
        (np.zeros((4, 4, 4), np.int16), ("study", "Volume", "ndarray")),
    ],
)
def test_what_is_no_study(study: Any, facts: tuple[Fact, ...], answerer: Answerer) -> None:
    with refused(UsageError, *facts):
        answerer.answer(study, RECORD)


def test_a_data_set_that_cannot_be_encoded_is_refused_without_its_values(answerer: Answerer) -> None:
    images = ct_series(HU)
    change(images[2], PatientID="SECRET-7")
    images[2].add_new(0x00280010, "US", "SECRET rows")
    with refused(StudyError, "data set 3") as caught:
        answerer.answer(images, RECORD)
    assert "SECRET" not in str(caught.value)


def volume(values: NDArray[Any] = HU, **changes: Any) -> Volume:
    return Volume(values, **{"intensity": "hounsfield", "spacing_mm": (2.5, 0.7, 0.7), **changes})


def test_a_volume_answers_as_the_series_does(answerer: Answerer, tmp_path: Path) -> None:
    folder = save(ct_series(HU), tmp_path / "study")
    read = read_study(folder)
    of_files = same(infer(folder, RECORD, session=open_session(answerer.bundle, backend="onnxruntime")))
    answer = answerer.answer(read.volume, RECORD)
    assert same(answer.result) == of_files
    assert answer.result.study.spacing_mm == read.spacing_mm and answer.source_images["image"].images == ()
    assert same(answerer.answer(read, RECORD).result) == of_files


_LPS = {"S": (0, 0, 1), "I": (0, 0, -1), "P": (0, 1, 0), "A": (0, -1, 0), "L": (1, 0, 0), "R": (-1, 0, 0)}


@pytest.mark.parametrize("axes", ["SPL", "IPL", "SAR", "PLS", "RSA", "LAI"])
def test_a_volume_in_any_orientation(axes: str, answerer: Answerer) -> None:
    """Laid out as the axes say by plain indexing; the answer is that of the volume toward head, back and left."""
    order = ["SI".find, "PA".find, "LR".find]
    at = [next(axis for axis, find in enumerate(order) if find(letter) >= 0) for letter in axes]
    laid_out = HU.transpose(at)[tuple(slice(None, None, -1 if letter in "IAR" else 1) for letter in axes)]
    spacing = tuple((2.5, 0.8, 0.7)[axis] for axis in at)
    given = volume(laid_out, spacing_mm=spacing, direction=tuple(_LPS[letter] for letter in axes))
    expected = answerer.answer(volume(spacing_mm=(2.5, 0.8, 0.7)), RECORD).result
    result = answerer.answer(given, RECORD).result
    assert same(result) == same(expected) and result.study.spacing_mm == pytest.approx((2.5, 0.8, 0.7))


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_types_of_voxels(kind: type[np.generic], answerer: Answerer) -> None:
    values = np.clip(HU, 0, 100).astype(kind)
    assert same(answerer.answer(volume(values), RECORD).result) == same(
        answerer.answer(volume(np.clip(HU, 0, 100)), RECORD).result
    )


NOT_FINITE = np.where(np.arange(HU.size).reshape(HU.shape) == 5, np.nan, HU.astype(np.float32))
OBLIQUE = ((0, 0.5, 0.8660254), (0, 0.8660254, -0.5), (1, 0, 0))


@pytest.mark.parametrize(
    ("given", "error", "facts"),
    [
        (volume(HU[0]), StudyError, ("image", "slices x rows x columns")),
        (volume(np.zeros((0, 4, 4), np.int16)), StudyError, ("image", "slices x rows x columns")),
        (volume(HU.astype(complex)), UsageError, ("image", "int16", "float32", "complex128")),
        (volume(HU.tolist()), UsageError, ("image", "list")),
        (volume(NOT_FINITE), StudyError, ("slice 1", 6, 1, "256 pixels", "NaN")),
        (volume(spacing_mm=(0.0, 1, 1)), StudyError, ("image", "mm", "0 x 1 x 1")),
        (volume(spacing_mm=(2.5, float("nan"), 1)), StudyError, ("image", "mm", "nan")),
        (volume(spacing_mm=(2.5, 1)), StudyError, ("image", "mm", "(2,)")),
        (volume(direction=OBLIQUE), StudyError, ("image", "30.0 degrees", 5)),
        (volume(direction=((0, 0, 1), (0, 1, 0), (0, 1, 0))), StudyError, ("image", "singular")),
        (volume(direction=((0, 0, 2), (0, 1, 0), (1, 0, 0))), StudyError, ("image", "spacing_mm")),
        (volume(direction=((0, 0.1, 1), (0, 1, 0), (1, 0, 0))), StudyError, ("image", "sheared", "degrees", 0.5)),
        (volume(intensity="stored"), UsageError, ("image", "hounsfield", "stored")),
        (Study(volume(), "MR", {}, PatientHeader()), UsageError, ("image", "CT", "MR")),
        ({"t2": volume()}, UsageError, ("image", "t2")),
        ({"image": "study.dcm"}, UsageError, ("Volume", "Study", "image", "str")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_volumes_that_are_refused(
    given: Any, error: type[MmcafError], facts: tuple[Fact, ...], answerer: Answerer
) -> None:
    with refused(error, *facts):
        answerer.answer(given, RECORD)


def test_a_volume_with_its_patient(answerer: Answerer) -> None:
    study = Study(volume(), "CT", {"study": "1.2.3"}, PatientHeader(patient_id="A", sex="M", age=20.0))
    with refused(RecordError, "(0010,0020)", "PatientID", "patient_id", option="allow_id_mismatch"):
        answerer.answer(study, {**RECORD, "patient_id": "B"})
    result = answerer.answer(study, {**RECORD, "patient_id": "A"}).result
    assert result.study.uids == {"study": "1.2.3"}
    assert [text.split()[2] for text in result.warnings] == ["sex", "age"]
    with pytest.raises(StrictError):
        answerer.answer(study, RECORD, strict=True)


def test_options_of_files_do_not_belong_to_volumes(answerer: Answerer) -> None:
    with refused(UsageError, "gaps", "volume", option="gaps"):
        answerer.answer(volume(), RECORD, gaps="interpolate")
    with refused(UsageError, "series", "volume", option="series"):
        answerer.answer(volume(), RECORD, series="1.2")


def test_volumes_of_several_inputs(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_liver(tmp_path / "liver.mmcaf"))
    names = [spec.name for spec in bundle.manifest.volumes]
    generator = np.random.default_rng(3)
    given = {
        name: Volume(generator.integers(0, 900, (8, 12, 10)).astype(np.int16), "rescaled", (3.0, 1.0, 1.0))
        for name in names
    }
    with open_session(bundle, backend="onnxruntime") as session:
        answer = Answerer(session).answer(given)
        assert [entry.input for entry in answer.prepared.series] == names
        elsewhere = {**given, names[1]: Volume(given[names[1]].values, "rescaled", (3.0, 1.0, 1.0), (0.0, 0.0, 500.0))}
        with pytest.raises(StudyError):
            Answerer(session).answer(elsewhere)
        of_two = {
            name: Study(volume, "MR", {}, PatientHeader(patient_id="A" if name == names[0] else "B"))
            for name, volume in given.items()
        }
        with refused(StudyError, "2 different patients"):
            Answerer(session).answer(of_two)


def test_calls_from_several_threads(answerer: Answerer, tmp_path: Path) -> None:
    studies = [save(ct_series(hounsfield(5, SIZE, SIZE, seed)), tmp_path / str(seed)) for seed in range(4)]
    alone = [same(answerer.answer(study, RECORD).result) for study in studies]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda at: same(answerer.answer(studies[at % 4], RECORD).result), range(16)))
    assert together == alone * 4


def test_what_is_per_bundle_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mmcaf_engine import pipeline
    from tiny_report import make_tiny_report

    made: list[str] = []
    real = pipeline.open_tokenizer
    monkeypatch.setattr(pipeline, "open_tokenizer", lambda bundle: made.append("tokenizer") or real(bundle))
    monkeypatch.setattr(pipeline, "accuracy_summary", lambda bundle, precision: made.append("accuracy"))
    study = save(ct_series(HU), tmp_path / "study")
    with open_session(load_bundle(make_tiny_report(tmp_path / "report.mmcaf")), backend="onnxruntime") as session:
        answerer = Answerer(session)
        for report in ("No nodule.", "A nodule."):
            answerer.answer(study, {**RECORD, "findings": report})
    assert made == ["tokenizer", "accuracy"]


def big_endian(images: list[Dataset], **changes: Any) -> list[Dataset]:
    """As a network layer hands them over from an Explicit VR Big Endian association: bytes swapped, no file meta."""
    received = []
    for image in images:
        stream = BytesIO()
        swapped = copy.deepcopy(image)
        swapped.PixelData = np.frombuffer(image.PixelData, "<u2").byteswap().tobytes()
        swapped.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        pydicom.dcmwrite(stream, swapped, enforce_file_format=True)
        stream.seek(0)
        dataset = pydicom.dcmread(stream)
        if changes.get("syntax") is None:
            del dataset.file_meta
        else:
            dataset.file_meta.TransferSyntaxUID = changes["syntax"]
        received.append(dataset)
    return received


def test_big_endian_data_sets_as_they_come_over_the_network(answerer: Answerer, tmp_path: Path) -> None:
    images = ct_series(HU)
    expected = same(answerer.answer(save(images, tmp_path / "study"), RECORD).result)
    assert same(answerer.answer(big_endian(images), RECORD).result) == expected
    assert same(answerer.answer(big_endian(images, syntax=ExplicitVRBigEndian), RECORD).result) == expected
    with refused(StudyError, "data set 1", "big endian", "(0002,0010)"):
        answerer.answer(big_endian(images, syntax=ExplicitVRLittleEndian), RECORD)


@pytest.mark.parametrize("name", ["strickt", "dedline", "alow_id_mismatch"])
def test_a_misspelt_option_is_no_option_left_out(name: str, answerer: Answerer, tiny_bundle: Path) -> None:
    with pytest.raises(TypeError, match=f"'{name}'"):
        answerer.answer(volume(), RECORD, **{name: True})
    with pytest.raises(TypeError, match=f"'{name}'"):
        infer(volume(), RECORD, bundle=tiny_bundle, **{name: True})


def test_a_masked_array_is_refused(answerer: Answerer) -> None:
    with refused(UsageError, "image", "masked array"):
        answerer.answer(volume(np.ma.masked_greater(HU, 0)), RECORD)


def test_source_images_belong_to_slices(answerer: Answerer) -> None:
    images = tuple(SourceImage("1.2", f"1.2.{at}") for at in range(len(HU)))
    flipped = volume(HU[::-1], direction=((0, 0, -1), (0, 1, 0), (1, 0, 0)))
    answer = answerer.answer(Study(flipped, "CT", {}, PatientHeader(), images=images), RECORD)
    assert answer.source_images["image"].images == images[::-1]
    assert answer.source_images["image"].header is None
    sagittal = volume(HU.transpose(2, 0, 1), direction=((1, 0, 0), (0, 0, 1), (0, 1, 0)), spacing_mm=(0.7, 2.5, 0.7))
    named = tuple(SourceImage("1.2", f"1.2.{at}") for at in range(SIZE))
    with refused(UsageError, "image", "first axis"):
        answerer.answer(Study(sagittal, "CT", {}, PatientHeader(), images=named), RECORD)


def test_a_blank_identifier_is_none(tiny_bundle: Path, tmp_path: Path) -> None:
    assert PatientHeader(patient_id="  ").patient_id is None
    bundle = load_bundle(make_tiny_bundle(tmp_path / "named.mmcaf", format_version=2, identity="required"))
    with open_session(bundle, backend="onnxruntime") as session:
        nobody = Study(volume(), "CT", {}, PatientHeader(patient_id=""))
        with refused(StudyError, "PatientID", "(0010,0020)", option="allow_id_mismatch"):
            Answerer(session).answer(nobody, {**RECORD, "patient_id": ""})
        somebody = Study(volume(), "CT", {}, PatientHeader(patient_id="A"))
        with refused(RecordError, "patient_id", "tiny", option="allow_id_mismatch"):
            Answerer(session).answer(somebody, {**RECORD, "patient_id": " "})


def test_values_of_the_header_that_cannot_be_read_are_named(answerer: Answerer) -> None:
    header = PatientHeader(patient_id="A", unread=("(0010,1010) PatientAge",))
    result = answerer.answer(Study(volume(), "CT", {}, header), {**RECORD, "patient_id": "A"}, strict=True).result
    assert len(result.remarks) == 2 and "(0010,1010) PatientAge" in result.remarks[0]


def test_what_is_absent_is_a_remark_that_strict_accepts(answerer: Answerer) -> None:
    study = Study(volume(), "CT", {}, PatientHeader(patient_id="A"), remarks=("no body part.",))
    result = answerer.answer(study, RECORD, strict=True).result
    assert result.warnings == () and result.remarks[0] == "no body part." and "patient_id" in result.remarks[1]
    assert result.record is not None and result.record.identity == "not_compared"
    named = answerer.answer(study, {**RECORD, "patient_id": "A"}, strict=True).result
    assert named.record is not None and named.record.identity == "matched" and named.remarks[0] == "no body part."
    other = answerer.answer(study, {**RECORD, "patient_id": "B"}, allow_id_mismatch=True).result
    assert other.record is not None and other.record.identity == "overridden" and len(other.warnings) == 1


@pytest.mark.parametrize("warnings", [0, 1, 2])
def test_strict_forbids_every_warning(warnings: int, answerer: Answerer) -> None:
    said = ("odd.", "odder.")[:warnings]
    study = Study(Volume(HU, "hounsfield", (2.5, 0.7, 0.7)), "CT", {}, PatientHeader(), said)
    assert answerer.answer(study, RECORD).result.warnings == said
    if warnings:
        with pytest.raises(StrictError):
            answerer.answer(study, RECORD, strict=True)
    else:
        assert answerer.answer(study, RECORD, strict=True).result.warnings == ()
