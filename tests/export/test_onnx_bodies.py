"""What the body of a loop reads from outside of it, in the models that are written."""

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from torch import Tensor, nn

from mmcaf_export.networks.cmasg.operators import gated_lstm
from mmcaf_export.onnx_export import export_onnx

HIDDEN = 64
"""Its recurrent weights, of 2 x 64 x 256, are more than constant folding would fold by itself."""


class Looped(nn.Module):
    """A gated LSTM whose recurrent weights are not the network's own, but made of them."""

    def __init__(self, *, of_input: bool = False) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(2, 4 * HIDDEN, HIDDEN, generator=draw) / 8, requires_grad=False)
        self.register_buffer("shift", torch.tensor([1.0, 1, 1, 0]).repeat_interleave(HIDDEN))
        self.of_input = of_input

    def forward(self, x: Tensor) -> Tensor:
        """[N, n, 4 H] -> [n / 2, 2, 2, N, H]."""
        steps = x.transpose(0, 1)[:, None].expand(-1, 2, -1, -1).unflatten(0, (-1, 2))
        recurrent = self.weight.mT * (x.mean() if self.of_input else 0.5)
        return gated_lstm(steps, recurrent, self.shift, steps[..., :HIDDEN].sigmoid(), False, False, False)


def written(network: Looped, path: Path) -> Tensor:
    """Export it; the inputs on which it is to be compared."""
    example = torch.randn(1, 4, 4 * HIDDEN, generator=torch.Generator().manual_seed(2)) + 0.5
    export_onnx(network.eval(), {"x": example}, path, outputs=["y"])
    return example


def test_openvino_reads_a_loop_over_weights_that_are_made_of_others(tmp_path: Path) -> None:
    network = Looped()
    x = written(network, tmp_path / "looped.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "looped.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled({"x": x.numpy()})["y"], network(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("of_input", [False, True])
def test_a_body_reads_constants_where_there_are_some(of_input: bool, tmp_path: Path) -> None:
    import onnxruntime

    network = Looped(of_input=of_input)
    x = written(network, tmp_path / "looped.onnx")
    graph = onnx.load(tmp_path / "looped.onnx").graph
    (loop,) = (node for node in graph.node if node.op_type == "Scan")
    (body,) = (attribute.g for attribute in loop.attribute if attribute.name == "body")
    known = {value.name for value in body.input} | {name for node in body.node for name in node.output}
    read = {name for node in body.node for name in node.input} - known
    made = read - {tensor.name for tensor in graph.initializer}
    assert len(read) == 2 and len(made) == of_input
    answer = onnxruntime.InferenceSession(tmp_path / "looped.onnx").run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(answer, network(x).numpy(), atol=1e-5)
