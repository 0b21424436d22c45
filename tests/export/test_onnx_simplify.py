"""Simplifying: as the exporter's own optimiser does, but for Splits."""

import onnx_ir as ir
import onnxscript
import torch
from torch import Tensor, nn

from mmcaf_export.onnx_simplify import simplify


class Redundant(nn.Module):
    """Much of which nothing need be left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, bias=False)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(nn.functional.pad(x * 1 + 0, (1, 1, 1, 1)))).relu().relu()
        y = y.reshape(-1, 3, 36).reshape(-1, 3, 4, 9).transpose(2, 3).transpose(2, 3)
        return y.clamp(min=0.0).clamp(max=6.0).unsqueeze(0).unsqueeze(0)


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] - x[:, 1:]


def written(network: nn.Module) -> ir.Model:
    torch.manual_seed(0)
    program = torch.onnx.export(network.eval(), (torch.rand(2, 2, 6, 6),), dynamo=True, optimize=False, verbose=False)
    assert program is not None
    return program.model


def test_what_the_optimiser_of_the_exporter_makes() -> None:
    network = Redundant()
    ours, theirs = written(network), written(network)
    before = [node.op_type for node in ours.graph]
    simplify(ours)
    onnxscript.optimizer.optimize(theirs)
    assert [node.op_type for node in ours.graph] == [node.op_type for node in theirs.graph]
    assert len(list(ours.graph)) < len(before) / 2
    assert ir.to_proto(ours).SerializeToString() == ir.to_proto(theirs).SerializeToString()


def test_two_slices_stay() -> None:
    model = written(Halves())
    simplify(model)
    assert [node.op_type for node in model.graph] == ["Slice", "Slice", "Sub"]
