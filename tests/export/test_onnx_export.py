"""The ONNX file itself: names, shapes, sizes, nothing of this machine, and a network left alone."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.conftest import Slim
from mmcaf_export import onnx_files
from mmcaf_export.networks.lcadb.network import PHASES
from mmcaf_export.onnx_export import OPSET, export_onnx
from mmcaf_export.rewrites.rewrite import rewritten


@pytest.fixture(scope="module")
def model(slim: Slim) -> onnx.ModelProto:
    return onnx.load(slim.report.output / "model.onnx")


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


SIGNATURES: dict[str, tuple[dict[str, list[int | str]], dict[str, list[int | str]]]] = {
    "lcadb": (
        {phase: ["N", 1, 64, 64, 16] for phase in PHASES},
        {"logits": ["N", 7], "alpha_image": ["N", 4], "alpha_patch": ["N", 4]},
    ),
    "mmcaf": ({"image": ["N", 1, 12, 96, 96], "table": ["N", 7]}, {"logit": ["N", 1]}),
}
"""Network -> its inputs and its outputs."""


def test_signature(model: onnx.ModelProto, slim: Slim) -> None:
    onnx.checker.check_model(model, full_check=True)
    inputs, outputs = SIGNATURES[slim.entry.name]
    assert {value.name: dims(value) for value in model.graph.input} == inputs
    assert {value.name: dims(value) for value in model.graph.output} == outputs
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert not model.functions


def convolutions_of_mmcaf(once: set[str]) -> set[str]:
    """What they are called, of those that a network has."""
    scales = {f"image_encoder.dcfb{i}.msdc.dwconvs.0.0" for i in (1, 2, 3)}  # a single tap: no convolution any more
    again = {f"image_encoder.sab.conv/Conv_{i}" for i in (2, 3)}
    again |= {f"image_encoder.bfpu{i}.gamma{j}/Conv_2" for i in (1, 2) for j in (1, 2)}
    for name in ("query_conv", "key_conv"):
        again |= {f"image_encoder.bfpu1.{name}/Conv_{i}" for i in (2, 3, 4, 5)}
        again |= {f"image_encoder.bfpu2.{name}/Conv_{i}" for i in (2, 3)}
    return (once - scales) | again


def test_nodes_are_called_after_their_modules(model: onnx.ModelProto, slim: Slim) -> None:
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    convolutions = {node.name.removesuffix("/Conv") for node in model.graph.node if node.op_type == "Conv"}
    once = {name for name, module in slim.network.named_modules() if isinstance(module, nn.Conv3d)}
    again = {f"layer3_patch_com.0.conv2/Conv_{i}" for i in (2, 3)}
    assert convolutions == (convolutions_of_mmcaf(once) if slim.entry.name == "mmcaf" else once | again)
    modules = dict(slim.network.named_modules())
    nowhere = [name for name in names if name.rpartition("/")[0] not in modules]
    assert nowhere == []


def test_values_are_called_after_their_nodes_and_weights_keep_their_names(model: onnx.ModelProto, slim: Slim) -> None:
    for node in model.graph.node:
        assert node.output[0] == node.name or node.output[0] in SIGNATURES[slim.entry.name][1]
    names = {tensor.name for tensor in model.graph.initializer}
    kept = {"mmcaf": "image_encoder.bfpu2.query_conv.weight", "lcadb": "layer4_patch_com.0.conv1.weight"}
    assert kept[slim.entry.name] in names
    lean = rewritten(slim.network, slim.entry.rewrites, slim.drawn(1, seed=0))
    others = names - set(lean.state_dict())
    assert all(":in" in name for name in others), others


def test_nothing_of_this_machine_is_inside(slim: Slim) -> None:
    content = (slim.report.output / "model.onnx").read_bytes()
    home = Path(__file__).parents[2]
    for text in [str(home), tempfile.gettempdir(), ".py", "site-packages", "torch", "File "]:
        assert text.encode() not in content, text


def test_no_documentation_or_metadata(model: onnx.ModelProto) -> None:
    assert not model.doc_string
    assert not model.metadata_props
    graph = model.graph
    for entry in [graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        assert not entry.doc_string
        assert not entry.metadata_props


def test_openvino_runs_any_batch_without_reshaping(slim: Slim) -> None:
    compiled = openvino.Core().compile_model(
        slim.report.output / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for batch in (1, 3):
        given = slim.drawn(batch, seed=2)
        found = compiled({name: tensor.numpy() for name, tensor in given.items()})
        for name, expected in slim.expected(given).items():
            assert np.abs(found[name] - expected.numpy()).max() <= 1e-4


class Small(nn.Module):
    """Behaves differently in training; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 64), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.ReLU())
        self.head = nn.Linear(64, 2)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.body(first + second)
        return self.head(inner), inner


def test_large_weights_lie_beside_the_model_and_the_network_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 1000)
    torch.manual_seed(0)
    network = Small().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    inputs = {"a": torch.rand(3, 5), "b": torch.rand(3, 5)}
    files = export_onnx(network, inputs, tmp_path / "small.onnx", outputs=("score", "inner"))
    assert [file.name for file in files] == ["small.onnx", "small.onnx.data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.onnx", "small.onnx.data"]
    assert network.training
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())

    (tmp_path / "again").mkdir()
    for file in export_onnx(network, inputs, tmp_path / "again" / "small.onnx", outputs=("score", "inner")):
        assert file.read_bytes() == (tmp_path / file.name).read_bytes()

    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    network.eval()
    for batch in (1, 3):
        part = {name: tensor[:batch] for name, tensor in inputs.items()}
        with torch.inference_mode():
            expected = network(*part.values())
        found = session.run(["score", "inner"], {name: tensor.numpy() for name, tensor in part.items()})
        for ours, theirs in zip(found, expected, strict=True):
            assert np.abs(ours - theirs.numpy()).max() <= 1e-6


def test_a_model_that_became_small_carries_its_weights_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"a": torch.rand(3, 5), "b": torch.rand(3, 5)}
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 1000)
    export_onnx(Small(), inputs, tmp_path / "small.onnx", outputs=("score", "inner"))
    model = onnx_files.load_model(tmp_path / "small.onnx")
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 1_000_000)
    alone = tmp_path / "elsewhere" / "small.onnx"
    alone.parent.mkdir()
    assert onnx_files.save_model(model, alone) == (alone,)

    fed = {name: tensor.numpy() for name, tensor in inputs.items()}
    before, after = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, fed)
        for path in (tmp_path / "small.onnx", alone)
    )
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(before, after, strict=True))


class Pooled(nn.Module):
    """Operators that PyTorch's exporter cannot write by itself, and a batch that is read with len()."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        uneven = F.adaptive_avg_pool3d(image, (2, 3, 4)).expand(len(image), -1, -1, -1, -1)
        even = F.adaptive_avg_pool3d(image, (5, 3, 1))
        peaks = F.adaptive_max_pool3d(image, (2, 6, 1))
        means = image.mean(dim=(3, 4))
        flat = F.adaptive_max_pool2d(means, (1, 2))
        halves = F.adaptive_max_pool2d(image.mean(dim=2), 3)
        return uneven, even, peaks, flat, halves, torch.cumprod(means, dim=2), means.cumprod(-2)


@pytest.mark.full
def test_what_pytorchs_exporter_cannot_write_is_written(tmp_path: Path) -> None:
    names = tuple(f"out{at}" for at in range(7))
    export_onnx(Pooled(), {"image": torch.rand(1, 2, 5, 6, 7)}, tmp_path / "pooled.onnx", outputs=names)
    session = onnxruntime.InferenceSession(tmp_path / "pooled.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        image = torch.rand(batch, 2, 5, 6, 7)
        for name, ours, theirs in zip(
            names, session.run(names, {"image": image.numpy()}), Pooled()(image), strict=True
        ):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6, atol=1e-6, err_msg=name)


class Recurrent(nn.Module):
    """A constant of which the exporter makes parts, which constant folding says that it leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", torch.rand(3, 4))
        self.gru = nn.GRU(4, 4, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, table: Tensor) -> Tensor:
        first, *_ = self.places.split(1)
        found: Tensor = self.gru(table[:, None] + first)[0]
        return found[:, 0]


def test_remarks_of_packages_stay_off_the_terminal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    export_onnx(Recurrent(), {"table": torch.rand(1, 4)}, tmp_path / "recurrent.onnx")
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
