"""What the scripts here ask alike before any work: numbers, places for rows, a GPU; and how a signal ends them.

What is wrong is said in one line, without a traceback: with status 2 where the call is wrong, with 6 where a GPU or a
package is missing.
"""

import argparse
import errno
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn

ROOT = Path(__file__).resolve().parents[1]
ENDED, WRONG_USAGE, UNAVAILABLE = 128, 2, 6
"""Exit statuses: the first with the number of the signal that ended the program."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

for _package in ("kernels", "engine", "export"):  # where only the repository lies; what is installed comes first
    if str(ROOT / _package) not in sys.path:
        sys.path.append(str(ROOT / _package))


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Say it and exit."""
        self.exit(WRONG_USAGE, f"{self.prog}: {message}\n")


def parser(description: str | None) -> Parser:
    """A parser that shows a script's docstring as it is written."""
    return Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def count(text: str) -> int:
    """A number of runs and the like."""
    number = int(text) if text.isascii() and text.removeprefix("+").isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def seconds(text: str) -> float:
    """A time that something may take; also minutes."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a finite number above 0, got {text!r}")
    return number


def path(text: str) -> Path:
    """A path that is written to."""
    if text in ("", "-"):
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text)


def file(text: str) -> Path:
    """A file that is read."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"expected a file, got {text!r}")
    return Path(text)


def add_outputs(asked: Parser, *options: str, required: bool = True, help: str = "a CSV file for the rows") -> None:
    """Options that name files to be written, and --force."""
    for option in options:
        asked.add_argument(option, type=path, required=required, help=help)
    asked.add_argument("--force", action="store_true", help="replace files that are there")


def given(asked: Parser, option: str, place: Path | None) -> Path:
    """The path, which must be there, where the option is only wanted at times; else exit."""
    if place is None:
        asked.error(f"{option} is needed")
    return place


def try_outputs(
    asked: Parser,
    places: Sequence[tuple[str, Path | None]],
    *,
    force: bool,
    inputs: Sequence[Path | None] = (),
    kind: Literal["file", "folder"] = "file",
) -> None:
    """Exit if one of the places, by option, could not or must not be written, before there is anything to write.

    As everywhere in this project: an existing file needs --force; a link, device, FIFO or input is refused even so.
    """
    from mmcaf_engine.errors import UsageError
    from mmcaf_engine.outputs import Output, check_writable

    outputs = [Output(option, place, kind) for option, place in places if place is not None]
    try:
        check_writable(outputs, inputs=inputs, force=force)
    except UsageError as failure:
        options = (one.render(f"--{(one.option or '').removeprefix('--')}") for one in failure.remedies)
        asked.error(f"{failure.problem} {'; '.join(options)}")


def torch_missing() -> str | None:
    """Why torch does not run on a GPU here."""
    try:
        import torch
    except (ImportError, OSError) as failure:
        return f"torch cannot be imported ({failure})"
    with warnings.catch_warnings(record=True) as told:  # such as that the driver is too old for it
        warnings.simplefilter("always")
        try:
            if torch.cuda.is_available():
                return None
            said = [str(one.message) for one in told]
        except Exception as failure:
            said = [str(failure)]
    why = f" ({' '.join(said[-1].split())})" if said else ""
    return f"torch {torch.__version__} finds no NVIDIA GPU that it can use{why}"


def without_gpu(reason: str) -> int:
    """The exit status, after saying it."""
    print(f"no GPU: {reason}; nothing was measured, and mmcaf doctor says more", file=sys.stderr)
    return UNAVAILABLE


def in_words(status: int) -> str:
    """How a process ended that did not end well, of its status as `subprocess` gives it."""
    return f"exit status {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}"


def missing(what: str) -> int:
    """The exit status where a package or program is not installed, after saying it."""
    print(what, file=sys.stderr)
    return UNAVAILABLE


def exporter_missing() -> str | None:
    """Which packages are not installed without which no network is exported, and what brings them."""
    absent = [name for name in ("numpy", "torch", "onnx", "onnxscript", "safetensors") if find_spec(name) is None]
    how = "not installed; the extra export brings what is missing: pip install '.[export]'"
    return f"{', '.join(absent)}: {how}" if absent else None


def run(main: Callable[[], int | None]) -> NoReturn:
    """A script's work as a program; a signal ends it as `sys.exit` would, so that what it started ends too.

    A full disk is said in one line, and a reader of the output that has gone ends it as it ends other programs.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still wants to write there
        sys.exit(ENDED + signal.SIGPIPE)
    except OSError as failure:
        if failure.errno not in _FULL:
            raise
        print(f"{failure.filename or 'the output'}: cannot be written: {failure.strerror}", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    sys.exit(status)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Exit with one line where what the block writes at a place cannot be written.

    Not with an exception that those who leave out a case that fails would take for one of the case.
    """
    try:
        yield
    except OSError as failure:
        print(f"{place}: cannot be written: {failure.strerror}", file=sys.stderr)
        raise SystemExit(WRONG_USAGE) from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that come while the block runs take effect when it has ended, so that what it starts is known by then."""
    came: list[int] = []
    former = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in former.items():
        if handler is _end:
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in former.items():
            if handler is _end:
                signal.signal(number, handler)
    if came:
        _end(came[0], None)


def _end(number: int, _: FrameType | None) -> NoReturn:
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(ENDED + number)
