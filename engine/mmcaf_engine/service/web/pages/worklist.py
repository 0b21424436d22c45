"""The worklist: whose studies there are, where each stands since when, and what is wrong with it."""

import time
from urllib.parse import urlencode

from fastapi import Response

from ....page.markup import Markup, tag
from ...patients import Person
from ...views import StudyView
from ...worklist import ON_A_PAGE, TODO, Listed, Order, summary
from .frame import age, live, moment, page, states_of, study_address, words_of
from .remedies import NO_RECORD

_URGENCY = {2: "urgent", 0: "low"}
_HEADS: tuple[tuple[str, str, Order | None], ...] = (
    ("Patient", "who", None),
    ("State", "", "state"),
    ("Problem", "wrong", None),
    ("Study", "what", None),
    ("Images", "number", None),
    ("First image", "", "first"),
    ("Last image", "", "last"),
    ("Priority", "", "priority"),
)
_DOWNWARD: frozenset[Order] = frozenset({"last", "priority", "state"})


def worklist_page(
    listed: Listed, people: dict[str, Person], *, state: str | None, order: Order, at: int, leave: bool
) -> Response:
    """One page of it.

    Args:
        people: by StudyInstanceUID.
        at: which page, from 1.
    """
    pages = max(1, -(-listed.number // ON_A_PAGE))
    heads = [_head(head, kind, own, order, state) for head, kind, own in _HEADS]
    rows = [_row(study, people[study.uid]) for study in listed.studies]
    caption = f"{_number(listed.number)}{f', {_named(state)}' if state else ''}; page {at} of {pages}"
    empty = tag("p", "Nothing here. Studies appear when their first image comes.", class_="soft")
    inside = _listing(caption, heads, rows) if rows else empty
    return page(
        "Worklist",
        _find(),
        live("list", _filters(listed, state, order), tag("section", inside, _pager(at, pages, state, order))),
        here="/",
        leave=leave,
        wide=True,
    )


def found_page(listed: Listed, people: dict[str, Person], *, leave: bool) -> Response:
    """What was found of one patient or order; it is no address, so that no identifier is part of one."""
    heads = [tag("th", head, scope="col", class_=kind or None) for head, kind, _ in _HEADS]
    rows = [_row(study, people[study.uid]) for study in listed.studies]
    said = f"{_number(listed.number)} of this patient or order, the newest first"
    inside = _listing(said, heads, rows) if rows else tag("p", "No study of this patient ID or accession number.")
    back = tag("p", tag("a", "To the whole worklist", href="/", id="back"))
    return page("Worklist", _find(), tag("section", inside, back), here="/", leave=leave, wide=True, follows=False)


def address(state: str | None, order: Order, at: int = 1) -> str:
    """Of a page of the worklist."""
    given = {"state": state, "order": order if order != "last" else None, "page": at if at > 1 else None}
    said = urlencode({name: value for name, value in given.items() if value is not None})
    return f"/?{said}" if said else "/"


def _listing(caption: str, heads: list[Markup], rows: list[Markup]) -> Markup:
    return tag(
        "div",
        tag("table", tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="list"),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="Studies",
        id="studies",
    )


def _find() -> Markup:
    return tag(
        "form",
        tag("label", "Patient ID or accession number", for_="find"),
        tag("input", type="text", name="identifier", id="find", required=True, maxlength=128, autocomplete="off"),
        tag("button", "Find", id="find-it"),
        method="post",
        action="/find",
        role="search",
        class_="find",
    )


def _row(study: StudyView, person: Person) -> Markup:
    came = f"{study.instances}" if study.expected is None else f"{study.instances} of {study.expected}"
    lines = [study.problem] if study.state == "received" else []
    for one in study.answers:
        if one.generation == study.generation and not one.shadow:
            lines += [one.problem or NO_RECORD] if one.problem or one.state == "waiting-record" else []
            lines += [f"{to.destination}: {to.problem}" for to in one.deliveries if to.problem and not one.problem]
    now = max([study.last, *(one.changed for one in study.answers if one.generation == study.generation)])
    return tag(
        "tr",
        tag(
            "th",
            tag("a", person.name or "No name", href=study_address(study.uid), id=f"s-{study.uid}"),
            tag("small", person.id or "No patient ID"),
            scope="row",
            class_="who",
        ),
        tag("td", states_of(summary(study)), tag("small", age(time.time() - now))),
        tag("td", *(tag("p", line) for line in lines if line), class_="wrong"),
        tag("td", _kind(person), tag("small", person.made), class_="what"),
        tag("td", "removed" if study.pruned is not None else came, class_="number"),
        tag("td", moment(study.first)),
        tag("td", moment(study.last)),
        tag("td", _URGENCY.get(study.priority, "routine")),
    )


def _kind(person: Person) -> str:
    return ", ".join(part for part in (person.modality, person.described) if part) or "Unknown"


def _head(head: str, kind: str, own: Order | None, order: Order, state: str | None) -> Markup:
    if own is None:
        return tag("th", head, scope="col", class_=kind or None)
    way = "descending" if own in _DOWNWARD else "ascending"
    link = tag("a", head, href=address(state, own), id=f"by-{own}")
    return tag("th", link, scope="col", class_=kind or None, aria_sort=way if own == order else None)


def _filters(listed: Listed, state: str | None, order: Order) -> Markup:
    shown = {"": "All", TODO: "To do"} | {name: words_of(name) for name in listed.counts if name not in ("", TODO)}
    items = [
        tag(
            "li",
            tag(
                "a",
                label,
                tag("b", f"{listed.counts.get(name, 0)}"),
                href=address(name or None, order),
                id=f"of-{name or 'all'}",
                aria_current="true" if (state or "") == name else None,
            ),
        )
        for name, label in shown.items()
    ]
    return tag("nav", tag("ul", *items, class_="chips"), aria_label="Studies by state")


def _pager(at: int, pages: int, state: str | None, order: Order) -> Markup | None:
    if pages == 1 and at == 1:
        return None
    return tag(
        "nav",
        tag("a", "Newer" if order == "last" else "Before", href=address(state, order, at - 1), rel="prev", id="before")
        if at > 1
        else None,
        tag("a", "Older" if order == "last" else "Next", href=address(state, order, at + 1), rel="next", id="after")
        if at < pages
        else None,
        aria_label="Pages of the list",
        class_="pager",
    )


def _number(number: int) -> str:
    return "1 study" if number == 1 else f"{number} studies"


def _named(state: str) -> str:
    return "to do" if state == TODO else words_of(state)
