"""Optional outputs: computed and returned when a caller asks, and compared by every self-test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.golden import one_window
from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.write_mr import write_mr_series
from mmcaf_engine.errors import BackendError
from mmcaf_engine.pipeline import infer
from mmcaf_engine.session.session import open_session
from raw_cases import seal, unsealed
from refusals import refused
from tiny_liver import make_tiny_liver, tiny_liver_manifest
from tiny_report import example_arrays
from tiny_words import expected_weights, make_tiny_words

ON_PROCESSOR = ("openvino", "onnxruntime", "torch")


def document() -> dict[str, Any]:
    """The tiny liver's, whose attention is optional."""
    fields = tiny_liver_manifest()
    score, *weights = fields["outputs"]
    return {**fields, "outputs": [score, *({**spec, "optional": True} for spec in weights)]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_liver(tmp_path_factory.mktemp("optional") / "liver.mmcaf", outputs=document()["outputs"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The outputs that ONNX Runtime is asked for, call by call."""
    names: list[list[str]] = []
    run = onnxruntime.InferenceSession.run

    def note(session: onnxruntime.InferenceSession, outputs: Sequence[str], *rest: Any) -> Any:
        names.append(list(outputs))
        return run(session, outputs, *rest)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", note)
    return names


@pytest.mark.parametrize("backend", ON_PROCESSOR)
def test_they_come_when_asked_for(bundle: Path, backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    loaded = load_bundle(bundle)
    with open_session(loaded, backend=backend) as session:
        window = one_window(loaded)
        few, every = session.run(window), session.run(window, optional=True)
    assert list(few) == ["logits"] and list(every) == ["logits", "alpha", "upper"]
    assert np.array_equal(few["logits"], every["logits"])


def test_a_runtime_that_can_computes_no_others(bundle: Path, asked: list[list[str]]) -> None:
    loaded = load_bundle(bundle)
    with open_session(loaded, backend="onnxruntime") as session:
        asked.clear()
        session.run(one_window(loaded))
        session.run(one_window(loaded), optional=True)
    assert asked == [["logits"], ["logits", "alpha", "upper"]]


def test_without_optional_outputs_nothing_changes(tmp_path: Path, asked: list[list[str]]) -> None:
    loaded = load_bundle(make_tiny_liver(tmp_path / "plain.mmcaf"))
    with open_session(loaded, backend="onnxruntime") as session:
        found = session.run(one_window(loaded))
    assert list(found) == ["logits", "alpha", "upper"] and asked[-1] == list(found)


def test_a_wrong_optional_output_fails_the_self_test(bundle: Path, tmp_path: Path) -> None:
    draft = unsealed(bundle, tmp_path / "wrong.mmcaf")
    with np.load(draft / "golden.npz") as arrays:
        stored = {**arrays, "upper": arrays["upper"] + np.float32(0.01)}
    np.savez(draft / "golden.npz", **stored)
    wrong = load_bundle(seal(draft, document(), tmp_path / "wrong.mmcaf"))
    with refused(BackendError, "self-test", "tiny liver", "upper", 0.01, option="backend"):
        open_session(wrong, backend="onnxruntime")


def test_a_heat_map_asks_for_them(bundle: Path, tmp_path: Path, asked: list[list[str]]) -> None:
    write_mr_series(liver_study(5, slices=16, size=16), tmp_path / "dicom")
    plain = infer(tmp_path / "dicom", bundle=bundle, backend="onnxruntime")
    assert asked[-1] == ["logits"]
    drawn = infer(tmp_path / "dicom", bundle=bundle, backend="onnxruntime", heatmap=tmp_path / "map.png")
    assert asked[-1] == ["logits", "alpha", "upper"] and (tmp_path / "map.png").is_file()
    assert (drawn.label, drawn.probabilities) == (plain.label, plain.probabilities)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_words(tmp_path_factory.mktemp("words") / "words.mmcaf")


@pytest.mark.parametrize("backend", ON_PROCESSOR)
def test_weights_of_word_pieces_are_as_many_as_came(words: Path, backend: str) -> None:
    """Also where a runtime pads the text, and in the self-test, which runs the stored cases in shorter texts too."""
    if backend == "torch":
        pytest.importorskip("torch")
    with open_session(load_bundle(words), backend=backend) as session:
        for length in (1, 4, 7, 12):
            feed = example_arrays(2, length, seed=length)
            found = session.run(feed, optional=True)
            assert list(session.run(feed)) == ["logit"]
            for name, expected in expected_weights(feed).items():
                assert found[name].shape == expected.shape
                np.testing.assert_allclose(found[name], expected, atol=1e-6)
            assert not found["words"][feed["attention_mask"] == 0].any()
