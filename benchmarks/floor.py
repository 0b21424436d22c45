"""How near a full-size network comes to what this processor could do at best, in each precision.

python benchmarks/floor.py --output benchmarks/results/floor.csv
python benchmarks/floor.py --network lcadb --output benchmarks/results/floor_lcadb.csv

Peaks are measured first: multiply-adds of each type in registers, and reads of a cache and of memory. A layer cannot
take less than its arithmetic at the peak of its type, nor less than reading its weights from memory and moving its maps
through the cache; the longer of the two is its floor, and a network's is their sum. Layers are those that OpenVINO
compiles from the FP32 file, without this project's kernels; a precision sets their types and the width of the maps.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import usage
from rows import RowFile, environment, percentiles

import cpu

CACHE_BYTES, MEMORY_BYTES = 16 << 20, 512 << 20
"""What is read again and again: less than a last cache of any workstation, and more."""
PRECISIONS = ("fp32", "bf16", "int8", "int8-bf16")
MOVED_ONLY = {"Reorder", "Transpose", "Reshape", "Input", "Output", "Const", "Convert"}
"""Kinds of layers that compute nothing, which a better layout would do without."""
MAP_BYTES = {"fp32": 4, "bf16": 2, "int8": 4, "int8-bf16": 2}
"""Of a value between layers that are not INT8."""


@dataclass(frozen=True)
class Layer:
    """onnx: its nodes of the file. flops: 2 per multiply-add. weights, read, written: numbers of values."""

    onnx: tuple[str, ...]
    flops: int
    weights: int
    read: int
    written: int


@dataclass(frozen=True)
class Peaks:
    """operations: a second by type, 0 where the processor has none; cache, memory: bytes read a second."""

    operations: dict[str, float]
    cache: float
    memory: float


def main() -> int | None:
    """Write a row for each precision that the bundle has and this machine runs."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--runs", type=usage.count, default=15, help="of each precision in each round")
    asked.add_argument("--network", choices=cpu.SUBJECTS, default="mmcaf")
    asked.add_argument("--folder", type=usage.path, help="what benchmarks/cpu.py prepared or is to prepare")
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    if arguments.folder is not None:
        usage.try_outputs(asked, [("--folder", arguments.folder)], kind="folder", force=True)
    from mmcaf_kernels.cpu.library import missing

    if why := missing():
        return usage.missing(f"peaks cannot be measured: {why}")
    subject = cpu.SUBJECTS[arguments.network]
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        cpu.prepare_once(subject, folder, arguments.runs)
        write(subject, folder, arguments.runs, arguments.output)
    return None


def write(subject: cpu.Subject, folder: Path, runs: int, output: Path) -> None:
    """Measure the peaks, then the precisions in turn."""
    from mmcaf_engine import load_bundle
    from mmcaf_engine.machine.cpu import usable_cores

    threads = usable_cores()
    best = peaks(threads)
    told = {name: f"{value / 1e9:.0f} GOP/s" for name, value in best.operations.items()}
    print(f"{told}, cache {best.cache / 1e9:.0f} GB/s, memory {best.memory / 1e9:.0f} GB/s", file=sys.stderr)
    bundle = load_bundle(folder / "full.mmcaf")
    layers = list(read_layers(folder / "full.mmcaf" / "model.onnx", bundle.manifest))
    precisions = [one for one in PRECISIONS if one in bundle.manifest.models and cpu.usable(f"openvino {one}")]
    spent: dict[str, list[float]] = {precision: [] for precision in precisions}
    for _ in range(cpu.ROUNDS):
        for precision in precisions:
            spent[precision] += cpu.run_case(f"openvino {precision}", subject, folder, runs)["ms"]
    facts = {"threads": str(threads), **environment(["openvino", "numpy"])}
    table = RowFile(output)
    for precision in precisions:
        lowest = floor(layers, precision, kept_layers(bundle.manifest, precision), best) * 1e3
        times = percentiles(spent[precision])
        row = {
            "network": subject.name,
            "precision": precision,
            **times,
            "floor_ms": f"{lowest:.1f}",
            "to_floor": f"{float(times['p50_ms']) / lowest:.2f}",
            "gflop": f"{sum(layer.flops for layer in layers) / 1e9:.1f}",
            "peak_f32_gops": f"{best.operations['f32'] / 1e9:.0f}",
            "peak_bf16_gops": f"{best.operations['bf16'] / 1e9:.0f}",
            "peak_i8_gops": f"{best.operations['i8'] / 1e9:.0f}",
            "cache_gb_s": f"{best.cache / 1e9:.0f}",
            "memory_gb_s": f"{best.memory / 1e9:.0f}",
        }
        table.add({**row, **facts})
        print(json.dumps(row), file=sys.stderr)


def peaks(threads: int) -> Peaks:
    """What this processor does at best on so many threads."""
    from mmcaf_kernels.cpu.peaks import operations, reading

    types = {type_: operations(type_, threads) for type_ in ("f32", "bf16", "i8")}
    return Peaks(types, reading(CACHE_BYTES, threads), reading(MEMORY_BYTES, threads))


def read_layers(model: Path, manifest: Any) -> Iterator[Layer]:
    """The layers that OpenVINO makes of a file in FP32, for one window."""
    from mmcaf_engine.backends.openvino.layers import flops
    from mmcaf_engine.backends.registry import backend_class

    core = backend_class("openvino").runtime().Core()
    network = core.read_model(model)
    length = None if manifest.text is None else manifest.text.max_tokens
    free = {"N": 1, "L": length}
    network.reshape({spec.name: [free.get(axis, axis) for axis in spec.shape] for spec in manifest.inputs})
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        kind = str(facts["layerType"].value) if "layerType" in facts else node.get_type_name()
        if kind in MOVED_ONLY:
            continue
        onnx = tuple(str(facts["originalLayersNames"].value).split(",")) if "originalLayersNames" in facts else ()
        given = [list(tensor.get_shape()) for tensor in node.inputs()]
        made = [list(tensor.get_shape()) for tensor in node.outputs()]
        constant = [is_constant(value.get_node()) for value in node.input_values()]
        sizes = [size(shape) for shape in given]
        yield Layer(
            onnx,
            flops(kind, given, made),
            sum(count for count, fixed in zip(sizes, constant, strict=True) if fixed),
            sum(count for count, fixed in zip(sizes, constant, strict=True) if not fixed),
            sum(size(shape) for shape in made),
        )


def is_constant(node: Any) -> bool:
    """Whether what a runtime model's node gives was known when it was compiled."""
    facts = node.get_rt_info()
    return "layerType" in facts and str(facts["layerType"].value) == "Const"


def size(shape: list[int]) -> int:
    """How many values a tensor has."""
    count = 1
    for length in shape:
        count *= length
    return count


def kept_layers(manifest: Any, precision: str) -> set[str]:
    """The convolutions and products that stay in FP32."""
    made = manifest.provenance
    quantised = made.quantised().get(precision)
    return set(quantised.kept if quantised is not None else made.spared().get(precision, ()))


def floor(layers: list[Layer], precision: str, kept: set[str], best: Peaks) -> float:
    """Seconds that the layers cannot do with less of."""
    return sum(layer_floor(layer, precision, kept, best) for layer in layers)


def layer_floor(layer: Layer, precision: str, kept: set[str], best: Peaks) -> float:
    """Seconds of one."""
    wide = MAP_BYTES[precision]
    low = precision != "fp32" and layer.flops > 0 and not kept.intersection(layer.onnx)
    type_ = {"fp32": "f32", "bf16": "bf16"}.get(precision, "i8") if low else "f32"
    narrow = {"f32": 4, "bf16": 2, "i8": 1}[type_]
    arithmetic = layer.flops / best.operations[type_]
    maps = layer.read * (narrow if low else wide) + layer.written * wide
    return max(arithmetic, layer.weights * narrow / best.memory + maps / best.cache)


if __name__ == "__main__":
    usage.run(main)
