"""Gated LSTMs in OpenVINO: a loop of small operators becomes one call of a kernel that is made for it.

OpenVINO reads an ONNX Scan as a TensorIterator, whose body it runs operator by operator. A gated LSTM's takes longer
that way than a whole LSTM of its own.
"""

from importlib import import_module
from typing import Any

import numpy as np

from ..gated_lstm import packed
from .editing import Editor, factory

_CLOSE = 1e-5
"""How far a loop's values may be from the kernel's, in a trial where both are below 10."""


_SMOOTH = {
    *("Parameter", "Constant", "Result", "MatMul", "Add", "Subtract", "Multiply", "Tanh", "Sigmoid"),
    *("Concat", "Split", "VariadicSplit", "Slice", "StridedSlice"),
    *("Reshape", "Squeeze", "Unsqueeze", "Transpose"),
}
"""Operators that compute the same everywhere: a trial near zero would not tell a clip or a branch that lies beyond."""

_KERNEL = "gated_lstm"
"""The last part of such a layer's name; the others stay those of the loop."""


def replace_loops(core: Any, network: Any, editor: Editor) -> None:
    """Put the kernel in the place of every loop of a network that is a gated LSTM; others stay.

    A loop is one if its ports are, if it has no operators but smooth ones, and if a turn of it gives what the kernel
    gives, on random numbers: its outputs, or in the graph of heat maps the cells and the curves.

    Args:
        core: with the kernels' operators. network: an openvino.Model of a fixed batch size, changed in place.
    """
    for loop in network.get_ops():
        recurrent = _recurrent_weights(loop) if loop.get_type_name() == "TensorIterator" else None
        if recurrent is None:
            continue
        weights = packed(recurrent)
        if not _is_gated_lstm(core, loop, weights):
            continue
        name = "/".join([*loop.get_friendly_name().split("/")[:-1], _KERNEL])
        inputs = [*loop.input_values(), editor.constant(weights)]
        for at, made in enumerate(editor.kernel(_operator(loop), inputs, {}, name)):
            editor.replace(loop.output(2 + at), made)


def _recurrent_weights(loop: Any) -> np.ndarray[Any, Any] | None:
    """[2, H, 4 H], if the loop's ports and operators may be those of a gated LSTM; else None.

    They are: inputs and gates, a turn of several steps after the other; last output and cell; all outputs, or all cells
    and curves.
    """
    takes, gives = loop.get_input_descriptions(), loop.get_output_descriptions()
    kinds = [type(port).__name__ for port in (*takes, *gives)]
    expected = ["SliceInputDescription"] * 2 + ["MergedInputDescription"] * 2 + ["BodyOutputDescription"] * 2
    if kinds not in [expected + ["ConcatOutputDescription"] * told for told in (1, 2)]:
        return None
    ports = [*takes[:2], *gives[2:]]
    if any((port.axis, port.start, port.end, port.stride, port.part_size) != (0, 0, -1, 1, 1) for port in ports):
        return None
    if [port.input_index for port in takes] != [0, 1, 2, 3]:
        return None
    if [port.output_index for port in gives] != list(range(len(gives))):
        return None
    if any(loop.output(final).get_target_inputs() for final in (0, 1)):
        return None
    if any(value.get_element_type().to_string() != "f32" for value in loop.input_values()):
        return None
    nodes = loop.get_function().get_ops()
    if not _SMOOTH.issuperset(node.get_type_name() for node in nodes):
        return None
    products = [node for node in nodes if node.get_type_name() == "MatMul"]
    weights = products[0].input_value(1).get_node() if products else None
    if weights is None or weights.get_type_name() != "Constant":
        return None
    recurrent: np.ndarray[Any, Any] = weights.get_data()
    hidden = recurrent.shape[-2] if recurrent.ndim == 3 else 0
    return recurrent if recurrent.dtype == np.float32 and recurrent.shape == (2, hidden, 4 * hidden) else None


def _operator(loop: Any) -> str:
    """By whether cells and curves are what all turns make, or outputs."""
    return "GatedLstmStates" if len(loop.get_output_descriptions()) == 4 else "GatedLstm"


def _is_gated_lstm(core: Any, loop: Any, weights: np.ndarray[Any, Any]) -> bool:
    """Whether a turn of the loop gives what the kernel gives, on random numbers."""
    body, hidden = loop.get_function(), weights.shape[2]
    order = [port.body_parameter_index for port in loop.get_input_descriptions()]
    takes = [body.inputs[at].get_partial_shape() for at in order]
    if takes[1].rank != 5 or takes[1][1].is_dynamic:
        return False
    steps, random = takes[1][1].get_length(), np.random.default_rng(0)
    shapes = [(1, steps, 2, 1, 4 * hidden), (1, steps, 2, 1, hidden), (1, 2, 1, hidden), (1, 2, 1, hidden)]
    if not all(take.compatible(type(take)(list(shape))) for take, shape in zip(takes, shapes, strict=True)):
        return False
    given = [random.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    turn = core.compile_model(body, "CPU", options)(dict(zip(order, given, strict=True)))
    found = [turn[port.body_value_index] for port in loop.get_output_descriptions()[2:]]
    openvino = import_module("openvino")
    ports = [openvino.opset13.parameter(array.shape, array.dtype) for array in given]
    inputs = [*(port.output(0) for port in ports), openvino.opset13.constant(weights).output(0)]
    kernel = factory().create(_operator(loop), inputs, {})
    expected = core.compile_model(openvino.Model(kernel.outputs(), ports), "CPU", options)(given)
    return all(
        made.shape == expected[at].shape and bool(np.abs(made - expected[at]).max() <= _CLOSE)
        for at, made in enumerate(found)
    )
