"""One window, node by node: what the runtimes tell, mapped to the source network and held against the roofline."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from numpy.typing import NDArray

from ..backends.node_names import module_name, module_path
from ..backends.node_time import PRODUCTS, NodeTime
from ..machine.plugins import attributing_errors
from ..manifest import Precision
from ..session.session import Session
from ..timing import Stopwatch
from .report import RUNTIME, Bound, Layers, LayerTime, ModuleTime, Roofline

WARM_UP_RUNS = 3
RUNS_IN_A_ROW = 5


def measure_layers(
    session: Session, window: Mapping[str, NDArray[Any]], runs: int, roofline: Roofline | None
) -> Layers:
    """Run one window through the session and through a second, counting backend of the same kind, a few times in turn.

    Not one by one, as threads of one runtime that still look for work are in the way of the other's first window.

    Args:
        window: inputs with N = 1.
        runs: windows for each of the two, after WARM_UP_RUNS.
        roofline: of the processor; None where it does not say what the session's device reaches.

    Raises:
        BackendError: the runtime does not tell the times of its nodes, or failed.
    """
    plain: list[float] = []
    profiled: list[float] = []
    with attributing_errors(session.choice.backend, "while telling the times of its layers"), ExitStack() as opened:
        counting = session.layers()
        opened.callback(counting.close)
        counting.open()
        for _ in range(WARM_UP_RUNS):
            session.run(window)
            counting.infer(window)
        counting.start_counting()
        for at in range(0, runs, RUNS_IN_A_ROW):
            count = min(RUNS_IN_A_ROW, runs - at)
            plain += [_infer_ms(session.run, window) for _ in range(count)]
            profiled += [_infer_ms(counting.infer, window) for _ in range(count)]
        taken = fmean(plain), fmean(profiled)
        nodes = counting.counted(max(taken[1] - taken[0], 0.0))
    titles = session.bundle.manifest.module_titles
    return assemble(nodes, titles, session.precision, roofline, *taken, counting.source)


def assemble(
    nodes: Sequence[NodeTime],
    titles: Mapping[str, str],
    precision: Precision,
    roofline: Roofline | None,
    infer_ms: float,
    profiled_ms: float,
    source: str,
) -> Layers:
    """The report of these nodes; what a window took besides them is a row of its own.

    Args:
        titles: the manifest's titles of modules.
    """
    layers_ms = float(sum(node.ms for node in nodes))
    outside = max(infer_ms - layers_ms, 0.0)
    total = layers_ms + outside or 1.0
    least = [_least(node, precision, roofline) for node in nodes]
    rows = [_row(node, titles, bound, total) for node, bound in zip(nodes, least, strict=True)]
    parts: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        parts.setdefault(row.module, []).append(at)
    modules = [
        _module(name, [rows[at] for at in part], [least[at] for at in part], total) for name, part in parts.items()
    ]
    rows.append(LayerTime(RUNTIME, RUNTIME, RUNTIME, "", outside, outside / total))
    modules.append(ModuleTime(RUNTIME, 1, outside, outside / total))
    rows.sort(key=lambda row: (-row.ms, row.name))
    modules.sort(key=lambda entry: (-entry.ms, entry.module))
    return Layers(infer_ms, profiled_ms, layers_ms, source, tuple(rows), tuple(modules))


def _infer_ms(run: Callable[[Any], object], window: Mapping[str, NDArray[Any]]) -> float:
    """What the stage "infer" of one call takes."""
    watch = Stopwatch()
    with watch.active():
        run(window)
    return watch.stages_ms()["infer"]


@dataclass(frozen=True)
class _Least:
    """The least milliseconds that a roofline allows for the arithmetic, and for moving the data."""

    compute_ms: float
    memory_ms: float

    @property
    def ms(self) -> float:
        return max(self.compute_ms, self.memory_ms)

    @property
    def bound(self) -> Bound:
        return "compute" if self.compute_ms >= self.memory_ms else "memory"


def _least(node: NodeTime, precision: Precision, roofline: Roofline | None) -> _Least | None:
    if roofline is None or node.flops is None or node.bytes is None or precision not in roofline.gflops:
        return None
    return _Least(node.flops / roofline.gflops[precision] / 1e6, node.bytes / roofline.memory_gb_s / 1e6)


def _row(node: NodeTime, titles: Mapping[str, str], least: _Least | None, total: float) -> LayerTime:
    path = module_path(_main(node))
    told = least is not None and least.ms > 0 and node.ms > 0
    return LayerTime(
        name=node.name,
        kind=node.kind,
        module=module_name(titles, path),
        path=path,
        ms=node.ms,
        share=node.ms / total,
        flops=node.flops,
        bytes=node.bytes,
        roofline_share=least.ms / node.ms if told and least is not None else None,
        bound=least.bound if told and least is not None else None,
    )


def _main(node: NodeTime) -> str:
    """The ONNX node that stands for all of which a runtime's node was made."""
    named = [name for name in node.onnx if "/" in name]
    for name in named:
        if name.partition("/")[2].split("_")[0] in PRODUCTS:
            return name
    return node.name if "/" in node.name else next(reversed(named), "")


def _module(name: str, rows: Sequence[LayerTime], least: Sequence[_Least | None], total: float) -> ModuleTime:
    ms = float(sum(row.ms for row in rows))
    flops = [row.flops for row in rows if row.flops is not None]
    moved = [row.bytes for row in rows if row.bytes is not None]
    known = [entry for entry in least if entry is not None]
    needed = sum(entry.ms for entry in known)
    told = len(known) == len(rows) and needed > 0 and ms > 0
    computing = sum(entry.ms for entry in known if entry.bound == "compute")
    bound: Bound = "compute" if 2 * computing >= needed else "memory"
    return ModuleTime(
        module=name,
        layers=len(rows),
        ms=ms,
        share=ms / total,
        flops=sum(flops) if flops else None,
        bytes=sum(moved) if moved else None,
        roofline_share=needed / ms if told else None,
        bound=bound if told else None,
    )
