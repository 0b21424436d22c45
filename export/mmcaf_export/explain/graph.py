"""explain.onnx: a network's Grad-CAM, traced with its gradients and written as a graph without any."""

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, fx, nn

from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import COTANGENT

from ..networks.ensemble import Ensemble
from ..networks.feature_map import FeatureMap
from ..onnx_export import onnx_model
from ..onnx_files import save_model
from ..onnx_members import positive_sum, side_by_side
from .decompositions import decompositions
from .gradcam import GradCam, SignedGradCam
from .strided import strided


def export_explain(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    scores: Sequence[int],
    maps: Sequence[FeatureMap],
    path: Path,
    *,
    longest: int | None = None,
) -> tuple[Path, ...]:
    """Write the network's Grad-CAM to `path`; the network is left as it is.

    Its inputs are the network's, of one case, and the cotangent, float32 [1, *scores]; its outputs the maps, float32
    [1, *grid]. The second axis of every int64 input is the text's length, dynamic and called "L".

    Args:
        inputs: input name -> tensor of one case; texts of at least two word pieces.
        scores: the shape of one case's: [K], of an ensemble [members, K].
        longest: largest L, of a network with a text input.

    Returns:
        The files written, the model first.

    Raises:
        ExportError: a feature map is none, or an operator behind it has a gradient that cannot be written.
    """
    length = torch.export.Dim("L", min=1, max=longest)
    shapes = [{1: length} if tensor.dtype == torch.int64 else {} for tensor in inputs.values()]
    examples = (*inputs.values(), torch.ones(1, scores[-1]))
    names = [*inputs, COTANGENT], [spec.output for spec in maps]

    def model_of(module: GradCam) -> ir.Model:
        return onnx_model(_traced(module, examples, any(shapes)), examples, names, [*shapes, {}])

    if not isinstance(network, Ensemble):
        return save_model(model_of(GradCam(network, maps)), path)
    models = [model_of(SignedGradCam(member, maps)) for member in network.members]
    return save_model(side_by_side(models, [positive_sum] * len(maps), shared_out=COTANGENT), path)


def _statistics_apart(graph: fx.Graph) -> None:
    """Let no layer norm be asked for its mean and scale, which its gradient reads: TensorRT knows its result alone."""
    aten = torch.ops.aten
    for norm in graph.find_nodes(op="call_function", target=aten.native_layer_norm.default):
        asked = {int(user.args[1]): user for user in norm.users if user.target is operator.getitem and user.args[1]}
        if not asked:
            continue
        given, shape, _weight, _bias, epsilon = norm.args
        axes = list(range(-len(shape), 0))
        with graph.inserting_before(norm):
            mean = graph.call_function(aten.mean.dim, (given, axes, True))
            centred = graph.call_function(aten.sub.Tensor, (given, mean))
            squares = graph.call_function(aten.mul.Tensor, (centred, centred))
            variance = graph.call_function(aten.mean.dim, (squares, axes, True))
            scale = graph.call_function(
                aten.rsqrt.default, (graph.call_function(aten.add.Tensor, (variance, epsilon)),)
            )
        for index, value in ((1, mean), (2, scale)):
            if index in asked:
                asked[index].replace_all_uses_with(value)
                graph.erase_node(asked[index])


def _traced(module: GradCam, examples: Sequence[Tensor], texts: bool) -> fx.GraphModule:
    """The module with its gradients as plain operators, and nothing that no map depends on."""
    from torch.fx.experimental.proxy_tensor import make_fx

    mode: Any = "symbolic" if texts else "real"
    with torch.no_grad():
        traced = make_fx(module, decompositions(), tracing_mode=mode, _allow_non_fake_inputs=True)(*examples)
        if not texts and traced.graph.find_nodes(op="call_function", target=torch.ops.aten.as_strided.default):
            # Parts of a tensor were written in place, whose gradients are written in place too.
            traced = make_fx(torch.func.functionalize(traced), strided(), _allow_non_fake_inputs=True)(*examples)
    traced.graph.eliminate_dead_code()
    _statistics_apart(traced.graph)
    traced.recompile()
    left = {str(node.target) for node in traced.graph.nodes if "backward" in str(node.target)}
    if left:
        raise ExportError(
            f"ONNX has no operator for {', '.join(sorted(left))}, which a heat map would need.",
            "Name a feature map behind it in the entry's `explained`, or none.",
        )
    return traced
