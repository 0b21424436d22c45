"""Layers on ONNX Runtime: the file that its profiler writes, in the trace event format, with shapes of every node."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from ...errors import BackendError, Remedy
from ..node_time import NodeTime, convolution_flops, product_flops, transposed_flops

SOURCE = "ONNX Runtime's profiler, less what it takes itself for a node that moves no data"

_SUFFIX = "_kernel_time"
_IN_PLACE = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape")
"""Operators that move no data: their output lies where their input does."""
_LOOPS = ("Scan", "Loop", "If")


def read_profile(document: bytes, first: int, end: int, extra_ms: float = 0.0) -> list[NodeTime]:
    """The nodes of runs `first` to `end`, each on its mean, less what the profiler itself takes for each.

    That is what the median node takes that moves no data, and so has nothing else to do. A loop is one node, whose
    body's nodes are not listed; the profiler's share of it is theirs of `extra_ms`, by their number among all.

    Args:
        extra_ms: what the profiler adds to a run.

    Raises:
        BackendError: it does not hold these runs, as where the runtime's profiler was full.
    """
    try:
        events = json.loads(document)
        runs = sorted((run["ts"], run["ts"] + run["dur"]) for run in events if run["name"] == "model_run")
        kernels = [event for event in events if event["name"].endswith(_SUFFIX)]
        if len(runs) != end:
            raise ValueError(f"{len(runs)} runs instead of {end}")
        since = runs[first][0]
        told = [event for event in kernels if event["ts"] >= since]
        listed, within = _without_bodies(told)
        nodes = list(_means(listed, end - first))
    except (ValueError, KeyError, TypeError, IndexError) as failure:
        raise BackendError(
            f"ONNX Runtime's profile cannot be read: {failure}.",
            Remedy("Profile with fewer runs", option="runs", value="5"),
        ) from None
    idle = [node.ms for node in nodes if node.kind in _IN_PLACE]
    own_ms = median(idle) if idle else 0.0
    each_ms = extra_ms / len(told) if told else 0.0
    return [replace(node, ms=max(node.ms - own_ms - within.get(node.name, 0) * each_ms, 0.0)) for node in nodes]


def _without_bodies(kernels: Iterable[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Counter[str]]:
    """The events that lie in no loop's time, and how many of the others lie in each loop's."""
    listed: list[Mapping[str, Any]] = []
    within: Counter[str] = Counter()
    loop, ended = "", -1
    for event in sorted(kernels, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] < ended:
            within[loop] += 1
            continue
        listed.append(event)
        if event["args"]["op_name"] in _LOOPS:
            loop, ended = event["name"].removesuffix(_SUFFIX), event["ts"] + event["dur"]
    return listed, within


def _means(kernels: Iterable[Mapping[str, Any]], windows: int) -> Iterator[NodeTime]:
    spent: dict[str, float] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for event in kernels:
        name = event["name"].removesuffix(_SUFFIX)
        spent[name] = spent.get(name, 0.0) + event["dur"] / 1e3  # From microseconds.
        facts[name] = event["args"]
    for name, total in spent.items():
        about = facts[name]
        given, made = _shapes(about["input_type_shape"]), _shapes(about["output_type_shape"])
        kind = about["op_name"]
        sizes = ("activation_size", "parameter_size", "output_size")
        moved = 0 if kind in _IN_PLACE else sum(int(about[size]) for size in sizes)
        yield NodeTime(name, kind, (name.removeprefix("fused "),), total / windows, _flops(kind, given, made), moved)


def _shapes(listed: Iterable[Mapping[str, list[int]]]) -> list[list[int]]:
    return [next(iter(entry.values()), []) for entry in listed]


def _flops(kind: str, given: list[list[int]], made: list[list[int]]) -> int | None:
    """As the runtime runs it, with channels that it added; None where it does not tell the shape of the weight."""
    match kind, given:
        case "Conv" | "FusedConv" | "ConvInteger", [_, weight, *_]:
            return convolution_flops(made[0], weight)
        case "QLinearConv", [_, _, _, weight, *_]:
            return convolution_flops(made[0], weight)
        case "ConvTranspose", [image, weight, *_]:
            return transposed_flops(image, weight)
        case "Conv" | "FusedConv" | "ConvInteger" | "QLinearConv" | "ConvTranspose", _:
            return None
        case "Gemm" | "FusedGemm" | "QGemm" | "MatMul" | "FusedMatMul" | "MatMulInteger" | "QLinearMatMul", [left, *_]:
            return product_flops(made[0], left[-1])
        case "DynamicQuantizeMatMul" | "MatMulIntegerToFloat", [left, *_]:
            return product_flops(made[0], left[-1])
    return 0
