"""The raw case of a bundle, by the C library: inputs are what they were at export, and an edited bundle is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmmcaf import RefusedError, opened
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.golden import GOLDEN_NAME, read_raw_case
from mmcaf_engine.session.session import open_session
from raw_cases import edited, seal, unsealed, with_raw_case
from testing_library import call
from tiny_bundle import make_tiny_bundle
from tiny_image import make_tiny_image
from tiny_liver import make_tiny_liver
from tiny_report import make_tiny_report

MAKERS: dict[str, Callable[[Path], Path]] = {
    "windows": make_tiny_bundle,
    "several series": make_tiny_liver,
    "image": make_tiny_image,
    "report": make_tiny_report,
}


def _raw_case(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call("mmcaf_testing_raw_case", str(bundle), "fp32"))
    return found


@pytest.mark.parametrize("kind", MAKERS)
def test_inputs_come_out_as_at_export(kind: str, tmp_path: Path) -> None:
    bundle = with_raw_case(MAKERS[kind](tmp_path / "tiny.mmcaf"), tmp_path / "raw.mmcaf")
    found = _raw_case(bundle)
    assert found["windows"] == 0
    assert found["features"] == 0
    stored = read_raw_case(load_bundle(bundle))
    assert stored is not None
    assert found["probabilities"] == list(stored.probabilities)


def test_a_bundle_without_one_has_nothing_to_compare(tmp_path: Path) -> None:
    assert _raw_case(make_tiny_bundle(tmp_path / "tiny.mmcaf")) == {}


STEPS = ("preprocessing", "steps")
EDITS: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "clip": ((*STEPS, 1, "upper"), 901.0, "windows"),
    "rounding": ((*STEPS, 0, "rounding"), "none", "windows"),
    "stride": (("preprocessing", "windows", "stride"), 3, "windows"),
    "scaling": (("table", "fields", 1, "lower"), 21, "features"),
    "category": (("table", "fields", 0, "categories"), {"M": 2, "F": -1}, "features"),
    "range": (("table", "fields", 1, "maximum"), 20.5, "record"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_constant_is_named_by_its_step(edit: str, tmp_path: Path) -> None:
    path, value, step = EDITS[edit]
    bundle = with_raw_case(make_tiny_bundle(tmp_path / "tiny.mmcaf"), tmp_path / "raw.mmcaf")
    found = _raw_case(edited(bundle, tmp_path / "edited.mmcaf", path, value))
    assert (found["error"], found["exit_code"]) == ("BundleError", 5)
    assert f"step {step}" in found["problem"]


def _opened_by_python(bundle: Path) -> None:
    """Which keeps the engine, and remembers its self-test."""
    with open_session(load_bundle(bundle), backend="openvino", threads=1) as session:
        assert session.describe()["cache"] == "built, kept"


def _code(bundle: Path) -> int:
    """Of opening it; 0 where it opens."""
    try:
        with opened(bundle):
            return 0
    except RefusedError as refusal:
        return refusal.code


@pytest.mark.parametrize("python_first", [False, True], ids=["alone", "after Python"])
def test_an_edited_bundle_is_refused_each_time(
    python_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    bundle = with_raw_case(make_tiny_bundle(tmp_path / "tiny.mmcaf"), tmp_path / "raw.mmcaf")
    changed = edited(bundle, tmp_path / "edited.mmcaf", (*STEPS, 1, "upper"), 901.0)
    if python_first:
        _opened_by_python(changed)
    assert [_code(changed) for _ in range(3)] == [5, 5, 5]


@pytest.mark.parametrize("python_first", [False, True], ids=["alone", "after Python"])
def test_another_answer_is_refused_each_time(
    python_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    bundle = with_raw_case(make_tiny_bundle(tmp_path / "tiny.mmcaf"), tmp_path / "raw.mmcaf")
    draft = unsealed(bundle, tmp_path / "other.mmcaf")
    with np.load(draft / GOLDEN_NAME) as arrays:
        held = dict(arrays)
    held["raw.probabilities"] = held["raw.probabilities"][::-1] + 0.01
    np.savez(draft / GOLDEN_NAME, **held)
    fields = load_bundle(bundle).manifest.model_dump(mode="json", exclude={"files"})
    other = seal(draft, fields, tmp_path / "other.mmcaf")
    if python_first:
        _opened_by_python(other)
    assert [_code(other) for _ in range(3)] == [6, 6, 6]


def test_a_right_answer_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = with_raw_case(make_tiny_bundle(tmp_path / "tiny.mmcaf"), tmp_path / "raw.mmcaf")
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    stamps = tmp_path / "cache" / "self-tests"
    assert _code(bundle) == 0
    kept = {stamp: stamp.read_bytes() for stamp in stamps.iterdir()}
    assert len(kept) == 2
    assert _code(bundle) == 0
    assert {stamp: stamp.read_bytes() for stamp in stamps.iterdir()} == kept
    shutil.rmtree(stamps)
    assert _code(bundle) == 0
    assert {stamp.name for stamp in stamps.iterdir()} == {stamp.name for stamp in kept}
