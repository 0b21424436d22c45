"""Sessions and backends: the same answers, checked inputs, a self-test that can fail."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends import BACKENDS, choose_backend
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.openvino_backend import OpenVinoBackend
from mmcaf_engine.bundle import write_bundle
from mmcaf_engine.errors import BackendError, UsageError
from tiny_bundle import SIZE, SLICES, WEIGHTS, make_tiny_bundle, tiny_manifest

every_backend = pytest.mark.parametrize("backend", BACKENDS)


def inputs(batch: int, seed: int = 1) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "image": generator.normal(size=(batch, 1, SLICES, SIZE, SIZE)).astype(np.float32),
        "table": generator.normal(size=(batch, 2)).astype(np.float32),
    }


@every_backend
@pytest.mark.parametrize("batch", [1, 3])
def test_answer(tiny_bundle: Path, backend: str, batch: int) -> None:
    given = inputs(batch)
    expected = 8 * given["image"].mean(axis=(1, 2, 3, 4))[:, None] + given["table"] @ WEIGHTS
    with open_session(load_bundle(tiny_bundle), backend=backend) as session:
        outputs = session.run(given)
        again = session.run(given)
    assert outputs["logit"].shape == (batch, 1) and outputs["logit"].dtype == np.float32
    np.testing.assert_allclose(outputs["logit"], expected, atol=1e-5)
    assert outputs["logit"].tobytes() == again["logit"].tobytes()


@every_backend
def test_outputs_do_not_share_memory_between_calls(tiny_bundle: Path, backend: str) -> None:
    with open_session(load_bundle(tiny_bundle), backend=backend) as session:
        first = session.run(inputs(1, seed=1))["logit"]
        kept = first.copy()
        session.run(inputs(1, seed=2))
    assert first == kept


@every_backend
def test_describe(tiny_bundle: Path, backend: str) -> None:
    with open_session(load_bundle(tiny_bundle), backend=backend) as session:
        facts = session.describe()
    assert facts["backend"] == backend and facts["precision"] == "fp32" and facts["device"] == "CPU"
    assert facts["version"] and facts["self_test"]["passed"] and facts["self_test"]["cases"] == 2
    assert list(facts["inputs"]) == ["image", "table"]
    assert facts["inputs"]["image"] == {"shape": ["N", 1, SLICES, SIZE, SIZE], "dtype": "float32"}
    assert facts["outputs"] == {"logit": {"shape": ["N", 1], "dtype": "float32"}}


@every_backend
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": np.zeros((1, 1, SLICES, SIZE, SIZE), np.float64)}, "float64"),
        ({"image": np.zeros((1, 1, SLICES, SIZE, SIZE + 1), np.float32)}, "has shape"),
        ({"image": np.full((1, 1, SLICES, SIZE, SIZE), np.nan, np.float32)}, "NaN"),
        ({"table": np.zeros((2, 2), np.float32)}, "different batch sizes"),
        ({"extra": np.zeros((1, 2), np.float32)}, "are expected"),
    ],
    ids=["type", "shape", "nan", "batch", "unknown"],
)
def test_wrong_inputs(tiny_bundle: Path, backend: str, change: dict[str, np.ndarray], said: str) -> None:
    with open_session(load_bundle(tiny_bundle), backend=backend) as session, pytest.raises(UsageError, match=said):
        session.run({**inputs(1), **change})


@every_backend
def test_closed_session(tiny_bundle: Path, backend: str) -> None:
    session = open_session(load_bundle(tiny_bundle), backend=backend)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(inputs(1))


@every_backend
def test_threads_get_their_own_answers(tiny_bundle: Path, backend: str) -> None:
    with open_session(load_bundle(tiny_bundle), backend=backend) as session:
        expected = {seed: session.run(inputs(1, seed))["logit"].item() for seed in range(8)}
        answers: dict[int, list[float]] = {seed: [] for seed in expected}

        def work(seed: int) -> None:
            for _ in range(20):
                answers[seed].append(session.run(inputs(1, seed))["logit"].item())

        workers = [threading.Thread(target=work, args=(seed,)) for seed in expected]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert all(set(answers[seed]) == {expected[seed]} and len(answers[seed]) == 20 for seed in expected)


@every_backend
def test_self_test_refuses_a_network_that_answers_otherwise(tmp_path: Path, backend: str) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    with np.load(draft / "golden.npz") as archive:
        cases = dict(archive)
    np.savez(draft / "golden.npz", **{**cases, "logit": cases["logit"] + 2e-3})
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "wrong.mmcaf")
    with pytest.raises(BackendError, match=r"fails the self-test of tiny.*off by 0\.002") as caught:
        open_session(bundle, backend=backend)
    assert caught.value.exit_code == 6


def test_a_passed_self_test_is_remembered_but_not_a_failed_one(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "fresh.mmcaf", name="remembered"))
    for expected in (False, True):
        with open_session(bundle, backend="onnxruntime") as session:
            assert session.describe()["self_test"]["remembered"] is expected


@every_backend
def test_network_that_the_runtime_refuses(tmp_path: Path, backend: str) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    (draft / "model.onnx").write_bytes(b"not a network")
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "garbage.mmcaf")
    with pytest.raises(BackendError, match=f"{backend} .* failed while loading model.onnx"):
        open_session(bundle, backend=backend)


def test_unknown_backend_and_precision(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    with pytest.raises(BackendError, match="No backend is called 'abacus'"):
        open_session(bundle, backend="abacus")
    with pytest.raises(BackendError, match="holds no int8 network; it holds fp32"):
        open_session(bundle, precision="int8")
    with pytest.raises(UsageError, match="0 threads"):
        open_session(bundle, threads=0)


def test_fallback_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert choose_backend("auto").backend.name == "openvino"
    monkeypatch.setattr(OpenVinoBackend, "availability", classmethod(lambda cls: Availability(False, "not here")))
    choice = choose_backend("auto")
    assert choice.backend.name == "onnxruntime" and choice.fallback == "openvino: not here"
    with pytest.raises(BackendError, match="openvino cannot run here: not here"):
        choose_backend("openvino")


def test_onnxruntime_is_preferred_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert choose_backend("auto").backend.name == "onnxruntime"


@every_backend
def test_a_runtime_that_is_not_installed_says_how_to_install_it(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(BackendError, match=f"{backend} cannot be imported .*pip install {backend}"):
        choose_backend(backend)
