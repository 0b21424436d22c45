"""What a backend says of this machine: whether it can run here, and what else there is to know."""

from dataclasses import dataclass

from ..errors import Remedy


@dataclass(frozen=True)
class Availability:
    """Whether a backend, or a precision on it, can run on this machine, the reason in words, and what would help."""

    available: bool
    reason: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Detail:
    """One thing of a backend that `mmcaf doctor` shows: what it is about, whether it is there, more in words, and what
    would help."""

    subject: str
    present: bool
    text: str
    remedies: tuple[Remedy, ...] = ()
