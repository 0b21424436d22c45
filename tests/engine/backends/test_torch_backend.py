"""The torch backend: the demonstration and a tiny bundle through it, what it says of itself, what it refuses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu_machines import RTX_4090, machine, running_on
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.backends.torch.backend import TorchBackend
from mmcaf_engine.backends.torch.place import holds_code_for
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.session.choice import choose
from refusals import refused
from several_precisions import add_precisions
from tiny_bundle import SIZE, SLICES, expected_logits
from tiny_report import BUCKETS, make_tiny_report

pytest.importorskip("torch", reason="torch is not installed")
import torch

on_processor = pytest.mark.skipif(torch.cuda.is_available(), reason="torch would run it on the GPU")
EMPTY_WINDOW = np.zeros((1, 1, 12, 192, 192), np.float32)


def test_the_demonstration_passes_its_self_test_and_says_how_it_runs() -> None:
    with open_session(load_bundle(default_bundle().path), backend="torch") as session:
        facts = session.describe()
        found = session.run({"image": EMPTY_WINDOW, "table": np.zeros((1, 7), np.float32)})["logit"]
    assert facts["backend"] == "torch"
    assert facts["self_test"]["passed"] and facts["self_test"]["max_abs_error"] <= 1e-4
    assert set(facts["kernels"]) == {"fusion_head", "groupnorm_act", "kan", "msca_attention", "msdc", "upsample_dw"}
    assert found.shape == (1, 1) and np.isfinite(found).all()
    if not torch.cuda.is_available():
        assert facts["device"] == "CPU"
        assert facts["kernel_path"].startswith("reference: the tensor is on cpu")
        assert facts["execution"] == "operator by operator, as the device is the CPU"


@pytest.mark.parametrize("batch", [1, 3])
def test_another_network_runs_without_kernels(tiny_bundle: Path, batch: int) -> None:
    draw = np.random.default_rng(1)
    given = {
        "image": draw.normal(size=(batch, 1, SLICES, SIZE, SIZE)).astype(np.float32),
        "table": draw.normal(size=(batch, 2)).astype(np.float32),
    }
    with open_session(load_bundle(tiny_bundle), backend="torch") as session:
        assert session.describe()["kernels"] == {}
        np.testing.assert_allclose(session.run(given)["logit"], expected_logits(given), atol=1e-5)


def test_texts_of_every_length_read_the_same_weights(tmp_path: Path) -> None:
    folder = make_tiny_report(tmp_path / "report.mmcaf")
    manifest = load_bundle(folder).manifest
    backend = TorchBackend(folder / "model.onnx", manifest.inputs, manifest.outputs, 1, lengths=BUCKETS)
    backend.open()
    programs = [backend.program_for(length) for length in BUCKETS]
    large = [{name: t.data_ptr() for name, t in program._constants.items() if t.numel() > 20} for program in programs]
    assert large[0] and large[1:] == large[:1] * (len(BUCKETS) - 1)
    backend.close()


def test_a_text_is_padded_behind_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions count from its beginning."""
    manifest = load_bundle(make_tiny_report(tmp_path / "report.mmcaf")).manifest
    backend = TorchBackend(tmp_path / "none", manifest.inputs, manifest.outputs, 1, lengths=BUCKETS)
    asked: dict[int, dict[str, np.ndarray]] = {}

    def program(length: int) -> Any:
        def answer(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            asked[length] = arrays
            return {spec.name: np.zeros(1, np.float32) for spec in manifest.outputs}

        return answer

    monkeypatch.setattr(backend, "program_for", program)
    texts = [spec.name for spec in manifest.inputs if "L" in spec.shape]
    length = BUCKETS[0] + 1
    shapes = {spec.name: [length if axis == "L" else axis for axis in spec.shape[1:]] for spec in manifest.inputs}
    window = {name: np.ones([1, *shape]) for name, shape in shapes.items()}
    backend._infer(window)
    [padded] = asked
    assert padded == BUCKETS[1] and len(texts) == 2
    for name in texts:
        np.testing.assert_array_equal(asked[padded][name], [[1] * length + [0] * (padded - length)])


@pytest.mark.parametrize(
    ("capability", "runs_bf16", "device"),
    [
        ((7, 0), True, "CPU"),
        ((7, 5), False, "NVIDIA card"),
        ((8, 0), True, "NVIDIA card"),
        ((9, 0), True, "NVIDIA card"),
        ((11, 0), True, "CPU"),
    ],
    ids=["V100", "T4", "A100", "H100", "none-yet"],
)
def test_what_a_gpu_runs(capability: tuple[int, int], runs_bf16: bool, device: str) -> None:
    """What PyTorch holds no code for is not used: then it is the processor that runs it, as for `auto`."""
    with running_on(machine(replace(RTX_4090, name="NVIDIA card", target=Target(*capability)), torch="cuda")):
        assert TorchBackend.can_run("bf16").available is runs_bf16
        assert TorchBackend.can_run("fp16").available and not TorchBackend.can_run("int8").available
        assert (TorchBackend.excluded_from_auto() is not None) is (device == "CPU")
        assert TorchBackend(Path("model.onnx"), (), (), 1).device == device


@pytest.mark.parametrize(
    ("names", "target", "fits"),
    [
        (("sm_80", "sm_86"), (8, 9), True),
        (("sm_86",), (8, 0), False),
        (("sm_75", "sm_90"), (8, 0), False),
        (("sm_90a",), (9, 0), True),
        (("sm_90a", "sm_100a"), (10, 3), False),
        (("sm_100f",), (10, 3), True),
        (("sm_100f", "sm_120"), (11, 0), False),
        (("sm_75", "compute_80"), (12, 0), True),
        (("compute_120",), (9, 0), False),
        (("gfx942",), (9, 4), False),
        ((), (9, 0), False),
    ],
    ids=str,
)
def test_which_gpus_a_build_holds_code_for(names: tuple[str, ...], target: tuple[int, int], fits: bool) -> None:
    assert holds_code_for(Target(*target), names) is fits


@on_processor
def test_auto_does_not_choose_it_on_the_processor(tiny_bundle: Path) -> None:
    assert choose(load_bundle(tiny_bundle)).backend.name != "torch"
    answer = backend_class("torch").availability()
    assert answer.available and "on the processor" in answer.reason and "slow" in answer.reason


def test_int8_is_refused_in_words(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "int8.mmcaf", {"int8": 0.0}))
    with refused(BackendError, "torch", "int8", "INT8 kernels"):
        open_session(bundle, backend="torch", precision="int8")


@pytest.mark.parametrize("missing", ["torch", "onnx"])
def test_what_is_not_installed_is_named_with_the_command(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    answer = TorchBackend.availability()
    assert not answer.available and missing in str(answer.reason)
    assert install_command("kernels") in repr(answer)


def test_asking_for_it_imports_no_torch() -> None:
    code = (
        "import sys; from mmcaf_engine.backends.registry import backend_class\n"
        "backend_class('torch'); print('torch' in sys.modules, 'mmcaf_kernels' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("device", "execution", "degraded"),
    [
        ("CPU", "operator by operator, as the device is the CPU", False),
        ("NVIDIA GeForce RTX 4090", "CUDA graph", False),
        ("NVIDIA GeForce RTX 4090", "operator by operator: recording a CUDA graph failed (no memory)", True),
    ],
    ids=["processor", "recorded", "refused"],
)
def test_a_graph_that_cannot_be_recorded_is_a_degradation(
    device: str, execution: str, degraded: bool, tiny_bundle: Path
) -> None:
    manifest = load_bundle(tiny_bundle).manifest
    backend = TorchBackend(tiny_bundle / "model.onnx", manifest.inputs, manifest.outputs, 1)
    assert backend.degraded is None
    backend.device, backend._program, backend._is_open = device, SimpleNamespace(execution=execution), True
    assert backend.degraded == (execution if degraded else None)


@pytest.mark.gpu
def test_on_a_gpu_it_names_the_gpu_and_records_a_graph() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    with open_session(load_bundle(default_bundle().path), backend="torch") as session:
        facts = session.describe()
        assert session.degraded is None
    assert facts["device"] == torch.cuda.get_device_name(0)
    assert facts["execution"] == "CUDA graph" and facts["kernel_path"].startswith("triton")
