"""Too little memory, at the start or in the middle of the work: said as such, and no bug of ours."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy._core._exceptions import _ArrayMemoryError  # type: ignore[import-not-found]

from command import Command
from in_another_process import INPUTS
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine import memory
from mmcaf_engine.machine.memory import lacks_memory, need, out_of_memory, require_address_space
from refusals import check_facts, refused

MIB = 2**20


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["version"], 0), (["inspect", str(demo_bundle())], 6)],
    ids=["version", "inspect"],
)
def test_little_address_space(arguments: list[str], code: int) -> None:
    """Below what libraries need to be imported, of which one would crash."""
    import resource

    program = f"import sys; sys.argv = {['mmcaf', *arguments]!r}; from mmcaf_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (300 * MIB, 300 * MIB)),
    )
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
        check_facts(done.stderr, "300 MiB", "600 MiB", "ulimit -v unlimited")


@pytest.mark.parametrize(("limit", "enough"), [(None, True), (600 * MIB, True), (600 * MIB - 1, False)])
def test_what_is_enough(monkeypatch: pytest.MonkeyPatch, limit: int | None, enough: bool) -> None:
    monkeypatch.setattr(memory, "address_space", lambda: limit)
    if enough:
        require_address_space()
        return
    with refused(BackendError, "600 MiB", command="ulimit -v unlimited"):
        require_address_space()


@pytest.mark.parametrize(
    ("raised", "facts"),
    [
        (_ArrayMemoryError((2**28, 3), np.dtype(np.float64)), ("6,144 MiB",)),
        (MemoryError(), ()),
        (RuntimeError("std::bad_alloc"), ()),
        (RuntimeError("can't start new thread"), ()),
        (ImportError("libx.so: failed to map segment from shared object"), ()),
    ],
    ids=["array", "python", "runtime", "thread", "library"],
)
def test_in_the_middle_of_the_work(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, facts: tuple[str, ...]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("mmcaf_engine.pipeline.Answerer.answer", fail)
    outcome = run("mmcaf-infer", tmp_path, "record.json", "--bundle", demo_bundle())
    outcome.refused(6, "Out of memory", *facts)
    assert "bug" not in outcome.err


def test_another_error_is_a_bug_as_before(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the memory of an elephant")

    monkeypatch.setattr("mmcaf_engine.pipeline.Answerer.answer", fail)
    assert run("mmcaf-infer", tmp_path, "record.json", "--bundle", demo_bundle()).code == 1


def test_in_a_runtime(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OnnxRuntimeBackend, *given: Any) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation of a patient's")

    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as session:
        monkeypatch.setattr(OnnxRuntimeBackend, "_infer", fail)
        with refused(BackendError, "Out of memory", "model.onnx", "onnxruntime") as caught:
            session.run(INPUTS)
    assert "patient" not in str(caught.value)


def test_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 3 * MIB - 1)
    monkeypatch.setattr(memory, "address_space", lambda: 700 * MIB)
    failure = out_of_memory("reading", MemoryError())
    check_facts(failure.problem, "reading", "3 MiB", "700 MiB")
    assert failure.exit_code == 6 and failure.remedies[-1].command == "ulimit -v unlimited"
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    monkeypatch.setattr(memory, "address_space", lambda: None)
    alone = out_of_memory("reading", MemoryError())
    assert alone.problem.endswith("reading.") and len(alone.remedies) == 1


def test_what_tells_nothing() -> None:
    class WorseError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert not lacks_memory(WorseError()) and need(MemoryError("of shape (3,)")) == ""
