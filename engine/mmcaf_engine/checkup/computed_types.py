"""In which types TensorRT computes a bundle's convolutions and matrix products, read from network and engine."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..backends.tensorrt.conv_precision import CONVOLUTIONS, PRODUCTS, Product, flops_by_precision, share_in
from ..backends.tensorrt.fitting import fitting_flavour
from ..backends.tensorrt.flavour import Flavour, find_flavour
from ..backends.tensorrt.layer_report import EngineLayer, flops_in_engine, load_report, read_report
from ..backends.tensorrt.signature import LAYERS_NAME
from ..bundle.bundle import Bundle
from ..cache.engines import ENGINES, EngineCache, cache_limit
from ..cancel import Progress
from ..errors import MmcafError
from ..machine.gpu import find_gpus, first_gpu
from ..manifest import PRECISIONS, Precision
from ..session.build_ahead import held_precision, key_facts
from ..session.building import product_of, products_of
from ..session.first_opening import NOT_APART, done_apart

REPORT_VERSION = 1


@dataclass(frozen=True)
class NetworkTypes:
    """One network: its products as TensorRT reads them, and the layers of the engine that is kept for the GPU at hand.

    not_loaded: in words, why there are no layers; empty where there are.
    """

    precision: Precision
    products: tuple[Product, ...]
    layers: tuple[EngineLayer, ...]
    not_loaded: str

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts, lists and numbers."""
        return {
            "precision": self.precision,
            "convolution_share": share_in(self.products, self.precision, CONVOLUTIONS),
            "convolution_flops": flops_by_precision(self.products),
            "product_share": share_in(self.products, self.precision, PRODUCTS),
            "product_flops": flops_by_precision(self.products, PRODUCTS),
            "products": [{**asdict(product), "module": product.module} for product in self.products],
            "engine_flops": flops_in_engine(self.layers, self.products) if self.layers else None,
            "engine_product_flops": flops_in_engine(self.layers, self.products, PRODUCTS) if self.layers else None,
            "engine_layers": [asdict(layer) for layer in self.layers],
            "engine_not_loaded": self.not_loaded or None,
        }


@dataclass(frozen=True)
class ComputedTypes:
    """The networks of a bundle, as one TensorRT computes them."""

    bundle: Bundle
    flavour: Flavour
    networks: tuple[NetworkTypes, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts, lists and numbers."""
        return {
            "schema_version": REPORT_VERSION,
            "model": self.bundle.summary.to_dict(),
            "runtime": self.flavour.name,
            "version": self.flavour.version,
            "networks": [network.to_dict() for network in self.networks],
        }


def computed_types(bundle: Bundle, precisions: Sequence[str] = ()) -> ComputedTypes:
    """Read the networks with TensorRT and, where it can be loaded, the kept engine of each.

    Where the caller wants that (`cancel.opening_within`), each in a process of its own.

    Args:
        precisions: which networks; by default all that the bundle holds, in order.

    Raises:
        BackendError: no TensorRT is installed, or the bundle lacks a precision.
        BundleError: a model is damaged, or took too long to be read.
    """
    flavour = fitting_flavour()
    in_order = sorted(bundle.manifest.models, key=PRECISIONS.index)
    networks = []
    for precision in [held_precision(bundle, name) for name in precisions or in_order]:
        given = {"precision": precision, "flavour": flavour.name}
        called = f"{bundle.manifest.name} in {flavour.name} {precision}"
        found = done_apart(bundle, f"{__name__}:types_as_json", given, called=called, done="read")
        networks.append(_types(bundle, precision, flavour) if found is NOT_APART else _of_json(precision, found))
    return ComputedTypes(bundle, flavour, tuple(networks))


def types_as_json(bundle: Bundle, *, precision: Precision, flavour: str, progress: Progress) -> dict[str, Any]:
    """What `_of_json` reads of one network."""
    found = asdict(_types(bundle, precision, find_flavour(flavour)))
    return {name: found[name] for name in ("products", "layers", "not_loaded")}


def _of_json(precision: Precision, found: dict[str, Any]) -> NetworkTypes:
    layers = tuple(EngineLayer(**{**one, **_tuples(one)}) for one in found["layers"])
    return NetworkTypes(precision, tuple(map(product_of, found["products"])), layers, found["not_loaded"])


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    """What JSON has as lists."""
    return {name: tuple(value) for name, value in document.items() if isinstance(value, list)}


def _types(bundle: Bundle, precision: Precision, flavour: Flavour) -> NetworkTypes:
    products = products_of(bundle, precision, flavour)
    return NetworkTypes(precision, products, *_layers(bundle, precision, flavour))


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
            return (), f"none of {precision} is cached for this GPU; one must be built first"
        return read_report(cache.note(facts, LAYERS_NAME) or load_report(flavour, kept.blob)), ""
    except MmcafError as failure:
        return (), failure.problem
