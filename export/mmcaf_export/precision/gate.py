"""The gate: sessions for every precision, also those that this processor has no units for."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session.choice import Choice, backend_for
from mmcaf_engine.session.session import Session

from ..onnx_files import load_model, save_model
from .typed import simulate_precision


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
            choice = Choice(kind, precision)
            backend = stack.enter_context(backend_for(bundle, choice, model=model))
            opened[precision] = Session(bundle, choice, backend)
        yield opened
