"""The look of what the page of a report has alone: the colours of stages, and its drawings."""

from ...page.style import stylesheet

STAGES_LIGHT = (
    "#1d5fc4", "#6c4fc0", "#c05a12", "#1b8265", "#a83a76", "#7a6a00", "#3d7f99", "#8a4b3a", "#5c6f1f", "#596677",
)  # fmt: skip
"""Colours that tell stages apart, each at least 3 to 1 against `card`; the first is for what the network takes."""

STAGES_DARK = (
    "#6ea8ff", "#a892f5", "#f0965a", "#4fc59d", "#ee85b5", "#d3bf45", "#7cc3dd", "#d99a86", "#a9bd5c", "#8b98a8",
)  # fmt: skip

_RULES = """
.stack{width:100%;height:26px;display:block;border-radius:6px;background:var(--track)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 22px;margin:10px 0 12px;padding:0;font-size:13.5px}
.legend b{font-weight:600}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:7px;vertical-align:-1px}
.lanes{display:block;width:100%;height:22px;background:var(--track);border-radius:3px}
.ticks{display:block;width:100%;height:18px;overflow:visible}
svg.ticks text{font-size:12px}
.dots{stroke:var(--accent);stroke-opacity:.5;stroke-width:5;stroke-linecap:round;fill:none}
.mark{stroke:var(--ink);stroke-width:2}
.mark95{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:3 2}
.grid{stroke:var(--line);stroke-width:1}
.trend{fill:none;stroke:var(--accent);stroke-width:1.3}
svg text{fill:var(--soft);font-size:12.5px;font-family:inherit}
svg text.name{fill:var(--ink);font-weight:600;font-size:13.5px}
svg.chart{display:block;width:100%;min-width:680px;height:auto}
"""


def report_style() -> str:
    """The page's whole CSS."""
    names = [f"stage{index}" for index in range(len(STAGES_LIGHT))]
    filled = "".join(f".{name}{{fill:var(--{name});background:var(--{name})}}" for name in names)
    light = dict(zip(names, STAGES_LIGHT, strict=True))
    return stylesheet(_RULES, filled, light=light, dark=dict(zip(names, STAGES_DARK, strict=True)))
