"""The gate: sessions for every precision, also those that this processor has no units for."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session.opening import Opening
from mmcaf_engine.session.self_test import SelfTest
from mmcaf_engine.session.session import Session

from ..onnx_files import load_model, save_model
from .typed import simulate_precision

_UNTESTED = Opening(False, "not kept: being judged", SelfTest(0.0, 0.0, 0, False))


@contextmanager
def sessions(
    bundle: Bundle,
    models: Mapping[Precision, Path],
    kept: Mapping[Precision, Collection[str]],
    processor: type[Backend],
    scratch: Path,
) -> Iterator[dict[Precision, Session]]:
    """A session for every model, by precision.

    FP32 and INT8 run on `processor`, a backend of the CPU. FP16 and BF16 run in ONNX Runtime as FP32 with every value
    rounded through the type, which judges the network alike on every machine; the units of a processor
    that has them are held to the golden cases when a session is opened there.
    """
    manifest = bundle.manifest
    with ExitStack() as stack:
        opened: dict[Precision, Session] = {}
        for precision, model in models.items():
            if precision == "fp16" or precision == "bf16":
                network = load_model(models["fp32"])
                simulate_precision(network, precision, kept.get(precision, ()))
                model = scratch / f"simulated.{precision}.onnx"
                save_model(network, model)
                kind = backend_class("onnxruntime")
            else:
                kind = processor
            backend = kind.of(manifest, model, usable_cores(), precision)
            stack.enter_context(backend)
            opened[precision] = Session(bundle, backend, None, _UNTESTED)
        yield opened
