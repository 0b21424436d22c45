"""For which GPUs TensorRT builds, and which of its two packages does."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpu_machines import H200, RTX_4090, machine, running_on
from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt import flavour
from mmcaf_engine.backends.tensorrt.flavour import CapturedLog, Flavour, find_flavour, install_flavour
from mmcaf_engine.backends.tensorrt.targets import choose_targets, supported_targets
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.session import build_ahead as ahead
from mmcaf_engine.session import building
from mmcaf_engine.session.build_ahead import build_ahead
from refusals import refused

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


# Targets


@pytest.mark.parametrize("name", ["sm86", "86", "8.6", "sm_", "sm_8.6", "sm_86a", "rtx3090", "", "sm_99999", "sm_²8"])
def test_what_is_no_target(name: str) -> None:
    with refused(UsageError, repr(name)):
        Target.parse(name)


@pytest.mark.parametrize("name", ["sm_52", "sm_90", "sm_100"])
def test_a_target_that_the_flavour_does_not_know_is_refused_with_those_it_does(name: str) -> None:
    with refused(UsageError, name, "sm_75", "sm_80", "sm_86", "sm_89", "sm_120"):
        choose_targets(find_flavour("tensorrt_rtx"), ["sm_86", name])


def test_targets_are_sorted_and_each_once() -> None:
    chosen = choose_targets(find_flavour("tensorrt_rtx"), ["sm_120", "SM_86", "sm_86"])
    assert chosen == (Target(8, 6), Target(12, 0)) and [str(target) for target in chosen] == ["sm_86", "sm_120"]


def test_bf16_needs_units_for_it(small_source: Path) -> None:
    with refused(UsageError, "sm_75", "BF16", "sm_80"):
        build_ahead(load_bundle(small_source), "bf16", ["sm_75", "sm_86"])


def test_the_first_gpu_with_bf16_units_may_have_bf16(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "0")
    with refused(UsageError, "would be lost", option="output"):  # What is refused after the units.
        build_ahead(load_bundle(small_source), "bf16", ["sm_80"])


# The GPU at hand, which is stood in for


def test_without_a_target_the_gpu_at_hand_is_built_for(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is stood in for; that the engine cannot be loaded to report its layers does not stop the build."""
    gpu = SimpleNamespace(name="RTX A4000", driver="580.65.06", target=Target(8, 6), compute_capability="8.6")
    monkeypatch.setattr(ahead, "first_gpu", lambda: gpu)
    made = build_ahead(load_bundle(small_source), "fp16", [])
    assert made.targets == (Target(8, 6),) and len(made.kept) == 1


def test_a_gpu_that_the_flavour_does_not_know(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="H200", driver="580.65.06", target=Target(9, 0), compute_capability="9.0")
    monkeypatch.setattr(ahead, "first_gpu", lambda: gpu)
    with refused(UsageError, "sm_90", "sm_86") as caught:
        build_ahead(load_bundle(small_source), "fp16", [])
    assert caught.value.remedies[-1].command == install_flavour("tensorrt")


def test_for_the_gpu_at_hand_the_one_that_runs_on_it_builds(
    small_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that are installed."""
    asked: list[str] = []

    def build(flavour: Flavour, *arguments: Any, **options: Any) -> Any:
        asked.append(flavour.name)
        raise BackendError("not here")

    monkeypatch.setattr(building, "build_engine", build)
    for gpu in (H200, RTX_4090):
        with running_on(machine(gpu, tensorrt_rtx=True, tensorrt=True)), refused(BackendError):
            build_ahead(load_bundle(small_source), "fp16", [])
    assert asked == ["tensorrt", "tensorrt_rtx"]
    with running_on(machine(H200, tensorrt_rtx=True)), refused(UsageError, "sm_90", "tensorrt_rtx"):
        build_ahead(load_bundle(small_source), "fp16", [])


def test_no_target_and_no_gpu(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "first_gpu", lambda: None)
    monkeypatch.setattr(ahead, "find_gpus", lambda: SimpleNamespace(reason="no NVIDIA driver"))
    with refused(BackendError, "GPU", "NVIDIA driver") as caught:
        build_ahead(load_bundle(small_source), "fp32", [])
    name, which = caught.value.remedies
    assert (name.option, name.value) == ("target", "sm_86") and which.command.startswith("nvidia-smi ")


# Flavours


def stand_in(version: str = "10.13.2.6") -> Any:
    """A module with as much of TensorRT as choosing and logging need."""

    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

    return SimpleNamespace(__version__=version, ILogger=Logger)


def test_a_version_that_is_needed_is_the_one_that_is_named() -> None:
    assert install_flavour("tensorrt", "11.4.0.106").startswith("pip install tensorrt-cu13==11.4.0.106 ")
    assert install_flavour("tensorrt_rtx", "1.6.1.120").startswith("pip install tensorrt-rtx-cu13==1.6.1.120 ")


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        (None, ["pip install tensorrt-rtx-cu13", "pip install 'tensorrt-cu13>=10'"]),
        ("tensorrt_rtx", ["pip install tensorrt-rtx-cu13"]),
        ("tensorrt", ["pip install 'tensorrt-cu13>=10'"]),
    ],
)
def test_nothing_installed_names_the_command(
    name: str | None, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorrt_rtx", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, None)
    with refused(BackendError, "TensorRT") as caught:
        find_flavour(name)
    given = [remedy.command or "" for remedy in caught.value.remedies]
    assert [one.partition(" 'cuda")[0] for one in given] == commands


def test_the_other_one_is_taken_where_the_first_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in())
    found = find_flavour()
    assert (found.name, found.version, found.major, found.builds_ahead) == ("tensorrt", "10.13.2.6", 10, False)
    assert supported_targets(found) == ()
    with refused(UsageError, "tensorrt", "10.13.2.6", "sm_86", "GPU"):
        choose_targets(found, ["sm_86"])


def test_one_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in("8.6.1"))
    with refused(BackendError, "tensorrt", "8.6.1", 10):
        find_flavour("tensorrt")


def test_no_such_flavour() -> None:
    with refused(BackendError, "'tensorflow'"):
        find_flavour("tensorflow")


def test_errors_reach_those_who_listen_and_only_them(caplog: pytest.LogCaptureFixture) -> None:
    module = stand_in()
    captured = CapturedLog(module)
    severity = module.ILogger.Severity
    with caplog.at_level(logging.DEBUG, logger=flavour.__name__):
        captured.logger.log(severity.ERROR, "before")
        with captured.errors() as outer, captured.errors() as inner:
            captured.logger.log(severity.ERROR, "wrong")
            captured.logger.log(severity.WARNING, "odd")
        captured.logger.log(severity.INTERNAL_ERROR, "after")
    assert outer == inner == ["wrong"]
    assert [record.getMessage() for record in caplog.records] == ["before", "wrong", "odd", "after"]
    assert max(record.levelno for record in caplog.records) == logging.INFO
