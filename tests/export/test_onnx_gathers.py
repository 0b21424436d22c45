"""What a network picks from a weight by constant indexes is picked in the file, and nothing else is."""

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from torch import Tensor, nn

from mmcaf_export.onnx_export import export_onnx

ROWS, COLUMNS = 40, 60  # of the indexes, which are more than constant folding would fold by itself


class Biased(nn.Module):
    """A table of relative places, of which each pair of places reads one row."""

    def __init__(self, *, of_input: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.table = nn.Parameter(torch.randn(ROWS + COLUMNS - 1, 3, generator=draw), requires_grad=False)
        places = torch.arange(ROWS)[:, None] - torch.arange(COLUMNS) + COLUMNS - 1
        self.register_buffer("places", places, persistent=False)
        self.of_input = of_input

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, ROWS, COLUMNS], as is the output."""
        table = self.table * x.mean() if self.of_input else self.table
        return x + table[self.places.view(-1)].view(ROWS, COLUMNS, 3).permute(2, 0, 1)


@pytest.mark.parametrize("of_input", [False, True])
def test_rows_of_a_weight_are_picked_once(of_input: bool, tmp_path: Path) -> None:
    network = Biased(of_input=of_input).eval()
    x = torch.rand(1, 3, ROWS, COLUMNS, generator=torch.Generator().manual_seed(2))
    export_onnx(network, {"x": x}, tmp_path / "biased.onnx", outputs=["y"])
    picked = [node for node in onnx.load(tmp_path / "biased.onnx").graph.node if node.op_type.startswith("Gather")]
    assert bool(picked) == of_input
    compiled = openvino.Core().compile_model(tmp_path / "biased.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(
        compiled({"x": x.numpy()})["y"], network(x).numpy(), rtol=0, atol=1e-6 if of_input else 0
    )
