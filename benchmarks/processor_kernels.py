"""The processor's kernels beside OpenVINO's operators, at full-size MMCAF-Net's shapes, in FP32, BF16 and INT8.

python benchmarks/processor_kernels.py --output benchmarks/results/processor_kernels.csv

Both run inside OpenVINO, in turn, in the same process. OpenVINO's counters tell the time of the operators alone; what
the reorders of layouts and types around them take stands beside it. INT8 kernels are compared with what an INT8 network
has there otherwise: these operators in FP32. A kernel whose answers differ from OpenVINO's in FP32 gets no row.
"""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import usage
from rows import RowFile, environment

STEP = 0.05
TOLERANCES = {"f32": 1e-4, "bf16": 2e-2, "i8": 1e-4}
"""Of the largest value, besides what rounding the answer to BF16 takes: INT8 maps are exact, and answer in BF16 too."""
AROUND = {"Parameter", "Input", "Output", "Result", "Convert", "Reorder", "Transpose", "Constant", "Reshape"}
L3_BYTES = 16 << 20


def main() -> int | None:
    """Write a row for each kernel, shape and type."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--runs", type=usage.count, default=30, help="of each of the two, in turn")
    asked.add_argument("--threads", type=usage.count, default=2)
    asked.add_argument("--kernel", choices=sorted({case["kernel"] for case in cases()}), help="only this one")
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    from mmcaf_kernels.cpu import extension
    from mmcaf_kernels.cpu.library import level
    from mmcaf_kernels.cpu.peaks import operations, reading

    if why := extension.missing():
        return usage.missing(f"the kernels are no operators here: {why}")
    facts = {"threads": str(arguments.threads), "level": level(), **environment(["openvino", "numpy"])}
    peaks = {type_: operations(type_, arguments.threads) / 1e9 for type_ in TOLERANCES}
    l3 = reading(L3_BYTES, arguments.threads) / 1e9
    print(f"peaks: {peaks} GOP/s, {l3:.0f} GB/s of {L3_BYTES >> 20} MB", file=sys.stderr)
    table, left_out = RowFile(arguments.output), 0
    for case in cases():
        if arguments.kernel not in (None, case["kernel"]):
            continue
        for type_ in case["types"]:
            row = measured(case, type_, arguments.runs, arguments.threads)
            if row is None:
                left_out += 1
                continue
            gops = case["operations"] / row["kernel_ms"] / 1e6
            figures = {
                "kernel_ms": f"{row['kernel_ms']:.3f}",
                "openvino_ms": f"{row['openvino_ms']:.3f}",
                "openvino_with_layouts_ms": f"{row['layouts_ms']:.3f}",
                "gops": f"{gops:.0f}",
                "share_of_peak": f"{gops / peaks[type_]:.2f}" if peaks[type_] and case["operations"] else "",
                "gb_s": f"{row['bytes'] / row['kernel_ms'] / 1e6:.1f}",
                "peak_gops": f"{peaks[type_]:.0f}",
                "l3_gb_s": f"{l3:.0f}",
                "error": f"{row['error']:.1e}",
            }
            shape = "x".join(map(str, case["shape"]))
            table.add({"kernel": case["kernel"], "shape": shape, "type": type_, **figures, **facts})
            print(case["kernel"], shape, type_, figures, file=sys.stderr)
    return 1 if left_out else None


def cases() -> list[dict[str, Any]]:
    """Kernel, shape [N, D, H, W, C], how both networks are built, operations and types."""
    found: list[dict[str, Any]] = []
    for depth, side, channels in ((6, 48, 512), (3, 24, 1024), (2, 12, 2048)):
        shape = (1, depth, side, side, channels)
        taps = depth + sum(side_taps(depth, size) * size**2 for size in (3, 5))
        made = {"kernel": "MultiScaleDepthwise", "shape": shape, "types": ("f32", "bf16", "i8")}
        found.append({**made, "build": multi_scale, "operations": 2 * taps * np.prod(shape[1:4]) * channels / depth})
    for side, depth, channels, group, stride in (
        (48, 6, 128, 4, 1), (48, 6, 256, 8, 2), (24, 3, 256, 8, 1), (24, 3, 512, 16, 2), (12, 2, 512, 16, 1),
    ):  # fmt: skip
        out = np.prod([(length - 1) // stride + 1 for length in (depth, side, side)])
        made = {
            "kernel": "GroupedConvolution",
            "shape": (1, depth, side, side, channels),
            "types": ("f32", "bf16", "i8"),
        }
        options = {"group": group, "stride": stride}
        found.append({**made, **options, "build": grouped, "operations": 2 * 27 * group * channels * out})
    for depth, side, channels in ((3, 24, 512), (2, 12, 1024)):
        shape = (1, depth, side, side, channels)
        made = {"kernel": "UpsampleDepthwise", "shape": shape, "types": ("f32", "bf16")}
        found.append({**made, "build": upsample, "operations": 2 * 27 * 8 * np.prod(shape)})
    pool = {"kernel": "MaxPool", "shape": (1, 12, 96, 96, 64), "types": ("f32", "bf16"), "build": max_pool}
    return [*found, {**pool, "operations": 0}]


def side_taps(depth: int, size: int) -> int:
    """Taps along the depth that meet a map of it, over all its planes."""
    reach = size // 2
    return sum(1 for z in range(depth) for tap in range(-reach, reach + 1) if 0 <= z + tap < depth)


def measured(case: Mapping[str, Any], type_: str, runs: int, threads: int) -> dict[str, Any] | None:
    """Medians in ms, bytes of the maps and the largest error; None if the answers differ."""
    import openvino as ov
    from openvino import opset13 as op
    from openvino.utils.node_factory import NodeFactory

    from mmcaf_kernels.cpu.extension import extension

    core, factory = ov.Core(), NodeFactory()
    for receiver in (core, factory):
        receiver.add_extension(str(extension()))
    elements = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "i8": ov.Type.i8}
    random = np.random.default_rng(0)
    own, plain = case["build"](case, type_, op, factory, random)
    answer_type = "f32" if type_ == "f32" else "bf16"
    x = op.parameter(case["shape"], elements[type_])
    y = own(x, answer_type)
    network = ov.Model([op.convert(y, "f32") if answer_type == "bf16" else y], [x])

    def others(kind: str) -> Any:
        given = op.parameter(case["shape"], elements[kind])
        wide = given if kind == "f32" else op.convert(given, "f32")
        wide = op.multiply(wide, op.constant(np.float32(STEP))) if kind == "i8" else wide
        made = plain(op.transpose(wide, op.constant(np.array([0, 4, 1, 2, 3]))), op)
        back = op.transpose(made, op.constant(np.array([0, 2, 3, 4, 1])))
        return ov.Model([op.convert(op.convert(back, "bf16"), "f32") if kind == "bf16" else back], [given])

    options = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    other_kind = "bf16" if type_ == "bf16" else "f32"
    compiled = {
        "kernel": core.compile_model(network, "CPU", {**options, **hints}),
        "openvino": core.compile_model(others(other_kind), "CPU", {**options, "INFERENCE_PRECISION_HINT": other_kind}),
        "right": core.compile_model(others("i8" if type_ == "i8" else "f32"), "CPU", {**options, **hints}),
    }
    values = random.integers(-127, 128, case["shape"]).astype(np.int8)
    floats = (values * np.float32(STEP)).astype(np.float32)
    requests = {name: network_.create_infer_request() for name, network_ in compiled.items()}
    given = {
        "kernel": values if type_ == "i8" else as_tensor(ov, floats, type_),
        "openvino": as_tensor(ov, floats, other_kind),
        "right": values if type_ == "i8" else floats if type_ == "f32" else rounded(floats),
    }
    answers = {name: np.array(next(iter(requests[name].infer([given[name]]).values()))) for name in ("kernel", "right")}
    error = float(np.abs(answers["kernel"] - answers["right"]).max() / np.abs(answers["right"]).max())
    if not error <= TOLERANCES[type_] + (2.0**-8 if answer_type == "bf16" else 0):
        print(f"left out: {case['kernel']} {case['shape']} {type_}: off by {error:.1e}", file=sys.stderr)
        return None
    spent: dict[str, list[float]] = {"kernel": [], "openvino": [], "layouts": []}
    for _ in range(runs):
        for name in ("kernel", "openvino"):
            requests[name].infer([given[name]])
            alone, around = times(requests[name])
            spent[name].append(alone)
            if name == "openvino":
                spent["layouts"].append(alone + around)
    found = {f"{name}_ms": statistics.median(each) for name, each in spent.items()}
    width = {"f32": 4, "bf16": 2, "i8": 1}
    size = float(np.prod(case["shape"])) * width[type_] + answers["kernel"].size * width[answer_type]
    return {**found, "error": error, "bytes": size}


def times(request: Any) -> tuple[float, float]:
    """Milliseconds of the operators of the last inference, and of what is around them."""
    alone = around = 0.0
    for node in request.profiling_info:
        if node.status == node.Status.EXECUTED:
            milliseconds = node.real_time.total_seconds() * 1e3
            around, alone = (
                (around + milliseconds, alone) if node.node_type in AROUND else (around, alone + milliseconds)
            )
    return alone, around


def as_tensor(ov: Any, floats: np.ndarray, type_: str) -> Any:
    """Floats as a tensor of a type."""
    from mmcaf_kernels.cpu.maps import bfloat16

    if type_ == "f32":
        return floats
    return ov.Tensor(bfloat16(floats).view(np.float16), floats.shape, ov.Type.bf16)


def rounded(floats: np.ndarray) -> np.ndarray:
    """Floats as BF16 holds them."""
    from mmcaf_kernels.cpu.maps import bfloat16, float32

    return float32(bfloat16(floats))


Built = tuple[Callable[..., Any], Callable[..., Any]]


def of_kind(factory: Any, op: Any, kind: str, weights: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> Any:
    """An operator of the extension, of x and its answer's type."""
    constants = [op.constant(weight).output(0) for weight in weights]
    return lambda x, type_: factory.create(kind, [x.output(0), *constants], {"floating": type_, **attributes})


def drawn(random: Any, shape: Sequence[int], type_: str) -> tuple[np.ndarray, float]:
    """Weights in whole numbers, which INT8 and BF16 hold, and their factor; of INT8 with the map's step."""
    return random.integers(-127, 128, shape).astype(np.float32), (STEP if type_ == "i8" else 1.0) / 127


def multi_scale(case: Mapping[str, Any], type_: str, op: Any, factory: Any, random: Any) -> Built:
    channels = case["shape"][-1]
    taps, scale = drawn(random, (channels, 153), type_)
    scales = np.full((3, channels), scale / 30, np.float32)
    bias = random.normal(1, 1, (3, channels)).astype(np.float32)
    own = of_kind(factory, op, "MultiScaleDepthwise", [taps, scales, bias], {})
    weights = np.split(taps * np.float32(1 / 127 / 30), [1, 28], axis=1)

    def plain(x: Any, op: Any) -> Any:
        total = None
        for size, weight, shift in zip((1, 3, 5), weights, bias, strict=True):
            kernel = op.constant(weight.reshape(channels, 1, 1, size, size, size))
            made = op.group_convolution(x, kernel, [1] * 3, [size // 2] * 3, [size // 2] * 3, [1] * 3)
            made = op.clamp(op.add(made, op.constant(shift.reshape(1, channels, 1, 1, 1))), 0.0, 6.0)
            total = made if total is None else op.add(total, made)
        return total

    return own, plain


def grouped(case: Mapping[str, Any], type_: str, op: Any, factory: Any, random: Any) -> Built:
    channels, group, stride = case["shape"][-1], case["group"], case["stride"]
    taps, scale = drawn(random, (channels, group, 3, 3, 3), type_)
    scales, bias = np.full(channels, scale, np.float32), random.normal(0, 1, channels).astype(np.float32)
    attributes = {"groups": channels // group, "stride": stride}
    own = of_kind(factory, op, "GroupedConvolution", [taps, scales, bias], attributes)
    weight = (taps * np.float32(1 / 127)).reshape(channels // group, group, group, 3, 3, 3)

    def plain(x: Any, op: Any) -> Any:
        made = op.group_convolution(x, op.constant(weight), [stride] * 3, [1] * 3, [1] * 3, [1] * 3)
        return op.add(made, op.constant(bias.reshape(1, channels, 1, 1, 1)))

    return own, plain


def upsample(case: Mapping[str, Any], type_: str, op: Any, factory: Any, random: Any) -> Built:
    channels, size = case["shape"][-1], [2 * length for length in case["shape"][1:4]]
    taps = random.normal(0, 0.2, (channels, 27)).astype(np.float32)
    bias = random.normal(0, 1, channels).astype(np.float32)
    own = of_kind(factory, op, "UpsampleDepthwise", [taps, bias], {})

    def plain(x: Any, op: Any) -> Any:
        axes, corners = op.constant(np.array([2, 3, 4])), {"coordinate_transformation_mode": "align_corners"}
        wide = op.interpolate(x, op.constant(np.array(size)), "linear_onnx", "sizes", axes=axes, **corners)
        kernel = op.constant(taps.reshape(channels, 1, 1, 3, 3, 3))
        made = op.group_convolution(wide, kernel, [1] * 3, [1] * 3, [1] * 3, [1] * 3)
        return op.relu(op.add(made, op.constant(bias.reshape(1, channels, 1, 1, 1))))

    return own, plain


def max_pool(case: Mapping[str, Any], type_: str, op: Any, factory: Any, random: Any) -> Built:
    def own(x: Any, type_: str) -> Any:
        return factory.create("MaxPool", [x.output(0)], {"kernel": [3] * 3, "strides": [2] * 3, "pads": [1] * 6})

    def plain(x: Any, op: Any) -> Any:
        return op.max_pool(x, [2] * 3, [1] * 3, [1] * 3, [1] * 3, [3] * 3, "floor", "explicit").output(0)

    return own, plain


if __name__ == "__main__":
    usage.run(main)
