"""From exceptions to exit codes, for both commands."""

import logging
import os
import shlex
import sys
import traceback

import typer

from mmcaf_engine.errors import MmcafError, Remedy, paragraph
from mmcaf_engine.settings import debug


def run(app: typer.Typer) -> None:
    """Run a command; a user's mistake becomes one paragraph on stderr and a documented exit code."""
    _show_log()
    try:
        app()
    except MmcafError as failure:
        _complain(f"error: {explain(failure)}")
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of stdout has gone; point it elsewhere so that closing it does not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as failure:
        _complain(f"internal error: {type(failure).__name__}: {failure}")
        if debug():
            traceback.print_exc()
        else:
            _complain("This is a bug of mmcaf-infer. Run again with MMCAF_DEBUG=1 and report the trace.")
        sys.exit(1)


_POSITIONAL = {"study", "record"}
"""What the command line takes by its place."""


def explain(failure: MmcafError) -> str:
    """Problem and remedies as one paragraph, with options spelled as the command line has them: --gaps=interpolate."""
    return f"{failure.problem} {paragraph(*(remedy.render(_argument(remedy)) for remedy in failure.remedies))}".strip()


def _argument(remedy: Remedy) -> str | None:
    if remedy.option is None:
        return None
    if remedy.option in _POSITIONAL:
        return remedy.option.upper()
    option = f"--{remedy.option.replace('_', '-')}"
    return option if remedy.value is None else f"{option}={shlex.quote(remedy.value)}"


class _OneLine(logging.Handler):
    """Shows a record of the log as one line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        _complain(f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}")


def _show_log() -> None:
    logger = logging.getLogger("mmcaf_engine")
    if not any(isinstance(handler, _OneLine) for handler in logger.handlers):
        logger.addHandler(_OneLine(logging.WARNING))


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
