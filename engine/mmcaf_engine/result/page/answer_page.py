"""One answer as a page for the person who reads it: on a screen of any width, or on one sheet of paper."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...inputs.prepare import Prepared
from ...page.document import document
from ...page.markup import Markup, tag
from ..explain import ExplanationMap
from ..result import Result
from .attention import attention_part
from .facts import (
    DEIDENTIFIED,
    PRINTED_FIELDS,
    PRINTED_REMARKS,
    PRINTED_WARNINGS,
    again_part,
    checks_part,
    model_part,
    notes_part,
    record_part,
    study_part,
)
from .pictures import MOST_MAPS, draw_pictures
from .style import answer_style
from .verdict import LONG, PRINTED_LABELS, labels_part, verdict
from .viewer import pictures_part

MOST_LINES = 20
"""Of what differs from answer to answer, in one of two columns; beyond, paper takes smaller letters."""


def answer_page(
    result: Result,
    prepared: Prepared,
    deciding: int,
    *,
    maps: Sequence[ExplanationMap] = (),
    self_test: Mapping[str, Any] | None = None,
) -> str:
    """The whole page, which holds nothing of the patient but what the result says.

    What differs from run to run, the time that was taken, is not on it: the same result gives the same bytes.

    Args:
        result: the answer. Of a deidentified one, what the record said is not shown either.
        prepared: what it was made from; its slices are drawn.
        deciding: the window that the answer rests on most.
        maps: heat maps of that window, of which the first few are drawn.
        self_test: its outcome, as `Session.describe` tells it.
    """
    drawn = tuple(maps)[:MOST_MAPS]
    pictures = draw_pictures(prepared, deciding, drawn)
    images = None if pictures is None else pictures_part(pictures, drawn, len(maps) - len(drawn))
    read: list[tuple[str, str, Markup | None]] = [
        ("answer", "Answer", labels_part(result)),
        ("warnings", f"Warnings ({len(result.warnings)})", notes_part(result.warnings, PRINTED_WARNINGS)),
        ("record", "Record", record_part(result.record, prepared.record)),
        ("attention", "Attention", attention_part(result.attention)),
    ]
    behind: list[tuple[str, str, Markup | None]] = [
        ("checks", "How it was checked", checks_part(result, self_test or {}, maps)),
        ("study", "Study", study_part(result.study)),
        ("model", "Model and engine", model_part(result)),
        (
            "remarks",
            f"Remarks ({len(result.remarks)})",
            notes_part(result.remarks, PRINTED_REMARKS) if result.remarks else None,
        ),
        ("again", "To make it again", again_part(result)),
    ]
    return document(
        f"{result.label}: answer of {result.model.name}",
        answer_style(),
        verdict(result),
        tag(
            "main",
            tag("p", DEIDENTIFIED, class_="soft across") if result.created is None else None,
            _section("slices", "Slices" if prepared.series else "Image", images),
            *(tag("div", *(_section(*one) for one in part), class_="column") for part in (read, behind)),
            class_="dense" if _much(result) else None,
        ),
        tag("footer", tag("p", result.disclaimer, class_="screen")),
    )


def _much(result: Result) -> bool:
    """Whether there is more to say than one sheet of paper holds in letters of the usual height; in lines, about."""
    windows = len(result.windows) > 1
    fields = {} if result.record is None else result.record.features
    read = min(2 * len(result.probabilities), 2 * PRINTED_LABELS[windows]) + min(len(fields), PRINTED_FIELDS)
    read += 2 * min(len(result.warnings), PRINTED_WARNINGS) + 5 * windows
    read += 0 if result.attention is None else 3
    read += min(2 * len(result.risk_level or ()), 2 * PRINTED_LABELS[1]) + 8 * bool(result.branch_scores)
    behind = 2 * len(result.study.uids) + len(result.study.selection) + 2 * min(len(result.remarks), PRINTED_REMARKS)
    fallback = result.engine.fallback is not None or result.engine.accuracy is not None
    return max(read, behind + 2 * fallback) > MOST_LINES or len(result.label) > LONG


def _section(key: str, head: str, inside: Markup | None) -> Markup | None:
    if inside is None:
        return None
    return tag("section", tag("h2", head, id=f"head-{key}"), inside, id=key, aria_labelledby=f"head-{key}")
