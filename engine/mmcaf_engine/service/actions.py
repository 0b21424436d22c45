"""What a person may do about an answer: give a record, try again, otherwise if need be, send again, cancel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ..manifest import ForeignModel
from ..study import Duplicates, Gaps, Oblique, Tilt
from .answers import ENDED_BADLY
from .states import AnswerState

Do = Literal["record", "retry", "send", "cancel"]
"""record: give one, which frees the answer where it waits. send: its frozen objects, now."""

RECORD_REFUSED = 4
"""Exit code of an answer that was refused for its record."""
_CANCELLED: frozenset[AnswerState] = frozenset({"waiting-record", "queued", "running"})


class Changes(ForeignModel):
    """How one answer is made otherwise than its route says: arguments of `infer` of these names."""

    gaps: Gaps | None = None
    tilt: Tilt | None = None
    duplicates: Duplicates | None = None
    oblique: Oblique | None = None
    strict: Literal[False] | None = Field(default=None, description="false: answer in spite of warnings.")
    series: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)] | None = Field(
        default=None, description="SeriesInstanceUID, or its number."
    )

    @property
    def given(self) -> dict[str, Any]:
        """Those that were said."""
        return self.model_dump(exclude_none=True)


_ACCEPTED: dict[str, Sequence[Any]] = {
    "gaps": get_args(Gaps)[1:],
    "tilt": get_args(Tilt)[1:],
    "duplicates": get_args(Duplicates)[1:],
    "oblique": get_args(Oblique)[1:],
    "strict": (False,),
    "series": (None,),
}
"""Option -> what a remedy that names no value leaves to choose from; None where it is for the reader to say."""


@dataclass(frozen=True)
class Action:
    """Something that can be done now. text: what it means, where a remedy says so.

    options: to send with it; one that is null is for the caller to fill in.
    """

    do: Do
    text: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def actions_of(
    state: AnswerState,
    remedies: Sequence[Mapping[str, Any]],
    exit_code: int | None,
    *,
    frozen: bool,
    whole: bool,
    delayed: bool,
) -> Iterator[Action]:
    """Everything that may be done about an answer in its state, what a remedy names first.

    Args:
        frozen: its objects are on the disk. whole: all images of its study are here.
        delayed: a destination could not be reached, and is tried again later.
    """
    if (state in ENDED_BADLY and frozen) or (state == "sending" and delayed):
        yield Action("send")
    elif state in ENDED_BADLY and whole:
        for remedy in remedies:
            for value in _values(remedy):
                yield Action("retry", str(remedy.get("text") or ""), {str(remedy["option"]): value})
        if exit_code == RECORD_REFUSED or state == "expired":
            yield Action("record")
        yield Action("retry")
    if state == "waiting-record":
        yield Action("record")
    if state in _CANCELLED:
        yield Action("cancel")


def _values(remedy: Mapping[str, Any]) -> Sequence[Any]:
    """What can be sent for the option that a remedy names; nothing where it is none of an answer's."""
    option, value = remedy.get("option"), remedy.get("value")
    accepted = _ACCEPTED.get(str(option), ())
    if option == "series":
        return (value if value and str(value).replace(".", "").isdecimal() else None,)
    return [one for one in accepted if value is None or one == value]
