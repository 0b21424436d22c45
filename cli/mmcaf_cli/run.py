"""From exceptions to exit codes, for both commands."""

import atexit
import errno
import gc
import os
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer

from mmcaf_engine.cancel import are_left
from mmcaf_engine.errors import ExportError, MmcafError, Remedy, UsageError, paragraph
from mmcaf_engine.machine.memory import lacks_memory, out_of_memory
from mmcaf_engine.settings import debug

from .console import Loudness, complain, detail, guarded_streams, set_loudness

READER_GONE = 128 + 13
"""What a shell shows of a program that SIGPIPE ended, as it ends other tools whose reader has gone."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FEW_COLLECTIONS = 200_000
"""Objects that are made, beyond those that go, before one generation is searched."""
_POSITIONAL = {"study", "record"}
"""What the command line takes by its place."""


_ends_at_once = False


def ends_at_once() -> bool:
    """Whether this process ends by `run`, which waits for no thread that was left.

    In another one Python would end such a thread within the runtime's code, which ends the process with SIGABRT.
    """
    return _ends_at_once


def run(app: typer.Typer, program: str) -> NoReturn:
    """Run a program; a user's mistake becomes one paragraph on stderr and a documented exit code."""
    global _ends_at_once
    _ends_at_once = True
    set_loudness(Loudness.NORMAL)
    _fill_closed_descriptors()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # A terminal without a character shows "?" for it.
    with guarded_streams():
        code = _exit_code(app, program)
    atexit.register(_leave_garbage)
    if are_left():
        atexit.register(_end_at_once, code)
    sys.exit(code)


@contextmanager
def few_collections() -> Iterator[None]:
    """Search for garbage less often, in a program that ends soon: imports allocate much and leave none."""
    usual = gc.get_threshold()
    gc.set_threshold(_FEW_COLLECTIONS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _fill_closed_descriptors() -> None:
    """Where stdin, stdout or stderr is closed, let no file that is opened later take its number.

    What libraries print there would else be written to that file. Python has its streams as None by now, and so has
    `guarded_streams`.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _leave_garbage() -> None:
    """Let what the process still holds not be searched for garbage before it goes.

    Triton's binding to C++ (nanobind) would list on stderr all that is then left of it.
    """
    if "triton" not in sys.modules:
        gc.freeze()


def _end_at_once(code: int | str | None) -> None:
    """End without waiting for a runtime that does not end, nor taking down what it works with."""
    if are_left():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


def _exit_code(app: typer.Typer, program: str) -> int | str | None:
    try:
        app(prog_name=program)
    except SystemExit as stop:
        # Typer catches a closed pipe itself, and ends with 1.
        return _reader_gone() if isinstance(stop.__context__, BrokenPipeError) else stop.code
    except MmcafError as failure:
        return _refused(failure)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        return _reader_gone()
    except OSError as failure:
        if failure.errno not in _NO_ROOM:
            return _bug(failure)
        what = failure.filename or "a file or standard output"
        return _refused(UsageError(f"{what}: cannot be written: {failure.strerror}.", "Make room there."))
    except Exception as failure:
        return _refused(out_of_memory("working", failure)) if lacks_memory(failure) else _bug(failure)
    return 0


def explain(failure: MmcafError) -> str:
    """Problem and remedies as one paragraph, with options spelled as the command line has them: --gaps=interpolate."""
    return f"{failure.problem} {advice(failure.remedies)}".strip()


def advice(remedies: Iterable[Remedy]) -> str:
    """Remedies as sentences, with options spelled as the command line has them; empty without any."""
    return paragraph(*(remedy.render(_argument(remedy)) for remedy in remedies))


def _argument(remedy: Remedy) -> str | None:
    if remedy.option is None:
        return None
    if remedy.option in _POSITIONAL:
        return remedy.option.upper()
    option = f"--{remedy.option.replace('_', '-')}"
    return option if remedy.value is None else f"{option}={shlex.quote(remedy.value)}"


def _refused(failure: MmcafError) -> int:
    if debug() and isinstance(failure, ExportError) and failure.__cause__ is not None:
        traceback.print_exception(failure.__cause__)  # of another package's network, or of PyTorch's exporter
    complain(f"error: {explain(failure)}")
    detail("error", failure.to_dict())
    _drop_stdout()
    return failure.exit_code


def _reader_gone() -> int:
    _drop_stdout()
    return READER_GONE


def _bug(failure: Exception) -> int:
    complain(f"internal error: {type(failure).__name__}: {failure}")
    if debug():
        traceback.print_exc()
    else:
        complain("This is a bug of mmcaf-infer. Run again with MMCAF_DEBUG=1 and report the trace.")
    return 1


def _drop_stdout() -> None:
    """Let what could not be written go, so that the end of the process does not try and complain again."""
    stdout = sys.__stdout__
    if stdout is None:
        return
    try:
        stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
