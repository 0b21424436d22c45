"""What went wrong with an answer, in the engine's words, and a button for everything that may be done about it."""

from collections.abc import Mapping
from typing import Any

from ....page.markup import Markup, join, tag
from ...actions import Action
from ...views import AnswerView
from .frame import button

NO_RECORD = "Its record has not come: this network does not answer without one."
_ACCEPT = {
    ("gaps", "interpolate"): "Accept interpolated slices",
    ("tilt", "resample"): "Accept slices resampled from the tilted ones",
    ("duplicates", "first"): "Keep the first of each repeated image",
    ("oblique", "accept"): "Accept oblique slices",
    ("strict", False): "Answer in spite of the warnings",
}
_DO = {"retry": "Answer it again", "send": "Send again", "cancel": "Cancel"}
_LOST = {"refused": "Refused", "failed": "Failed", "expired": "Not in time", "cancelled": "Cancelled"}


def remedies_part(answer: AnswerView) -> Markup | None:
    """Problem, remedies, buttons; None where there is nothing to say or to do."""
    delayed = [f"{one.destination}: {one.problem}" for one in answer.deliveries if one.problem]
    problem = answer.problem or " ".join(delayed)
    if not problem and answer.state == "waiting-record":
        problem = NO_RECORD
    lines = [_words(one) for one in answer.remedies]
    if answer.state == "sending" and delayed:
        lines.append(tag("li", "It is sent again by itself, and at once where you say so."))
    if answer.state == "waiting-record":
        lines.append(tag("li", "Type it below, or send it: it is taken as soon as it comes."))
    acts = [_act(answer, at, one) for at, one in enumerate(answer.actions)]
    parts = [
        tag("p", f"{_LOST[answer.state]}: " if answer.state in _LOST else None, problem, class_="problem")
        if problem
        else None,
        tag("ul", *lines, class_="remedies") if lines else None,
        tag("div", *acts, class_="acts") if any(acts) else None,
    ]
    return join(*parts) if any(parts) else None


def _words(remedy: Mapping[str, Any]) -> Markup:
    text, command = str(remedy.get("text") or "").rstrip(".: "), remedy.get("command")
    return tag("li", f"{text}: " if text and command else f"{text}.", tag("code", command) if command else None)


def _act(answer: AnswerView, at: int, action: Action) -> Markup | None:
    name = f"do-{answer.id}-{at}"
    if action.do == "record":
        return tag("a", "To the record's form", href="#record-head", id=name)
    address = f"/answers/{answer.id}/{'cancel' if action.do == 'cancel' else 'retry'}"
    if not action.options:
        return button(address, _DO[action.do], main=action.do == "send", name=name)
    [(option, value)] = action.options.items()
    if value is None:
        field = f"{name}-value"
        return tag(
            "form",
            tag("label", "Series, by its number or UID ", for_=field),
            tag("input", type="text", name=option, id=field, required=True, maxlength=64, autocomplete="off"),
            tag("button", "Answer with this series", id=name),
            method="post",
            action=address,
        )
    label = _ACCEPT.get((option, value), f"Answer with {option} {value}")
    return button(address, label, fields={option: str(value).lower()}, main=True, name=name)
