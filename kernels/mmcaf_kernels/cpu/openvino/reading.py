"""An openvino.Model as a graph in ONNX's words, in which the blocks that kernels compute are looked for.

OpenVINO's readers write some layers otherwise than ONNX: biases as sums, a Clip as a minimum of a maximum, weights of
grouped convolutions with an axis for the groups. The patterns are written once, in ONNX's words, so those are put back.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from math import isclose, prod
from typing import Any

import numpy as np

from ...graph.graph import Array, Graph, Node

TYPES = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "boolean": "bool"}
TYPES |= {
    f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)
}
ONNX_NAMES = {
    "Multiply": "Mul",
    "Divide": "Div",
    "Subtract": "Sub",
    "Minimum": "Min",
    "Maximum": "Max",
    "Convert": "Cast",
    "LogicalAnd": "And",
}
"""Operators that other names say in ONNX; what is neither here nor translated keeps OpenVINO's name."""
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2")
CORNERS = ("align_corners", "half_pixel", "pytorch_half_pixel")
Translation = tuple[str, Sequence[str], dict[str, Any]]
"""Operator, inputs and attributes."""


class _LazyGraph(Graph):
    """constants: value -> what computes it, or the array."""

    def array(self, name: str) -> Array:
        """The constant of this name, computed where it is not yet."""
        found = self.constants[name]
        array: Array = found() if callable(found) else found
        return array


class Reader:
    """One model, read once.

    A constant of the graph is whatever follows from constants and static shapes; it is computed when it is asked for.

    Attributes:
        graph: operators that work on values of unknown shape keep OpenVINO's names, which no pattern has.
    """

    def __init__(self, network: Any) -> None:
        """network: an openvino.Model, which must stay as it is while constants are asked for."""
        self._outputs: dict[str, Any] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._made_by: dict[str, Node] = {}
        self._tensor = cache(self._computed)
        outputs = tuple(self._name(result.input_value(0)) for result in network.get_results())
        self.graph = _LazyGraph([], {}, {}, outputs)
        for node in network.get_ordered_ops():
            if node.get_type_name() != "Result":
                self._read(node)

    def output(self, name: str) -> Any:
        """The openvino.Output that is the value of this name."""
        return self._outputs[name]

    def _name(self, output: Any) -> str:
        key = (output.get_node().get_instance_id(), output.get_index())
        if key not in self._names:
            self._names[key] = name = str(len(self._names))
            self._outputs[name] = output
        return self._names[key]

    def _read(self, node: Any) -> None:
        graph, kind = self.graph, node.get_type_name()
        sources, made = ([self._name(value) for value in side] for side in (node.input_values(), node.outputs()))
        static = all(self._outputs[name].get_partial_shape().is_static for name in (*sources, *made))
        for name in made:
            shape, type_name = (
                self._outputs[name].get_partial_shape(),
                self._outputs[name].get_element_type().to_string(),
            )
            graph.sizes[name] = tuple(self._outputs[name].get_shape()) if shape.is_static else ()
            graph.types[name] = TYPES.get(type_name, type_name)
        if kind == "Parameter":
            graph.inputs[made[0]] = graph.sizes[made[0]]
        elif self._is_constant(node, sources):
            graph.constants.update((name, partial(self._array, name)) for name in made)
        else:
            operator, inputs, attributes = self._translated(node, sources) if static else (kind, sources, {})
            translated = Node(operator, tuple(inputs), tuple(made), attributes, node.get_friendly_name())
            graph.nodes.append(translated)
            self._made_by.update(dict.fromkeys(made, translated))

    def _is_constant(self, node: Any, sources: Sequence[str]) -> bool:
        if node.get_type_name() == "ShapeOf":
            return bool(node.input_value(0).get_partial_shape().is_static)
        return node.get_type_name() == "Constant" or (
            bool(sources) and all(name in self.graph.constants for name in sources)
        )

    def _array(self, name: str) -> Array:
        """A constant; what NumPy has no type for, or is half as long, as float32."""
        array: Array = self._tensor(name).data
        if self.graph.types[name] == "bfloat16":
            return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def _computed(self, name: str) -> Any:
        """A constant as an openvino.Tensor; its node is evaluated if it is none itself."""
        output, openvino = self._outputs[name], import_module("openvino")
        node = output.get_node()
        if node.get_type_name() == "Constant":
            return node.get_tensor_view()
        if node.get_type_name() == "ShapeOf":
            return openvino.Tensor(np.array(node.input_value(0).get_shape(), self.graph.types[name]))
        made = [openvino.Tensor(port.get_element_type(), port.get_shape()) for port in node.outputs()]
        if not node.evaluate(made, [self._tensor(self._name(value)) for value in node.input_values()]):
            raise RuntimeError(f"OpenVINO cannot compute the constant {node.get_friendly_name()}")
        return made[output.get_index()]

    def _translated(self, node: Any, sources: list[str]) -> Translation:
        kind, facts, sizes = node.get_type_name(), node.get_attributes(), self.graph.sizes
        match kind:
            case "Convolution" | "GroupConvolution":
                return self._convolution(kind, facts, sources)
            case "FakeQuantize" if (step := self._step(facts, sources)) is not None:
                return kind, sources[:1], {"step": step}
            case "Convert":
                return self._convert(node, sources)
            case "Add" | "Subtract" | "Multiply" | "Minimum" | "Maximum":
                return self._of_two(ONNX_NAMES.get(kind, kind), sources)
            case "PRelu" if sources[1] in self.graph.constants and prod(sizes[sources[1]]) == 1:
                return "LeakyRelu", sources[:1], {"alpha": self._array(sources[1]).item()}
            case "MatMul" if facts["transpose_a"]:
                return kind, sources, {"transA": 1}
            case "MatMul" if facts["transpose_b"]:
                return "Gemm", sources, {"transB": 1}
            case "Clamp":
                bounds = [self._add(np.array(facts[end], np.float32)) for end in ("min", "max")]
                return "Clip", [sources[0], *bounds], {}
            case "Interpolate":
                return self._resize(facts, sources)
            case "MaxPool":
                kernel = {"kernel_shape": list(facts["kernel"]), "ceil_mode": int(facts["rounding_type"] != "floor")}
                return kind, sources, _windows(facts) | kernel
        attributes = {"axis": facts["axis"]} if kind in ("Concat", "Softmax") else {}
        if kind in REDUCTIONS:
            attributes = {"keepdims": int(facts["keep_dims"])}
        return ONNX_NAMES.get(kind, kind), sources, attributes

    def _convolution(self, kind: str, facts: dict[str, Any], sources: list[str]) -> Translation:
        x, weight = sources
        if weight not in self.graph.constants:
            return kind, sources, {}
        groups = 1
        if kind == "GroupConvolution":
            groups, outputs, *rest = self.graph.sizes[weight]
            weight = self._reshaped(weight, (groups * outputs, *rest))
        return "Conv", [x, weight], _windows(facts) | {"group": groups}

    def _step(self, facts: dict[str, Any], sources: list[str]) -> float | None:
        """Of what rounds to whole numbers from -128 to 127 about 0: the value of one."""
        if facts["levels"] != 256 or any(prod(self.graph.sizes[name]) != 1 for name in sources[1:]):
            return None
        low, high, lowest, highest = (self._array(name).item() for name in sources[1:])
        symmetric = isclose(low * 127, high * -128, rel_tol=1e-5)
        return high / 127 if (lowest, highest) == (-128, 127) and symmetric and high > 0 else None

    def _convert(self, node: Any, sources: list[str]) -> Translation:
        before = self._made_by.get(sources[0])
        whole = before is not None and before.operator == "FakeQuantize" and "step" in before.attributes
        if before is None or not whole or node.get_element_type().to_string() != "i8":
            return "Cast", sources, {}
        return "QuantizeLinear", before.inputs, before.attributes

    def _of_two(self, kind: str, sources: list[str]) -> Translation:
        """Constants last; a layer with its bias, a minimum of a maximum, and a product with one in ONNX's form."""
        constant = next((name for name in sources if name in self.graph.constants), None)
        other = next((name for name in sources if name not in self.graph.constants), None)
        if constant is None or other is None or (kind == "Sub" and sources[0] == constant):
            return kind, sources, {}
        before, single = self._made_by.get(other), prod(self.graph.sizes[constant]) == 1
        if before is None:
            return kind, [other, constant], {}
        number = self._array(constant).item() if single else None
        rounded = self._made_by.get(before.inputs[0]) if before.operator == "Cast" else None
        if rounded is not None and rounded.operator == "QuantizeLinear":
            if kind == "Sub" and number == 0:
                return "Cast", before.inputs, {}
            if kind == "Mul" and number is not None and isclose(number, rounded.attributes["step"], rel_tol=1e-5):
                return "DequantizeLinear", before.inputs, {"step": number}
        if kind == "Mul" and number == 1 and before.operator == "Gemm" and len(before.inputs) == 2:  # ONNX's alpha
            return before.operator, before.inputs, before.attributes
        if kind == "Min" and before.operator == "Max" and number is not None:
            x, lower = before.inputs
            if lower in self.graph.constants and prod(self.graph.sizes[lower]) == 1:
                return "Clip", [x, lower, constant], {}
        if kind == "Add" and before.operator in ("Conv", "Gemm") and len(before.inputs) == 2:
            shape, added = self.graph.sizes[other], self.graph.sizes[constant]
            places = (1,) * (len(shape) - 2)
            if added in ((shape[1], *places), (1, shape[1], *places)):
                return before.operator, [*before.inputs, self._reshaped(constant, (shape[1],))], before.attributes
        return kind, [other, constant], {}

    def _resize(self, facts: dict[str, Any], sources: list[str]) -> Translation:
        corners = facts["coordinate_transformation_mode"]
        plain = not any([*facts["pads_begin"], *facts["pads_end"]]) and not facts["antialias"]
        if facts["mode"] not in ("linear", "linear_onnx") or corners not in CORNERS or not plain:
            return "Interpolate", sources, {}
        return "Resize", sources[:1], {"mode": "linear", "coordinate_transformation_mode": corners}

    def _reshaped(self, source: str, shape: tuple[int, ...]) -> str:
        """The constant in another shape."""
        computed: Callable[[], Array] = lambda: self._array(source).reshape(shape)  # noqa: E731
        name = self._add(np.empty(0, np.float32))
        self.graph.constants[name], self.graph.sizes[name] = computed, shape
        self.graph.types[name] = self.graph.types[source]
        return name

    def _add(self, array: Array) -> str:
        return self.graph.add_constant(f"added{len(self.graph.constants)}", array)


def _windows(facts: dict[str, Any]) -> dict[str, Any]:
    """What convolutions and poolings share; padding that depends on the size is none that patterns know."""
    explicit = facts.get("auto_pad", "explicit") == "explicit"
    pads = [*facts["pads_begin"], *facts["pads_end"]] if explicit else None
    return {"pads": pads, "strides": list(facts["strides"]), "dilations": list(facts["dilations"])}
