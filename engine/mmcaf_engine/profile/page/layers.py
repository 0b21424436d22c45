"""One window by the network's modules and by its layers, slowest first."""

from ...page.markup import Markup, join, tag
from ...page.tables import Column, bar, table
from ..figures import amount, milliseconds, percent
from ..report import Layers, LayerTime, ModuleTime

SHOWN_MODULES = 15
"""So many are seen at once; the others can be unfolded."""

SHOWN_LAYERS = 40
"""At most so many are listed; the JSON report has all."""

_FIGURES = (Column("time"), Column("share"), Column("GFLOP"), Column("MB moved"), Column("of roofline"))


def layers_part(name: str, layers: Layers) -> Markup:
    """The modules with a bar each, and the layers to unfold."""
    longest = max((module.ms for module in layers.modules), default=0.0) or 1.0
    rows = [
        (
            module.module,
            bar(module.ms / longest, part=module.roofline_share or 0.0),
            *_figures(module),
            module.bound or "-",
        )
        for module in layers.modules
    ]
    heads = (Column(""), Column("", "gauge"), *_FIGURES, Column("bound by"))
    first, others = rows[:SHOWN_MODULES], rows[SHOWN_MODULES:]
    title = f"{name}, one window by module of the source network"
    said = (
        f"Layers add up to {milliseconds(layers.layers_ms)} of {milliseconds(layers.infer_ms)} that one window takes "
        f"({percent(layers.layers_ms / (layers.infer_ms or 1))}); {milliseconds(layers.profiled_ms)} with the "
        f"profiling on. Times are from {layers.source}."
    )
    return join(
        tag("p", said, class_="soft"),
        table(title, heads, first),
        tag("details", tag("summary", f"{len(others)} more modules"), table(title, heads, others)) if others else None,
        tag("details", tag("summary", f"{_slowest(layers)} by themselves"), _layer_table(name, layers)),
    )


def _slowest(layers: Layers) -> str:
    count = len(layers.rows)
    return f"The {SHOWN_LAYERS} slowest of {count} layers" if count > SHOWN_LAYERS else f"All {count} layers"


def _layer_table(name: str, layers: Layers) -> Markup:
    shown = sorted(layers.rows, key=lambda row: -row.ms)[:SHOWN_LAYERS]
    rows = [(row.name, row.module, row.kind, *_figures(row), row.bound or "-") for row in shown]
    heads = (Column("layer", "words"), Column("module", "words"), Column("kind"), *_FIGURES, Column("bound by"))
    return table(f"{name}, one window by layer", heads, rows)


def _figures(row: LayerTime | ModuleTime) -> tuple[str, ...]:
    return (
        milliseconds(row.ms),
        percent(row.share),
        amount(None if row.flops is None else row.flops / 1e9, ""),
        amount(None if row.bytes is None else row.bytes / 1e6, ""),
        percent(row.roofline_share),
    )
