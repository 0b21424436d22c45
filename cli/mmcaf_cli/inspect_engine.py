"""`mmcaf inspect BUNDLE --engine`: in which types TensorRT computes a bundle's convolutions and matrix products."""

import json as json_format
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from mmcaf_engine.backends.tensorrt.conv_precision import CONVOLUTIONS, PRODUCTS, Product, flops_by_precision, share_in
from mmcaf_engine.backends.tensorrt.flavour import Flavour, find_flavour
from mmcaf_engine.backends.tensorrt.layer_report import EngineLayer, flops_in_engine, load_report, read_report
from mmcaf_engine.backends.tensorrt.signature import LAYERS_NAME
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.cache.engines import ENGINES, EngineCache, cache_limit
from mmcaf_engine.errors import MmcafError
from mmcaf_engine.machine.gpu import find_gpus, first_gpu
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session.build_ahead import held_precision, key_facts, products_of

REPORT_VERSION = 1


def inspect_engine_command(path: Path, precisions: list[str], json: bool) -> None:
    """Print one table for each precision, from the parsed network and, where it can be loaded, the kept engine."""
    bundle = load_bundle(path)
    flavour = find_flavour()
    wanted = [held_precision(bundle, name) for name in precisions or _in_order(bundle)]
    documents = []
    for precision in wanted:
        found = products_of(bundle, precision, flavour)
        layers, reason = _layers(bundle, precision, flavour)
        if json:
            documents.append(_document(precision, found, layers, reason))
        else:
            print("\n".join(_table(f"{bundle.manifest.name} {precision}", flavour, found, layers, reason)))
    if json:
        report = {
            "schema_version": REPORT_VERSION,
            "model": {"name": bundle.manifest.name, "bundle_sha256": bundle.sha256},
            "runtime": flavour.name,
            "version": flavour.version,
            "networks": documents,
        }
        print(json_format.dumps(report, indent=2, allow_nan=False))


def shares(flops: Mapping[str, int]) -> str:
    """Types with their share of the operations: "FP16 98.3 %, FP32 1.7 %"."""
    total = sum(flops.values()) or 1
    return ", ".join(f"{kind} {count / total:.1%}" for kind, count in flops.items()) or "none"


def _in_order(bundle: Bundle) -> list[str]:
    return sorted(bundle.manifest.models, key=get_args(Precision).index)


def _layers(bundle: Bundle, precision: Precision, flavour: Flavour) -> tuple[tuple[EngineLayer, ...], str]:
    """The layers of the engine that is kept for the GPU at hand; or none, and why in words."""
    gpu = first_gpu()
    if gpu is None:
        return (), f"an engine can only be loaded on a GPU; {find_gpus().reason}"
    try:
        facts = key_facts(bundle, flavour, precision, gpu.target, gpu)
        cache = EngineCache(ENGINES.folder(), cache_limit())
        kept = cache.load(facts)
        if kept is None:
            return (), f"none is kept for this GPU; mmcaf build BUNDLE --precision {precision}"
        return read_report(cache.note(facts, LAYERS_NAME) or load_report(flavour, kept.blob)), ""
    except MmcafError as failure:
        return (), failure.problem


def _table(
    title: str, flavour: Flavour, found: tuple[Product, ...], layers: tuple[EngineLayer, ...], reason: str
) -> list[str]:
    width = max((len(product.module) for product in found), default=0)
    lines = [f"{title}, as {flavour.name} {flavour.version} reads it; types of input and weight, MFLOP per window:"]
    lines += [
        f"  {product.module:<{width}}  {product.operator:<22}  {' x '.join(product.operands):<12}"
        f"{product.flops / 1e6:>12,.3f}"
        for product in found
    ]
    lines += [
        f"  convolutions     {shares(flops_by_precision(found))}",
        f"  matrix products  {shares(flops_by_precision(found, PRODUCTS))}",
    ]
    if not layers:
        return [*lines, f"  the built engine's layers are not shown: {reason}"]
    lines += [
        f"  in the engine    {shares(flops_in_engine(layers, found))}",
        f"  products there   {shares(flops_in_engine(layers, found, PRODUCTS))}",
        "  layers of the engine:",
    ]
    return lines + [
        f"    {layer.kind or 'layer':<16} {', '.join(layer.inputs) or '?'} -> {', '.join(layer.outputs) or '?'}   "
        f"{layer.name[:120]}"
        for layer in layers
    ]


def _document(
    precision: Precision, found: tuple[Product, ...], layers: tuple[EngineLayer, ...], reason: str
) -> dict[str, Any]:
    return {
        "precision": precision,
        "convolution_share": share_in(found, precision, CONVOLUTIONS),
        "convolution_flops": flops_by_precision(found),
        "product_share": share_in(found, precision, PRODUCTS),
        "product_flops": flops_by_precision(found, PRODUCTS),
        "products": [{**asdict(product), "module": product.module} for product in found],
        "engine_flops": flops_in_engine(layers, found) if layers else None,
        "engine_product_flops": flops_in_engine(layers, found, PRODUCTS) if layers else None,
        "engine_layers": [asdict(layer) for layer in layers],
        "engine_not_loaded": reason or None,
    }
