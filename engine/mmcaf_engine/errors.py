"""The one tree of exceptions; each class maps to one exit code of the command line."""


class MmcafError(Exception):
    """Base of every error that a user can cause and cure.

    `problem` says what was being done and on what, what came and what was expected;
    `remedy` says what to do next. `str()` of the error is both, as one paragraph.
    """

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem.rstrip()
        self.remedy = remedy.strip()
        super().__init__(f"{self.problem} {self.remedy}".strip())


class UsageError(MmcafError):
    """The call itself is wrong: an option, a combination, a path to write to."""

    exit_code = 2


class StudyError(MmcafError):
    """The imaging study cannot be read or does not fit the network."""

    exit_code = 3


class RecordError(MmcafError):
    """The clinical record cannot be read, is incomplete or contradicts the study's patient."""

    exit_code = 4


class BundleError(MmcafError):
    """The bundle is damaged, incomplete, or of a version this engine does not read."""

    exit_code = 5


class ExportError(MmcafError):
    """The checkpoint cannot become a bundle."""

    exit_code = 5


class BackendError(MmcafError):
    """The backend or precision is unavailable, failed its self-test, or gave a non-finite answer."""

    exit_code = 6


class UnsupportedNetworkError(BackendError):
    """The backend runs on this machine, but does not compute what this network is made of."""


class StrictError(MmcafError):
    """An answer exists but carries warnings, and --strict forbids those."""

    exit_code = 7
