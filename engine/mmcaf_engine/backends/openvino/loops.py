"""Gated LSTMs in OpenVINO: a loop of small operators becomes one call of a kernel that is made for it.

OpenVINO reads an ONNX Scan as a TensorIterator, whose body it runs operator by operator. A gated LSTM's takes longer
that way than a whole LSTM of its own.
"""

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

_CLOSE = 1e-5
"""How far a loop's values may be from the kernel's, in a trial where both are below 10."""


_KERNEL = "gated_lstm"
"""The last part of such a layer's name; the others stay those of the loop."""


def kernels_missing() -> str | None:
    """Why loops are left to OpenVINO on this machine, or None."""
    from mmcaf_kernels.cpu.library import missing

    return missing()


def kernels_fingerprint() -> str:
    """What tells one build of the kernels from another."""
    from mmcaf_kernels.cpu.library import fingerprint

    return fingerprint()


def add_operators(core: Any) -> None:
    """Let a core of OpenVINO read and run engines that hold kernels, which `replace_loops` puts there."""
    for operator in _operators():
        core.add_extension(operator)


def replace_loops(core: Any, network: Any, threads: int) -> None:
    """Put the kernel in the place of every loop of a network that is a gated LSTM; others stay.

    A loop is one if its ports are, and if a turn of it gives what the kernel gives, on random numbers: its outputs, or
    in the graph of heat maps the cells and the curves.

    Args:
        core: with `add_operators`. network: an openvino.Model of a fixed batch size, changed in place.
        threads: for each call of the kernel.
    """
    for loop in network.get_ops():
        recurrent = _recurrent_weights(loop) if loop.get_type_name() == "TensorIterator" else None
        if recurrent is None:
            continue
        from mmcaf_kernels.cpu.gated_lstm import packed

        weights = packed(recurrent)
        if not _is_gated_lstm(core, loop, weights):
            continue
        constant = import_module("openvino").opset13.constant(weights).output(0)
        call = _operators()[_tells_states(loop)]([*loop.input_values(), constant], threads)
        call.set_friendly_name("/".join([*loop.get_friendly_name().split("/")[:-1], _KERNEL]))
        for at, made in enumerate(call.outputs()):
            loop.output(2 + at).replace(made)


def kernels_in(compiled: Any) -> dict[str, int]:
    """The kernels in a compiled network -> how many layers each is."""
    layers = [layer.get_friendly_name().split("/")[-1] for layer in compiled.get_runtime_model().get_ops()]
    return {_KERNEL: layers.count(_KERNEL)} if _KERNEL in layers else {}


def _recurrent_weights(loop: Any) -> np.ndarray[Any, Any] | None:
    """[2, H, 4 H], if the loop's ports are those of a gated LSTM; else None.

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
    products = [node for node in loop.get_function().get_ops() if node.get_type_name() == "MatMul"]
    weights = products[0].input_value(1).get_node() if products else None
    if weights is None or weights.get_type_name() != "Constant":
        return None
    recurrent: np.ndarray[Any, Any] = weights.get_data()
    hidden = recurrent.shape[-2] if recurrent.ndim == 3 else 0
    return recurrent if recurrent.dtype == np.float32 and recurrent.shape == (2, hidden, 4 * hidden) else None


def _tells_states(loop: Any) -> bool:
    """Whether cells and curves are what all turns make, not outputs."""
    return len(loop.get_output_descriptions()) == 4


def _is_gated_lstm(core: Any, loop: Any, weights: np.ndarray[Any, Any]) -> bool:
    """Whether a turn of the loop gives what the kernel gives, on random numbers."""
    from mmcaf_kernels.cpu.gated_lstm import gated_lstm, gated_lstm_states

    body, hidden = loop.get_function(), weights.shape[2]
    order = [port.body_parameter_index for port in loop.get_input_descriptions()]
    takes = [body.inputs[at].get_partial_shape() for at in order]
    if takes[1].rank != 5 or takes[1][1].is_dynamic:
        return False
    steps, random = takes[1][1].get_length(), np.random.default_rng(0)
    shapes = [(1, steps, 2, 1, 4 * hidden), (1, steps, 2, 1, hidden), (1, 2, 1, hidden), (1, 2, 1, hidden)]
    if not all(take.compatible(type(take)(list(shape))) for take, shape in zip(takes, shapes, strict=True)):
        return False
    inputs, gates, output, cell = given = [random.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
    turn = core.compile_model(body, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    answers = turn(dict(zip(order, given, strict=True)))
    found = [answers[port.body_value_index][0] for port in loop.get_output_descriptions()[2:]]
    one = inputs[0], gates[0], output[0], cell[0], weights
    expected = gated_lstm_states(*one) if _tells_states(loop) else (gated_lstm(*one),)
    return all(
        made.shape == right.shape and bool(np.abs(made - right).max() <= _CLOSE)
        for made, right in zip(found, expected, strict=True)
    )


@cache
def _operators() -> tuple[Any, Any]:
    """The kernels as operators: turns of inputs and gates, output, cell, packed weights -> turns of what they make."""
    base: Any = import_module("openvino").Op

    class GatedLstm(base):  # type: ignore[misc]
        like: tuple[int, ...] = (1,)
        """Which inputs the outputs are shaped like."""

        def __init__(self, inputs: Any = None, threads: int = 1) -> None:
            super().__init__(self, inputs)
            self._attributes = {"threads": threads}
            if inputs is not None:
                self.constructor_validate_and_infer_types()

        def validate_and_infer_types(self) -> None:
            for at, given in enumerate(self.like):
                self.set_output_type(at, self.get_input_element_type(given), self.get_input_partial_shape(given))

        def clone_with_new_inputs(self, new_inputs: Any) -> Any:
            return type(self)(new_inputs, self._attributes["threads"])

        def visit_attributes(self, visitor: Any) -> bool:
            visitor.on_attributes(self._attributes)
            return True

        def has_evaluate(self) -> bool:
            return True

        def evaluate(self, outputs: Any, inputs: Any) -> bool:
            turns, gates, output, cell, weights = (tensor.data for tensor in inputs)
            flat = [array.reshape(-1, *array.shape[2:]) for array in (turns, gates, *(made.data for made in outputs))]
            self.run((flat[0], flat[1], output[0], cell[0], weights), self._attributes["threads"], flat[2:])
            return True

        def run(self, given: tuple[Any, Any, Any, Any, Any], threads: int, out: list[Any]) -> None:
            from mmcaf_kernels.cpu.gated_lstm import gated_lstm

            gated_lstm(*given, threads, out[0])

    class GatedLstmStates(GatedLstm):
        like = (1, 0)

        def run(self, given: tuple[Any, Any, Any, Any, Any], threads: int, out: list[Any]) -> None:
            from mmcaf_kernels.cpu.gated_lstm import gated_lstm_states

            gated_lstm_states(*given, threads, (out[0], out[1]))

    return GatedLstm, GatedLstmStates
