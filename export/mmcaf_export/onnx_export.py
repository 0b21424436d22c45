"""A torch network written as ONNX: dynamic batch, readable names, the same bytes every time."""

import ast
import inspect
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from . import more_operators as more_operators  # which adds itself to TRANSLATIONS
from .networks.ensemble import AVERAGED, Ensemble
from .onnx_bodies import fold_read_by_bodies
from .onnx_faults import check_batch, fixed_batch, fixing_line, translating_exporter_errors
from .onnx_files import save_model
from .onnx_gathers import fold_constant_gathers
from .onnx_members import mean, side_by_side, stacked
from .onnx_operators import TRANSLATIONS
from .onnx_simplify import simplify
from .rewrites.copies import share_copy

OPSET = 20
_SCOPES = "pkg.torch.onnx.name_scopes"
_NOWHERE = "_empty_nn_module_stack"  # how torch marks arithmetic on sizes, which no module does


def export_onnx(
    network: nn.Module,
    example_inputs: Mapping[str, Tensor],
    path: Path,
    *,
    outputs: Sequence[str] = ("logit",),
    opset: int = OPSET,
    longest: int | None = None,
    texts: Collection[str] = (),
    batch: int | None = None,
) -> tuple[Path, ...]:
    """Write `network` to `path` as an ONNX model in evaluation mode; the network is left as it is.

    An ensemble's members are written one by one, and joined.

    The first axis of every input and output is the batch, dynamic and called "N", or `batch`; the second of every
    text, which int64 inputs are, is its length, dynamic and called "L"; all other sizes are those of the examples.
    Nodes are called after the module they come from, as in `image_encoder.dcfb1.pconv1.0/Conv`, and values after their
    node. Nothing of this machine goes into the file.

    Args:
        network: called as network(*example_inputs.values()).
        example_inputs: input name -> tensor [any batch, ...]; only shape and type matter.
        path: the model; weights above onnx_files.EXTERNAL_ABOVE go to `path` + ".data".
        outputs: names for the outputs, in order.
        opset: ONNX operator set.
        longest: largest L, of a network with a text input.
        texts: further inputs whose second axis is L.
        batch: size of the first axis, where it cannot be dynamic.

    Returns:
        The files written, the model first.

    Raises:
        ExportError: the network cannot be written, or its batch not be dynamic.
    """
    # A size of one in the example would be taken for a constant.
    cases = 2 if batch is None else batch
    examples = tuple(tensor[:1].repeat(cases, *[1] * (tensor.ndim - 1)) for tensor in example_inputs.values())
    texts = {*texts, *(name for name, tensor in example_inputs.items() if tensor.dtype == torch.int64)}
    free = {} if batch is not None else {0: torch.export.Dim("N", min=1)}
    length = {1: torch.export.Dim("L", min=1, max=longest)}
    shapes = tuple(free | length if name in texts else free for name in example_inputs)
    names = (list(example_inputs), list(outputs))
    dynamic = batch is None
    if isinstance(network, Ensemble):
        models = [
            onnx_model(share_copy(one), examples, names, shapes, opset, set(one.state_dict()), dynamic=dynamic)
            for one in network.members
        ]
        joins = [mean if kind in AVERAGED else stacked for kind in network.kinds]
        return save_model(side_by_side(models, joins), path)
    parameters = set(network.state_dict())
    return save_model(
        onnx_model(share_copy(network), examples, names, shapes, opset, parameters, dynamic=dynamic), path
    )


def onnx_model(
    network: nn.Module,
    examples: Sequence[Tensor],
    names: tuple[Sequence[str], Sequence[str]],
    shapes: Sequence[Mapping[int, torch.export.Dim]],
    opset: int = OPSET,
    parameters: Collection[str] = (),
    *,
    dynamic: bool = False,
) -> ir.Model:
    """The model of a module that is ready for it.

    Args:
        names: of its inputs and of its outputs.
        shapes: of each input, the axes that are dynamic.
        parameters: names of the network's own weights, which they keep.
        dynamic: whether the first axis of every input and output must have stayed so.

    Raises:
        ExportError: the exporter fails, or the batch became a constant.
    """
    given = tuple(examples), _as_arguments(network, shapes)
    model = _traced(network, *given, names, opset)
    if dynamic and fixed_batch(model.graph) is not None:
        # Calls such as len(x) make numbers of the batch, unless the code itself is read (strict).
        model = _traced_strictly(network, *given, names, opset) or model
        check_batch(model.graph, lambda: fixing_line(network, *given))
    with _quiet():
        fold_read_by_bodies(model)
        fold_constant_gathers(model)
    _rename(model.graph, set(parameters))
    _anonymise(model)
    return model


def _traced(
    network: nn.Module | torch.export.ExportedProgram,
    examples: tuple[Tensor, ...],
    shapes: tuple[Any, ...] | None,
    names: tuple[Sequence[str], Sequence[str]],
    opset: int,
) -> ir.Model:
    with translating_exporter_errors(), _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            examples,
            dynamo=True,
            opset_version=opset,
            input_names=list(names[0]),
            output_names=list(names[1]),
            dynamic_shapes=shapes,
            custom_translation_table=TRANSLATIONS,
            verbose=False,
            optimize=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export returned no program")
        simplify(program.model)
    return program.model


def _traced_strictly(
    network: nn.Module,
    examples: tuple[Tensor, ...],
    shapes: tuple[Any, ...],
    names: tuple[Sequence[str], Sequence[str]],
    opset: int,
) -> ir.Model | None:
    """None where that cannot be traced with a dynamic batch either."""
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(network, examples, dynamic_shapes=shapes, strict=True)
        return _traced(program, examples, None, names, opset)
    except Exception:  # What the first attempt made of it is then said.
        return None


def _as_arguments(network: nn.Module, shapes: Sequence[Mapping[int, torch.export.Dim]]) -> tuple[Any, ...]:
    """One of each argument of the module, as torch wants them: what a `*inputs` takes is one tuple."""
    kinds = [parameter.kind for parameter in inspect.signature(network.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return tuple(shapes)
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return *shapes[:named], tuple(shapes[named:])


def _rename(graph: ir.Graph, parameters: set[str]) -> None:
    """Name nodes after their module and operator, values and constants after their node.

    `parameters` are the names of the network's own weights, which stay.
    """
    seen: Counter[str] = Counter()
    scopes: dict[ir.Node, str] = {}
    kept = {*graph.inputs, *graph.outputs}
    for node in graph:
        scopes[node] = scope = _scope(node, scopes, parameters)
        base = f"{scope}/{node.op_type}" if scope else node.op_type
        seen[base] += 1
        node.name = base if seen[base] == 1 else f"{base}_{seen[base]}"
        for index, output in enumerate(node.outputs):
            if output not in kept:
                output.name = node.name if index == 0 else f"{node.name}:{index}"
    for node in graph:
        for index, value in enumerate(node.inputs):
            if value is not None and value.is_initializer() and value not in kept and value.name not in parameters:
                value.name = f"{node.name}:in{index}"
                kept.add(value)


def _scope(node: ir.Node, scopes: Mapping[ir.Node, str], parameters: set[str]) -> str:
    """Path of the module that a node comes from; of its producer if the optimiser made the node."""
    recorded = node.metadata_props.get(_SCOPES)
    if recorded is not None:
        *modules, _operator = ast.literal_eval(recorded)
        scope = str(modules[-1]) if modules else ""
        if not scope.startswith(_NOWHERE):
            return _owner(node, scope, parameters) if node.op_type == "Conv" else scope
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None:
            return scopes[producer]
    return ""


def _owner(node: ir.Node, scope: str, parameters: set[str]) -> str:
    """The convolution's own module where the optimiser, folding a batch norm into it, noted the norm's."""
    weight = node.inputs[1]
    name = weight.name if weight is not None else None
    if name not in parameters:
        return scope
    owner = str(name).rpartition(".")[0]
    return owner if owner.rpartition(".")[0] == scope.rpartition(".")[0] else scope


def _anonymise(model: ir.Model) -> None:
    """Drop documentation and metadata: they hold stack traces and paths of this machine."""
    model.metadata_props.clear()
    model.doc_string = None
    model.producer_name = "mmcaf_export"
    model.producer_version = None
    graph = model.graph
    graph.name = "network"
    graph.doc_string = None
    graph.metadata_props.clear()
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        node.doc_string = None
        node.metadata_props.clear()
        values.extend(node.outputs)
    for value in values:
        value.doc_string = None
        value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks off the terminal: about packages it does not need, and what it also raises."""
    raised = ("torch.export", "torch._guards", "torch._dynamo", "torch.fx")
    loggers = {logging.getLogger(name): logging.ERROR for name in ("torch.onnx", "onnxscript")}
    loggers |= {logging.getLogger(name): logging.CRITICAL for name in raised}
    levels = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
