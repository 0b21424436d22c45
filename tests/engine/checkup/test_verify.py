"""`verify_bundle`: every precision on every backend, and what a failure, a refusal and a damaged file become."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends_here import ON_PROCESSOR
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.backends.split import SplitNetwork
from mmcaf_engine.backends.torch.backend import TorchBackend
from mmcaf_engine.bundle.bundle import load_bundle, write_bundle
from mmcaf_engine.checkup.verify import Verified, VerifyReport, verify_bundle
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from mmcaf_engine.session.self_test import SelfTest
from raw_cases import seal, unsealed, with_raw_case
from refusals import refused
from several_precisions import add_precisions
from tiny_bundle import make_tiny_bundle, tiny_manifest
from tiny_parts import make_tiny_parts

FIELDS = {
    "backend",
    "precision",
    "in_parts",
    "heat_maps",
    "passed",
    "cases",
    "max_abs_error",
    "tolerance",
    "raw_case_error",
    "reason",
}


def wrong_answers(folder: Path) -> Path:
    """The tiny bundle with stored logits that are off by 1."""
    draft = make_tiny_bundle(folder / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    with np.load(draft / "golden.npz") as archive:
        np.savez(draft / "golden.npz", **{**archive, "logit": archive["logit"] - 1})
    return write_bundle(draft, tiny_manifest(), folder / "wrong.mmcaf").folder


def test_every_backend_and_precision_is_in_the_report(tiny_bundle: Path, tmp_path: Path) -> None:
    several = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"int8": 0.05}))
    told: list[tuple[str, int, int]] = []
    report = verify_bundle(several, progress=lambda *step: told.append(step))
    report.require_passed()
    assert [title for title, _, _ in told] == [one.title for one in report.verified]
    assert [(done, total) for _, done, total in told] == [(at, len(told)) for at in range(len(told))]
    found = {(one.backend, one.precision): one for one in report.verified}
    for backend in ("openvino", "onnxruntime"):
        test = found[backend, "int8"].self_test
        assert test is not None and test.cases == 2 and test.max_abs_error == pytest.approx(0.05, abs=1e-4)
        assert not test.remembered


def test_as_a_dict(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    document = verify_bundle(bundle).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["model"] == bundle.summary.to_dict()
    assert document["files"] == len(bundle.manifest.files) and document["raw_case"] is None
    assert all(set(one) == FIELDS for one in document["self_tests"])
    passed = [one for one in document["self_tests"] if one["passed"]]
    assert [one["backend"] for one in passed] == list(ON_PROCESSOR)
    assert all(one["max_abs_error"] <= one["tolerance"] and one["reason"] is None for one in passed)
    assert all(one["reason"] and one["cases"] is None for one in document["self_tests"] if one["passed"] is None)


def test_the_raw_case_is_answered_by_all(tiny_bundle: Path, tmp_path: Path) -> None:
    document = verify_bundle(load_bundle(with_raw_case(tiny_bundle, tmp_path / "raw.mmcaf"))).to_dict()
    assert document["raw_case"] == {"windows": 0.0, "features": 0.0, "tolerance": 1e-6}
    errors = [one["raw_case_error"] for one in document["self_tests"] if one["passed"]]
    assert len(errors) == len(ON_PROCESSOR) and max(errors) <= 1e-6


def test_a_network_that_answers_the_raw_case_otherwise(tiny_bundle: Path, tmp_path: Path) -> None:
    """Its golden cases are its own, so that only the raw case can tell."""
    raw = with_raw_case(tiny_bundle, tmp_path / "raw.mmcaf")
    draft = unsealed(raw, tmp_path / "wrong.mmcaf")
    with np.load(draft / "golden.npz") as archive:
        stored = {**archive, "raw.probabilities": archive["raw.probabilities"][::-1]}
    np.savez(draft / "golden.npz", **stored)
    report = verify_bundle(load_bundle(seal(draft, tiny_manifest(), tmp_path / "wrong.mmcaf")), "onnxruntime")
    with refused(BackendError, "raw case", "tiny", "fp32"):
        report.require_passed()


def test_a_failure_does_not_hide_what_follows(tmp_path: Path) -> None:
    report = verify_bundle(load_bundle(wrong_answers(tmp_path)))
    failed = [one for one in report.verified if one.failure is not None]
    assert [one.backend for one in failed] == list(ON_PROCESSOR)
    assert all(one.self_test is None and "fails the self-test of tiny" in str(one.failure) for one in failed)
    assert [one["passed"] for one in report.to_dict()["self_tests"] if one["backend"] in ON_PROCESSOR] == [False] * 3
    with refused(BackendError, ON_PROCESSOR[0], "self-test", "tiny", 1):
        report.require_passed()


def test_nothing_could_be_tested(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in (OpenVinoBackend, OnnxRuntimeBackend, TorchBackend):
        monkeypatch.setattr(backend, "availability", classmethod(lambda cls: Availability(False, "broken")))
    report = verify_bundle(load_bundle(tiny_bundle))
    assert {one.not_tested for one in report.verified if one.backend != "tensorrt"} == {"broken"}
    with refused(BackendError, "backend"):
        report.require_passed()


def test_one_backend(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = verify_bundle(load_bundle(tiny_bundle), "onnxruntime").verified
    assert one.title == "onnxruntime fp32" and one.self_test is not None
    monkeypatch.setattr(OnnxRuntimeBackend, "availability", classmethod(lambda cls: Availability(False, "gone")))
    with refused(BackendError, "onnxruntime", "gone"):
        verify_bundle(load_bundle(tiny_bundle), "onnxruntime")
    with refused(UsageError, "'abacus'"):
        verify_bundle(load_bundle(tiny_bundle), "abacus")


def test_a_damaged_file_ends_it(tiny_bundle: Path) -> None:
    data = bytearray((tiny_bundle / "golden.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tiny_bundle / "golden.npz").write_bytes(data)
    with refused(BundleError, "golden.npz", "SHA-256"):
        verify_bundle(load_bundle(tiny_bundle))


def test_a_damaged_file_that_nothing_here_reads_ends_it_too(tiny_bundle: Path, tmp_path: Path) -> None:
    several = add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"fp16": 0.0})
    model = several / load_bundle(several).manifest.models["fp16"]
    model.write_bytes(model.read_bytes()[::-1])
    with refused(BundleError, model.name, "SHA-256"):
        verify_bundle(load_bundle(several), "onnxruntime")


def test_what_was_not_tested_has_neither_passed_nor_failed(tiny_bundle: Path) -> None:
    verified = (
        Verified("one", "fp32", self_test=SelfTest({"logit": 0.0}, 1e-4, 2, remembered=False)),
        Verified("two", "fp32", failure=BackendError("It is off.")),
        Verified("three", "int8", not_tested="no units"),
    )
    shown = VerifyReport(load_bundle(tiny_bundle), None, verified).to_dict()["self_tests"]
    assert [(one["passed"], one["reason"]) for one in shown] == [
        (True, None),
        (False, "It is off."),
        (None, "no units"),
    ]


def test_the_parts_are_what_is_tested_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(backend: SplitNetwork, *given: Any, **how: Any) -> Any:
        raise BackendError("Its parts differ.")

    monkeypatch.setattr(SplitNetwork, "infer", refuse)
    report = verify_bundle(load_bundle(make_tiny_parts(tmp_path / "tiny.mmcaf")), "openvino")
    assert [one.failure is not None for one in report.verified] == [False, True]


def test_both_parts_are_tested_together(tmp_path: Path) -> None:
    report = verify_bundle(load_bundle(make_tiny_parts(tmp_path / "tiny.mmcaf")), "openvino")
    assert [one.title for one in report.verified] == ["openvino fp32", "openvino fp32 in two parts"]
    report.require_passed()
