"""A BERT of any size as ONNX, with free axes N and L: tokens and their mask in, logits out."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT = np.float32


def bert_network(
    *, vocabulary: int = 50, width: int = 32, heads: int = 4, layers: int = 2, longest: int = 16, labels: int = 3
) -> onnx.ModelProto:
    """logit [N, labels] = head(mean of the last hidden states where the mask is 1); random weights."""
    made = _Builder(np.random.default_rng(3))
    words = made.node("Gather", [made.weight(vocabulary, width), "input_ids"], axis=0)
    length = made.node("Shape", ["input_ids"], start=1, end=2)
    places = made.node("Slice", [made.weight(longest, width), made.whole([0]), length, made.whole([0])])
    state = made.norm(made.node("Add", [words, places]), width)
    real = made.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    hidden = made.node("Mul", [made.node("Sub", [made.number(1), real]), made.number(-1e4)])
    barrier = made.node("Unsqueeze", [hidden, made.whole([1, 2])])
    for _ in range(layers):
        attended = made.attention(state, barrier, width, heads)
        state = made.norm(made.node("Add", [state, attended]), width)
        inner = made.gelu(made.linear(state, width, 4 * width))
        state = made.norm(made.node("Add", [state, made.linear(inner, 4 * width, width)]), width)
    masked = made.node("Mul", [state, made.node("Unsqueeze", [real, made.whole([2])])])
    total = made.node("ReduceSum", [masked, made.whole([1])], keepdims=0)
    mean = made.node("Div", [total, made.node("ReduceSum", [real, made.whole([1])], keepdims=1)])
    made.linear(mean, width, labels, output="logit")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "L"]) for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", labels])]
    graph = helper.make_graph(made.nodes, "bert", inputs, outputs, made.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


class _Builder:
    """Nodes and constants, each named after its number."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, operator: str, inputs: list[str], *, output: str = "", **attributes: int) -> str:
        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: NDArray[np.generic]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self.rng.normal(0, 0.3 if len(shape) > 1 else 0.1, shape).astype(FLOAT))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, FLOAT))

    def whole(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def linear(self, x: str, inputs: int, outputs: int, *, output: str = "") -> str:
        matrix = self.constant(self.rng.normal(0, inputs**-0.5, (inputs, outputs)).astype(FLOAT))
        return self.node("Add", [self.node("MatMul", [x, matrix]), self.weight(outputs)], output=output)

    def norm(self, x: str, width: int) -> str:
        scale, shift = self.constant(np.ones(width, FLOAT)), self.constant(np.zeros(width, FLOAT))
        return self.node("LayerNormalization", [x, scale, shift], axis=-1)

    def gelu(self, x: str) -> str:
        inner = self.node("Erf", [self.node("Div", [x, self.number(2**0.5)])])
        half = self.node("Mul", [x, self.number(0.5)])
        return self.node("Mul", [half, self.node("Add", [inner, self.number(1)])])

    def attention(self, x: str, barrier: str, width: int, heads: int) -> str:
        split, joined = self.whole([0, 0, heads, width // heads]), self.whole([0, 0, width])
        query, key, value = (self.node("Reshape", [self.linear(x, width, width), split]) for _ in range(3))
        turned = [
            self._turn(part, order)
            for part, order in ((query, (0, 2, 1, 3)), (key, (0, 2, 3, 1)), (value, (0, 2, 1, 3)))
        ]
        scaled = self.node("Div", [self.node("MatMul", turned[:2]), self.number((width / heads) ** 0.5)])
        shares = self.node("Softmax", [self.node("Add", [scaled, barrier])], axis=-1)
        mixed = self._turn(self.node("MatMul", [shares, turned[2]]), (0, 2, 1, 3))
        return self.linear(self.node("Reshape", [mixed, joined]), width, width)

    def _turn(self, x: str, order: tuple[int, ...]) -> str:
        name = f"Transpose_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Transpose", [x], [name], name=name, perm=list(order)))
        return name
