"""What may become of a study's answer: its states, and the steps from one to the next.

received -> complete            of a study, while its images come; see `studies`
queued -> running -> written -> sending -> delivered -> committed
waiting-record                  until a record comes for it, then queued
refused, failed, cancelled, expired, superseded: the end, each with its reason; all but superseded can be tried again
"""

from typing import Literal, get_args

StudyState = Literal["received", "complete"]
AnswerState = Literal[
    "waiting-record",
    "queued",
    "running",
    "written",
    "sending",
    "delivered",
    "committed",
    "refused",
    "failed",
    "cancelled",
    "expired",
    "superseded",
]
"""written: its objects are frozen on the disk. delivered: every destination took them. committed: and those that are
asked to have promised to keep them. superseded: images came that it does not know, before it was written.
"""

ANSWER_STATES: tuple[AnswerState, ...] = get_args(AnswerState)

NEXT: dict[AnswerState, frozenset[AnswerState]] = {
    "waiting-record": frozenset({"queued", "cancelled", "expired", "superseded", "refused"}),
    "queued": frozenset({"running", "cancelled", "expired", "superseded", "waiting-record"}),
    "running": frozenset({"queued", "written", "refused", "failed", "cancelled", "superseded", "waiting-record"}),
    "written": frozenset({"sending"}),
    "sending": frozenset({"delivered", "failed", "expired", "cancelled"}),
    "delivered": frozenset({"committed", "failed", "expired"}),
    "committed": frozenset(),
    "refused": frozenset({"queued"}),
    "failed": frozenset({"queued", "sending"}),
    "cancelled": frozenset({"queued", "sending"}),
    "expired": frozenset({"queued", "sending"}),
    "superseded": frozenset(),
}
"""From each state, those that may follow: running to queued where its process died, failed to sending where the objects
are frozen and only their delivery failed."""

OPEN: frozenset[AnswerState] = frozenset({"waiting-record", "queued", "running"})
"""Of an answer that no object was made of yet."""

ENDED: frozenset[AnswerState] = frozenset({"committed", "refused", "failed", "cancelled", "expired", "superseded"})
"""Nothing more happens by itself."""
