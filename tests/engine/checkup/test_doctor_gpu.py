"""What `mmcaf doctor` says of GPUs, drivers and TensorRT, and the commands it names for what is missing."""

import sys
from pathlib import Path

import pytest

from mmcaf_engine.backends.tensorrt.backend import TensorRtBackend, _usable
from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import DRIVER_REMEDY, Gpu, Gpus
from mmcaf_engine.machine.installation import install_command

GIB = 2**30
RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * GIB, "0000:01:00.0", "580.65.06", (13, 0))
OLD_DRIVER = Gpu(**{**vars(RTX_4090), "driver": "550.54", "cuda": (12, 4)})
NONE = Gpus((), "no NVIDIA driver", False)


@pytest.fixture(autouse=True)
def bundle(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle))


def findings(monkeypatch: pytest.MonkeyPatch, gpus: Gpus, *, packages: bool = True) -> dict[str, Check]:
    """The doctor's findings by subject on a machine with these GPUs, with or without TensorRT's packages."""
    for module in ("backends.tensorrt.backend", "machine.gpu"):
        monkeypatch.setattr(f"mmcaf_engine.{module}.find_gpus", lambda: gpus)
    monkeypatch.setattr("mmcaf_engine.machine.gpu.free_memory", lambda gpu: 20 * GIB)
    monkeypatch.setattr("mmcaf_engine.backends.tensorrt.backend._usable", _usable.__wrapped__)
    if not packages:
        for package in ("tensorrt", "tensorrt_rtx"):
            monkeypatch.setitem(sys.modules, package, None)
        for module in ("backends.registry", "backends.tensorrt.backend"):
            monkeypatch.setattr(f"mmcaf_engine.{module}.installed_version", lambda package: None)
    return {finding.subject: finding for finding in examine()}


def test_a_machine_without_a_gpu_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, NONE, packages=False)
    assert found["NVIDIA GPU"] == Check("gpu", "NVIDIA GPU", "note", "no NVIDIA driver; the processor answers")
    assert "optional, for NVIDIA GPUs only" in found["cuda-python"].detail
    assert [remedy.command for remedy in found["TensorRT"].remedies] == [install_command("tensorrt")]
    assert found["tensorrt"].status == "note" and "problem" not in {one.status for one in found.values()}
    assert found["auto"].status == "ok" and "tensorrt" not in found["auto"].detail
    assert found["auto"].detail.endswith("fp32, not tuned")
    assert [remedy.command for remedy in found["auto"].remedies] == ["mmcaf tune BUNDLE"]


def test_a_card_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "an NVIDIA card is in this machine, but no NVIDIA driver (libcuda)"
    found = findings(monkeypatch, Gpus((), reason, True, (DRIVER_REMEDY,)))
    assert found["NVIDIA GPU"] == Check("gpu", "NVIDIA GPU", "note", reason, (DRIVER_REMEDY,))
    assert found["tensorrt"].remedies == (DRIVER_REMEDY,)
    assert found["auto"].status == "ok"


def test_a_gpu_with_its_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, Gpus((RTX_4090,), "", True), packages=False)
    gpu = found["NVIDIA GeForce RTX 4090"]
    expected = "compute capability 8.9, 24576 MiB, 20480 MiB free, driver 580.65.06, CUDA 13.0"
    assert (gpu.status, gpu.detail) == ("ok", expected)


def test_a_gpu_without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, Gpus((RTX_4090,), "", True), packages=False)
    for subject in ("TensorRT", "cuda-python", "tensorrt"):
        assert found[subject].status == "note" and "not " in found[subject].detail
        assert [remedy.command for remedy in found[subject].remedies] == [install_command("tensorrt")]
    assert found["auto"].status == "note" and "passed over: tensorrt: NVIDIA GeForce RTX 4090" in found["auto"].detail


def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, Gpus((OLD_DRIVER,), "", True))
    gpu = found["NVIDIA GeForce RTX 4090"]
    assert gpu.status == "note" and "driver 550.54 supports CUDA 12.4, and 13.0 is needed" in gpu.detail
    assert gpu.remedies == found["tensorrt"].remedies == (DRIVER_REMEDY,)


def test_a_gpu_with_everything_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("cuda.bindings")
    found = findings(monkeypatch, Gpus((RTX_4090,), "", True))
    assert found["TensorRT"].status == "ok" and "tensorrt_rtx" in found["TensorRT"].detail
    assert "sm_89" in found["TensorRT"].detail and found["cuda-python"].status == "ok"
    assert found["tensorrt"].status == "ok" and TensorRtBackend.build() in found["tensorrt"].detail
    assert found["auto"].detail.startswith("tensorrt fp32")
