"""Sessions and backends: the same answers, checked inputs, a self-test that can fail."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends_here import ON_PROCESSOR, backends
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.base import Availability, Backend
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.backends.remedies import ANY_PRECISION
from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.machine.gpu import Gpus
from mmcaf_engine.machine.installation import install_command, install_package
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session.choice import Choice, backend_for, choose
from mmcaf_engine.session.self_test import SelfTest
from mmcaf_engine.session.session import Session
from mmcaf_engine.session.timings import Timing, Tuning, tuned_for
from processor_units import give_units
from refusals import Fact, check_facts, refused
from several_precisions import add_precisions
from tiny_bundle import SIZE, SLICES, expected_logits, make_tiny_bundle, tiny_manifest
from tiny_liver import make_tiny_liver, tiny_liver_manifest


@pytest.fixture(autouse=True)
def auto_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What "auto" chooses here is the same with and without a GPU; that it prefers one, test_tensorrt_backend holds."""
    for backend in ("tensorrt", "torch"):
        monkeypatch.setattr(f"mmcaf_engine.backends.{backend}.backend.find_gpus", lambda: Gpus((), "hidden", False))


every_backend = pytest.mark.parametrize("backend", list(backends()))


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
    with open_session(load_bundle(tiny_bundle), backend=backend) as session:
        outputs = session.run(given)
        again = session.run(given)
    assert outputs["logit"].shape == (batch, 1) and outputs["logit"].dtype == np.float32
    np.testing.assert_allclose(outputs["logit"], expected_logits(given), atol=1e-5)
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
    assert facts["backend"] == backend and facts["precision"] == "fp32"
    assert (facts["device"] == "CPU") is (backend != "tensorrt")
    assert isinstance(facts["cache_hit"], bool) and facts["cache"]
    assert facts["version"] and facts["self_test"]["passed"] and facts["self_test"]["cases"] == 2
    assert list(facts["inputs"]) == ["image", "table"]
    assert facts["inputs"]["image"] == {"shape": ["N", 1, SLICES, SIZE, SIZE], "dtype": "float32"}
    assert facts["outputs"] == {"logit": {"shape": ["N", 1], "dtype": "float32"}}


@every_backend
@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"image": np.zeros((1, 1, SLICES, SIZE, SIZE), np.float64)}, ("image", "float64", "float32")),
        ({"image": np.zeros((1, 1, SLICES, SIZE, SIZE + 1), np.float32)}, ("image", SIZE + 1, SIZE)),
        ({"image": np.full((1, 1, SLICES, SIZE, SIZE), np.nan, np.float32)}, ("image", "NaN")),
        ({"table": np.zeros((2, 2), np.float32)}, ("batch", 1, 2)),
        ({"extra": np.zeros((1, 2), np.float32)}, ("extra", "image", "table")),
    ],
    ids=["type", "shape", "nan", "batch", "unknown"],
)
def test_wrong_inputs(tiny_bundle: Path, backend: str, change: dict[str, np.ndarray], facts: tuple[Fact, ...]) -> None:
    with open_session(load_bundle(tiny_bundle), backend=backend) as session, refused(UsageError, *facts):
        session.run({**inputs(1), **change})


@every_backend
def test_closed_session(tiny_bundle: Path, backend: str) -> None:
    session = open_session(load_bundle(tiny_bundle), backend=backend)
    session.close()
    session.close()
    with refused(BackendError, "closed"):
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
    with refused(BackendError, "self-test", "tiny", 0.002, option="backend") as caught:
        open_session(bundle, backend=backend)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("backend", ON_PROCESSOR)
@pytest.mark.parametrize("wrong", ["logits", "alpha", "upper"])
def test_self_test_compares_every_output(tmp_path: Path, wrong: str, backend: str) -> None:
    """One output is wrong and the others are right: the score, the attention after it, and the last one."""
    draft = make_tiny_liver(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    with np.load(draft / "golden.npz") as archive:
        cases = dict(archive)
    shifted = cases[wrong].copy()
    shifted.flat[-1] += 0.03
    np.savez(draft / "golden.npz", **{**cases, wrong: shifted})
    bundle = write_bundle(draft, tiny_liver_manifest(), tmp_path / "wrong.mmcaf")
    with refused(BackendError, "self-test", "tiny liver", wrong, 0.03, option="backend"):
        open_session(bundle, backend=backend)


def test_a_passed_self_test_is_remembered_but_not_a_failed_one(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "fresh.mmcaf", name="remembered"))
    for expected in (False, True):
        with open_session(bundle, backend="onnxruntime") as session:
            assert session.describe()["self_test"]["remembered"] is expected


@pytest.mark.parametrize(
    ("errors", "cases", "passed"),
    [
        ({"logit": 0.0}, 1, True),
        ({"logit": 1e-4, "attention": 9e-5}, 2, True),
        ({"logit": 9e-5, "attention": 1.1e-4}, 2, False),
        ({"logit": float("inf")}, 2, False),
        ({"logit": float("nan"), "attention": 0.0}, 2, False),
        ({"attention": 0.0, "logit": float("nan")}, 2, False),
        ({"logit": 0.0}, 0, False),
        ({}, 2, False),
    ],
)
def test_a_self_test_passed_if_every_output_did(errors: dict[str, float], cases: int, passed: bool) -> None:
    assert SelfTest(errors, 1e-4, cases, remembered=False).passed is passed


def test_a_session_says_what_its_self_test_found(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "fresh.mmcaf", name="told"))
    for remembered in (False, True):
        with open_session(bundle, backend="onnxruntime") as session:
            told = session.describe()["self_test"]
            assert told == {**session.run_self_test().to_dict(), "remembered": remembered}
    assert list(told["errors"]) == ["logit"] and 0 <= told["errors"]["logit"] == told["max_abs_error"] <= 1e-4


def test_a_session_that_was_opened_untested_says_so(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    choice = Choice(OnnxRuntimeBackend, "fp32")
    with backend_for(bundle, choice) as backend:
        told = Session(bundle, choice, backend).describe()
    assert told["self_test"]["passed"] is None and told["self_test"]["cases"] == 0
    assert (told["cache_hit"], told["cache"]) == (False, "not used")


@every_backend
def test_network_that_the_runtime_refuses(tmp_path: Path, backend: str) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    (draft / "model.onnx").write_bytes(b"not a network")
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "garbage.mmcaf")
    with refused(BackendError, backend, "model.onnx", option="backend"):
        open_session(bundle, backend=backend)


def test_unknown_backend_and_precision(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    with refused(UsageError, "'abacus'") as caught:
        open_session(bundle, backend="abacus")
    check_facts(caught.value.remedy, "auto", "tensorrt", "openvino", "onnxruntime", "torch")
    assert caught.value.exit_code == 2
    with refused(BackendError, "int8", "fp32"):
        open_session(bundle, precision="int8")
    with refused(UsageError, "0 threads", 1):
        open_session(bundle, threads=0)


def test_fallback_is_said_in_words(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(tiny_bundle)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert choose(bundle) == Choice(OpenVinoBackend, "fp32")
    monkeypatch.setattr(OpenVinoBackend, "availability", classmethod(lambda cls: Availability(False, "not here")))
    assert choose(bundle) == Choice(OnnxRuntimeBackend, "fp32", fallback="openvino: not here")
    with refused(BackendError, "openvino", "not here"):
        choose(bundle, backend="openvino")


def with_units(monkeypatch: pytest.MonkeyPatch, *units: str) -> None:
    """Give the processor these units, as far as OpenVINO says."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    give_units(monkeypatch, *units)


@pytest.mark.parametrize(
    ("backend", "precision", "units", "reason"),
    [
        ("openvino", "fp32", (), None),
        ("openvino", "int8", (), None),
        ("openvino", "bf16", (), "no BF16 units"),
        ("openvino", "bf16", ("FP16",), "no BF16 units"),
        ("openvino", "bf16", ("BF16",), None),
        ("openvino", "fp16", ("BF16",), "no FP16 units"),
        ("openvino", "fp16", ("FP16",), None),
        ("onnxruntime", "fp32", (), None),
        ("onnxruntime", "int8", (), None),
        ("onnxruntime", "fp16", ("FP16",), "no FP16 convolutions"),
        ("onnxruntime", "bf16", ("BF16",), "no BF16 convolutions"),
    ],
)
def test_which_precisions_run(
    backend: str,
    precision: Precision,
    units: tuple[str, ...],
    reason: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tiny_bundle: Path,
    tmp_path: Path,
) -> None:
    with_units(monkeypatch, *units)
    others = {} if precision == "fp32" else {precision: 0.0}
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", others))
    answer = backend_class(backend).can_run(precision)
    assert answer.available is (reason is None) and (reason or precision) in answer.reason
    if reason is None:
        assert choose(bundle, backend=backend, precision=precision) == Choice(backend_class(backend), precision)
    else:
        with refused(BackendError, backend, precision, reason) as caught:
            choose(bundle, backend=backend, precision=precision)
        assert caught.value.exit_code == 6 and caught.value.remedies[0] == ANY_PRECISION


def test_capabilities_are_those_of_the_processor() -> None:
    told = OpenVinoBackend.runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision, units in (("fp16", "FP16"), ("bf16", "BF16")):
        assert OpenVinoBackend.can_run(precision).available is (units in told)


def test_a_precision_that_no_backend_runs(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_units(monkeypatch)
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"bf16": 0.0}))
    with refused(BackendError, "bf16", "openvino", "onnxruntime") as caught:
        open_session(bundle, precision="bf16")
    assert caught.value.exit_code == 6
    with open_session(bundle) as session:
        assert session.precision == "fp32"


@pytest.mark.parametrize("absent", [OpenVinoBackend, OnnxRuntimeBackend], ids=lambda kind: kind.name)
def test_a_precision_that_the_only_backend_does_not_run_is_no_lack_of_backends(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: type[Backend]
) -> None:
    with_units(monkeypatch)
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"bf16": 0.0}))
    monkeypatch.setattr(absent, "availability", classmethod(lambda cls: Availability(False, "it is not installed")))
    with refused(BackendError, "No backend runs bf16 here", f"{absent.name}: it is not installed"):
        choose(bundle, precision="bf16")


def test_a_backend_is_passed_over_for_a_precision_and_that_is_said(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    give_units(monkeypatch, "BF16")
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"bf16": 0.0, "int8": 0.0}))
    passed_over = "onnxruntime: its CPU provider has no BF16 convolutions"
    assert choose(bundle, precision="bf16") == Choice(OpenVinoBackend, "bf16", fallback=passed_over)
    assert choose(bundle) == Choice(OnnxRuntimeBackend, "fp32")


@every_backend
def test_each_precision_answers_with_its_own_network(tiny_bundle: Path, tmp_path: Path, backend: str) -> None:
    lower, offset = ("int8", 0.0625) if backend_class(backend).can_run("int8").available else ("fp16", 0.0078125)
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {lower: offset}))
    with (
        open_session(bundle, backend=backend) as plain,
        open_session(bundle, backend=backend, precision=lower) as other,
    ):
        assert (plain.precision, other.precision) == ("fp32", lower)
        assert other.describe()["precision"] == lower
        assert other.describe()["self_test"]["tolerance"] == {"int8": 0.1, "fp16": 0.02}[lower]
        difference = other.run(inputs(1))["logit"] - plain.run(inputs(1))["logit"]
    np.testing.assert_allclose(difference, offset, atol=1e-6)


@pytest.mark.parametrize(("precision", "hint"), [("fp32", "f32"), ("int8", "f32"), ("bf16", "f32"), ("fp16", "f16")])
def test_openvino_computes_in_the_precision_that_was_chosen(tiny_bundle: Path, precision: Precision, hint: str) -> None:
    bundle = load_bundle(tiny_bundle)
    manifest = bundle.manifest
    backend = OpenVinoBackend(bundle.folder / "model.onnx", manifest.inputs, manifest.outputs, 1, precision)
    assert backend.engine_facts()["configuration"]["INFERENCE_PRECISION_HINT"] == hint
    with backend:
        assert np.isfinite(backend.infer(inputs(1))["logit"]).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_runtimes_take_as_many_threads_as_they_are_given(tiny_bundle: Path, threads: int) -> None:
    bundle = load_bundle(tiny_bundle)
    manifest = bundle.manifest
    network = bundle.folder / "model.onnx", manifest.inputs, manifest.outputs, threads
    with OpenVinoBackend(*network) as openvino, OnnxRuntimeBackend(*network) as onnxruntime:
        assert openvino._compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert onnxruntime._session.get_session_options().intra_op_num_threads == threads


CALLS = """
import sys
calls = []
WATCHED = ("socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.system")
def watch(event, arguments):
    if event.startswith(WATCHED) and "ldconfig" not in str(arguments[:1]):  # torch's CUDA packages look for libdl
        calls.append(event)
sys.addaudithook(watch)
from mmcaf_engine import load_bundle, open_session
open_session(load_bundle(sys.argv[1]), backend=sys.argv[2]).close()
print(sorted(set(calls)), "openvino_telemetry" in sys.modules)
"""


@every_backend
def test_a_runtime_calls_nobody(tiny_bundle: Path, backend: str) -> None:
    command = [sys.executable, "-c", CALLS, str(tiny_bundle), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"


def test_onnxruntime_is_preferred_elsewhere(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert choose(load_bundle(tiny_bundle)) == Choice(OnnxRuntimeBackend, "fp32")


def test_each_backend_is_asked_once_for_a_choice(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what was measured cannot run any more, so that the others are asked."""
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"bf16": 0.0}))
    timings = [Timing(backend="onnxruntime", precision="bf16", median_ms=1, p95_ms=1)]
    monkeypatch.setattr(
        "mmcaf_engine.session.choice.read_tuning",
        lambda bundle, threads: Tuning(bundle="b", facts=tuned_for(bundle, threads), runs=1, timings=tuple(timings)),
    )
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    give_units(monkeypatch, "BF16")
    asked: list[tuple[str, str]] = []
    for kind in (OpenVinoBackend, OnnxRuntimeBackend):
        original = kind.can_run

        def can_run(cls: type[Backend], precision: Precision, original: Any = original) -> Availability:
            asked.append((cls.name, precision))
            return original(precision)

        monkeypatch.setattr(kind, "can_run", classmethod(can_run))
    choice = choose(bundle, precision="bf16")
    assert choice.backend is OpenVinoBackend and not choice.tuned
    assert choice.fallback is not None and choice.fallback.count("no BF16 convolutions") == 2
    assert sorted(asked) == [("onnxruntime", "bf16"), ("openvino", "bf16")]


@pytest.mark.parametrize("backend", ON_PROCESSOR)
def test_a_runtime_that_is_not_installed_says_how_to_install_it(
    tiny_bundle: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, backend, None)
    install = install_command("kernels") if backend == "torch" else install_package(backend)
    with refused(BackendError, backend, "import") as caught:
        choose(load_bundle(tiny_bundle), backend=backend)
    assert [remedy.command for remedy in caught.value.remedies] == [install, None, "mmcaf doctor"]
