"""The page of one study: its answers with their steps and where they went, what went wrong, and what mends it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response

from ....page.markup import Child, Markup, join, tag
from ....page.tables import Cell, Column, table
from ...history import RecordView
from ...patients import Person
from ...views import AnswerView, EventView, StudyView
from ...worklist import state_of
from .frame import badge, button, live, moment, notice, page, states_of, study_address, words_of
from .remedies import remedies_part

_SOURCES = {"page": "typed on this page", "http": "posted", "folder": "from the folder", "fhir": "from the FHIR server"}


@dataclass(frozen=True)
class Shown:
    """What the page is made of. results: answer -> its JSON result, where it is kept. form: for its record."""

    study: StudyView
    person: Person
    events: Sequence[EventView] = ()
    records: Sequence[RecordView] = ()
    results: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    form: Markup | None = None
    deadline: float | None = None


def study_page(
    shown: Shown, *, leave: bool, said: str | None = None, status: int = 200, still: bool = False
) -> Response:
    """The page.

    Args:
        said: why what was asked for was not done.
        still: somebody is at work in its form: it does not follow the service.
        leave: somebody is logged in.
    """
    study, person = shown.study, shown.person
    sections: list[Markup | None] = [*_answers(shown)]
    first, others = (sections[0] if sections else None), sections[1:]
    form = None
    if shown.form is not None:
        form = tag("section", tag("h2", "The record of this study", id="record-head"), shown.form)
    return page(
        "Study",
        live("head", _facts(study, person)),
        notice("Not done", said) if said else None,
        live("first", _waiting(study, shown.deadline), first),
        live("form", form) if not still else form,
        live("others", *others, _records(shown.records), _history(shown.events)),
        heading=person.name or "Study without a name",
        leave=leave,
        status=status,
        follows=not still,
    )


def missing_page(leave: bool) -> Response:
    """There is no such study."""
    return page(
        "No such study",
        tag("section", tag("p", "No study of this UID has come."), tag("p", tag("a", "To the worklist", href="/"))),
        leave=leave,
        status=404,
        follows=False,
    )


def _facts(study: StudyView, person: Person) -> Markup:
    images = f"{study.instances}" if study.expected is None else f"{study.instances} of {study.expected}"
    pairs: list[tuple[str, Cell]] = [
        ("Patient ID", person.id or "not said"),
        ("Born", person.born),
        ("Sex", person.sex),
        ("Accession", person.accession),
        ("Study", ", ".join(part for part in (person.modality, person.described, person.made) if part)),
        ("Images", "removed, as the settings have it" if study.pruned is not None else images),
        ("From", study.source),
        ("Last image", moment(study.last)),
        ("StudyInstanceUID", study.uid),
    ]
    said = [join(tag("dt", name), tag("dd", value)) for name, value in pairs if value]
    return tag("section", tag("dl", *said, class_="facts"))


def _waiting(study: StudyView, deadline: float | None) -> Markup | None:
    if study.state != "received":
        return None
    head = tag("div", tag("h2", "Images are coming in"), badge("received"), class_="heading")
    if study.problem is None:
        return tag("section", head, tag("p", "It is answered once nothing more comes for a while."))
    if study.closed is not None:
        return tag("section", head, tag("p", study.problem, class_="problem"), tag("p", "Nothing more is waited for."))
    until = join("What is missing is waited for until ", moment(deadline), "; then its answer says what can be done.")
    return tag(
        "section",
        head,
        tag("p", study.problem, class_="problem"),
        tag("p", until) if deadline is not None else None,
        tag("div", button(study_address(study.uid, "close"), "Wait no longer", name="close"), class_="acts"),
    )


def _answers(shown: Shown) -> list[Markup]:
    """The newest generation's first."""
    ordered = sorted(shown.study.answers, key=lambda one: (-one.generation, one.shadow, one.id))
    return [_answer(one, shown) for one in ordered]


def _answer(answer: AnswerView, shown: Shown) -> Markup:
    old = answer.generation != shown.study.generation
    head = tag(
        "div",
        tag("h2", f"Answer of {answer.bundle}", id=f"a-{answer.id}"),
        badge(state_of(answer)),
        badge("shadow", "compared, not sent") if answer.shadow else None,
        badge("old", "of fewer images") if old else None,
        class_="heading",
    )
    steps = [event for event in shown.events if event.answer == answer.id]
    options = ", ".join(f"{name} = {value}" for name, value in answer.options.items())
    return tag(
        "section",
        head,
        _verdict(answer, shown.results.get(answer.id)),
        remedies_part(answer),
        tag("p", f"Accepted by a person: {options}.", class_="soft") if options else None,
        _deliveries(answer) if answer.deliveries else None,
        _steps(steps),
        _objects(answer),
        aria_labelledby=f"a-{answer.id}",
        class_="notice" if answer.problem and answer.state in ("refused", "failed", "expired") else None,
    )


def _verdict(answer: AnswerView, result: Mapping[str, Any] | None) -> Markup | None:
    if result is None:
        return None
    probability, warnings = result.get("probability"), result.get("warnings") or []
    sure = tag("span", f"{probability:.3f}") if isinstance(probability, int | float) else None
    told = None
    if warnings:
        count = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        told = tag("p", f"{count}: {' '.join(map(str, warnings))}")
    kinds = {one.kind for one in answer.objects}
    link = tag(
        "a", "The answer's page: pictures, scores, record", href=_object(answer, "answer"), id=f"open-{answer.id}"
    )
    return join(
        tag("p", tag("b", str(result.get("label") or "none")), sure, class_="verdict"),
        told,
        tag("p", link) if "answer" in kinds else None,
    )


def _objects(answer: AnswerView) -> Markup | None:
    links: list[Child] = []
    for one in answer.objects:
        links += [" · "] if links else []
        links.append(tag("a", one.kind.replace("-", " "), href=_object(answer, one.kind)))
    return tag("p", "Kept: ", *links, class_="soft") if links else None


def _object(answer: AnswerView, kind: str) -> str:
    return f"/api/v1/answers/{answer.id}/{kind}"


def _deliveries(answer: AnswerView) -> Markup:
    columns = [
        Column("Destination", "words"),
        Column("State", "words"),
        Column("Tries"),
        Column("Next try"),
        Column("What it answered", "words"),
    ]
    rows: list[list[Cell]] = []
    for one in answer.deliveries:
        waits = one.state == "sending"
        state = "delayed" if waits and one.problem else one.state
        rows.append(
            [one.destination, badge(state), f"{one.tries}", moment(one.due) if waits else "", one.problem or ""]
        )
    return table("Where it goes", columns, rows)


def _steps(events: Sequence[EventView]) -> Markup | None:
    items = [tag("li", tag("b", words_of(event.state)), moment(event.at)) for event in events]
    return tag("ol", *items, class_="steps", aria_label="Steps") if items else None


def _records(records: Sequence[RecordView]) -> Markup | None:
    if not records:
        return None
    rows: list[list[Cell]] = [
        [
            moment(one.arrived),
            _SOURCES.get(one.source, one.source),
            one.author or "not said",
            ", ".join(map(str, one.answers)) or "none",
        ]
        for one in records
    ]
    columns = [Column("When"), Column("How", "words"), Column("Who", "words"), Column("For answer")]
    return tag("section", tag("h2", "Records that were given"), table("The newest first", columns, rows))


def _history(events: Sequence[EventView]) -> Markup | None:
    if not events:
        return None
    rows: list[list[Cell]] = [
        [moment(one.at), states_of([one.state]), "" if one.answer is None else f"{one.answer}", one.detail]
        for one in events
    ]
    columns = [Column("When"), Column("State", "words"), Column("Answer"), Column("Detail", "words")]
    return tag(
        "section",
        tag("details", tag("summary", "Everything that happened"), table("In its order", columns, rows), id="history"),
    )
