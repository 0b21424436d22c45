"""Single calls of each kernel, for tools that watch a program, on the processor."""

import os
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from kernels.scripts import load

UNCACHED = "PYTORCH_NO_CUDA_MEMORY_CACHING"


@pytest.mark.parametrize("asked", [[], ["--kernel", "kan", "fusion_head"]], ids=["all", "two"])
def test_each_kernel_is_called_once(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    calls = load(monkeypatch, "kernel_cases", "single_calls")
    monkeypatch.setattr(sys.modules["kernel_cases"], "DEVICE", "cpu")
    monkeypatch.setenv(UNCACHED, "")
    assert calls.main(["--small", *asked], lambda: None) == 0
    called = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    known = ["msdc", "groupnorm_act", "msca_attention", "upsample_dw", "kan", "fusion_head", "cross_attention"]
    assert called == ([name for name in known if name in asked] if asked else known)


@pytest.mark.parametrize(("given", "expected"), [([], ""), (["--small"], "1")])
def test_for_memcheck_every_tensor_is_an_allocation_of_its_own(
    given: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch is asked for the first."""
    calls = load(monkeypatch, "single_calls")
    monkeypatch.setenv(UNCACHED, "")
    told: list[str] = []
    assert calls.main(given, lambda: told.append(os.environ[UNCACHED]) or "none") == 6
    assert told == [expected]


def test_a_kernel_that_raises_is_said_and_the_others_are_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    calls = load(monkeypatch, "kernel_cases", "single_calls")
    cases = sys.modules["kernel_cases"]
    monkeypatch.setattr(cases, "DEVICE", "cpu")
    monkeypatch.setattr(cases, "kan", Mock(side_effect=RuntimeError("an illegal address")))
    monkeypatch.setattr(cases, "upsample_dw_case", Mock(side_effect=MemoryError("no room")))
    monkeypatch.setenv(UNCACHED, "")
    (tmp_path / "msdc.fatbin").write_bytes(b"no fatbin")
    assert calls.main(["--small", "--fatbin", str(tmp_path / "msdc.fatbin")], lambda: None) == 1
    told = capsys.readouterr()
    called = [line.split()[0] for line in told.out.splitlines()]
    assert called == ["msdc", "groupnorm_act", "msca_attention", "fusion_head", "cross_attention"]
    for fact in ("left out: msdc (CUDA C++): ", "left out: kan table ", "an illegal address", "MemoryError: no room"):
        assert fact in told.err
