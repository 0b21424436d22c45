"""Values of another type than a function names: refused in our words, never by what happens to trip over them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from mmcaf_engine import Answerer, Study, Volume, infer, load_bundle, open_session, read_record, read_study
from mmcaf_engine.errors import MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.volume import PatientHeader
from refusals import Fact, check_facts, refused
from tiny_bundle import SIZE, SLICES, make_tiny_bundle

RECORD = {"sex": "F", "age": 63}
VALUES = np.random.default_rng(0).integers(-500, 500, (SLICES, SIZE, SIZE)).astype(np.int16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.mmcaf")


def volume(**changed: Any) -> Volume:
    return Volume(**{"values": VALUES, "intensity": "hounsfield", "spacing_mm": (2.0, 1.0, 1.0), **changed})


def study(**changed: Any) -> Study:
    return Study(**{"volume": volume(), "modality": "CT", "uids": {}, "patient": PatientHeader(), **changed})


def answered(bundle: Path, given: Any, record: Any = RECORD, /, **options: Any) -> float:
    return infer(given, record, **{"bundle": bundle, "backend": "onnxruntime", **options}).positive.logit


def cyclic() -> dict[str, Any]:
    record: dict[str, Any] = dict(RECORD)
    record["of"] = record
    return record


def refusal(error: type[MmcafError], call: Callable[[], object], *facts: Fact) -> str:
    with refused(error, *facts) as caught:
        call()
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize(
    "given",
    [3, [], [RECORD], {3: 4}, 1.5, np.int64(3), bytearray(b"{}"), object(), (1,)],
    ids=lambda value: type(value).__name__,
)
def test_no_record(given: Any, bundle: Path) -> None:
    expected = ("str", "Path", "bytes", "Mapping[str, Any]")
    refusal(RecordError, lambda: answered(bundle, volume(), given), "record", *expected)


@pytest.mark.parametrize(
    "given",
    [
        {"sex": np.str_("F"), "age": np.int64(63)},
        {"sex": "F", "age": np.float32(63)},
        {"sex": "F", "age": {"value": np.float64(63), "unit": "years"}},
        {"sex": "F", "age": np.array(63)},
        {"sex": "F", "age": 63, "patient_id": np.int64(3)},
        MappingProxyType(RECORD),
        cyclic(),
    ],
    ids=["int64", "float32", "unit", "array-of-none", "patient-id", "proxy", "cyclic"],
)
def test_numbers_of_numpy_are_numbers(given: Mapping[str, Any], bundle: Path) -> None:
    assert answered(bundle, volume(), given) == answered(bundle, volume())


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (np.float32("nan"), "nan"),
        (np.float64("inf"), "inf"),
        (np.bool_(True), "true/false"),
        (np.array([63]), "ndarray"),
        (np.datetime64("2020-01-01"), "date"),
        (10**400, "digits"),
        (1j, "complex"),
        ({"value": np.float32("nan"), "unit": "years"}, "nan"),
    ],
    ids=str,
)
def test_no_age(age: Any, said: str, bundle: Path) -> None:
    refusal(RecordError, lambda: answered(bundle, volume(), {"sex": "F", "age": age}), "age", said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("series", 1),
        ("series", [1]),
        ("series", {"image": 1}),
        ("gaps", 1),
        ("tilt", None),
        ("duplicates", []),
        ("stride", "x"),
        ("stride", 1.5),
        ("stride", True),
        ("slices", 40),
        ("slices", [40.0, 52]),
        ("slices", (40,)),
        ("allow_id_mismatch", "x"),
        ("strict", "no"),
        ("strict", 1),
        ("heatmap", 1),
        ("heatmap_over", 1),
        ("progress", 1),
        ("cancel", 1),
        ("deadline", "x"),
        ("deadline", True),
        ("deadline", float("nan")),
        ("deadline", 1j),
        ("watch", 1),
        ("report", 3),
        ("threads", "x"),
        ("threads", 1.5),
        ("backend", 1),
        ("precision", 1),
        ("bundle", 3),
        ("session", 3),
    ],
    ids=lambda value: str(value),
)
def test_no_option(name: str, value: Any, bundle: Path) -> None:
    refusal(UsageError, lambda: answered(bundle, volume(), **{name: value}), name)
    if name in ("bundle", "session", "threads", "backend", "precision"):
        return
    with open_session(load_bundle(bundle), backend="onnxruntime") as session:
        answerer = Answerer(session)
        refusal(UsageError, lambda: answerer.answer(volume(), RECORD, **{name: value}), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stride", np.int64(SLICES)), ("deadline", np.float32(60)), ("deadline", 60), ("strict", np.bool_(False))],
)
def test_options_of_numpy(name: str, value: Any, bundle: Path) -> None:
    assert answered(bundle, volume(), **{name: value}) == answered(bundle, volume())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backend", 1),
        ("precision", 1),
        ("threads", "x"),
        ("progress", 1),
        ("cancel", 1),
        ("deadline", "x"),
        ("reports", 1.5),
    ],
)
def test_no_option_of_a_session(name: str, value: Any, bundle: Path) -> None:
    refusal(UsageError, lambda: open_session(load_bundle(bundle), **{name: value}), name)


def test_no_bundle_and_no_session(bundle: Path) -> None:
    for given in (str(bundle), bundle, None):
        said = refusal(UsageError, lambda given=given: open_session(given), "bundle", "Bundle")  # type: ignore[misc]
        check_facts(said, "load_bundle")
    for given in ("x", load_bundle(bundle), None):
        said = refusal(UsageError, lambda given=given: Answerer(given), "session", "Session")  # type: ignore[misc]
        check_facts(said, "open_session")
    for given in (None, 3, b"x"):
        refusal(UsageError, lambda given=given: load_bundle(given), "bundle", "str", "Path")  # type: ignore[misc]


@pytest.mark.parametrize("given", [3, b"x", object(), {}, {"image": 3}, {3: volume()}, [3], VALUES], ids=lambda _: "")
def test_no_study(given: Any, bundle: Path) -> None:
    refusal(UsageError, lambda: answered(bundle, given), "study")
    if not isinstance(given, Mapping):
        refusal(UsageError, lambda: read_study(given), "study")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("values", None, UsageError),
        ("values", [[1]], UsageError),
        ("values", VALUES.astype(complex), UsageError),
        ("intensity", 3, UsageError),
        ("intensity", ["hounsfield"], UsageError),
        ("spacing_mm", None, StudyError),
        ("spacing_mm", 2.0, StudyError),
        ("spacing_mm", ("a", "b", "c"), StudyError),
        ("spacing_mm", (float("nan"), 1, 1), StudyError),
        ("spacing_mm", (2, 1), StudyError),
        ("spacing_mm", (1j, 1, 1), StudyError),
        ("spacing_mm", ((2,), (1,), (1,)), StudyError),
        ("spacing_mm", ((2,), 1, 1), StudyError),
        ("origin_mm", None, StudyError),
        ("origin_mm", "x", StudyError),
        ("origin_mm", (float("nan"), 0, 0), StudyError),
        ("origin_mm", (0, 0), StudyError),
        ("origin_mm", ("a", 0, 0), StudyError),
        ("direction", None, StudyError),
        ("direction", "x", StudyError),
        ("direction", np.full((3, 3), np.nan), StudyError),
        ("direction", ((1, 0, 0), (0, 1)), StudyError),
    ],
    ids=lambda value: str(value)[:24],
)
def test_no_volume(name: str, value: Any, error: type[MmcafError], bundle: Path) -> None:
    refusal(error, lambda: answered(bundle, volume(**{name: value})), "image")


def test_arrays_in_place_of_tuples(bundle: Path) -> None:
    as_arrays = volume(spacing_mm=np.array([2, 1, 1]), origin_mm=[0, 0, 0], direction=np.eye(3)[[2, 1, 0]])
    assert answered(bundle, as_arrays) == answered(bundle, volume())
    assert answered(bundle, study(images=[None] * SLICES, warnings=[])) == answered(bundle, volume())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modality", None),
        ("uids", None),
        ("uids", {3: "4"}),
        ("uids", {"study": 3}),
        ("patient", None),
        ("patient", {}),
        ("warnings", None),
        ("warnings", (3,)),
        ("images", 3),
        ("images", None),
        ("images", (3,) * SLICES),
        ("body_part", None),
        ("patient.patient_id", 3),
        ("patient.age", "63"),
        ("patient.age", float("nan")),
        ("patient.weight", True),
        ("patient.sex", "female"),
        ("patient.study_date", "2026-01-01"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_no_description_of_a_volume(name: str, value: Any, bundle: Path) -> None:
    first, _, second = name.partition(".")
    changed = {first: PatientHeader(**{second: value}) if second else value}
    said = refusal(StudyError, lambda: answered(bundle, study(**changed)), f"image.{name}")
    assert "2026" not in said and "female" not in said.partition("got")[2], "a message that quotes the patient"


def test_no_volume_in_a_study(bundle: Path) -> None:
    refusal(UsageError, lambda: answered(bundle, study(volume=3)), "image.volume", "Volume")


def test_read_record() -> None:
    refusal(RecordError, lambda: read_record(3, None), "record", "int")  # type: ignore[arg-type]
