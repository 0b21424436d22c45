"""Variances as mean of squares less squared mean: one reading of the map instead of two and a copy.

In FP32 this form is not used, because it cancels where a mean is large against its spread. Beside
the error of an INT8 convolution, which feeds these norms, what it loses does not count.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .edit import add_constant, constant_of, drop_unused, insert_after, make_node


@dataclass(frozen=True)
class _Mean:
    """`result` is the mean of `source` over `axes`, `count` elements each, made from the averages of `rows`."""

    source: ir.Value
    rows: ir.Node
    result: ir.Value
    axes: tuple[int, ...]
    count: int


def apply(model: ir.Model) -> int:
    """Replace mean((x - mean(x))^2) by max(|x|^2 / count - mean(x)^2, 0); returns how many.

    Means have the form of `rewrites.means.spatial_mean`, both over the same axes. A variance whose differences or
    squares are read elsewhere too stays: they would have to be made all the same.
    """
    graph = model.graph
    done = 0
    for node in [node for node in graph if node.op_type == "Div"]:
        variance = _mean(node.outputs[0])
        mean = _of_centred_square(variance) if variance is not None else None
        if variance is None or mean is None:
            continue
        axes = add_constant(graph, f"{node.name}:axes", np.array(mean.axes, np.int64))
        divisor = add_constant(graph, f"{node.name}:count", np.array(mean.count, np.float32))

        length = _step(node, "ReduceL2", [mean.source, axes], "length", keepdims=1)
        square = _step(node, "Mul", [length.outputs[0], length.outputs[0]], "square")
        average = _step(node, "Div", [square.outputs[0], divisor], "average")
        centred = _step(node, "Mul", [mean.result, mean.result], "centre")
        difference = _step(node, "Sub", [average.outputs[0], centred.outputs[0]], "difference")
        one_pass = _step(node, "Relu", [difference.outputs[0]], "variance")
        insert_after(graph, mean.result, [length, square, average, centred, difference, one_pass])
        ir.convenience.replace_all_uses_with(variance.result, one_pass.outputs[0])
        done += 1
    drop_unused(model)
    return done


def _step(replaced: ir.Node, operator: str, inputs: list[ir.Value], suffix: str, **attributes: int) -> ir.Node:
    """A node called after the one that it replaces a part of, with an output of the same shape."""
    return make_node(
        operator, inputs, f"{replaced.name}:{suffix}", ir.DataType.FLOAT, replaced.outputs[0].shape, **attributes
    )


def _of_centred_square(variance: _Mean) -> _Mean | None:
    """mean(x), if the variance is the mean of Mul(c, c) with c = Sub(x, mean(x)) over the same axes."""
    square = _made_by(variance.source, "Mul")
    if square is None or square.inputs[0] is not square.inputs[1]:
        return None
    centred = _made_by(square.inputs[0], "Sub")
    mean = _mean(centred.inputs[1]) if centred is not None else None
    if centred is None or mean is None or mean.source is not centred.inputs[0]:
        return None
    alone = [_readers(made.outputs[0]) for made in (centred, square)] == [{square}, {variance.rows}]
    return mean if mean.axes == variance.axes and alone else None


def _mean(value: ir.Value | None) -> _Mean | None:
    """Sum of averages divided by how many there are, all axes kept and of fixed size; else None."""
    division = _made_by(value, "Div")
    total = _made_by(division.inputs[0], "ReduceSum") if division is not None else None
    rows = _made_by(total.inputs[0], "ReduceMean") if total is not None else None
    if value is None or division is None or total is None or rows is None:
        return None
    source, divisor = rows.inputs[0], constant_of(division.inputs[1])
    first, rest = (_reduced(node, source) for node in (rows, total))
    if source is None or divisor is None or not first or not rest or set(first) & set(rest):
        return None
    if not np.array_equal(np.ravel(divisor), [np.prod(list(rest.values()))]):
        return None
    sizes = first | rest
    return _Mean(source, rows, value, tuple(sorted(sizes)), int(np.prod(list(sizes.values()))))


def _reduced(node: ir.Node, source: ir.Value | None) -> dict[int, int]:
    """Axis -> its size, of the axes that a reduction keeps as one; nothing unless all are of a fixed size."""
    positions = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if source is None or source.shape is None or positions is None or node.attributes.get_int("keepdims", 1) != 1:
        return {}
    sizes = {int(axis) % len(source.shape): source.shape[int(axis)] for axis in positions}
    fixed = {axis: size for axis, size in sizes.items() if isinstance(size, int)}
    return fixed if len(fixed) == len(sizes) else {}


def _readers(value: ir.Value) -> set[ir.Node | None]:
    """The nodes that read a value; with None among them if it is an output."""
    return {use.node for use in value.uses()} | ({None} if value.is_graph_output() else set())


def _made_by(value: ir.Value | None, operator: str) -> ir.Node | None:
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == operator else None
