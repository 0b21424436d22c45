"""`mmcaf doctor` where a runtime fails when it is asked what it can run, as where a driver is sick."""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gpu_machines import OLD_DRIVER, RTX_4090, machine, running_on
from mmcaf_cli.doctor import screen
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.session.session import open_session


def by_subject(found: Sequence[Check]) -> dict[str, Check]:
    return {one.subject: one for one in found}


def sick(failure: Exception) -> Callable[..., Any]:
    def fail(*given: object) -> Any:
        raise failure

    return fail


@pytest.mark.parametrize(
    ("asked", "failure"),
    [
        ("is_available", AssertionError()),
        ("get_device_capability", RuntimeError("CUDA error: \x1b[31man uncorrectable error\nmore")),
    ],
    ids=["whether", "which"],
)
def test_a_pytorch_that_fails_when_it_is_asked_harms_no_other(
    asked: str, failure: Exception, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the driver is sick: the processor answers, and why is said once, of the backend."""
    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle))
    with running_on(machine(RTX_4090, torch="cuda")):
        monkeypatch.setattr(f"torch.cuda.{asked}", sick(failure))
        found = examine()
        with open_session(load_bundle(tiny_bundle)) as session:
            assert session.device == "CPU" and type(failure).__name__ in str(session.fallback)
    assert "on CPU" in by_subject(found)["auto"].detail
    said = [one for one in found if one.area == "backend" and "failed when asked" in one.detail]
    assert [(one.subject, one.status) for one in said] == [("torch", "note")]
    assert "\x1b" not in "".join(screen(found, 100, full=True))


def test_a_tensorrt_of_no_version_harms_no_other(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle))
    with running_on(machine(RTX_4090, tensorrt_rtx=True, torch="cuda")):
        monkeypatch.setattr(sys.modules["tensorrt_rtx"], "__version__", "nightly")
        found = by_subject(examine())
    assert "torch fp32" in found["auto"].detail and "failed when asked: ValueError" in found["tensorrt"].detail


def test_no_warning_of_pytorch_is_printed(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it warns of is said."""

    def warn() -> bool:
        warnings.warn("CUDA initialization: the NVIDIA driver on your system is too old", stacklevel=1)
        return False

    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle))
    with running_on(machine(OLD_DRIVER, tensorrt_rtx=True, torch="unusable")), warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr("torch.cuda.is_available", warn)
        assert "cannot use the GPU with this driver" in by_subject(examine())["PyTorch on the GPU"].detail
