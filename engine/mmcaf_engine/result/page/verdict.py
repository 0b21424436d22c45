"""The answer in large, and the probability of every label."""

from collections.abc import Iterator

from ...page.markup import Markup, join, tag
from ...page.tables import Cell, Column, bar, table
from ..card import RESEARCH
from ..codes import PRIVATE_SCHEME
from ..decisions.statements import LabelRow, figures_of, label_rows, scored_in_words
from ..parts import Ensemble, Window
from ..result import Result, in_utc
from ..risk import level_figures, level_range

LONG = 60
"""Characters from which on a label is set smaller."""
PRINTED_LABELS = 14, 6
"""Rows that are printed, without and beside windows; a screen shows all."""
TOP_WINDOWS = 5


def verdict(result: Result) -> Markup:
    """The page's head: what it is, label and probability, when and by what it was made."""
    made = [] if result.created is None else [in_utc(result.created)]
    model = result.model
    version = "" if model.version is None else f" {model.version}"
    study = result.study
    read = f"{study.modality} {study.body_part or ''}".strip()
    about = [read, scored_in_words(result), *made, f"{model.name}{version}"]
    long = len(result.label) > LONG
    return tag(
        "header",
        tag("p", RESEARCH, class_="research"),
        tag("p", "Answer of a neural network", class_="eyebrow"),
        tag("div", tag("h1", result.label, class_="long" if long else None), *_sure(result), class_="verdict"),
        tag("p", " · ".join(part for part in about if part), class_="soft clamp"),
        tag("p", result.disclaimer, class_="soft clamp"),
        tag("p", tag("a", _warned(len(result.warnings)), href="#warnings"), class_="warned")
        if result.warnings
        else None,
    )


def _sure(result: Result) -> Iterator[Markup]:
    if result.probability is not None:
        shown = figures_of(result, result.label, result.probability)
        yield tag("p", shown, tag("small", "probability"), class_="sure")


def _warned(count: int) -> str:
    return "1 warning" if count == 1 else f"{count} warnings"


def labels_part(result: Result) -> Markup:
    """Every label with its probability: those that are the answer first."""
    several = len(result.windows) > 1
    found = label_rows(result)
    thresholds = any(row.limit for row in found)
    heads = ("label", "", "probability", "threshold", "")
    columns = [Column(head, "gauge" if at == 1 else "") for at, head in enumerate(heads) if thresholds or at != 3]
    rows = [[cell for at, cell in enumerate(_cells(result, row)) if thresholds or at != 3] for row in found]
    return join(
        table("What the network gives each label", columns, rows, printed=PRINTED_LABELS[several]),
        None if result.ensemble is None else _members(result, result.ensemble),
        _risk(result),
        _branches(result),
        _windows(result) if several else None,
    )


def _members(result: Result, ensemble: Ensemble) -> Markup:
    """How far the members of an ensemble agree, on every label in the order of the table above."""
    columns = [Column("label"), Column("lowest"), Column("highest"), Column("spread")]
    rows = []
    for row in label_rows(result):
        each = ensemble.probabilities[row.label]
        figures = (min(each), max(each), ensemble.spread[row.label])
        rows.append((tag("span", row.label, class_="clamp"), *(f"{figure:.3f}" for figure in figures)))
    bound = "" if ensemble.bound is None else f"; above {ensemble.bound:g} the answer warns"
    return join(
        tag("h3", f"An ensemble: the mean of {ensemble.members} networks", class_="clamp"),
        table("How far their probabilities lie apart", columns, rows, printed=PRINTED_LABELS[1]),
        tag("p", f"The spread is the standard deviation of their probabilities{bound}.", class_="soft"),
    )


def _cells(result: Result, row: LabelRow) -> Iterator[Cell]:
    code = (result.labels or {}).get(row.label)
    known = None if code is None or code.scheme == PRIVATE_SCHEME else tag("small", f"{code.scheme} {code.value}")
    yield join(tag("span", row.label, class_="clamp"), known)
    yield bar(row.probability)
    yield figures_of(result, row.label, row.probability)
    yield row.limit
    yield tag("b", row.said) if row.holds else row.said


def _risk(result: Result) -> Markup | None:
    """The level of risk of each label that has cut points."""
    rows = [
        (one.label, tag("b", f"{one.level}, {one.rank} of {one.levels}"), level_figures(one), level_range(one))
        for one in result.risk_level or ()
    ]
    if not rows:
        return None
    columns = [Column("label"), Column("level", "words"), Column("probability"), Column("cut points")]
    sources = "; ".join(dict.fromkeys(one.source for one in result.risk_level or () if one.source))
    return join(
        table("Levels of risk, by the bundle's cut points", columns, rows, printed=PRINTED_LABELS[1]),
        tag("p", f"Cut points from: {sources}", class_="soft clamp") if sources else None,
    )


def _branches(result: Result) -> Markup | None:
    """What parts of the network say by themselves."""
    if not result.branch_scores:
        return None
    columns = [Column("label"), *(Column(one.title) for one in result.branch_scores)]
    rows = [
        (label, *(f"{one.probabilities[label]:.3f}" for one in result.branch_scores)) for label in result.probabilities
    ]
    return table("What parts of the network say by themselves; no part of the answer", columns, rows, printed=6)


def _windows(result: Result) -> Markup:
    """The score of every window along the series, and the highest."""
    highest = sorted(result.windows, key=lambda window: -window.probability)[:TOP_WINDOWS]
    rows = [(_span(window), f"{window.probability:.3f}", f"{window.logit:.3f}") for window in highest]
    columns = [Column("slices"), Column("probability"), Column("logit")]
    return tag(
        "div",
        tag(
            "h3",
            f"Along the slices: {len(result.windows)} windows, each with its score of {result.scored_label}, 0 to 1",
            class_="clamp",
        ),
        _strip(result),
        tag("p", "from the feet ", tag("span", f"to slice {result.study.slices}"), class_="soft ends"),
        table("The highest windows", columns, rows, printed=3),
        class_="windows",
    )


def _span(window: Window) -> str:
    first = window.start_slice + 1
    return f"from {first}" if window.slices is None else f"{first}-{window.start_slice + window.slices}"


def _strip(result: Result) -> Markup:
    """A line for each window, as high as its probability; the table holds the highest."""
    count = max(result.study.slices, 1)
    lines = "".join(
        f"M{1000 * window.start_slice / count:.0f} {60 - 56 * window.probability:.1f}"
        f"h{max(1000 * (window.slices or 1) / count, 1):.0f}"
        for window in result.windows
    )
    return tag(
        "svg",
        tag("path", d="M0 60H1000M0 32H1000M0 4H1000", class_="grid"),
        tag("path", d=lines, class_="score"),
        class_="strip",
        viewBox="0 0 1000 64",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
