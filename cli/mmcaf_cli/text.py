"""The answer as text that a person reads at a glance."""

from mmcaf_engine.result import AccuracySummary, Result, WindowScore

SUSPICIOUS = 3
"""At most so many windows are listed."""


def render(result: Result) -> str:
    """A few lines: the answer, the slices behind it, what was run on what, warnings, the disclaimer."""
    spacing = " x ".join(f"{value:.3g}" for value in result.study.spacing_mm)
    engine = result.engine
    total = result.timing_ms["total"] / 1e3
    lines = [
        result.label if result.threshold is None else f"{result.label}   (threshold {result.threshold:g})",
        f"  probability   {_probabilities(result)}",
        *_slices(result),
        f"  study         {result.study.modality}, {result.study.slices} slices, {spacing} mm",
        *_series(result),
        f"  record        {_record(result)}",
        f"  model         {result.model.name}, bundle {result.model.bundle_sha256[:12]}",
        f"  engine        {engine.backend} {engine.precision} on {engine.device}, {total:.2f} s in all",
    ]
    lines += [f"  precision     {_cost(engine.precision, engine.accuracy)}"] if engine.accuracy else []
    lines += [f"  warning       {warning}" for warning in result.warnings]
    lines.append(result.disclaimer)
    return "\n".join(lines)


def _probabilities(result: Result) -> str:
    """Of two labels in their order; of more, the most probable first."""
    shares = list(result.probabilities.items())
    if result.threshold is None:
        shares.sort(key=lambda share: -share[1])
    return "   ".join(f"{label} {probability:.3f}" for label, probability in shares)


def _slices(result: Result) -> list[str]:
    """The windows that speak most for the answer; none where the whole volume is one."""
    if result.threshold is None and len(result.windows) == 1:
        return []
    depth = _window_depth(result)
    highest = sorted(result.windows, key=lambda window: -window.probability)[:SUSPICIOUS]
    slices = ", ".join(f"{_span(window, depth, result.study.slices)} ({window.probability:.3f})" for window in highest)
    return [f"  most suspicious slices   {slices}"]


def _series(result: Result) -> list[str]:
    """Of a network of several, each input's series and why this one."""
    if len(result.study.series) < 2:
        return []
    entries = result.study.series
    return [f"    {entry.input:<11} {entry.slices} slices, {entry.source}: {entry.chosen}" for entry in entries]


def _window_depth(result: Result) -> int:
    """Slices from one window to the next cannot tell its depth; the last window ends at the last slice."""
    return max(1, result.study.slices - result.windows[-1].start_slice)


def _span(window: WindowScore, depth: int, slices: int) -> str:
    return f"{window.start_slice + 1}-{min(window.start_slice + depth, slices)} of {slices}"


def _record(result: Result) -> str:
    if result.record is None:
        return "none needed"
    missing = ", ".join(result.record.missing)
    return f"{len(result.record.features)} fields, " + (f"imputed: {missing}" if missing else "none missing")


def _cost(precision: str, accuracy: AccuracySummary) -> str:
    """What the precision costs, in one line."""
    auroc = "not measured" if accuracy.auroc_difference is None else f"{accuracy.auroc_difference:+.4f}"
    return (
        f"{precision} against fp32 on {accuracy.studies} studies of {accuracy.cohort}: probability within "
        f"{accuracy.max_probability_difference:.4f}, {accuracy.flips} label(s) changed, AUROC {auroc}"
    )
