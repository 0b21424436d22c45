"""One line of what a checkup found."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from ..errors import MmcafError, Remedy

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, and what to do if it is not well.

    status: "ok"; "note" for something optional that is absent; "problem" for what stops the main job.
    """

    area: str
    subject: str
    status: Status
    detail: str
    remedies: tuple[Remedy, ...] = ()

    @classmethod
    def refused(cls, area: str, subject: str, status: Status, failure: MmcafError) -> Self:
        """What an error says."""
        return cls(area, subject, status, failure.problem, failure.remedies)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "remedies": [remedy.to_dict() for remedy in self.remedies]}
