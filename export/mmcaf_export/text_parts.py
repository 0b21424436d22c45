"""An ONNX network cut in two where what depends on the report alone ends, so that it need not be computed again.

The cut is at one value: the last that every path from the tokens to the outputs leads through, of all that depend on
no other input. Both parts keep their nodes, names, weights and types; what the mask alone decides is in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import onnx_ir as ir

from mmcaf_engine.manifest import PartFiles, Precision, ReportParts, TensorSpec
from mmcaf_engine.manifest.tensors import TEXT_KINDS

from .onnx_files import load_model
from .precision.edit import FLOATING, drop_unused, insert_after, make_node

NAME = "words"
"""Of the value that goes from one part to the other."""


@dataclass(frozen=True)
class Cut:
    """Where a network can be cut: a value of it, and what it is called and looks like between the parts."""

    value: str
    words: TensorSpec


def write_parts(models: Mapping[Precision, Path], inputs: Sequence[TensorSpec]) -> ReportParts | None:
    """Write the two parts of each model beside it; large weights stay in the file beside the whole model.

    Args:
        models: by precision, in one folder; of model.onnx, the parts are model.text.onnx and model.rest.onnx.
        inputs: the network's.

    Returns:
        What the manifest says of them, or None for a network that cannot be cut, such as one that reads no text, or
        nothing else. A precision that could only be cut elsewhere than FP32 has no parts.
    """
    words: TensorSpec | None = None
    files: dict[Precision, PartFiles] = {}
    for precision in sorted(models, key=lambda precision: precision != "fp32"):
        model = models[precision]
        remove_parts(model)
        cut = find_cut(load_model(model).graph, inputs)
        if cut is None or words not in (None, cut.words):
            continue
        try:
            text, rest = _text(load_model(model), cut, inputs), _rest(load_model(model), cut, inputs)
        except _AcrossTheCutError:
            continue
        words = words or cut.words
        files[precision] = PartFiles(text=f"{model.stem}.text.onnx", rest=f"{model.stem}.rest.onnx")
        ir.save(text, model.with_name(files[precision].text))
        ir.save(rest, model.with_name(files[precision].rest))
    return ReportParts(words=words, models={held: files[held] for held in models if held in files}) if words else None


def remove_parts(model: Path) -> None:
    """Remove the parts of a model, if there are any."""
    for part in ("text", "rest"):
        model.with_name(f"{model.stem}.{part}.onnx").unlink(missing_ok=True)


def parts_without(parts: ReportParts, precision: Precision) -> ReportParts | None:
    """What the manifest says of the parts of the other precisions; None where no other has any."""
    files = {held: files for held, files in parts.models.items() if held != precision}
    return parts.model_copy(update={"models": files}) if files else None


def find_cut(graph: ir.Graph, inputs: Sequence[TensorSpec]) -> Cut | None:
    """Where the network can be cut, or None if it cannot."""
    tokens = {spec.name for spec in inputs if spec.kind == "tokens"}
    others = {spec.name for spec in inputs if spec.kind not in TEXT_KINDS}
    told: dict[ir.Value, ir.Value | None] = {value: None for value in graph.inputs if value.name in tokens}
    """Value that the tokens alone decide -> the last before it that every path to it leads through."""
    mixed = {value for value in graph.inputs if value.name in others}
    ends: set[ir.Value] = set()
    for node in graph:
        if node.op_type == "Shape":  # of sizes alone, which both parts know
            continue
        read = list(_read(node))
        if any(value in mixed for value in read):
            mixed.update(node.outputs)
            ends.update(value for value in read if value in told)
        elif before := [value for value in read if value in told]:
            told.update(dict.fromkeys(node.outputs, _common(before, told)))
    if not mixed & set(graph.outputs):
        return None
    ends.update(value for value in graph.outputs if value in told)
    value = _common(list(ends), told) if ends else None
    while value is not None and value in graph.outputs:  # whose name must stay
        value = told[value]
    shape = None if value is None else _shape(value)
    if value is None or shape is None or value in graph.inputs or value.dtype not in FLOATING:
        return None
    made = {output.name for node in graph.all_nodes() for output in node.outputs}
    taken = made | set(graph.initializers) | {spec.name for spec in inputs}
    name = next(name for name in chain((NAME,), (f"{NAME}_{number}" for number in count(2))) if name not in taken)
    return Cut(str(value.name), TensorSpec(name=name, kind="words", shape=shape))


def _common(values: Sequence[ir.Value], told: Mapping[ir.Value, ir.Value | None]) -> ir.Value | None:
    """The last value that every path to all of these leads through; one alone is that itself."""
    shared = _path(values[0], told)
    for value in values[1:]:
        other = set(_path(value, told))
        shared = [step for step in shared if step in other]
    return shared[0] if shared else None


def _path(value: ir.Value, told: Mapping[ir.Value, ir.Value | None]) -> list[ir.Value]:
    """The value and, backwards, what every path to it leads through."""
    path = [value]
    while (before := told[path[-1]]) is not None:
        path.append(before)
    return path


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads; of one with a body, also what the body reads from outside."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _read(inner)


def _shape(value: ir.Value) -> tuple[int | str, ...] | None:
    """Batch first, then sizes and the text's length; None where it is of anything else."""
    if value.shape is None:
        return None
    axes = tuple(size if isinstance(size, int) else size.value for size in value.shape)
    plain = axes[:1] == ("N",) and all(isinstance(axis, int) or axis == "L" for axis in axes[1:])
    return tuple(axis for axis in axes if axis is not None) if plain else None


class _AcrossTheCutError(Exception):
    """A part would still read what belongs to the other."""


def _text(network: ir.Model, cut: Cut, inputs: Sequence[TensorSpec]) -> ir.Model:
    graph, value = network.graph, _value(network.graph, cut)
    if value.dtype != ir.DataType.FLOAT:
        made = make_node("Cast", [value], cut.words.name, ir.DataType.FLOAT, value.shape, to=int(ir.DataType.FLOAT))
        insert_after(graph, value, [made])
        value = made.outputs[0]
    value.name = cut.words.name
    graph.outputs[:] = [value]
    return _of_inputs(network, [spec.name for spec in inputs if spec.kind in TEXT_KINDS])


def _rest(network: ir.Model, cut: Cut, inputs: Sequence[TensorSpec]) -> ir.Model:
    graph, value = network.graph, _value(network.graph, cut)
    words = ir.Value(name=cut.words.name, type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
    replacement = words
    if value.dtype is not None and value.dtype != ir.DataType.FLOAT:
        made = make_node("Cast", [words], f"{cut.words.name}/Cast", value.dtype, value.shape, to=int(value.dtype))
        graph.insert_before(graph[0], [made])
        replacement = made.outputs[0]
    value.replace_all_uses_with(replacement, replace_graph_outputs=True)
    graph.inputs.append(words)
    return _of_inputs(network, [cut.words.name if spec.kind == "tokens" else spec.name for spec in inputs])


def _value(graph: ir.Graph, cut: Cut) -> ir.Value:
    return next(value for node in graph for value in node.outputs if value.name == cut.value)


def _of_inputs(network: ir.Model, names: Sequence[str]) -> ir.Model:
    """The network with these inputs alone, in this order, and with nothing that no output depends on."""
    graph = network.graph
    given = {str(value.name): value for value in graph.inputs}
    kept = [given.pop(name) for name in names]
    drop_unused(network)
    for value in given.values():
        for use in tuple(value.uses()):
            use.node.replace_input_with(use.idx, _alike(use.node, value, kept))
    graph.inputs[:] = kept
    return network


def _alike(node: ir.Node, source: ir.Value, others: Sequence[ir.Value]) -> ir.Value:
    """One of the other inputs, whose sizes are the same as far as this node asks for those of `source`."""
    if node.op_type == "Shape":
        sizes = list(source.shape or ())
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(sizes))
        for other in others:
            if list(other.shape or ())[start:end] == sizes[start:end]:
                return other
    raise _AcrossTheCutError
