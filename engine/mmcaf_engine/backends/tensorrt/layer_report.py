"""What TensorRT's inspector says of an engine's layers; loading an engine to ask it needs a GPU and its driver.

The form of a layer is that of TensorRT 10 and 11 with detailed profiling verbosity: Name, LayerType, Inputs and Outputs
with "Format/Datatype", and Metadata with the ONNX nodes that went into it (NVIDIA, TensorRT documentation, "Engine
Inspector"). A layer without these, which is how an engine built otherwise describes itself, is a name alone.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import BackendError, Remedy, program
from ...machine.gpu import find_gpus
from ..remedies import BUILD_AGAIN, SEE_WHAT_RUNS
from .conv_precision import CONVOLUTIONS, Operator, Product
from .flavour import Flavour, captured_log
from .loading import Plan, explain

_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_TYPE = re.compile(r"\b(fp32|fp16|half|float|bf16|bfloat16|int8|int32|int64|bool|fp8)\b", re.IGNORECASE)
_NAMES = {"HALF": "FP16", "FLOAT": "FP32", "BFLOAT16": "BF16"}


@dataclass(frozen=True)
class EngineLayer:
    """A layer of an engine.

    kind: as TensorRT calls it, "" if it does not say; nodes: the ONNX nodes merged into it; inputs, outputs: the types
    of its tensors; tactic: the kernel, "" if it does not say.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tactic: str


def inspect_engine(trt: Any, engine: Any) -> str:
    """The inspector's report of a loaded engine, as JSON text."""
    return str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def load_report(flavour: Flavour, plan: Plan) -> str:
    """Load an engine for the GPU at hand and ask its inspector; the report as JSON text.

    Raises:
        BackendError: there is no GPU or driver, or the engine is not for this GPU.
    """
    if not find_gpus().found:
        raise BackendError(
            f"An engine can only be loaded on a GPU: {find_gpus().reason}.", *find_gpus().remedies, SEE_WHAT_RUNS
        )
    trt, log = flavour.module, captured_log(flavour)
    with log.errors() as said:
        engine = trt.Runtime(log.logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError(
            f"{flavour.name} {flavour.version} cannot load the engine: {explain(said)}.",
            BUILD_AGAIN,
        )
    return inspect_engine(trt, engine)


def read_report(report: str) -> tuple[EngineLayer, ...]:
    """The layers of an inspector's report.

    Raises:
        BackendError: it is not in the form that TensorRT writes.
    """
    try:
        layers = json.loads(report)["Layers"]
        return tuple(_layer(layer) for layer in layers)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as failure:
        raise BackendError(
            f"The engine inspector's report cannot be read: {type(failure).__name__}: {failure}.",
            Remedy("Report the version of TensorRT", command=program("doctor")),
        ) from None


def flops_in_engine(
    layers: Iterable[EngineLayer], found: Iterable[Product], operators: Sequence[Operator] = CONVOLUTIONS
) -> dict[str, int]:
    """Type -> operations of those among `found` with these operators, by the first input of the layer that runs each.

    "unknown" holds those whose layer does not say a type or which no layer names.
    """
    runs_in = {node: layer.inputs[0] for layer in layers if layer.inputs for node in layer.nodes}
    sums: dict[str, int] = {}
    for product in found:
        if product.operator in operators:
            kind = runs_in.get(product.name, "unknown")
            sums[kind] = sums.get(kind, 0) + product.flops
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def _layer(layer: Any) -> EngineLayer:
    if isinstance(layer, str):
        return EngineLayer(layer, "", tuple(_NODE.findall(layer)), (), (), "")
    return EngineLayer(
        str(layer["Name"]),
        str(layer.get("LayerType", "")),
        tuple(_NODE.findall(str(layer.get("Metadata", "")))),
        tuple(_type(tensor) for tensor in layer.get("Inputs", ())),
        tuple(_type(tensor) for tensor in layer.get("Outputs", ())),
        str(layer.get("TacticName", "")),
    )


def _type(tensor: Any) -> str:
    """The type out of words such as "Channel major FP16 format where channel % 8 == 0"."""
    words = " ".join(str(tensor.get(key, "")) for key in ("DataType", "Format/Datatype", "Format"))
    found = _TYPE.search(words)
    name = found[0].upper() if found else "unknown"
    return _NAMES.get(name, name)
