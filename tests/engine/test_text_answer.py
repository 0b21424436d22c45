"""A network that reads CT, record and report: from the files to the answer, on every backend, for every length."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from backends_here import ON_PROCESSOR, backends
from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import infer, load_bundle, open_session
from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.errors import BackendError, BundleError, RecordError, StrictError, UsageError
from mmcaf_engine.manifest import TensorSpec
from mmcaf_engine.result.aggregate import sigmoid
from mmcaf_engine.result.decisions.multilabel import NONE_PRESENT
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.session.session import Session
from mmcaf_engine.session.tune import tune
from refusals import Fact, refused
from tiny_bert import bert_network
from tiny_report import (
    BUCKETS,
    EMBEDDINGS,
    LABELS,
    PIECES,
    THRESHOLDS,
    example_arrays,
    expected_logits,
    make_tiny_report,
    report_manifest,
)

LENGTHS = (1, 3, 4, 7, 12)
ABSOLUTE = 1e-5
RECORD = {"sex": "F", "age": 63, "findings": "Lungs clear.", "impression": "new nodule"}
WORDS = ["[CLS]", "lungs", "clear", ".", "new", "nodule", "[SEP]"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_report(tmp_path_factory.mktemp("report") / "tiny.mmcaf")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ct_series(hounsfield(4, 16, 16)), tmp_path_factory.mktemp("study") / "study")


@pytest.fixture(scope="module", params=backends())
def session(request: pytest.FixtureRequest, bundle: Path) -> Any:
    with open_session(load_bundle(bundle), backend=request.param) as opened:
        yield opened


def answer_to(words: list[str], *, sex: float = 0, age: float = 63) -> NDArray[np.float64]:
    """The network's logits for the study, by its formula."""
    window = np.clip((hounsfield(4, 16, 16) + 100.0) / 1000.0, 0, 1)[np.newaxis, np.newaxis]
    ids = np.array([[PIECES.index(word) for word in words]])
    table = np.array([[sex, (age - 20) / 70, float(age >= 60)]])
    arrays = {"image": window, "table": table}
    return expected_logits({**arrays, "input_ids": ids, "attention_mask": np.ones_like(ids)})[0]


def test_the_answer(session: Session, study: Path) -> None:
    result = infer(study, RECORD, session=session)
    logits = answer_to(WORDS)
    assert [finding.logit for finding in result.findings] == pytest.approx(logits.tolist(), abs=ABSOLUTE)
    present = [sigmoid(logit) >= threshold for logit, threshold in zip(logits, THRESHOLDS, strict=True)]
    assert [finding.present for finding in result.findings] == present
    said = ", ".join(label for label, held in zip(LABELS, present, strict=True) if held)
    assert result.label == (said or NONE_PRESENT)
    assert [finding.threshold for finding in result.findings] == list(THRESHOLDS)
    assert result.probability == (result.probabilities[result.label] if sum(present) == 1 else None)
    assert result.probabilities == {finding.label: finding.probability for finding in result.findings}
    assert result.record is not None and result.warnings == ()
    assert result.record.features == {"sex": 0, "age": pytest.approx(43 / 70), "age >= 60": 1, "word_pieces": 5}


@pytest.mark.parametrize("length", LENGTHS)
def test_texts_of_every_length(length: int, session: Session) -> None:
    arrays = example_arrays(3, length, seed=length)
    found = session.run(arrays)["logit"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected_logits(arrays), atol=ABSOLUTE, rtol=0)


def test_padding_changes_nothing(session: Session) -> None:
    arrays = example_arrays(2, 5, seed=5)
    padded = {
        name: np.pad(array, ((0, 0), (0, 7))) if array.dtype == np.int64 else array for name, array in arrays.items()
    }
    np.testing.assert_allclose(session.run(padded)["logit"], session.run(arrays)["logit"], atol=ABSOLUTE, rtol=0)


def test_the_same_text_gives_the_same_bits_between_other_lengths(session: Session) -> None:
    arrays = [example_arrays(1, length, seed=length) for length in LENGTHS]
    first = [session.run(given)["logit"].tobytes() for given in arrays]
    again = [session.run(given)["logit"].tobytes() for given in arrays[::-1]]
    assert first == again[::-1]


def test_int32_is_taken_for_int64(session: Session) -> None:
    arrays = example_arrays(1, 4)
    narrow = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in arrays.items()}
    assert session.run(narrow)["logit"].tobytes() == session.run(arrays)["logit"].tobytes()


WRONG: dict[str, tuple[dict[str, Any], tuple[Fact, ...]]] = {
    "float": ({"input_ids": np.ones((1, 4), np.float32)}, ("input_ids", "float32", "int64", "[N, L]")),
    "uint8": ({"attention_mask": np.ones((1, 4), np.uint8)}, ("attention_mask", "uint8", "int64")),
    "too-long": (
        {"input_ids": np.ones((1, 13), np.int64), "attention_mask": np.ones((1, 13), np.int64)},
        ("input_ids", "[1, 13]", "[N, L]", 1, 12),
    ),
    "empty": ({"input_ids": np.ones((1, 0), np.int64)}, ("input_ids", "[1, 0]")),
    "lengths-differ": ({"input_ids": np.ones((1, 5), np.int64)}, ("lengths", "[4, 5]")),
    "batches-differ": ({"input_ids": np.ones((2, 4), np.int64)}, ("batch", "[1, 2]")),
    "negative": ({"input_ids": np.array([[2, -1, 3, 0]])}, ("input_ids", -1)),
    "mask-of-two": ({"attention_mask": np.array([[1, 2, 0, 0]])}, ("attention_mask", 1, 0)),
    "mask-of-nothing": ({"attention_mask": np.zeros((1, 4), np.int64)}, ("attention_mask", 1, "row")),
    "mask-of-nothing-in-a-batch": (
        {**example_arrays(3, 4), "attention_mask": np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])},
        ("attention_mask", 1, "row"),
    ),
    "whole-numbers-for-the-table": ({"table": np.ones((1, 3), np.int64)}, ("table", "int64", "float32", "[N, 3]")),
    "nan-in-the-table": ({"table": np.array([[0, np.nan, 0]], np.float32)}, ("table", "NaN")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_refused(name: str, session: Session) -> None:
    changes, facts = WRONG[name]
    with refused(UsageError, *facts):
        session.run({**example_arrays(1, 4), **changes})


def test_the_session_says_what_it_takes(session: Session) -> None:
    facts = session.describe()["inputs"]
    assert facts["input_ids"] == {"shape": ["N", "L"], "dtype": "int64"}
    assert facts["table"]["dtype"] == "float32"


def test_openvino_keeps_one_engine_for_all_lengths(bundle: Path) -> None:
    opened = load_bundle(bundle)
    with open_session(opened, backend="openvino"):
        pass
    with open_session(opened, backend="openvino") as kept:
        assert kept.describe()["cache_hit"]
        for length in LENGTHS:
            arrays = example_arrays(1, length)
            np.testing.assert_allclose(kept.run(arrays)["logit"], expected_logits(arrays), atol=ABSOLUTE, rtol=0)


@pytest.mark.parametrize("name", ON_PROCESSOR)
def test_a_transformer_of_any_length(name: str, tmp_path: Path) -> None:
    """Against ONNX Runtime without this engine; a small BERT has what a large one has."""
    import onnxruntime

    onnx.save(bert_network(), tmp_path / "model.onnx")
    reference = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    kinds = (("input_ids", "tokens"), ("attention_mask", "token_mask"))
    inputs = tuple(TensorSpec(name=name, kind=kind, dtype="int64", shape=("N", "L")) for name, kind in kinds)
    outputs = (TensorSpec(name="logit", kind="score", shape=("N", 3)),)
    kind: type[Backend] = backend_class(name)
    rng = np.random.default_rng(0)
    with kind(tmp_path / "model.onnx", inputs, outputs, 1, lengths=(4, 8, 16)) as opened:
        for length in (16, 1, 5, 8):
            mask = (np.arange(length) < rng.integers(1, length + 1, (2, 1))).astype(np.int64)
            arrays = {"input_ids": rng.integers(0, 50, (2, length)), "attention_mask": mask}
            (expected,) = reference.run(None, arrays)
            np.testing.assert_allclose(opened.infer(arrays)["logit"], expected, atol=1e-5, rtol=0)


def test_a_backend_must_know_the_lengths(bundle: Path) -> None:
    manifest = load_bundle(bundle).manifest
    with pytest.raises(ValueError, match="lengths"):
        backend_class("onnxruntime")(bundle / "model.onnx", manifest.inputs, manifest.outputs, 1)


def changed(bundle: Path, output: Path, **arrays: Any) -> Bundle:
    """A copy whose golden cases are others; the manifest is written anew."""
    from mmcaf_engine.bundle.bundle import write_bundle

    draft = Path(shutil.copytree(bundle, output.with_name("draft")))
    (draft / "manifest.json").unlink()
    with np.load(draft / "golden.npz") as golden:
        np.savez(draft / "golden.npz", **{**{name: golden[name] for name in golden.files}, **arrays})
    return write_bundle(draft, report_manifest(), output)


@pytest.mark.parametrize("backend", ON_PROCESSOR)
def test_the_self_test_also_runs_shorter_texts(backend: str, bundle: Path, tmp_path: Path) -> None:
    """A network that reads its padding answers the padded case as stored, and the shorter one otherwise."""
    arrays = example_arrays(2, BUCKETS[-1], seed=3)
    arrays["attention_mask"][:] = np.arange(BUCKETS[-1]) < 3
    arrays["input_ids"] *= arrays["attention_mask"]
    model = onnx.load(bundle / "model.onnx")
    next(node for node in model.graph.node if node.name == "masked").input[1] = "everything"
    constant = onnx.numpy_helper.from_array(np.ones((1, 1, 1), np.float32), "everything")
    model.graph.initializer.append(constant)
    logit = expected_logits(arrays) + (BUCKETS[-1] - 3) * EMBEDDINGS[0] / 3
    draft = tmp_path / "draft"
    draft.mkdir()
    onnx.save(model, draft / "model.onnx")
    shutil.copy(bundle / "vocabulary.txt", draft)
    np.savez(draft / "golden.npz", **arrays, logit=logit.astype(np.float32))
    from mmcaf_engine.bundle.bundle import write_bundle

    broken = write_bundle(draft, report_manifest(), tmp_path / "broken.mmcaf")
    with refused(BackendError, "self-test", "tiny-report", option="backend"):
        open_session(broken, backend=backend)


def test_golden_cases_of_another_type_than_the_manifests_are_refused(bundle: Path, tmp_path: Path) -> None:
    with np.load(bundle / "golden.npz") as golden:
        ids = golden["input_ids"].astype(np.int32)
    again = changed(bundle, tmp_path / "again.mmcaf", input_ids=ids)
    with refused(BundleError, "golden.npz", "input_ids", "int32", "int64"):
        open_session(again, backend="onnxruntime")


def test_tuning_times_a_network_with_a_text(bundle: Path) -> None:
    tuned = tune(load_bundle(bundle), runs=1)
    assert {timing.backend for timing in tuned.tuning.timings} >= {"openvino", "onnxruntime"}


def test_a_cut_report_is_a_warning_that_strict_refuses(bundle: Path, study: Path) -> None:
    record = {**RECORD, "findings": "QUIXANO " + "small nodule " * 20}
    result = infer(study, record, bundle=bundle, backend="onnxruntime")
    (warning,) = result.warnings
    assert warning.startswith("33 of 43 word pieces of the report were left out")
    assert result.record is not None and result.record.features["word_pieces"] == 10
    assert result.record.warnings == (warning,)
    assert "QUIXANO" not in result.to_json() and "nodule nodule" not in result.to_json()
    with refused(StrictError, 1, "word pieces", option="strict"):
        infer(study, record, bundle=bundle, backend="onnxruntime", strict=True)


def test_a_report_file_beside_the_record(bundle: Path, study: Path, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps({"sex": "F", "age": 63}))
    (tmp_path / "report.txt").write_text("\ufeffLungs clear. XXXX new nodule", encoding="utf-8")
    result = infer(study, tmp_path / "record.json", report=tmp_path / "report.txt", bundle=bundle)
    logits = [finding.logit for finding in result.findings]
    assert logits == pytest.approx(answer_to(WORDS).tolist(), abs=ABSOLUTE)
    assert deidentify(result, study).to_json().find("word_pieces") == -1


def test_without_a_report_nothing_is_opened(
    bundle: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))  # in which no pass of the self-test is remembered
    monkeypatch.setattr("mmcaf_engine.backends.loading.Loaded.open", opened.append)
    with refused(RecordError, "report", "record", option="report"):
        infer(study, {"sex": "F", "age": 63}, bundle=bundle)
    assert not opened


def test_a_vocabulary_that_was_altered_is_refused(bundle: Path, study: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy.mmcaf"))
    text = (copy / "vocabulary.txt").read_text()
    (copy / "vocabulary.txt").write_text(text.replace("nodule\n", "module\n"))
    with refused(BundleError, "vocabulary.txt", "SHA-256"):
        infer(study, RECORD, bundle=copy)
