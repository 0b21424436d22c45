"""Variances as mean of squares less squared mean: one reading of the map instead of two and a copy.

In FP32 this form is not used, because it cancels where a mean is large against its spread. Beside
the error of an INT8 convolution, which feeds these norms, what it loses does not count.
"""

import numpy as np
import onnx_ir as ir

from .edit import add_constant, constant_of, drop_unused, insert_after, make_node


def apply(model: ir.Model) -> int:
    """Replace mean((x - mean(x))^2) over the same axes by max(|x|^2 / count - mean(x)^2, 0); returns how many.

    A variance whose differences or squares are read elsewhere too stays: they would have to be made all the same.
    """
    graph = model.graph
    done = 0
    for outer in [node for node in graph if node.op_type == "ReduceMean"]:
        mean = _mean_of_centred_square(outer)
        if mean is None:
            continue
        source, axes = mean.inputs[0], mean.inputs[1]
        result, centre = outer.outputs[0], mean.outputs[0]
        count = _averaged(source, axes)
        if source is None or axes is None or count is None:
            continue
        divisor = add_constant(graph, f"{outer.name}:count", np.array(count, np.float32))

        length = _step(outer, "ReduceL2", [source, axes], "length", keepdims=1)
        square = _step(outer, "Mul", [length.outputs[0], length.outputs[0]], "square")
        average = _step(outer, "Div", [square.outputs[0], divisor], "average")
        centred = _step(outer, "Mul", [centre, centre], "centre")
        difference = _step(outer, "Sub", [average.outputs[0], centred.outputs[0]], "difference")
        variance = _step(outer, "Relu", [difference.outputs[0]], "variance")
        insert_after(graph, centre, [length, square, average, centred, difference, variance])
        ir.convenience.replace_all_uses_with(result, variance.outputs[0])
        done += 1
    drop_unused(model)
    return done


def _step(outer: ir.Node, operator: str, inputs: list[ir.Value], suffix: str, **attributes: int) -> ir.Node:
    """A node called after the one that it replaces a part of, with an output of the same shape."""
    return make_node(
        operator, inputs, f"{outer.name}:{suffix}", ir.DataType.FLOAT, outer.outputs[0].shape, **attributes
    )


def _mean_of_centred_square(outer: ir.Node) -> ir.Node | None:
    """The ReduceMean(x) of ReduceMean(Mul(c, c)) with c = Sub(x, ReduceMean(x)), if `outer` is that."""
    square = _made_by(outer.inputs[0], "Mul")
    if square is None or square.inputs[0] is not square.inputs[1]:
        return None
    centred = _made_by(square.inputs[0], "Sub")
    mean = _made_by(centred.inputs[1], "ReduceMean") if centred is not None else None
    if centred is None or mean is None or mean.inputs[0] is not centred.inputs[0]:
        return None
    if len(mean.inputs) < 2 or len(outer.inputs) < 2:
        return None
    first, second = constant_of(mean.inputs[1]), constant_of(outer.inputs[1])
    same = first is not None and second is not None and np.array_equal(first, second)
    kept = all(node.attributes.get_int("keepdims", 1) == 1 for node in (mean, outer))
    alone = [_readers(made.outputs[0]) for made in (centred, square)] == [{square}, {outer}]
    return mean if same and kept and alone else None


def _averaged(source: ir.Value | None, axes: ir.Value | None) -> int | None:
    """Elements that every mean is over; None unless all of the axes are of a fixed size."""
    positions = constant_of(axes)
    if source is None or source.shape is None or positions is None:
        return None
    sizes = [source.shape[int(axis)] for axis in positions]
    fixed = [size for size in sizes if isinstance(size, int)]
    return int(np.prod(fixed)) if sizes and len(fixed) == len(sizes) else None


def _readers(value: ir.Value) -> set[ir.Node | None]:
    """The nodes that read a value; with None among them if it is an output."""
    return {use.node for use in value.uses()} | ({None} if value.is_graph_output() else set())


def _made_by(value: ir.Value | None, operator: str) -> ir.Node | None:
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == operator else None
