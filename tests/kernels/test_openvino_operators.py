"""The convolutions and pools among OpenVINO's operators are the library's kernels, also in a kept engine."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.cpu_maps import BF16, F32, I8, as_stored
from mmcaf_kernels.cpu.extension import extension, missing
from mmcaf_kernels.cpu.grouped_convolution import GroupedConvolution
from mmcaf_kernels.cpu.kernel import Kernel, Stored
from mmcaf_kernels.cpu.max_pool import MaxPool
from mmcaf_kernels.cpu.multi_scale_depthwise import MultiScaleDepthwise
from mmcaf_kernels.cpu.upsample_depthwise import UpsampleDepthwise

ov = pytest.importorskip("openvino")
pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no operators here: {missing()}")
ELEMENTS = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "i8": ov.Type.i8}
SHAPE = (1, 3, 9, 7, 32)
Weights = list[NDArray[np.float32]]
Case = tuple[Weights, Mapping[str, Any], Callable[[Stored, Stored], Kernel]]


def network(
    kind: str, x: Stored, y: Stored, weights: Weights, attributes: Mapping[str, Any], shape: Any = SHAPE
) -> Any:
    """A core, and a network of one operator."""
    from openvino import opset13
    from openvino.utils.node_factory import NodeFactory

    core, factory = ov.Core(), NodeFactory()
    for receiver in (core, factory):
        receiver.add_extension(str(extension()))
    first = opset13.parameter(shape, ELEMENTS[x.type])
    arguments = [first.output(0), *(opset13.constant(weight).output(0) for weight in weights)]
    stored = {"floating": "none", "rounded": "i8", "step": y.step} if y.type == "i8" else {"floating": y.type}
    node = factory.create(kind, arguments, {**(stored if kind != "MaxPool" else {}), **attributes})
    return core, ov.Model(node.outputs(), [first])


def answer(compiled: Any, x: Any, stored: Stored) -> Any:
    """The bits."""
    element = ELEMENTS[stored.type]
    given = ov.Tensor(x.view(np.float16), x.shape, element) if stored.type == "bf16" else ov.Tensor(x)
    request = compiled.create_infer_request()
    request.infer([given])
    return request.get_output_tensor(0).data.copy()


def case(kind: str, x: Stored) -> Case:
    random = np.random.default_rng(3)
    channels = SHAPE[-1]

    def taps(*shape: int) -> NDArray[np.float32]:
        whole = random.integers(-127, 128, shape).astype(np.float32)
        return whole if x.type == "i8" else whole / 500

    def normal(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 1 / 500 if x.type == "i8" else 1, shape).astype(np.float32)

    if kind == "MultiScaleDepthwise":
        weights = [taps(channels, 153), normal(3, channels), normal(3, channels)]
        size = (2, 5, 4)
        return (
            weights,
            {"resized": list(size)},
            lambda x, y: MultiScaleDepthwise(SHAPE, weights[0], weights[2], weights[1], x=x, y=y, resized=size),
        )
    if kind == "UpsampleDepthwise":
        weights = [normal(channels, 27), normal(channels)]
        return weights, {}, lambda x, y: UpsampleDepthwise(SHAPE, *weights, x=x, y=y)
    if kind == "MaxPool":
        windows = {"kernel": [3, 3, 3], "strides": [2, 2, 2], "pads": [1, 1, 1, 0, 1, 1]}
        return [], windows, lambda x, y: MaxPool(SHAPE, *windows.values(), x=x)
    weights = [taps(channels, 8, 3, 3, 3), normal(channels), normal(channels)]
    attributes = {"groups": 4, "stride": 2, "upper": 6.0}
    return (
        weights,
        attributes,
        lambda x, y: GroupedConvolution(
            SHAPE, weights[0], weights[2], weights[1], stride=2, limits=(-np.inf, 6.0), x=x, y=y
        ),
    )


STEPS = Stored("i8", 1.0)
TYPES = {
    "MultiScaleDepthwise": [(x, y) for x in (F32, BF16, STEPS) for y in (F32, BF16, I8)],
    "GroupedConvolution": [(x, y) for x in (F32, BF16, STEPS) for y in (F32, BF16, I8)],
    "UpsampleDepthwise": [(x, y) for x in (F32, BF16) for y in (F32, BF16, I8)],
    "MaxPool": [(x, x) for x in (F32, BF16, STEPS)],
}


@pytest.mark.parametrize(
    ("kind", "x", "y"),
    [pytest.param(kind, x, y, id=f"{kind}-{x.type}-{y.type}") for kind, types in TYPES.items() for x, y in types],
)
def test_operators_are_the_kernels(kind: str, x: Stored, y: Stored) -> None:
    weights, attributes, kernel = case(kind, x)
    values = as_stored(np.random.default_rng(4).normal(0, 2, SHAPE).astype(np.float32), x)
    right = kernel(x, y)(values)
    core, model = network(kind, x, y, weights, attributes)
    for threads in (1, 2):
        compiled = core.compile_model(
            model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        )
        found = answer(compiled, values, x)
        np.testing.assert_array_equal(found.view(right.dtype), right)
    kept = core.import_model(compiled.export_model(), "CPU")
    np.testing.assert_array_equal(answer(kept, values, x).view(right.dtype), right)


@pytest.mark.parametrize(
    ("kind", "attributes", "shape", "says"),
    [
        ("MultiScaleDepthwise", {"resized": [2, 3]}, SHAPE, "resized has 2 lengths"),
        ("MultiScaleDepthwise", {"resized": [2, 3, 3]}, (1, 7, 9, 7, 32), "up to 6 planes"),
        ("MultiScaleDepthwise", {"rounded": "i8"}, SHAPE, "one of the two is none"),
        ("MultiScaleDepthwise", {"floating": "none", "rounded": "u8"}, SHAPE, "not i8"),
        ("MultiScaleDepthwise", {}, (1, 3, 9, 32), "N, D, H, W, C"),
        ("MultiScaleDepthwise", {}, (1, 3, 9, 7, 16), "input 1 is"),
        ("UpsampleDepthwise", {}, (1, 3, 9, 7, 16), "input 1 is"),
        ("UpsampleDepthwise", {"step": -1.0, "floating": "none", "rounded": "i8"}, SHAPE, "step"),
        ("MaxPool", {"kernel": [3, 3]}, SHAPE, "not 3, 3 and 6"),
        ("MaxPool", {"kernel": [3, 3, 12]}, SHAPE, "larger than the padded map"),
        ("GroupedConvolution", {"groups": 16}, SHAPE, "4, 8 or 16 channels"),
        ("GroupedConvolution", {"groups": 4, "stride": 3}, SHAPE, "stride is 1 or 2"),
        ("GroupedConvolution", {"groups": 4, "zero_point": 128}, SHAPE, "zero_point is 128"),
    ],
)
def test_misuse_is_refused(kind: str, attributes: Mapping[str, Any], shape: tuple[int, ...], says: str) -> None:
    weights, _, _ = case(kind, F32)
    with pytest.raises(RuntimeError, match=says):
        network(kind, F32, F32, weights, attributes, shape)
