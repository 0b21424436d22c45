"""What a program prints when it ends."""

import subprocess
import sys

import pytest

PROGRAM = """
import typer
from mmcaf_cli.run import run

app = typer.Typer()

@app.command()
def work() -> None:
    import triton._C.libtriton

run(app, "work")
"""


def test_a_program_that_has_loaded_triton_ends_without_a_word() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
