"""A bundle's ONNX network as TensorRT understands it: parsed, strongly typed, and compared with the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import BackendError
from ...manifest import TensorSpec
from ..remedies import OTHER_BACKEND, SEE_WHAT_RUNS
from .flavour import Flavour, captured_log, in_short


@dataclass(frozen=True)
class ParsedNetwork:
    """TensorRT's network definition, with the objects that must live as long as it does.

    Strongly typed: each tensor has the type that the ONNX file gives it, and no layer is left to choose another.
    """

    flavour: Flavour
    model: Path
    definition: Any
    builder: Any
    parser: Any

    @property
    def inputs(self) -> list[Any]:
        """TensorRT's input tensors, in order."""
        return [self.definition.get_input(index) for index in range(self.definition.num_inputs)]

    @property
    def outputs(self) -> list[Any]:
        """TensorRT's output tensors, in order."""
        return [self.definition.get_output(index) for index in range(self.definition.num_outputs)]


def parse_network(
    flavour: Flavour, model: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> ParsedNetwork:
    """Parse an ONNX file; weights that lie beside it are found by their name in it.

    Args:
        model: of a verified bundle.
        inputs: as the manifest has them; so `outputs`.

    Raises:
        BackendError: TensorRT does not understand a node, which is named, or the network has other inputs or outputs.
    """
    trt = flavour.module
    log = captured_log(flavour)
    with log.errors() as said:
        builder = trt.Builder(log.logger)
        definition = builder.create_network(_strongly_typed(trt))
        parser = trt.OnnxParser(definition, log.logger)
        parsed = parser.parse_from_file(str(model))
    if not parsed:
        reason = _parser_errors(parser) or in_short(said)
        raise BackendError(
            f"{flavour.name} {flavour.version} does not understand {model.name}: {reason}",
            OTHER_BACKEND,
            SEE_WHAT_RUNS,
        )
    network = ParsedNetwork(flavour, model, definition, builder, parser)
    _check(network, network.inputs, inputs, "inputs")
    _check(network, network.outputs, outputs, "outputs")
    return network


def data_type(flavour: Flavour, spec: TensorSpec) -> Any:
    """TensorRT's name for a tensor's type; both flavours take int64 inputs as they are."""
    types = flavour.module.DataType
    return types.INT64 if spec.dtype == "int64" else types.FLOAT


def _strongly_typed(trt: Any) -> int:
    """TensorRT 10 must be told; 11 knows nothing else and ignores the flag, which a later one may not have."""
    flags = getattr(trt, "NetworkDefinitionCreationFlag", None)
    flag = getattr(flags, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parser_errors(parser: Any) -> str:
    """The node, its operator and TensorRT's words, of the first few errors; "" if the parser keeps none."""
    found = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        name, operator = error.node_name(), error.node_operator()
        where = f"node {name} ({operator}): " if name or operator else ""
        found.append(f"{where}{' '.join(error.desc().split())}")
    shown = list(dict.fromkeys(found))
    return "; ".join(shown[:3]) + (f"; and {len(shown) - 3} more" if len(shown) > 3 else "")


def _check(network: ParsedNetwork, tensors: list[Any], specs: Sequence[TensorSpec], kind: str) -> None:
    """Names, in any order, types, and shapes; the batch may be a number or free, and a text's length must be free."""
    found = {tensor.name: tensor for tensor in tensors}
    expected = {spec.name: spec for spec in specs}
    if set(found) != set(expected):
        raise _unlike(network, f"{kind} {sorted(found)}; the manifest says {sorted(expected)}")
    for name, spec in expected.items():
        tensor = found[name]
        shape = tuple(tensor.shape)
        if tensor.dtype != data_type(network.flavour, spec):
            raise _unlike(network, f"{name} of type {tensor.dtype.name}; the manifest says {spec.dtype}")
        if len(shape) != len(spec.shape) or any(
            size not in (-1, -1 if wanted == "L" else wanted)
            for size, wanted in zip(shape[1:], spec.shape[1:], strict=True)
        ):
            raise _unlike(network, f"{name} of shape {list(shape)}; the manifest says {list(spec.shape)}")


def _unlike(network: ParsedNetwork, what: str) -> BackendError:
    return BackendError(
        f"{network.model.name}, as {network.flavour.name} {network.flavour.version} reads it, has {what}.",
        "Export the bundle again.",
    )
