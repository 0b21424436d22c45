"""From exceptions to exit codes, for both commands."""

import os
import sys
import traceback

import typer

from mmcaf_engine.errors import MmcafError


def run(app: typer.Typer) -> None:
    """Run a command; a user's mistake becomes one paragraph on stderr and a documented exit code."""
    try:
        app()
    except MmcafError as failure:
        _complain(f"error: {failure}")
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
        if os.environ.get("MMCAF_DEBUG"):
            traceback.print_exc()
        else:
            _complain("This is a bug of mmcaf-infer. Run again with MMCAF_DEBUG=1 and report the trace.")
        sys.exit(1)


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
