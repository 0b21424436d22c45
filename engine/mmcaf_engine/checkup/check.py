"""One line of what a checkup found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, and what to do if it is not well.

    status: "ok"; "note" for something optional that is absent; "problem" for what stops the main job.
    """

    area: str
    subject: str
    status: Literal["ok", "note", "problem"]
    detail: str
