"""Building an engine, without a GPU where the flavour allows it, with progress and a clean end at Ctrl-C."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cancel import Progress
from ...errors import BackendError, Remedy
from ...machine.compute_capability import TURING, Target
from ...manifest import Precision, TensorSpec
from ..remedies import SEE_WHAT_RUNS
from .conv_precision import Product, products
from .flavour import BUILD_AHEAD, Flavour, captured_log, in_short
from .network import ParsedNetwork, parse_network
from .timing_cache import read_timing_cache, write_timing_cache
from .turing import LOWER, TuringEdit, check_alone, edit_for_turing


@dataclass(frozen=True)
class BuiltEngine:
    """An engine and what is known of it.

    plan: the engine's bytes, which only the flavour and version that built it can load; targets: what it was built
    for, or () for the GPU at hand; products: the network's convolutions and matrix products in the types that they are
    fed; seconds: the build took, without parsing; edit: what was changed in the network for sm_75, else None.
    """

    plan: bytes
    precision: Precision
    targets: tuple[Target, ...]
    products: tuple[Product, ...]
    seconds: float
    edit: TuringEdit | None = None


def build_engine(
    flavour: Flavour,
    model: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    precision: Precision,
    targets: tuple[Target, ...] | None = None,
    progress: Progress | None = None,
    timing_cache: Path | None = None,
    lengths: Sequence[int] = (),
) -> BuiltEngine:
    """Build an engine of a bundle's model for one window, N = 1, and texts of 1 to the last of `lengths` tokens.

    The types are those of the ONNX file. At FP32 a product is computed in FP32: TensorRT would otherwise take TF32,
    with a mantissa of ten bits. Where a lower precision leaves products in FP32, TF32 is allowed.

    Args:
        model: an ONNX file of a verified bundle.
        precision: that of the model.
        targets: what to build for, sm_75 by itself; None for the GPU at hand.
        timing_cache: TensorRT's measured kernels, read if there and written afterwards. TensorRT for RTX measures
            nothing while it builds, and it is left alone.
        lengths: of a network with a text, what texts are padded to. It is made fastest for the middle one, since the
            longest are rare.

    Raises:
        BackendError: TensorRT does not understand the network, cannot build for the targets, or fails.
        UsageError: sm_75 is one of several targets.
        KeyboardInterrupt: it was interrupted; the build has ended.
    """
    check_alone(targets or ())
    network = parse_network(flavour, model, inputs, outputs)
    edit = edit_for_turing(network, precision) if targets == (TURING,) else None
    log = captured_log(flavour)
    with log.errors() as said:
        monitor = _monitor(flavour.module, progress)
        config = _configure(network, precision, targets, lengths, said)
        config.progress_monitor = monitor
        measured = None if flavour.builds_ahead or timing_cache is None else timing_cache
        if measured is not None:
            read_timing_cache(config, measured)
        started = time.perf_counter()
        plan = _interruptible(monitor, lambda: network.builder.build_serialized_network(network.definition, config))
        seconds = time.perf_counter() - started
    if monitor.failure is not None:
        raise monitor.failure
    if plan is None:
        what = f"failed while building {model.name} for {_shown(targets)}"
        raise _refused(flavour, what, said, *(LOWER if edit is not None and precision == "fp32" else ()))
    if measured is not None:
        write_timing_cache(config, measured)
    return BuiltEngine(bytes(plan), precision, targets or (), products(network), seconds, edit)


def _configure(
    network: ParsedNetwork,
    precision: Precision,
    targets: tuple[Target, ...] | None,
    lengths: Sequence[int],
    said: list[str],
) -> Any:
    flavour = network.flavour
    trt = flavour.module
    config = network.builder.create_builder_config()
    # Names and types of the layers are kept in the engine, for the inspector; it runs no slower.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # Else TensorRT for RTX may allocate while it runs, and a CUDA graph cannot be captured of that.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    profile = network.builder.create_optimization_profile()
    least, usual, most = (1, lengths[(len(lengths) - 1) // 2], lengths[-1]) if lengths else (1, 1, 1)
    for tensor in network.inputs:
        shapes = [
            (1, *(size if size >= 0 else length for size in tuple(tensor.shape)[1:])) for length in (least, usual, most)
        ]
        profile.set_shape(tensor.name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise _refused(flavour, f"does not take the shapes of {network.model.name}", said)
    if flavour.builds_ahead:
        _set_targets(flavour, config, targets, said)
    elif targets:
        raise BackendError(
            f"{flavour.name} {flavour.version} builds for the GPU at hand alone, not for {_shown(targets)}.",
            Remedy("Leave it out", option="target"),
            BUILD_AHEAD,
        )
    return config


def _set_targets(flavour: Flavour, config: Any, targets: tuple[Target, ...] | None, said: list[str]) -> None:
    known = flavour.module.ComputeCapability
    wanted = ["CURRENT"] if targets is None else [f"SM{target.major}{target.minor}" for target in targets]
    config.num_compute_capabilities = len(wanted)
    for index, name in enumerate(wanted):
        if name not in known.__members__ or not config.set_compute_capability(known.__members__[name], index):
            raise _refused(flavour, f"cannot build for {_shown(targets)}", said)


def _shown(targets: tuple[Target, ...] | None) -> str:
    return "the GPU at hand" if not targets else ", ".join(map(str, targets))


def _refused(flavour: Flavour, what: str, said: list[str], *remedies: Remedy) -> BackendError:
    return BackendError(f"{flavour.name} {flavour.version} {what}: {in_short(said)}", *(remedies or (SEE_WHAT_RUNS,)))


def _interruptible(monitor: Any, work: Callable[[], Any]) -> Any:
    """Do the work in another thread; Ctrl-C, which only ever reaches the main one, ends it at its next step."""
    with ThreadPoolExecutor(1) as pool:
        future: Future[Any] = pool.submit(work)
        try:
            while not wait([future], timeout=0.2).done:  # A wait without end would not notice Ctrl-C under Windows.
                pass
        except BaseException:
            monitor.cancelled.set()
            raise
        return future.result()


def _monitor(trt: Any, progress: Progress | None) -> Any:
    """TensorRT's progress monitor: reports the outermost phases, and stops the build when it is cancelled."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.cancelled = threading.Event()
            self.failure: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                self._report(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._report(phase_name, step + 1)
            return not self.cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._report(phase_name, self._steps.get(phase_name, 0))

        def _report(self, phase: str, done: int) -> None:
            """Nothing may be raised into TensorRT, which would end the process."""
            total = self._steps.get(phase)
            if progress is None or not total or self.cancelled.is_set():
                return
            try:
                progress(phase, min(done, total), total)
            except BaseException as failure:
                self.failure = failure
                self.cancelled.set()

    return Monitor()
