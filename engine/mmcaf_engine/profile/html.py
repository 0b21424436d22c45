"""A report as one page that needs nothing but itself: no script, no font, no picture from elsewhere.

The policy in its head forbids a browser to run or fetch anything. Every drawing stands beside, or is a column of, a
table with the same figures.
"""

from ..page.document import document
from ..page.markup import Markup, join, tag
from ..page.tables import Column, bar, facts, table
from ..result.result import NOT_A_MEDICAL_DEVICE
from .compare import Comparison
from .figures import (
    all_notes,
    amount,
    cold_medians,
    inputs_text,
    measured,
    megabytes,
    milliseconds,
    roofline_text,
    skipped,
    title,
)
from .page.baseline import baseline_part
from .page.cold import cold_part
from .page.layers import layers_part
from .page.spread import spread_chart
from .page.stages import stage_bar, waterfall
from .page.style import report_style
from .report import Configuration, ProfileReport


def html_page(report: ProfileReport, comparison: Comparison | None = None) -> str:
    """The whole page. comparison: with an earlier report, shown first."""
    ranked = measured(report)
    sections = {
        "baseline": ("Against the baseline", None if comparison is None else baseline_part(comparison)),
        "configurations": ("Configurations", _configurations(report, ranked)),
        "distribution": ("Distribution", _distribution(ranked)),
        "stages": ("Stages", _stages(ranked)),
        "cold": ("Cold and warm start", cold_part(ranked)),
        "throughput": ("Throughput", _throughput(ranked)),
        "layers": ("Layers", _layers(ranked)),
        "machine": ("Machine and bundle", _machine(report)),
        "notes": ("Notes", _notes(report)),
    }
    shown = {key: (head, inside) for key, (head, inside) in sections.items() if inside is not None}
    links = [tag("a", head, href=f"#{key}") for key, (head, _) in shown.items()]
    return document(
        f"{report.bundle.name}: latency profile",
        report_style(),
        _header(report, tag("nav", *links, aria_label="Sections")),
        tag(
            "main",
            _interrupted(report),
            _headline(ranked),
            *(tag("section", tag("h2", head), inside, id=key) for key, (head, inside) in shown.items()),
        ),
        tag("footer", tag("p", f"Made by mmcaf-infer {report.created_with}. {NOT_A_MEDICAL_DEVICE}")),
    )


def _header(report: ProfileReport, nav: Markup) -> Markup:
    bundle, settings = report.bundle, report.settings
    badge = tag("span", "demonstration", class_="badge") if bundle.demonstration else None
    said = [
        _subject(report),
        f"{settings.runs} runs",
        f"{settings.threads} threads",
        report.machine.gpu or report.machine.processor,
    ]
    return tag(
        "header",
        tag("p", "Latency profile", class_="eyebrow"),
        tag("h1", bundle.name, badge),
        tag("p", " · ".join(said), class_="soft"),
        nav,
    )


def _interrupted(report: ProfileReport) -> Markup | None:
    if not report.interrupted:
        return None
    return tag("section", tag("b", "Interrupted."), " This is what was measured until then.", class_="notice")


def _headline(ranked: list[Configuration]) -> Markup | None:
    """What the fastest configuration reaches, and where a study's time goes with it."""
    if not ranked:
        return None
    best = ranked[0]
    cards: list[tuple[str, str, str]] = []
    if best.answer is not None:
        cards.append(("one study", milliseconds(best.answer.wall.p50), f"p95 {milliseconds(best.answer.wall.p95)}"))
    if best.steady is not None:
        window = milliseconds(best.steady.per_window_ms)
        cards.append(("one window", window, f"p95 {milliseconds(best.steady.call.p95 / best.steady.batch)}"))
    if best.throughput:
        top = max(best.throughput, key=lambda one: one.windows_per_s)
        cards.append(("windows per second", amount(top.windows_per_s, ""), f"{_requests(top.concurrency)} at a time"))
    if best.cold is not None:
        first = best.cold.first_answer
        what = "first answer" if first else "first window"
        taken = first.p50 if first else sum(ms for _, ms in cold_medians(best.cold, kept=True))
        cards.append((what, milliseconds(taken), "of a new process"))
    if best.memory is not None:
        video = "" if best.memory.vram_peak_mb is None else f", GPU {megabytes(best.memory.vram_peak_mb)}"
        cards.append(("memory", megabytes(best.memory.ram_peak_mb), f"peak{video}"))
    drawn = [tag("div", tag("dt", name), tag("dd", value, tag("small", more))) for name, value, more in cards]
    return tag(
        "section",
        tag("h2", f"{title(best)} is the fastest of what was measured" if len(ranked) > 1 else title(best)),
        tag("dl", *drawn, class_="cards"),
        None if best.answer is None else stage_bar(best.answer),
    )


def _configurations(report: ProfileReport, ranked: list[Configuration]) -> Markup:
    """All that was measured side by side, and what was not."""
    window = {title(one): one.steady for one in ranked}
    slowest = max((one.per_window_ms for one in window.values() if one is not None), default=0.0) or 1.0
    energy = any(one.energy for one in ranked)
    heads = ["", "one study p50", "", "one window p50", "p95", "p99", "windows per s", "memory"]
    heads += ["energy per window"] if energy else []
    columns = [Column(head, "gauge" if index == 2 else "") for index, head in enumerate(heads)]
    rows = [
        (
            title(one),
            milliseconds(one.answer.wall.p50 if one.answer else None),
            bar(one.steady.per_window_ms / slowest) if one.steady else "",
            *(
                [milliseconds(value / one.steady.batch) for value in (call.p50, call.p95, call.p99)]
                if one.steady and (call := one.steady.call)
                else ["-"] * 3
            ),
            amount(max((t.windows_per_s for t in one.throughput), default=None), ""),
            megabytes(one.memory.ram_peak_mb if one.memory else None),
            *([amount(one.energy.joules_per_window if one.energy else None, "J")] if energy else []),
        )
        for one in ranked
    ]
    left_out = [tag("li", tag("b", name), f": {reason}") for name, reason in skipped(report)]
    lead = "Backends and precisions, the fastest first. Lower is better, but for windows per second."
    return join(
        tag("p", lead, class_="lead"),
        table("All configurations, session open and warm", columns, rows, first=True) if rows else None,
        join(tag("h3", "Not measured"), tag("ul", *left_out, class_="notes")) if left_out else None,
    )


def _distribution(ranked: list[Configuration]) -> Markup | None:
    windows = [(title(one), one.steady.call) for one in ranked if one.steady]
    studies = [(title(one), one.answer.wall) for one in ranked if one.answer]
    batch = {one.steady.batch for one in ranked if one.steady}
    what = "One window" if batch <= {1} else f"One call with {', '.join(map(str, sorted(batch)))} windows"
    charts = [spread_chart(name, runs) for name, runs in ((what, windows), ("One study", studies)) if runs]
    return join(*charts) if charts else None


def _stages(ranked: list[Configuration]) -> Markup | None:
    parts = [
        _foldable(title(one), milliseconds(one.answer.wall_ms), waterfall(title(one), one.answer), index == 0)
        for index, one in enumerate(one for one in ranked if one.answer)
        if one.answer
    ]
    lead = (
        "When each stage of one study ran. Stages may run beside each other and in several threads, drawn one above "
        "the other; in the column wall time, each instant counts once."
    )
    return join(tag("p", lead, class_="lead"), *parts) if parts else None


def _throughput(ranked: list[Configuration]) -> Markup | None:
    """A row for each configuration, with columns for each number of callers."""
    counts = sorted({step.concurrency for one in ranked for step in one.throughput})
    most = max((step.windows_per_s for one in ranked for step in one.throughput), default=0.0)
    if not most:
        return None
    rows = []
    for one in ranked:
        steps = {step.concurrency: step for step in one.throughput}
        best = max((step.windows_per_s for step in one.throughput), default=0.0)
        speeds = [amount(steps[count].windows_per_s, "") if count in steps else "-" for count in counts]
        waits = [milliseconds(steps[count].p95_ms) if count in steps else "-" for count in counts]
        rows.append((title(one), bar(best / most), *speeds, *waits))
    heads = [f"{'windows per s, ' if index == 0 else ''}{count} at a time" for index, count in enumerate(counts)]
    heads += [f"{'p95 wait, ' if index == 0 else ''}{count} at a time" for index, count in enumerate(counts)]
    lead = "So many callers at a time, each with its next window as soon as it has an answer."
    columns = [Column(""), Column("", "gauge"), *map(Column, heads)]
    return join(tag("p", lead, class_="lead"), table("Windows per second and how long a caller waits", columns, rows))


def _layers(ranked: list[Configuration]) -> Markup | None:
    parts = [
        _foldable(title(one), milliseconds(one.layers.infer_ms), layers_part(title(one), one.layers), index == 0)
        for index, one in enumerate(one for one in ranked if one.layers)
        if one.layers
    ]
    lead = (
        "Which parts of the network one window spends its time in. The strong part of a bar is the least time that the "
        "measured roofline of this machine allows; the pale part is what could be gained at best."
    )
    return join(tag("p", lead, class_="lead"), *parts) if parts else None


def _machine(report: ProfileReport) -> Markup:
    machine, bundle = report.machine, report.bundle
    operations = "" if bundle.flops is None else f", {bundle.flops / 1e9:.3g} GFLOP per window"
    limits = roofline_text(report)
    return facts(
        [
            ("system", machine.system),
            ("processor", f"{machine.processor}, {machine.cores} cores used"),
            ("instructions", ", ".join(machine.instructions)),
            ("memory", "" if machine.memory_mb is None else megabytes(machine.memory_mb)),
            ("GPU", machine.gpu or "none"),
            ("roofline", f"{limits}. {report.roofline.how}" if report.roofline else ""),
            ("bundle", f"{bundle.name}, {bundle.sha256}"),
            ("network", f"{bundle.network}{operations}"),
            ("study", _subject(report)),
            ("inputs", inputs_text(report)),
            ("settings", _settings_text(report)),
            ("backends", ", ".join(dict.fromkeys(f"{c.backend} {c.version}" for c in measured(report) if c.version))),
            ("mmcaf-infer", report.created_with),
        ]
    )


def _notes(report: ProfileReport) -> Markup | None:
    notes = all_notes(report)
    return tag("ul", *(tag("li", note) for note in notes), class_="notes") if notes else None


def _foldable(name: str, figure: str, inside: Markup, is_open: bool) -> Markup:
    return tag("details", tag("summary", name, tag("span", figure)), inside, open=is_open)


def _subject(report: ProfileReport) -> str:
    subject = report.subject
    slices = "" if subject.slices is None else f", {subject.slices} slices"
    return f"{subject.kind}{slices}, {subject.windows} {'window' if subject.windows == 1 else 'windows'}"


def _settings_text(report: ProfileReport) -> str:
    settings = report.settings
    return (
        f"{settings.runs} runs after at least {settings.warmup} to warm up, {settings.threads} threads, "
        f"batch {settings.batch}; throughput at {', '.join(map(str, settings.concurrency))} requests at a time"
    )


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"
