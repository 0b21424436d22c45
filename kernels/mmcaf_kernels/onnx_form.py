"""The kernels' operators in plain ones, so that a network that calls them can be written as a standard ONNX file.

program = torch.export.export(network, inputs, dynamic_shapes=...)
torch.onnx.export(plain(program), (), "network.onnx")
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from .cross_attention.reference import cross_attention
from .fusion_head.reference import fusion_head
from .groupnorm_act.reference import groupnorm_act
from .kan.reference import kan
from .msca_attention.reference import msca_attention
from .msdc.reference import msdc
from .upsample_dw.reference import upsample_dw


def plain(program: ExportedProgram) -> ExportedProgram:
    """The program with every operator of this package replaced by its reference, which says what it computes."""
    return program.run_decompositions(forms())


def forms() -> dict[Any, Callable[..., Any]]:
    """Operator -> the same function in operators that torch.onnx knows, with the operator's own arguments."""
    operators = torch.ops.mmcaf
    return {
        operators.msdc.default: msdc,
        operators.upsample_dw.default: upsample_dw,
        operators.msca_attention.default: msca_attention,
        operators.groupnorm_act.default: _groupnorm_act,
        operators.kan.default: kan,
        operators.fusion_head.default: fusion_head,
        operators.cross_attention.default: _cross_attention,
    }


def _groupnorm_act(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    slope: float = 0.01,
    residual: Tensor | None = None,
    *gate: Tensor | None,
) -> Tensor:
    layers: Any = gate if gate and gate[0] is not None else None
    return groupnorm_act(x, groups, weight, bias, eps=eps, slope=slope, gate=layers, residual=residual)


def _cross_attention(*arguments: Any) -> tuple[Tensor, Tensor]:
    six, (scale, image_mask, table_mask) = arguments[:6], (*arguments[6:], None, None)[:3]
    found = cross_attention(*six, image_mask=image_mask, table_mask=table_mask, scale=scale)
    return found[0].to(six[0].dtype), found[1].to(six[0].dtype)
