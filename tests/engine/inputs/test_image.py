"""From a radiograph to the network's input and its answer: resizing, constants, and the whole way."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_factory import ct_series, hounsfield, save, write
from mmcaf_engine import infer
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.image import open_image
from mmcaf_engine.inputs.image import image_input
from mmcaf_engine.inputs.resize import resize_bilinear
from mmcaf_engine.manifest import ImageSpec
from mmcaf_engine.session.session import Session, open_session
from refusals import Fact, refused
from tiny_image import MEAN, SIZE, STD, expected, make_tiny_image, radiograph, stored
from tiny_pictures import png

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

RESIZE_TOLERANCE = 1e-4
"""float32 sums of values up to 255 against double precision; measured 7.5e-5. PyTorch's own float32 is off by 7e-3."""

SIZES = [
    ((1000, 777), (224, 224)),
    ((224, 224), (224, 224)),
    ((100, 63), (224, 224)),
    ((63, 1000), (224, 224)),
    ((300, 100), (299, 224)),
    ((5, 500), (7, 3)),
    ((3, 1), (1, 3)),
    ((1, 1), (3, 3)),
    ((448, 672), (224, 224)),
]


@pytest.mark.parametrize(("before", "after"), SIZES, ids=[f"{a[0]}x{a[1]}-to-{b[0]}x{b[1]}" for a, b in SIZES])
def test_resizing_equals_pytorch(
    before: tuple[int, int], after: tuple[int, int], record_property: Callable[[str, object], None]
) -> None:
    torch = pytest.importorskip("torch", reason="the reference is PyTorch")
    image = np.random.default_rng(0).uniform(0, 255, before).astype(np.float32)
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(image).double()[None, None], after, mode="bilinear", antialias=True, align_corners=False
    )[0, 0].numpy()
    resized = resize_bilinear(image, *after)
    error = float(np.abs(resized - reference).max())
    record_property("max_error", error)
    assert resized.dtype == np.float32
    assert error < RESIZE_TOLERANCE


def test_weights_by_their_definition() -> None:
    """Of eight pixels to two: each output is centred between four, with weights that fall off over eight."""
    spread = resize_bilinear(np.eye(8, dtype=np.float32) * 8, 2, 8)
    reach = np.maximum(1 - np.abs(np.arange(8) + 0.5 - 2) / 4, 0)
    assert np.allclose(spread[0], 8 * reach / reach.sum(), atol=1e-6)
    assert np.allclose(spread[1], spread[0][::-1], atol=1e-6)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_image(tmp_path_factory.mktemp("image") / "tiny.mmcaf")


@pytest.fixture(scope="module")
def session(bundle: Path) -> Iterator[Session]:
    with open_session(load_bundle(bundle), backend="onnxruntime") as opened:
        yield opened


def by_hand(grey: NDArray[Any]) -> NDArray[np.float32]:
    """The input of an image of `grey` values, 0 to 255, in PyTorch and double precision."""
    torch = pytest.importorskip("torch", reason="the reference is PyTorch")
    image = torch.from_numpy(np.asarray(grey, np.float64))[None, None]
    resized = torch.nn.functional.interpolate(image, SIZE, mode="bilinear", antialias=True, align_corners=False)
    mean, std = (torch.tensor(values, dtype=torch.float64)[None, :, None, None] for values in (MEAN, STD))
    given: NDArray[np.float32] = (((resized / 255).expand(1, 3, *SIZE) - mean) / std).float().numpy()
    return given


FILES: dict[str, Callable[[Path], Path]] = {
    "dx": lambda folder: write(radiograph(), folder / "image.dcm"),
    "inverted-dx": lambda folder: write(
        radiograph(4095 - stored(), PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
        folder / "image.dcm",
    ),
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES.keys())
def test_answer_of_a_radiograph(make: Callable[[Path], Path], session: Session, tmp_path: Path) -> None:
    result = infer(make(tmp_path), session=session)
    # The window is over all values: centre 2048 and width 4096 map 0 to 0 and 4095 to 255 (PS3.3 C.11.2.1.2).
    logit = float(expected(by_hand(stored() / 4095 * 255))[0, 0])
    assert result.positive.logit == pytest.approx(logit, abs=1e-4)
    assert result.label == ("bright" if logit >= 0 else "dark")
    assert result.windows == ()
    assert (result.study.modality, result.study.slices, result.study.spacing_mm) == ("DX", 1, (0.0, 0.143, 0.139))
    (series,) = result.study.selection
    assert (series.input, series.source) == ("image", result.study.uids["image"])
    assert result.warnings == ()
    assert {"read", "decode", "preprocess", "infer", "total"} <= result.timing_ms.keys()
    assert json.loads(result.to_json())["windows"] == []


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_answer_of_a_picture(kind: str, session: Session, tmp_path: Path) -> None:
    grey = np.repeat(np.repeat(stored(9, 11, 8).astype(np.uint8), 8, axis=0), 8, axis=1)
    path = tmp_path / f"image.{kind}"
    path.write_bytes(png(grey) if kind == "png" else imagecodecs.jpeg8_encode(grey, level=100))
    result = infer(path, session=session)
    assert result.positive.logit == pytest.approx(
        float(expected(by_hand(grey))[0, 0]), abs=1e-4 if kind == "png" else 0.02
    )
    assert result.study.modality == kind.upper()
    assert result.study.uids == {}
    (warning,) = result.warnings
    assert "its view is not known" in warning


def test_input_is_the_same_plane_for_each_channel(bundle: Path, tmp_path: Path) -> None:
    spec = load_bundle(bundle).manifest.image
    assert spec is not None
    with open_image(write(radiograph(), tmp_path / "image"), spec) as opened:
        plane, _ = opened.read()
    given = image_input(plane, spec)
    assert (given.shape, given.dtype) == ((1, 3, *SIZE), np.float32)
    assert np.abs(given - by_hand(plane)).max() < 1e-5
    one = ImageSpec(size=SIZE, channels=1, mean=MEAN[:1], std=STD[:1])
    assert np.array_equal(image_input(plane, one), given[:, :1])


@pytest.mark.parametrize(
    ("options", "facts", "remedies"),
    [
        ({"stride": 2}, ("stride", "tiny image", "2D"), ["stride"]),
        ({"gaps": "interpolate", "tilt": "resample"}, ("gaps", "tilt", "tiny image", "2D"), ["gaps", "tilt"]),
        ({"duplicates": "first"}, ("duplicates", "tiny image", "2D"), ["duplicates"]),
        ({"heatmap": "map.png"}, ("tiny image", "attention"), ["explain", "heatmap"]),
    ],
    ids=["stride", "gaps-and-tilt", "duplicates", "heatmap"],
)
def test_options_of_volumes_are_refused(
    options: dict[str, Any], facts: tuple[Fact, ...], remedies: list[str], session: Session, tmp_path: Path
) -> None:
    with refused(UsageError, *facts) as caught:
        infer(write(radiograph(), tmp_path / "image"), session=session, **options)
    assert [remedy.option for remedy in caught.value.remedies] == remedies


@pytest.mark.parametrize(
    ("study", "record", "error", "facts"),
    [
        (None, None, UsageError, ("tiny image", "study")),
        ("image", {"age": 63}, RecordError, ("tiny image", "record")),
        ("ct", None, StudyError, ("ct", "3 images", "frontal", "3 CT")),
        ("ct/IM0000", None, StudyError, ("IM0000", "CT", "DX", "CR")),
    ],
    ids=["no-study", "a-record", "a-ct-study", "a-ct-slice"],
)
def test_what_does_not_fit_the_network(
    study: str | None, record: Any, error: type[MmcafError], facts: tuple[Fact, ...], session: Session, tmp_path: Path
) -> None:
    write(radiograph(), tmp_path / "image")
    save(ct_series(hounsfield(3)), tmp_path / "ct")
    with refused(error, *facts):
        infer(None if study is None else tmp_path / study, record, session=session)


def test_a_radiograph_is_no_volume(tmp_path: Path) -> None:
    with refused(StudyError, "image", "DX", "CT"):
        infer(write(radiograph(), tmp_path / "image"), {"age": 63, "sex": "F"})


def test_patient_of_the_image_is_compared_with_the_record(tmp_path: Path) -> None:
    path = write(radiograph(), tmp_path / "image")
    bundle = make_tiny_image(tmp_path / "both.mmcaf", table=True)
    with open_session(load_bundle(bundle), backend="onnxruntime") as session:
        assert infer(path, {"age": 63}, session=session).warnings == ()
        assert infer(path, {"age": 63}, session=session).positive.logit == pytest.approx(
            infer(path, {"age": 64}, session=session).positive.logit - 0.01, abs=1e-5
        )
        with refused(RecordError, "patient_id", "PatientID", "(0010,0020)", option="allow_id_mismatch"):
            infer(path, {"age": 63, "patient_id": "another"}, session=session)
        (warning,) = infer(path, {"age": 30}, session=session).warnings
        assert "age" in warning


def test_a_network_that_reads_no_study(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"age": 70}', encoding="utf-8")
    bundle = load_bundle(make_tiny_image(tmp_path / "table.mmcaf", image=False, table=True))
    with open_session(bundle, backend="onnxruntime") as session:
        results = [infer(None, {"age": 70}, session=session), infer(record, session=session)]
        with refused(UsageError, "tiny image", "study"):
            infer(write(radiograph(), tmp_path / "image"), record, session=session)
    for result in results:
        assert result.positive.logit == pytest.approx(0.5, abs=1e-6)
        assert (result.study.modality, result.study.slices, result.study.selection, result.windows) == ("", 0, (), ())
