"""examples/pycuda with PyCUDA itself, on a stand-in for the driver: real GPUArrays, streams and contexts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from counterparts import need_package
from import_rules import ROOT
from refusals import check_facts
from stub_libcuda.build import make_libcuda, missing_tools

EXAMPLE = ROOT / "examples" / "pycuda" / "answer.py"
PROCESS = Path(__file__).parents[1] / "stub_libcuda" / "session.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the process printed."""
    packages = need_package("pycuda")
    if tool := missing_tools():
        pytest.skip(f"{tool} is not installed, with which the driver's stand-in is made")
    [module] = (packages / "pycuda").glob("_driver*")
    library = make_libcuda(module, tmp_path_factory.mktemp("libcuda"))
    paths = [packages, *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, "-B", str(PROCESS), str(library), str(EXAMPLE)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_driver_that_is_asked_is_the_stand_in(found: dict[str, Any]) -> None:
    assert found["gpu"] == "a stand-in"


@pytest.mark.parametrize("how", ["example", "named, own stream", "default stream waits"])
def test_arrays_of_pycuda_are_answered_once_their_stream_has_written_them(found: dict[str, Any], how: str) -> None:
    assert found[how] == found["expected"]


def test_where_nobody_waits_what_was_not_written_is_noticed(found: dict[str, Any]) -> None:
    """Else the tests above could not fail: a stream that the default one does not wait for, and nobody names."""
    assert found["nobody waits"]["class"] == "BackendError"
    check_facts(found["nobody waits"]["said"], "NaN", "logit")


def test_they_are_read_where_they_lie(found: dict[str, Any]) -> None:
    assert found["in place"]


@pytest.mark.parametrize(
    ("what", "fact"),
    [("double", "float64"), ("fortran", "strides"), ("another context", "pycuda.autoprimaryctx")],
)
def test_what_cannot_be_taken_is_refused(found: dict[str, Any], what: str, fact: str) -> None:
    assert found[what]["class"] == "UsageError"
    check_facts(found[what]["said"], "Input", fact)


def test_the_program_prints_the_outputs_and_releases_all(found: dict[str, Any]) -> None:
    assert found["main"] == f"logit: {[[value] for value in found['expected']]}\n"
    assert found["left"] == []
