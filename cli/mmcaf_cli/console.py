"""What a command says: its answer on stdout, everything else on stderr, as much of that as was asked for."""

import io
import json as json_format
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from enum import IntEnum
from typing import Any, TextIO

from mmcaf_engine.errors import UsageError, escaped
from mmcaf_engine.files import read_stream

STDOUT = "standard output"


class Loudness(IntEnum):
    """How much is said on stderr beside errors."""

    QUIET = logging.ERROR
    NORMAL = logging.WARNING
    VERBOSE = logging.INFO


_loudness = Loudness.NORMAL


def set_loudness(loudness: Loudness) -> None:
    """Say so much from now on; the packages' log is shown from the same level on."""
    global _loudness
    _loudness = loudness
    for package in ("mmcaf_engine", "mmcaf_export"):
        logger = logging.getLogger(package)
        logger.setLevel(loudness)
        if not any(isinstance(handler, _OneLine) for handler in logger.handlers):
            logger.addHandler(_OneLine())


def shows_progress() -> bool:
    """Whether stderr is a terminal on which progress is wanted."""
    return _loudness < Loudness.QUIET and sys.stderr is not None and sys.stderr.isatty()


def is_verbose() -> bool:
    """Whether -v asks for details."""
    return _loudness <= Loudness.VERBOSE


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Within the block, nothing that is printed steers the terminal, whoever prints it and wherever it came from.

    Printing on stdout raises UsageError where it is closed, or where what it leads to is full or broken.
    """
    stdout, stderr = _Stdout(sys.stdout), _Guarded(sys.stderr)
    with redirect_stdout(stdout), redirect_stderr(stderr):
        yield


class _Guarded:
    """A text stream that spells out what would steer a terminal; a closed one takes all and keeps nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream if stream is not None else io.StringIO()

    def write(self, text: str) -> int:
        self.stream.write(escaped(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Stdout(_Guarded):
    """Stdout, which says why it cannot be written to; that its reader has gone is for `run` to handle."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._closed = stream is None

    def write(self, text: str) -> int:
        if self._closed:
            raise UsageError(f"{STDOUT}: closed; the answer has nowhere to go.", "Leave it open, or send it to a file.")
        with _writing():
            return super().write(text)

    def flush(self) -> None:
        with _writing():
            self.stream.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as failure:
        raise UsageError(
            f"{STDOUT}: cannot be written: {failure.strerror}.", "Make room there, or send it elsewhere."
        ) from None


def terminal() -> TextIO:
    """Stderr for what does steer the terminal: the progress bar, which must print nothing foreign."""
    return sys.stderr.stream if isinstance(sys.stderr, _Guarded) else sys.stderr


def answer(text: str) -> None:
    """Print on stdout.

    Raises:
        UsageError, BrokenPipeError: as `guarded_streams`.
    """
    print(text, flush=True)


def read_stdin(max_bytes: int) -> bytes:
    """At most so many bytes of stdin, and one more where there are more.

    Raises:
        UsageError: it is closed or cannot be read.
        CancelledError, DeadlineError: as `cancel.check`.
    """
    if sys.stdin is None:
        raise UsageError("standard input: closed; nothing can be read from it.", "Name a file in place of -.")
    try:
        return read_stream(sys.stdin.fileno(), max_bytes)
    except OSError as failure:
        raise UsageError(f"standard input: cannot be read: {failure.strerror}.", "Name a file in place of -.") from None


def to_json(document: object) -> str:
    """The form in which every command prints JSON."""
    return escaped(json_format.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def warn(text: str) -> None:
    """Say on stderr what the user must know; -q leaves it out."""
    _say(Loudness.NORMAL, f"warning: {text}")


def note(text: str) -> None:
    """Say on stderr how the work goes; -q leaves it out."""
    _say(Loudness.NORMAL, text)


def detail(name: str, values: Mapping[str, Any]) -> None:
    """Show structured details on stderr as one line of JSON, with -v alone."""
    _say(Loudness.VERBOSE, f"{name}: {json_format.dumps(values, ensure_ascii=False, default=str)}")


def complain(text: str) -> None:
    """Say on stderr what went wrong; nothing leaves that out."""
    _say(Loudness.QUIET, text)


def _say(least: Loudness, text: str) -> None:
    if sys.stderr is None or least < _loudness:
        return
    with suppress(OSError):  # There would be nowhere left to say it.
        # A line within a text, such as of a path that holds one, must not look like another one of ours.
        print(text.replace("\n", "\n  "), file=sys.stderr, flush=True)


class _OneLine(logging.Handler):
    """Shows a record of the log as one line on stderr; which records come here, the loggers' level says."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}")
