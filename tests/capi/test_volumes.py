"""Awkward volumes, drawn anew in each run, by the C library and by the engine."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from capi_inputs import Given, arrays_of, by_library, check_alike
from mmcaf_engine.inputs.image import image_input
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.orientation import canonical, oriented
from mmcaf_engine.volume import HEAD_BACK_LEFT_LPS, PatientHeader, SourceImage, Volume
from testing_library import fresh_random
from tiny_bundle import ORIGIN, tiny_manifest
from tiny_image import tiny_image_manifest
from tiny_liver import INPUTS, tiny_liver_manifest

VOLUMES = 400
AXES = ("SPL", "SPR", "IAL", "LPS", "ASR", "RIP")
LETTERS = {"S": (0, 0, 1), "I": (0, 0, -1), "P": (0, 1, 0), "A": (0, -1, 0), "L": (1, 0, 0), "R": (-1, 0, 0)}
"""Whither an axis of a volume runs -> its direction, LPS."""


def _windows(steps: list[dict[str, Any]], windows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A network that takes windows after these steps."""
    rows, columns = 16, 16
    for step in steps:
        if "rows" in step:
            rows, columns = step["rows"], step["columns"]
    axes = changes.get("axes", "SPL")
    shape = oriented(np.empty((windows["slices"], rows, columns)), axes).shape
    return {
        "name": "windows",
        "network": {"name": "tiny", "config": {}, "parameters": 2},
        "inputs": [{"name": "image", "kind": "volume", "shape": ["N", 1, *shape]}],
        "outputs": [{"name": "logit", "kind": "score", "shape": ["N", 1]}],
        "models": {"fp32": "model.onnx"},
        "preprocessing": {
            "modality": "CT",
            "intensity": "hounsfield",
            "windows": {"pad_value": -1000.0, **windows},
            "steps": steps,
            **changes,
        },
        "labels": ["quiet", "loud"],
        "aggregation": {"method": "max"},
        "threshold": 0.5,
        **ORIGIN,
    }


def _steps(random: Any) -> list[dict[str, Any]]:
    """In any order, with each kind of rounding."""
    size = random.choice([(16, 16), (13, 21), (8, 8), (24, 24), (26, 12)])
    resize = {
        "step": "resize",
        "rows": size[0],
        "columns": size[1],
        "rounding": random.choice(["none", "half_even", "opencv"]),
    }
    steps = [
        resize,
        {"step": "clip_scale", "lower": random.choice([-100.0, -1000.0]), "upper": 900.3},
        {"step": "subtract", "value": 0.15897},
        {"step": "center_crop", "rows": min(size[0], 9), "columns": min(size[1], 10)},
    ]
    middle = random.sample(steps[1:], random.choice([0, 1, 2, 3]))
    return [resize, *middle] if random.random() < 0.8 else [*middle, resize]


def _values(random: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    numbers = np.random.default_rng(random.getrandbits(32))
    values = numbers.integers(-1024, 3000, shape).astype(np.int16)
    kind = random.random()
    if kind < 0.05:
        values[:] = 7
    elif kind < 0.15:
        values[random.randrange(shape[0])] = -1000
    elif kind < 0.25 and shape[0] > 1:
        values[1] = values[0]
    elif kind < 0.35:
        values[::2] = values[:1] + numbers.integers(-3, 3, values[::2].shape)
        values[1::2] = -values[::2][: len(values[1::2])]
    elif kind < 0.45:
        values = np.clip(values, 0, None)
    if random.random() < 0.5:
        return values
    real = values.astype(np.float32) + numbers.random(shape, np.float32)
    if random.random() < 0.1:
        real[tuple(random.randrange(side) for side in shape)] = random.choice([np.nan, np.inf, -np.inf])
    return real


def _turned(random: Any, values: NDArray[Any], degrees: float = 0.0) -> Volume:
    """Values toward head, back and left, laid down in some other orientation, and turned by a few degrees."""
    axes = random.choice(AXES)
    laid = np.ascontiguousarray(oriented(values, axes))
    angle = np.radians(degrees)
    lean = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    direction = tuple(tuple(float(one) for one in lean @ LETTERS[letter]) for letter in axes)
    spacing = tuple(random.choice([0.7, 1.0, 2.5, 0.1 + 0.2]) for _ in range(3))
    return Volume(laid, "hounsfield", spacing, (12.5, -80.0, 3.3), direction)  # type: ignore[arg-type]


def _shape(random: Any) -> tuple[int, int, int]:
    side = random.choice
    return side([1, 2, 3, 4, 5, 8, 9, 13]), side([1, 3, 16, 17, 26, 32, 48, 70]), side([2, 5, 16, 21, 24, 52, 65])


def _slices(random: Any, count: int) -> tuple[int, int] | None:
    first = random.randint(0, count + 1)
    return None if random.random() < 0.8 else (first, first + random.randint(-1, 4))


def test_volumes_drawn_anew() -> None:
    random = fresh_random()
    seen: dict[str, int] = {}
    for number in range(VOLUMES):
        shape = _shape(random)
        windows = {"slices": random.choice([1, 3, 4]), "stride": random.choice([1, 1, 2, 5])}
        windows["order"] = random.choice(["head", "axes"])
        windows["trained_on"] = random.choice(["study", "lesion"])
        manifest = _windows(_steps(random), windows, axes=random.choice(["SPL", "IPL", "LAS", "PIR"]))
        volume = _turned(random, _values(random, shape), random.choice([0, 0, 0, 1, 4.9, 6, 21]))
        images: tuple[SourceImage, ...] = ()
        if random.random() < 0.3:
            images = tuple(SourceImage("1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{at}") for at in range(len(volume.values)))
        given = Given(
            manifest,
            {"image": volume},
            images=images,
            uids={"series": "1.2.3"} if random.random() < 0.5 else {},
            slices=_slices(random, shape[0]),
            stride=random.choice([None, None, None, None, 1, 1, 2, 9]),
            streamed=random.random() < 0.3,
        )
        try:
            outcome = check_alike(given)
        except AssertionError as failure:
            raise AssertionError(f"volume {number}: {manifest['preprocessing']}, {shape}, {given}") from failure
        seen[outcome] = seen.get(outcome, 0) + 1
    assert seen["prepared"] > VOLUMES / 8, seen
    assert seen["StudyError"] > VOLUMES / 20, seen
    assert seen["UsageError"] > VOLUMES / 100, seen


@pytest.mark.parametrize("rounding", ["none", "half_even", "opencv"])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [(32, 32), (33, 31), (16, 16), (15, 17), (48, 80), (208, 160), (512, 512), (1, 1), (17, 272), (12, 300), (16, 512)],
)
def test_every_rounding_has_the_engines_bits(rows: int, columns: int, rounding: str) -> None:
    numbers = np.random.default_rng(rows * 1000 + columns)
    step = {"step": "resize", "rows": 16, "columns": 16, "rounding": rounding}
    values = numbers.integers(-2000, 3000, (2, rows, columns)).astype(np.int16)
    manifest = _windows([step], {"slices": 2, "stride": 2})
    for given in (values, values.astype(np.float32)):
        assert check_alike(Given(manifest, {"image": Volume(given, "hounsfield", (1.0, 1.0, 1.0))})) == "prepared"


def test_several_series_are_pooled_and_standardised_as_one_volume_each() -> None:
    random = fresh_random()
    numbers = np.random.default_rng(random.getrandbits(32))
    manifest = tiny_liver_manifest()
    manifest["preprocessing"]["steps"] = [
        {"step": "clip_scale", "lower": 0.0, "upper": 900.0},
        *manifest["preprocessing"]["steps"],
        {"step": "subtract", "value": 0.25},
    ]
    for _ in range(12):
        shape = (random.choice([2, 5, 9, 21]), random.choice([5, 8, 33]), random.choice([6, 12, 40]))
        spacing = (24 / shape[0], 32 / shape[1], 32 / shape[2])
        origin = (spacing[2] / 2, spacing[1] / 2, spacing[0] / 2)
        volumes = {
            name: Volume(numbers.integers(0, 1000, shape).astype(np.int16), "rescaled", spacing, origin)
            for name in INPUTS
        }
        given = Given(manifest, volumes, uids={"series": "1.2"}, streamed=random.random() < 0.5)
        assert check_alike(given) == "prepared"


def test_series_of_other_regions_are_refused_alike() -> None:
    manifest = tiny_liver_manifest()
    values = np.random.default_rng(1).integers(0, 1000, (6, 10, 10)).astype(np.int16)
    alike = Volume(values, "rescaled", (2.0, 1.0, 1.0))
    apart = Volume(values, "rescaled", (2.0, 1.0, 1.0), (0.0, 0.0, 5.0))
    leaning = _leaning(values, 8.0, "rescaled")
    for other in (apart, leaning):
        volumes = {name: other if name == INPUTS[1] else alike for name in INPUTS}
        assert check_alike(Given(manifest, volumes)) == "StudyError"
    found = by_library(Given(manifest, {INPUTS[0]: alike}))
    assert (found["error"], found["exit_code"]) == ("UsageError", 2)
    check_alike(Given(manifest, {INPUTS[0]: alike}))


def _leaning(values: NDArray[Any], degrees: float, intensity: Any) -> Volume:
    angle = np.radians(degrees)
    direction = ((0.0, -np.sin(angle), np.cos(angle)), (0.0, np.cos(angle), np.sin(angle)), (1.0, 0.0, 0.0))
    return Volume(values, intensity, (2.0, 1.0, 1.0), direction=direction)


@pytest.mark.parametrize("degrees", [4.9, 5.1, 19.9, 20.1, 40.0])
@pytest.mark.parametrize("oblique", ["refuse", "accept"])
def test_slices_that_lean(degrees: float, oblique: str) -> None:
    steps = [{"step": "resize", "rows": 16, "columns": 16, "rounding": "none"}]
    manifest = _windows(steps, {"slices": 2, "stride": 2}, modality="MR", oblique=oblique)
    values = np.random.default_rng(1).integers(-1000, 1000, (4, 10, 10)).astype(np.int16)
    given = Given(manifest, {"image": _leaning(values, degrees, "hounsfield")})
    refused = degrees > 20 or (degrees > 5 and oblique == "refuse")
    assert check_alike(given) == ("StudyError" if refused else "prepared")


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing_mm": (0.0, 1.0, 1.0)},
        {"spacing_mm": (1.0, -1.0, 1.0)},
        {"spacing_mm": (1.0, float("nan"), 1.0)},
        {"origin_mm": (0.0, float("inf"), 0.0)},
        {"origin_mm": (0.0, 2e5, 0.0)},
        {"direction": ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))},
        {"direction": ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0))},
        {"direction": ((0.0, 0.0, 1.0), (0.1, 0.99, 0.0), (1.0, 0.0, 0.0))},
        {"direction": ((0.0, 0.0, 1.2), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))},
        {"intensity": "stored"},
        {"values": np.zeros((2, 1, 4097), np.int16)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_no_volume_has(changes: dict[str, Any]) -> None:
    usual: dict[str, Any] = {
        "values": np.arange(2 * 5 * 5, dtype=np.int16).reshape(2, 5, 5),
        "intensity": "hounsfield",
        "spacing_mm": (1.0, 1.0, 1.0),
    }
    manifest = _windows([{"step": "subtract", "value": 1.0}], {"slices": 2, "stride": 2})
    assert check_alike(Given(manifest, {"image": Volume(**(usual | changes))})) in ("StudyError", "UsageError")


RECORD = b'{"sex": "M", "age": 64, "patient_id": "P1"}'
CASES: dict[str, dict[str, Any]] = {
    "matched": {"patient": PatientHeader("P1", "M", 64.5, 70.0)},
    "nobody": {},
    "blank": {"patient": PatientHeader("  ")},
    "another": {"patient": PatientHeader("P2")},
    "accepted": {"patient": PatientHeader("P2"), "allow_id_mismatch": True},
    "contradicting": {"patient": PatientHeader("P1", "F", 40.0)},
    "without record": {"record": None},
    "of no patient": {"record": b'{"sex": "M", "age": 64}', "patient": PatientHeader("P1")},
    "number": {"record": b'{"sex": "M", "age": 64, "PatientID": 7}', "patient": PatientHeader("7")},
    "not finite": {"patient": PatientHeader("P1", age=float("inf"))},
    "mr": {"modality": "MR"},
    "head": {"body_part": "head"},
    "pelvis": {"body_part": " Pelvis"},
    "chest": {"body_part": "CHEST"},
    "slices": {"slices": (2, 3)},
    "other slices": {"slices": (2, 9)},
    "no slices": {"slices": (3, 2)},
    "lesion": {"record": b'{"sex": "M", "age": 64, "lesion": "2-3"}'},
    "other lesion": {"record": b'{"sex": "M", "age": 64, "lesion": [2, 3]}', "slices": (1, 2)},
    "lesion of one slice": {"record": b'{"sex": "M", "age": 64, "lesion": "3-3"}'},
    "lesion beyond": {"record": b'{"sex": "M", "age": 64, "lesion": "5-9"}'},
    "lesion's images": {"record": b'{"sex": "M", "age": 64, "lesion": "1.2.3.4, 1.2.3.5"}'},
    "others' images": {"record": b'{"sex": "M", "age": 64, "lesion": ["1.2.3.4", "1.2.9"]}'},
    "no lesion": {"record": b'{"sex": "M", "age": 64, "lesion": "4 to 5"}'},
    "lesion turned": {"record": b'{"sex": "M", "age": 64, "lesion": "5-4"}'},
    "no such lesion": {"record": b'{"sex": "M", "age": 64, "lesion": "0-4"}'},
    "lesion of what": {"record": b'{"sex": "X", "age": 64, "lesion": {"a": 1}}'},
}


@pytest.mark.parametrize("identity", ["optional", "required"])
@pytest.mark.parametrize("case", CASES)
def test_patient_body_part_and_scope(case: str, identity: str) -> None:
    manifest = {**tiny_manifest(), "identity": identity}
    manifest["body_part"] = {"accepted": ["CHEST"], "warned": ["NECK"], "refused": ["Head"]}
    manifest["preprocessing"]["windows"] |= {"lesion_field": "lesion", "trained_on": "lesion", "stride": 1}
    values = np.random.default_rng(1).integers(-1000, 1000, (7, 20, 20)).astype(np.int16)
    volume = Volume(values, "hounsfield", (1.0, 1.0, 1.0), direction=HEAD_BACK_LEFT_LPS)
    images = tuple(SourceImage("1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{at}") for at in range(7))
    usual: dict[str, Any] = {"record": RECORD, "images": images}
    given = Given(manifest, {"image": volume}, **(usual | CASES[case]))
    if case == "not finite":
        found = by_library(given)
        assert (found["error"], found["exit_code"]) == ("StudyError", 3)
        return
    check_alike(given)


@pytest.mark.parametrize("streamed", [False, True])
def test_slices_that_run_to_the_feet_keep_their_images(streamed: bool) -> None:
    values = np.random.default_rng(1).integers(-1000, 1000, (7, 20, 20)).astype(np.int16)
    volume = Volume(
        values, "hounsfield", (1.0, 1.0, 1.0), direction=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    )
    images = tuple(SourceImage("1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{at}") for at in range(7))
    manifest = _windows([{"step": "resize", "rows": 16, "columns": 16, "rounding": "none"}], {"slices": 2, "stride": 2})
    given = Given(manifest, {"image": volume}, images=images, streamed=streamed)
    assert check_alike(given) == "prepared"
    assert by_library(given)["series"][0]["images"][0] == "1.2.3.6"


@pytest.mark.parametrize("shape", [(12, 16), (24, 32), (25, 33), (5, 7), (300, 10), (1, 2)])
def test_images_have_the_engines_bits(shape: tuple[int, int]) -> None:
    manifest = tiny_image_manifest()
    plane = np.random.default_rng(shape[0]).uniform(0, 255, shape).astype(np.float32)
    found = by_library(Given(manifest, plane=plane))
    spec = Manifest.model_validate(Given(manifest).document).image
    assert spec is not None
    np.testing.assert_array_equal(arrays_of(found["windows"][0])["image"], image_input(plane, spec))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 255.5])
def test_what_is_no_grey_value(value: float) -> None:
    plane = np.linspace(0, 255, 30, dtype=np.float32).reshape(5, 6)
    plane[2, 3] = value
    found = by_library(Given(tiny_image_manifest(), plane=plane))
    assert (found["error"], found["exit_code"]) == ("StudyError", 3)
    assert "1 of 30 pixels" in found["problem"]


def test_a_volume_of_the_canonical_orientation_is_the_same_however_it_lies() -> None:
    values = np.random.default_rng(2).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    manifest = _windows([{"step": "resize", "rows": 16, "columns": 16, "rounding": "none"}], {"slices": 4, "stride": 4})
    seen = set()
    for axes in AXES:
        laid = np.ascontiguousarray(oriented(values, axes))
        np.testing.assert_array_equal(canonical(laid, axes), values)
        direction = tuple(tuple(map(float, LETTERS[letter])) for letter in axes)
        volume = Volume(laid, "hounsfield", (1.0, 1.0, 1.0), direction=direction)  # type: ignore[arg-type]
        for streamed in (False, True):
            seen.add(by_library(Given(manifest, {"image": volume}, streamed=streamed))["windows"][0]["image"]["bytes"])
    assert len(seen) == 1
