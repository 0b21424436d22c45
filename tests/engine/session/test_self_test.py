"""The golden self-test of a backend that is played: what passes, and for what a pass is remembered."""

import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.bundle.npz import Npz
from mmcaf_engine.errors import BackendError, BundleError
from mmcaf_engine.session.self_test import SELF_TESTS, TOLERANCE, SelfTest, ensure_self_test, run_self_test
from refusals import refused
from tiny_bundle import SIZE, SLICES
from tiny_report import make_tiny_report


@dataclass
class Played:
    """A backend whose every logit is `answer`; calls: how often it was asked."""

    answer: float = 0.0
    precision: Any = "fp32"
    name: str = "played"
    device: str = "CPU"
    threads: int = 1
    release: str = "1"
    processor: str = "one"
    package: str = ""
    calls: int = 0
    kind: Any = field(init=False)

    def __post_init__(self) -> None:
        self.kind = SimpleNamespace(version=lambda: "1", build=lambda: self.release, code=lambda: self.package)

    def infer(self, arrays: Mapping[str, Any], *, optional: bool) -> dict[str, Any]:
        self.calls += 1
        return {"logit": np.full((len(arrays["image"]), 1), self.answer, np.float32)}

    def machine(self) -> list[str]:
        return [self.processor]


@pytest.fixture
def golden(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What golden.npz holds: two cases whose logit is 0."""
    stored: dict[str, Any] = {
        "image": np.zeros((2, 1, SLICES, SIZE, SIZE), np.float32),
        "table": np.zeros((2, 2), np.float32),
        "logit": np.zeros((2, 1), np.float32),
    }

    @contextmanager
    def opened(bundle: Bundle) -> Iterator[Npz]:
        file = io.BytesIO()
        np.savez(file, **stored)
        try:
            yield Npz(file)
        except ValueError as failure:
            raise BundleError(f"golden.npz: {failure}") from None

    monkeypatch.setattr("mmcaf_engine.bundle.golden.open_golden", opened)
    return stored


@pytest.fixture
def bundle(tiny_bundle_source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    return load_bundle(tiny_bundle_source)


def passes(bundle: Bundle, backend: Any) -> bool:
    try:
        return run_self_test(bundle, backend).passed
    except BackendError:
        return False


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_answer_may_be_off_by_the_precisions_tolerance(
    bundle: Bundle, golden: dict[str, Any], precision: Any, sign: int
) -> None:
    limit = TOLERANCE[precision]
    assert passes(bundle, Played(0.99 * sign * limit, precision))
    assert not passes(bundle, Played(1.01 * sign * limit, precision))


@pytest.mark.parametrize("answer", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_never_passes(bundle: Bundle, golden: dict[str, Any], answer: float) -> None:
    with refused(BackendError, "logit", "inf"):
        run_self_test(bundle, Played(answer, "int8"))  # type: ignore[arg-type]


def test_one_case_that_is_wrong_is_enough(bundle: Bundle, golden: dict[str, Any]) -> None:
    golden["logit"][1] = 0.5
    assert not passes(bundle, Played())


def test_a_precision_is_held_against_its_own_answers_where_they_are_stored(
    bundle: Bundle, golden: dict[str, Any]
) -> None:
    golden["logit@int8"] = np.full((2, 1), 3.0, np.float32)
    assert passes(bundle, Played(3.0, "int8")) and not passes(bundle, Played(0.0, "int8"))
    assert passes(bundle, Played(0.0, "fp32")) and not passes(bundle, Played(3.0, "fp32"))


@pytest.mark.parametrize("counts", [{"image": 0, "table": 0, "logit": 0}, {"logit": 1}, {"table": 1}])
def test_no_cases_and_unequal_numbers_of_them_are_refused(
    bundle: Bundle, golden: dict[str, Any], counts: dict[str, int]
) -> None:
    for name, count in counts.items():
        golden[name] = golden[name][:count]
    with refused(BundleError, "golden.npz"):
        run_self_test(bundle, Played())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("logit", np.zeros((2, 0), np.float32)),
        ("logit", np.zeros(2, np.float32)),
        ("logit", np.zeros((2, 1, 1), np.float32)),
        ("logit", np.zeros((2, 6), np.float32)),
        ("logit", np.zeros((1, 2), np.float32)),
        ("logit", np.zeros((), np.float32)),
        ("logit", np.zeros((2, 1), np.float64)),
        ("logit", np.zeros((2, 1), np.int64)),
        ("logit@int8", np.zeros((2, 0), np.float32)),
        ("image", np.zeros((2, SLICES, SIZE, SIZE), np.float32)),
        ("image", np.zeros((2, 3, SLICES, SIZE, SIZE), np.float32)),
        ("table", np.zeros((2, 3), np.float32)),
        ("table", np.zeros((2, 2), np.float16)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{value.shape}",
)
def test_cases_of_another_shape_or_type_than_the_manifests_are_refused(
    bundle: Bundle, golden: dict[str, Any], name: str, array: Any
) -> None:
    """Where NumPy would compare nothing, or one value with several."""
    golden[name] = array
    with refused(BundleError, "golden.npz", name, f"{array.dtype}", "float32"):
        run_self_test(bundle, Played(precision="int8"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("words", "lengths"), [(4, [12, 4]), (5, [12, 8]), (8, [12, 8]), (9, [12])])
def test_a_text_is_tried_in_the_shortest_bucket_that_holds_it(
    golden: dict[str, Any], tmp_path: Path, words: int, lengths: list[int]
) -> None:
    report = load_bundle(make_tiny_report(tmp_path / "report.mmcaf"))
    golden.clear()
    for spec in (*report.manifest.inputs, *report.manifest.outputs):
        shape = [12 if axis == "L" else 1 if axis == "N" else axis for axis in spec.shape]
        golden[spec.name] = np.zeros(shape, spec.dtype)
    golden[report.manifest.input("token_mask").name][:, :words] = 1
    seen: list[int] = []

    class Reading(Played):
        def infer(self, arrays: Mapping[str, Any], *, optional: bool) -> dict[str, Any]:
            mask = arrays[report.manifest.input("token_mask").name]
            assert mask.sum() == words
            seen.append(mask.shape[1])
            return {spec.name: golden[spec.name] for spec in report.manifest.outputs}

    assert passes(report, Reading()) and seen == lengths

    class Forgetful(Reading):
        def infer(self, arrays: Mapping[str, Any], *, optional: bool) -> dict[str, Any]:
            answers = super().infer(arrays, optional=optional)
            return answers if seen[-1] == 12 else {name: one + 1 for name, one in answers.items()}

    class Padded(Reading):
        def infer(self, arrays: Mapping[str, Any], *, optional: bool) -> dict[str, Any]:
            answers = super().infer(arrays, optional=optional)
            return {name: one + 1 for name, one in answers.items()} if seen[-1] == 12 else answers

    seen.clear()
    assert passes(report, Forgetful()) == (len(lengths) == 1)
    seen.clear()
    assert not passes(report, Padded()) and seen == lengths


def test_every_output_must_pass() -> None:
    assert SelfTest({"logit": 0.1, "attention": 0.2}, 0.2, 2, remembered=False).passed
    assert not SelfTest({"logit": 0.1, "attention": 0.3}, 0.2, 2, remembered=False).passed
    assert not SelfTest({"logit": 0.1}, 0.2, 0, remembered=False).passed
    assert not SelfTest({}, 0.2, 2, remembered=False).passed


def asked(bundle: Bundle, backend: Any, **how: Any) -> tuple[int, bool]:
    """How often it was asked for a pass, and whether that was a remembered one."""
    outcome = ensure_self_test(bundle, backend, **how)
    return backend.calls, outcome.remembered


def test_a_pass_is_remembered(bundle: Bundle, golden: dict[str, Any]) -> None:
    assert asked(bundle, Played(1e-5)) == (1, False)
    again = Played(7.0)  # It would fail, and is not asked.
    assert asked(bundle, again) == (0, True)
    with pytest.raises(BackendError):
        ensure_self_test(bundle, again, again=True)  # type: ignore[arg-type]


def test_a_pass_that_is_remembered_counts_as_used_now(bundle: Bundle, golden: dict[str, Any]) -> None:
    assert asked(bundle, Played()) == (1, False)
    [stamp] = SELF_TESTS.folder().glob("*.json")
    os.utime(stamp, (0, 0))
    assert asked(bundle, Played()) == (0, True)
    assert time.time() - stamp.stat().st_mtime < 60


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "int8"},
        {"name": "other"},
        {"device": "GPU"},
        {"threads": 2},
        {"release": "2"},
        {"processor": "two"},
        {"package": "other 1.0"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_of_what_differs_no_pass_is_remembered(bundle: Bundle, golden: dict[str, Any], changes: dict[str, Any]) -> None:
    assert asked(bundle, Played()) == (1, False)
    assert asked(bundle, Played(**changes)) == (1, False)
    assert asked(bundle, Played(), engine="another") == (1, False)


@pytest.mark.parametrize(
    "stored",
    [{"errors": {"logit": 0.5}}, {"errors": {}}, {"cases": 0}, {"errors": {"logit": float("nan")}}, {"errors": 1}],
)
def test_what_is_no_pass_does_not_count_as_one(bundle: Bundle, golden: dict[str, Any], stored: dict[str, Any]) -> None:
    assert asked(bundle, Played()) == (1, False)
    [stamp] = SELF_TESTS.folder().glob("*.json")
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), **stored}))
    assert asked(bundle, Played()) == (1, False)


def test_a_failure_is_not_remembered(bundle: Bundle, golden: dict[str, Any]) -> None:
    with pytest.raises(BackendError):
        ensure_self_test(bundle, Played(7.0))  # type: ignore[arg-type]
    assert asked(bundle, Played()) == (1, False)
