"""The raw case: a stored study and record become the stored windows, features and answer, or the step is named."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.golden import GOLDEN_NAME, MOST_VALUES, read_raw_case, sample
from mmcaf_engine.checkup.raw_case import Infer, RawCheck, check_raw_case
from mmcaf_engine.errors import BackendError, BundleError
from mmcaf_engine.session.session import open_session
from mmcaf_engine.volume import Arrays
from mmcaf_export.raw_case import draw_study
from raw_cases import edited, seal, unsealed, with_raw_case
from refusals import Fact, refused
from tiny_bundle import SLICES, make_tiny_bundle
from tiny_image import make_tiny_image
from tiny_liver import make_tiny_liver
from tiny_report import make_tiny_report, report_manifest

KINDS: dict[str, Callable[[Path], Path]] = {
    "volume": make_tiny_bundle,
    "image": make_tiny_image,
    "image-and-table": lambda output: make_tiny_image(output, table=True),
    "table": lambda output: make_tiny_image(output, image=False, table=True),
    "several-volumes": make_tiny_liver,
    "report": make_tiny_report,
    "required-identity": lambda output: make_tiny_bundle(
        output, identity="required", body_part={"accepted": ["CHEST"]}
    ),
}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    return with_raw_case(KINDS[request.param](folder / "plain.mmcaf"), folder / "raw.mmcaf")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of a kind, made once."""
    found: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            found[kind] = with_raw_case(KINDS[kind](folder / "plain.mmcaf"), folder / "raw.mmcaf")
        return found[kind]

    return make


def checked(bundle: Path) -> RawCheck:
    found = check_raw_case(load_bundle(bundle))
    assert found is not None
    return found


def test_what_was_stored_comes_out(bundle: Path) -> None:
    raw = checked(bundle)
    assert (raw.windows, raw.features) == (0.0, 0.0)
    for backend in ("onnxruntime", "openvino"):
        with open_session(load_bundle(bundle), backend=backend) as session:
            assert raw.answer_error(session.run, "fp32") <= 1e-5


def test_every_input_has_its_say(bundle: Path) -> None:
    case, manifest = read_raw_case(load_bundle(bundle)), load_bundle(bundle).manifest
    assert case is not None
    assert {*case.windows, *case.features} == {spec.name for spec in manifest.inputs}
    assert sum(found.values.size for found in case.windows.values()) <= MOST_VALUES
    assert all(np.unique(found.values).size > 8 for found in case.windows.values())
    assert case.probabilities.min() > 0 and case.probabilities.max() < 1


def test_the_study_is_drawn_from_the_manifest_alone(bundle: Path) -> None:
    case, manifest = read_raw_case(load_bundle(bundle)), load_bundle(bundle).manifest
    assert case is not None
    pieces = (bundle / "vocabulary.txt").read_text().split() if manifest.text is not None else ()
    again = draw_study(manifest, pieces)
    assert (again.record, again.report) == (case.study.record, case.study.report)
    assert again.volumes.keys() == case.study.volumes.keys()
    for name, volume in again.volumes.items():
        assert np.array_equal(volume.values, case.study.volumes[name].values)
        assert volume.spacing_mm == case.study.volumes[name].spacing_mm
        assert volume.direction == case.study.volumes[name].direction
    if again.plane is not None:
        assert case.study.plane is not None and np.array_equal(again.plane, case.study.plane)


def test_a_study_that_meets_every_constant(made: Callable[[str], Path]) -> None:
    case = read_raw_case(load_bundle(made("volume")))
    assert case is not None
    values = case.study.volumes["image"].values
    assert len(values) < SLICES  # so that it is padded
    assert values.dtype == np.int16 and values.min() < -100 and values.max() > 900  # beyond what is clipped
    assert len({*values.shape}) == 3 and case.starts == (0, 4, 8, 9)


SHORTER = {**report_manifest()["text"], "max_tokens": 8, "buckets": [4, 8]}

EDITS: dict[str, tuple[str, tuple[str | int, ...], Any, tuple[Fact, ...]]] = {
    "clip": ("volume", ("preprocessing", "steps", 1, "upper"), 950.0, ("windows", "image", "resize", "clip_scale")),
    "rounding": ("volume", ("preprocessing", "steps", 0, "rounding"), "none", ("windows", "image")),
    "padding": ("volume", ("preprocessing", "windows", "pad_value"), 0.0, ("windows", "image")),
    "stride": ("volume", ("preprocessing", "windows", "stride"), 3, ("0, 3, 6, 9", "0, 4, 8, 9")),
    "steps": ("volume", ("preprocessing", "steps"), [{"step": "clip_scale", "lower": 0, "upper": 1}], ("windows",)),
    "intensity": ("volume", ("preprocessing", "intensity"), "stored", ("preprocessing", '"stored"')),
    "axes": ("several-volumes", ("preprocessing", "axes"), "RAS", ("windows", "t2")),
    "standardise": (
        "several-volumes",
        ("preprocessing", "steps", 1),
        {"step": "subtract", "value": 0},
        ("windows", "off by"),
    ),
    "mean": ("image", ("image", "mean"), [0.485, 0.456, 0.407], ("windows", "image", "resize", "normalise")),
    "std": ("image-and-table", ("image", "std"), [0.23, 0.224, 0.225], ("windows", "image")),
    "scaling": ("volume", ("table", "fields", 1, "upper"), 91, ("features", "column 2", "table", "age")),
    "category": (
        "volume",
        ("table", "fields", 0, "categories"),
        {"M": 1, "F": 2},
        ("features", "column 1", "table", "sex"),
    ),
    "cut": ("report", ("table", "fields", 1, "cut", "value"), 63, ("features", "column 3", "table", "age >= 63", 1)),
    "range": ("table", ("table", "fields", 0, "maximum"), 70, ("record", "age", "80 years")),
    "lowercase": ("report", ("text", "lowercase"), False, ("features", "input_ids")),
    "marker": ("report", ("text", "remove"), [], ("features", "input_ids")),
    "tokens": ("report", ("text",), SHORTER, ("features", "input_ids", "[1, 8]", "[1, 12]")),
}


@pytest.mark.parametrize(("kind", "path", "value", "facts"), EDITS.values(), ids=EDITS.keys())
def test_an_edited_manifest_is_refused_by_the_step(
    kind: str,
    path: tuple[str | int, ...],
    value: Any,
    facts: tuple[Fact, ...],
    made: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    other = edited(made(kind), tmp_path / "edited.mmcaf", path, value)
    with refused(BundleError, "raw case", *facts) as caught:
        check_raw_case(load_bundle(other))
    assert caught.value.exit_code == 5


def shifted(by: float) -> Callable[[Infer], Infer]:
    def around(infer: Infer) -> Infer:
        def wrong(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
            return {name: array + np.float32(by) for name, array in infer(arrays).items()}

        return wrong

    return around


@pytest.mark.parametrize("by", [0.1, -0.1])
def test_a_network_that_answers_otherwise(by: float, made: Callable[[str], Path]) -> None:
    bundle = load_bundle(made("volume"))
    with open_session(bundle, backend="onnxruntime") as session:
        wrong = shifted(by)(session.run)
        with refused(BackendError, "raw case", "tiny", "fp32"):
            checked(made("volume")).answer_error(wrong, "fp32")
        assert checked(made("volume")).answer_error(wrong, "int8") > 1e-3


def resealed(bundle: Path, output: Path, **arrays: NDArray[Any] | None) -> Path:
    """With arrays of golden.npz replaced, or removed; `__` in a name is a dot."""
    loaded, draft = load_bundle(bundle), unsealed(bundle, output)
    with np.load(draft / GOLDEN_NAME) as held:
        stored = {**held, **{name.replace("__", "."): array for name, array in arrays.items()}}
    np.savez(draft / GOLDEN_NAME, **{name: array for name, array in stored.items() if array is not None})
    return seal(draft, loaded.manifest.model_dump(mode="json", exclude={"files"}), output)


def test_a_precision_with_answers_of_its_own(made: Callable[[str], Path], tmp_path: Path) -> None:
    own = np.array([0.25, 0.75])
    bundle = resealed(made("volume"), tmp_path / "own.mmcaf", **{"raw__probabilities@fp32": own})
    case = read_raw_case(load_bundle(bundle))
    assert case is not None and np.array_equal(case.expected("fp32"), own)
    assert np.array_equal(case.expected("int8"), case.probabilities)


DAMAGED: dict[str, dict[str, NDArray[Any] | None]] = {
    "no-volume": {"raw__volume__image": None},
    "no-record": {"raw__record": np.frombuffer(b"[1]", np.uint8)},
    "no-text": {"raw__record": np.array([255, 254], np.uint8)},
    "no-spacing": {"raw__spacing__image": np.zeros(2)},
    "no-windows": {"raw__windows__image": None},
    "too-few-values": {"raw__windows__image": np.zeros(3, np.float32)},
    "no-stride": {"raw__stride__image": np.array(0)},
    "negative-shape": {"raw__shape__image": np.array([1, 1, -4, 16, 16])},
    "flat-volume": {"raw__volume__image": np.zeros((4, 4), np.int16)},
    "no-vector": {"raw__probabilities": np.zeros((2, 2))},
    "no-probability": {"raw__probabilities": np.zeros(0)},
    "unknown-intensity": {"raw__intensity__image": np.frombuffer(b"loud", np.uint8)},
}


@pytest.mark.parametrize("arrays", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_raw_case(
    arrays: dict[str, NDArray[Any] | None], made: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = resealed(made("volume"), tmp_path / "damaged.mmcaf", **arrays)
    with refused(BundleError, "golden.npz"):
        check_raw_case(load_bundle(bundle))


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize(("step", "input"), [("windows", "image"), ("features", "table")])
def test_stored_values_that_are_no_numbers(
    step: str, input: str, number: float, made: Callable[[str], Path], tmp_path: Path
) -> None:
    with np.load(made("volume") / GOLDEN_NAME) as held:
        values = np.full_like(held[f"raw.{step}.{input}"], number)
    other = resealed(made("volume"), tmp_path / "other.mmcaf", **{f"raw__{step}__{input}": values})
    with refused(BundleError, "raw case", step, "off by"):
        check_raw_case(load_bundle(other))


def test_probabilities_of_other_labels(made: Callable[[str], Path], tmp_path: Path) -> None:
    bundle = resealed(made("volume"), tmp_path / "other.mmcaf", raw__probabilities=np.full(3, 1 / 3))
    with open_session(load_bundle(bundle), backend="onnxruntime") as session:
        for infer in (session.run, shifted(np.inf)(lambda arrays: {"logit": np.zeros((1, 1), np.float32)})):
            with pytest.raises(BackendError):
                checked(bundle).answer_error(infer, "fp32")


@pytest.mark.parametrize("stored", [[np.nan, np.nan], [0.5, np.nan], [-np.inf, 0.5]], ids=str)
def test_stored_probabilities_that_are_no_numbers(
    stored: list[float], made: Callable[[str], Path], tmp_path: Path
) -> None:
    """No answer is near what is no number."""
    raw = checked(resealed(made("volume"), tmp_path / "other.mmcaf", raw__probabilities=np.array(stored)))
    with refused(BackendError, "raw case", "off by", "inf"):
        raw.answer_error(lambda arrays: {"logit": np.zeros((1, 1), np.float32)}, "int8")


def test_a_bundle_without_one(tiny_bundle: Path) -> None:
    assert check_raw_case(load_bundle(tiny_bundle)) is None


@pytest.mark.parametrize("shape", [(1,), (1, 1, 12, 192, 192), (3, 1, 4, 16, 16), (1, 1, 7, 63, 100), (1, 3, 224, 224)])
def test_a_sample_is_of_all_rows_and_columns(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = sample(array, 1000)
    assert 0 < found.values.size <= 1000
    assert np.array_equal(found.of(array), found.values)
    places = np.unravel_index(found.values.astype(int), shape)
    if array.size > 1000:
        assert all(len(np.unique(place)) == length for place, length in zip(places, shape, strict=True))
    else:
        assert found.stride == 1
