"""`mmcaf inspect BUNDLE --engine`: in which types TensorRT computes a bundle's convolutions and matrix products."""

from collections.abc import Mapping
from pathlib import Path

from mmcaf_engine.backends.tensorrt.conv_precision import PRODUCTS, flops_by_precision
from mmcaf_engine.backends.tensorrt.layer_report import flops_in_engine
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.checkup.computed_types import ComputedTypes, NetworkTypes, computed_types

from .console import to_json
from .report import Report


def inspect_engine_command(path: Path, precisions: list[str], report: Report) -> None:
    """Print one table for each precision, from the parsed network and, where it can be loaded, the kept engine."""
    found = computed_types(load_bundle(path), precisions)
    report.give(
        lambda: "\n".join(line for network in found.networks for line in _table(found, network)),
        lambda: to_json(found.to_dict()),
    )


def shares(flops: Mapping[str, int]) -> str:
    """Types with their share of the operations: "FP16 98.3 %, FP32 1.7 %"."""
    total = sum(flops.values()) or 1
    return ", ".join(f"{kind} {count / total:.1%}" for kind, count in flops.items()) or "none"


def _table(found: ComputedTypes, network: NetworkTypes) -> list[str]:
    products, flavour = network.products, found.flavour
    title = f"{found.bundle.manifest.name} {network.precision}"
    width = max((len(product.module) for product in products), default=0)
    lines = [f"{title}, as {flavour.name} {flavour.version} reads it; types of input and weight, MFLOP per window:"]
    lines += [
        f"  {product.module:<{width}}  {product.operator:<22}  {' x '.join(product.operands):<12}"
        f"{product.flops / 1e6:>12,.3f}"
        for product in products
    ]
    lines += [
        f"  convolutions     {shares(flops_by_precision(products))}",
        f"  matrix products  {shares(flops_by_precision(products, PRODUCTS))}",
    ]
    if not network.layers:
        return [*lines, f"  the built engine's layers are not shown: {network.not_loaded}"]
    lines += [
        f"  in the engine    {shares(flops_in_engine(network.layers, products))}",
        f"  products there   {shares(flops_in_engine(network.layers, products, PRODUCTS))}",
        "  layers of the engine:",
    ]
    return lines + [
        f"    {layer.kind or 'layer':<16} {', '.join(layer.inputs) or '?'} -> {', '.join(layer.outputs) or '?'}   "
        f"{layer.name[:120]}"
        for layer in network.layers
    ]
