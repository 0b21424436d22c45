"""The one tree of exceptions; each class maps to one exit code of the command line.

MmcafError
├── UsageError          2  the call itself
├── StudyError          3  the imaging study
├── RecordError         4  the clinical record
├── BundleError         5  the bundle
├── ExportError         5  the checkpoint
├── BackendError        6  backend, precision, package, self-test
│   └── UnsupportedNetworkError
├── StrictError         7  warnings that strict forbids
├── ServiceError        9  the service
├── DeadlineError     124  not done in time
└── CancelledError    130  ended by the caller
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

CAUSE_CHARACTERS = 4096
"""So much of a foreign exception's message is shown, where it is shown whole."""

_STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""C0 and C1 but newline and tab; what Unicode has to hide or reorder text; halves of characters."""


@dataclass(frozen=True)
class Remedy:
    """What to do next, so that each kind of caller can say it in its own words.

    text: what to do, in a sentence or its beginning, without any option or command.
    option: the argument that does it, by its name in Python: `gaps`; the command line spells it --gaps, HTTP sends it.
    value: what to give it; None where that is for the reader to choose, or where the option is a flag.
    command: a command line to run.
    """

    text: str = ""
    option: str | None = None
    value: str | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, str):
                object.__setattr__(self, name, escaped(value))

    def __str__(self) -> str:
        """As a Python caller reads it."""
        argument = f"{self.option}={self.value}" if self.option and self.value is not None else self.option
        return self.render(argument)

    def render(self, argument: str | None) -> str:
        """The sentence, with the option spelled as `argument`, and the command after it."""
        parts = [part for part in (argument, self.command) if part]
        if not parts:
            return self.text.strip()
        text = self.text.strip().rstrip(".:")
        return f"{text}: {'; '.join(parts)}" if text else "; ".join(parts)

    def to_dict(self) -> dict[str, str]:
        """For JSON: the fields that are there."""
        return {name: value for name, value in asdict(self).items() if value}


def program(*words: object) -> str:
    """A command line of this project's program, for `Remedy.command`."""
    return shlex.join(["mmcaf", *map(str, words)])


def paragraph(*sentences: str) -> str:
    """One paragraph; a sentence that another one follows gets its full stop where it ends with an option or command."""
    given = [sentence for sentence in sentences if sentence]
    return " ".join([*(one if one.endswith((".", "!", "?")) else f"{one}." for one in given[:-1]), *given[-1:]])


class MmcafError(Exception):
    """Base of every error that a user can cause and cure.

    `problem` says what was being done and on what, what came and what was expected, with numbers and units; `remedies`
    say what to do next. `str()` of the error is both, as one paragraph. What would steer a terminal is spelled out.

    Args:
        problem: one sentence or a few.
        remedies: each a `Remedy`, or a sentence that names neither option nor command.
        discreet: the same without what a record or a study holds, where the problem quotes that: for logs, and for
            what is kept longer than they are.
    """

    exit_code = 1

    def __init__(self, problem: str, *remedies: Remedy | str, discreet: str | None = None) -> None:
        self.problem = escaped(problem.rstrip())
        self.discreet = self.problem if discreet is None else escaped(discreet.rstrip())
        given = (Remedy(one) if isinstance(one, str) else one for one in remedies)
        self.remedies: tuple[Remedy, ...] = tuple(one for one in given if str(one))
        super().__init__(self.problem, *self.remedies)

    @property
    def remedy(self) -> str:
        """All remedies as a Python caller reads them; empty where nothing helps."""
        return paragraph(*map(str, self.remedies))

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".strip()

    def to_dict(self) -> dict[str, object]:
        """For JSON: kind, exit code, problem and remedies."""
        return {
            "error": type(self).__name__,
            "exit_code": self.exit_code,
            "problem": self.problem,
            "remedies": [remedy.to_dict() for remedy in self.remedies],
        }


def with_cause(failure: MmcafError) -> MmcafError:
    """The error with the whole message of the foreign exception behind it: only where no patient's data was in hand."""
    cause = failure.__cause__
    if cause is None or isinstance(cause, MmcafError):
        return failure
    try:
        said = printable(str(cause), CAUSE_CHARACTERS)
    except Exception:  # One of another package's may fail even at that.
        return failure
    if not said or f": {said}" in failure.problem:
        return failure
    return type(failure)(f"{failure.problem.removesuffix('.')}: {said}", *failure.remedies)


def restored(document: Mapping[str, Any]) -> MmcafError:
    """The error that `MmcafError.to_dict` wrote, in another process.

    Raises:
        KeyError: there is no error of that name.
    """
    kinds = {kind.__name__: kind for kind in _kinds_below(MmcafError)}
    return kinds[document["error"]](document["problem"], *(Remedy(**fields) for fields in document["remedies"]))


def _kinds_below(kind: type[MmcafError]) -> list[type[MmcafError]]:
    return [one for child in kind.__subclasses__() for one in (child, *_kinds_below(child))]


class UsageError(MmcafError):
    """The call itself is wrong: an option, a combination, a path to write to."""

    exit_code = 2


class StudyError(MmcafError):
    """The imaging study cannot be read or does not fit the network."""

    exit_code = 3


class RecordError(MmcafError):
    """The clinical record cannot be read, is incomplete or contradicts the study's patient.

    Args:
        fields: what is wrong with which field, where it is known; a part of `problem`.
    """

    exit_code = 4

    def __init__(
        self,
        problem: str,
        *remedies: Remedy | str,
        discreet: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(problem, *remedies, discreet=discreet)
        self.fields = {escaped(name): escaped(reason) for name, reason in (fields or {}).items()}


class BundleError(MmcafError):
    """The bundle is damaged, incomplete, or of a version this engine does not read."""

    exit_code = 5


class ExportError(MmcafError):
    """The checkpoint cannot become a bundle."""

    exit_code = 5


class BackendError(MmcafError):
    """The backend, precision or a needed package is unavailable, failed its self-test, or gave a non-finite answer."""

    exit_code = 6


class UnsupportedNetworkError(BackendError):
    """The backend runs on this machine, but does not compute what this network is made of."""


class StrictError(MmcafError):
    """An answer exists but carries warnings, and the caller forbids those."""

    exit_code = 7


class ServiceError(MmcafError):
    """The service cannot start, or cannot do what it was asked for."""

    exit_code = 9


class DeadlineError(MmcafError):
    """There was no answer within the time that the caller gave."""

    exit_code = 124


class CancelledError(MmcafError):
    """The caller ended the work before it was done."""

    exit_code = 130


def escaped(text: str) -> str:
    r"""Text in which nothing steers a terminal or reorders what it shows: spelled out as JSON does it, `\u001b`.

    Newline and tab stay; of a JSON document, the values stay what they are.
    """
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def steers(text: str) -> bool:
    """Whether `escaped` would change it."""
    return _STEERING.search(text) is not None


def printable(text: str, limit: int = 64) -> str:
    """Foreign text on one line, without control characters, cut to `limit` characters."""
    flat = "".join(character if character.isprintable() else " " for character in text)
    flat = " ".join(flat.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 3]}..."
