"""The form for a record, in a study's page: its fields, and at each what the engine refuses of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ....page.markup import Markup, join, tag
from ....record.encode import PATIENT_ID_KEY
from ...form import Checked, Entry
from .frame import study_address

AUTHOR, SURE = "author", "sure"
FIELD, UNIT = "field.", "unit."
"""What the names of inputs begin with."""
LONGEST_AUTHOR = 200

Attributes = dict[str, str | bool | None]


@dataclass(frozen=True)
class Typed:
    """What was typed before it was refused; nothing on a new form. fields: by name, with the patient's ID."""

    fields: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    author: str = ""
    checked: Checked = field(default_factory=Checked)


def read_typed(form: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Fields and units of a form that was sent."""
    plain = {name: value.replace("\r\n", "\n") for name, value in form.items()}
    fields = {name.removeprefix(FIELD): value for name, value in plain.items() if name.startswith(FIELD)}
    units = {name.removeprefix(UNIT): value for name, value in plain.items() if name.startswith(UNIT)}
    return fields, units


def record_form(study: str, entries: Sequence[Entry], typed: Typed | None = None) -> Markup:
    """The whole form; with what was typed, and why it is not taken, where it was sent before."""
    given = typed or Typed()
    wrong = given.checked.fields
    parts = [_field(at, one, given, wrong.get(one.name)) for at, one in enumerate(entries)]
    patient = _labelled(
        "patient",
        "Patient ID",
        "As the record has it that you copy from. It is compared with the study's.",
        wrong.get(PATIENT_ID_KEY),
        lambda more: tag(
            "input",
            type="text",
            name=FIELD + PATIENT_ID_KEY,
            value=given.fields.get(PATIENT_ID_KEY, ""),
            autocomplete="off",
            **more,
        ),
    )
    author = _labelled(
        "author",
        "Who typed it",
        "Your name or initials; kept with the record, and when.",
        wrong.get(AUTHOR),
        lambda more: tag(
            "input",
            type="text",
            name=AUTHOR,
            value=given.author,
            maxlength=LONGEST_AUTHOR,
            autocomplete="off",
            required=True,
            **more,
        ),
    )
    sure = None
    if given.checked.warnings and not given.checked.is_refused:
        sure = tag(
            "p",
            tag("input", type="checkbox", name=SURE, value="yes", id="f-sure"),
            tag("label", "I have looked again: it is right as it stands.", for_="f-sure"),
            class_="tick",
        )
    return tag(
        "form",
        _refused(given.checked),
        tag("div", patient, *parts, author, class_="fields"),
        sure,
        tag("button", "Keep this record", class_="main", id="keep"),
        method="post",
        action=study_address(study, "record"),
        novalidate=True,
        aria_labelledby="record-head",
    )


def _refused(checked: Checked) -> Markup | None:
    lines = [*checked.problems, *checked.warnings]
    if checked.fields:
        lines.insert(0, f"Not kept: look at {', '.join(map(_shown, checked.fields))}.")
    if not lines:
        return None
    return tag("div", *(tag("p", line, class_="problem bad") for line in lines), role="alert", id="refused")


def _shown(name: str) -> str:
    return {PATIENT_ID_KEY: "Patient ID", AUTHOR: "Who typed it"}.get(name, name)


def _field(at: int, one: Entry, given: Typed, wrong: str | None) -> Markup:
    value, name = given.fields.get(one.name, ""), FIELD + one.name

    def draw(more: Attributes) -> Markup:
        if one.kind == "category":
            none = tag("option", "Please choose" if one.required else "Not known", value="")
            options = [tag("option", each, value=each, selected=each == value) for each in one.choices]
            return tag("select", none, *options, name=name, required=one.required, **more)
        if one.kind == "text":
            return tag("textarea", "\n" + value, name=name, rows=6, required=one.required, **more)
        numeric = one.kind == "number"
        box = tag(
            "input",
            type="text",
            name=name,
            value=value,
            inputmode="decimal" if numeric else None,
            autocomplete="off",
            required=one.required,
            **more,
        )
        return tag("div", box, _unit(one, given.units.get(one.name, "")), class_="pair") if numeric else box

    label = one.label if one.label.casefold() == one.name.casefold() else f"{one.label} ({one.name})"
    return _labelled(f"{at}", label, one.hint, wrong, draw, broad=one.kind == "text", optional=not one.required)


def _unit(one: Entry, chosen: str) -> Markup:
    if len(one.units) < 2:
        return tag("span", "".join(one.units), class_="unit")
    options = [tag("option", each, value=each, selected=each == chosen) for each in one.units]
    return tag("select", *options, name=UNIT + one.name, aria_label=f"Unit of {one.label}")


def _labelled(
    at: str,
    label: str,
    hint: str,
    wrong: str | None,
    draw: Callable[[Attributes], Markup],
    *,
    broad: bool = False,
    optional: bool = False,
) -> Markup:
    """An input with its name, what to type, and what is wrong with it, all of which a screen reader says."""
    identity = f"f-{at}"
    about = [f"{identity}-hint"] if hint else []
    about += [f"{identity}-error"] if wrong else []
    more: Attributes = {
        "id": identity,
        "aria_describedby": " ".join(about) or None,
        "aria_invalid": "true" if wrong else None,
    }
    return tag(
        "div",
        tag("label", label, join(" (may be left empty)") if optional else None, for_=identity),
        tag("p", hint, class_="hint", id=f"{identity}-hint") if hint else None,
        draw(more),
        tag("p", _sentence(wrong), class_="error", id=f"{identity}-error") if wrong else None,
        class_="broad" if broad else None,
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
