"""How the figures of a report are written and put in order, the same in a terminal and on a page."""

from .report import Cold, Configuration, ProfileReport, Samples

COLD_PARTS = ("process start", "imports", "open", "first window")
"""What a new process does before its first window is out, in this order."""


def milliseconds(value: float | None) -> str:
    """Three significant digits, in seconds from ten of them on; a dash for what was not measured."""
    if value is None:
        return "-"
    if value >= 9_999.5:
        return f"{value / 1e3:.1f} s"
    return f"{value:.{_decimals(value)}f} ms"


def percent(share: float | None) -> str:
    """A share, 0 to 1, as a percentage; with a decimal below ten."""
    if share is None:
        return "-"
    return f"{share:.1%}" if abs(share) < 0.0995 else f"{share:.0%}"


def signed_percent(change: float) -> str:
    """A change, 0 for none, as a percentage with its sign."""
    return f"{change:+.1%}"


def megabytes(value: float | None) -> str:
    """MB as they are; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.0f} MB"


def amount(value: float | None, unit: str) -> str:
    """Three significant digits and a unit; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.{_decimals(value)}f} {unit}".rstrip()


def stage_name(name: str) -> str:
    """A stage's key in words: "copy_in" is "copy in"."""
    return name.replace("_", " ")


def title(configuration: Configuration) -> str:
    """How a configuration is called: "openvino fp32"."""
    return f"{configuration.backend} {configuration.precision}"


def measured(report: ProfileReport) -> list[Configuration]:
    """What was measured, fastest first: by a whole study, else by one window; what has neither comes last."""

    def key(one: Configuration) -> tuple[bool, float]:
        taken = speed(one)
        return taken is None, taken or 0.0

    by_study = all(one.answer is not None for one in report.configurations if one.steady is not None)
    speed = _study if by_study else _window
    return sorted((one for one in report.configurations if one.skipped is None), key=key)


def skipped(report: ProfileReport) -> list[tuple[str, str]]:
    """Title and reason of each configuration of which nothing was measured."""
    return [(title(one), one.skipped) for one in report.configurations if one.skipped is not None]


def cold_medians(cold: Cold, *, kept: bool) -> list[tuple[str, float]]:
    """Name and median in ms of each of `COLD_PARTS`, with the engine kept or with nothing kept."""
    opening = cold.open_warm if kept else cold.open_cold
    parts: tuple[Samples, ...] = (cold.process_start, cold.imports, opening, cold.first_infer)
    return [(name, part.p50) for name, part in zip(COLD_PARTS, parts, strict=True)]


def all_notes(report: ProfileReport) -> list[str]:
    """The report's notes, then those of configurations and of their runs, each named; none twice."""
    notes = list(report.notes)
    by_text: dict[str, list[str]] = {}
    for one in report.configurations:
        runs = [("one window", one.steady and one.steady.call), ("one study", one.answer and one.answer.wall)]
        said = [*one.notes, *(f"{what}: {part.note}" for what, part in runs if part and part.note)]
        for note in said:
            by_text.setdefault(note, []).append(title(one))
    return notes + [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in by_text.items()]


def inputs_text(report: ProfileReport) -> str:
    """The inputs of one window: "image 1 x 12 x 96 x 96, table 7"."""
    shapes = report.subject.inputs.items()
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes)


def roofline_text(report: ProfileReport) -> str:
    """The measured limits of the machine; empty where they were not measured."""
    if report.roofline is None:
        return ""
    speeds = [f"{precision} {value:,.0f} GFLOP/s" for precision, value in report.roofline.gflops.items()]
    return ", ".join([*speeds, f"memory {report.roofline.memory_gb_s:.1f} GB/s"])


def _decimals(value: float) -> int:
    """So many that there are three significant digits, at most three decimals; none for 0."""
    size = abs(value)
    if size == 0:
        return 0
    return next((count for limit, count in ((0.09995, 3), (9.995, 2), (99.95, 1)) if size < limit), 0)


def _study(one: Configuration) -> float | None:
    return None if one.answer is None else one.answer.wall.p50


def _window(one: Configuration) -> float | None:
    return None if one.steady is None else one.steady.per_window_ms
