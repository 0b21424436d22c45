"""A bundle's network as TensorRT reads it and builds an engine of it, in a process that can be ended where wanted.

No session opens a network for a GPU that is not there, so that none passes a self-test here before: `first_opening`.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..backends.tensorrt.builder import BuiltEngine, build_engine
from ..backends.tensorrt.conv_precision import Product, products
from ..backends.tensorrt.flavour import Flavour, find_flavour
from ..backends.tensorrt.layer_report import load_report
from ..backends.tensorrt.network import parse_network
from ..backends.tensorrt.turing import TuringEdit
from ..bundle.bundle import Bundle
from ..cache.engines import ENGINES
from ..cancel import Progress
from ..errors import BackendError, UsageError
from ..machine.compute_capability import Target
from ..manifest import Precision
from ..manifest.text import text_lengths
from ..outputs import create, scratch_folder, temporary_folder
from .copies import hold
from .first_opening import NOT_APART, done_apart


@dataclass(frozen=True)
class Made:
    """An engine; what its inspector says, as JSON text, where that was asked for, or in words why that is not known."""

    engine: BuiltEngine
    layers: str | None = None
    not_reported: str | None = None


def build(
    bundle: Bundle,
    flavour: Flavour,
    precision: Precision,
    targets: Sequence[Target] | None,
    *,
    timing_cache: Path | None = None,
    report: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Build an engine of a bundle's network: arguments as of `build_engine`.

    Args:
        report: whether to load it on the GPU at hand, and ask its inspector.

    Raises:
        BundleError: the model is damaged; or it took longer than the caller's `cancel.opening_within` allows.
        BackendError, UsageError, KeyboardInterrupt: as `build_engine`.
    """
    with _scratch() as folder:
        plan = folder / "engine.plan"
        given = {
            "precision": precision,
            "flavour": flavour.name,
            "targets": None if targets is None else [str(target) for target in targets],
            "timing_cache": None if timing_cache is None else str(timing_cache),
            "report": report,
            "plan": str(plan),
        }
        called = f"{bundle.manifest.name} in {flavour.name} {precision}"
        work = f"{__name__}:build_into"
        found = done_apart(bundle, work, given, called=called, done="built", progress=progress)
        if found is not NOT_APART:
            return _made(found, plan.read_bytes(), precision, targets)
    return _build(bundle, flavour, precision, targets, timing_cache, report, progress)


def build_into(
    bundle: Bundle,
    *,
    precision: Precision,
    flavour: str,
    targets: list[str] | None,
    timing_cache: str | None,
    report: bool,
    plan: str,
    progress: Progress,
) -> dict[str, Any]:
    """As `build`, with the engine in a new file; what `_made` reads."""
    named = None if targets is None else tuple(map(Target.parse, targets))
    cache = None if timing_cache is None else Path(timing_cache)
    made = _build(bundle, find_flavour(flavour), precision, named, cache, report, progress)
    with create(Path(plan)) as stream:
        stream.write(made.engine.plan)
    edit = made.engine.edit
    return {
        "products": [asdict(product) for product in made.engine.products],
        "seconds": made.engine.seconds,
        "edit": None if edit is None else {"lowered": edit.lowered, "summed": edit.summed},
        "layers": made.layers,
        "not_reported": made.not_reported,
    }


def products_of(bundle: Bundle, precision: Precision, flavour: Flavour) -> tuple[Product, ...]:
    """The convolutions and matrix products of a precision's network, as TensorRT reads it; no GPU is needed.

    Raises:
        BundleError: the model is damaged.
        BackendError: TensorRT does not understand it.
    """
    manifest = bundle.manifest
    with _reading(bundle, precision) as model:
        return products(parse_network(flavour, model, manifest.inputs, manifest.outputs))


def product_of(document: dict[str, Any]) -> Product:
    """What `asdict` made of one, after it was JSON."""
    return Product(**{**document, "operands": tuple(document["operands"])})


def _made(found: dict[str, Any], plan: bytes, precision: Precision, targets: Sequence[Target] | None) -> Made:
    edit = None if found["edit"] is None else TuringEdit(**found["edit"], weights=())
    products = tuple(map(product_of, found["products"]))
    engine = BuiltEngine(plan, precision, tuple(targets or ()), products, found["seconds"], edit)
    return Made(engine, found["layers"], found["not_reported"])


def _build(
    bundle: Bundle,
    flavour: Flavour,
    precision: Precision,
    targets: Sequence[Target] | None,
    timing_cache: Path | None,
    report: bool,
    progress: Progress | None,
) -> Made:
    manifest = bundle.manifest
    with _reading(bundle, precision) as model:
        engine = build_engine(
            flavour,
            model,
            manifest.inputs,
            manifest.outputs,
            precision=precision,
            targets=None if targets is None else tuple(targets),
            progress=progress,
            timing_cache=timing_cache,
            lengths=text_lengths(manifest.text),
        )
    if not report:
        return Made(engine)
    try:
        return Made(engine, layers=load_report(flavour, engine.plan))
    except BackendError as failure:
        return Made(engine, not_reported=failure.problem)


def _reading(bundle: Bundle, precision: Precision) -> AbstractContextManager[Path]:
    return hold(bundle, precision)(bundle.folder / bundle.manifest.models[precision])


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for an engine on its way from one process to the other, in the cache where there is one."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(ENGINES.folder()))
        except (UsageError, OSError):
            folder = stack.enter_context(temporary_folder())
        yield folder
