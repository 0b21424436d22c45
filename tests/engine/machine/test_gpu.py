"""What the system says of NVIDIA cards without CUDA: which driver is too old, what is on the bus, a broken NVML."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.machine import gpu
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import DRIVER_REMEDY, Gpu, ask_driver, energy_used, free_memory
from refusals import check_facts

RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * 2**30, "0000:01:00.0", "580.65.06", (13, 0))


@pytest.mark.parametrize(("cuda", "old"), [((12, 9), True), ((13, 0), False), ((13, 1), False), ((14, 0), False)])
def test_a_driver_is_too_old_below_cuda_13(cuda: tuple[int, int], old: bool) -> None:
    found = Gpu(**{**vars(RTX_4090), "cuda": cuda})
    assert (found.unusable is not None) is old
    assert found.remedies == ((DRIVER_REMEDY,) if old else ())


def test_no_driver_helps_a_gpu_that_cuda_13_has_dropped() -> None:
    found = Gpu(**{**vars(RTX_4090), "target": Target(7, 0), "cuda": (12, 4)})
    check_facts(str(found.unusable), 7.0, 13, 7.5)
    assert found.remedies == ()


@pytest.mark.parametrize(
    ("devices", "present"),
    [
        ([], False),
        ([("0x10de", "0x030000")], True),
        ([("0x10de", "0x030200")], True),
        ([("0x10de", "0x040300")], False),
        ([("0x8086", "0x030000")], False),
        ([("0x8086", "0x030000"), ("0x10de", "0x030000")], True),
    ],
    ids=["nothing", "display", "3d", "its-sound-alone", "intel", "two"],
)
def test_a_card_on_the_bus(
    devices: list[tuple[str, str]], present: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, (vendor, kind) in enumerate(devices):
        device = tmp_path / str(at)
        device.mkdir()
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    monkeypatch.setattr(gpu, "Path", lambda name: tmp_path)
    found = ask_driver(None, "unknown")
    assert (found.present, bool(found.remedies)) == (present, present)


def test_a_system_without_that_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "Path", lambda name: tmp_path / "missing")
    assert not ask_driver(None, "unknown").present


@pytest.mark.parametrize(("code", "joules"), [(0, 4.5), (9, None)], ids=["starts", "does-not-start"])
def test_nvml_that_does_not_start_says_nothing(
    code: int, joules: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nvml:
        def __init__(self, name: str) -> None:
            pass

        def nvmlInit_v2(self) -> int:  # noqa: N802
            return code

        def nvmlDeviceGetHandleByPciBusId_v2(self, bus: bytes, handle: Any) -> int:  # noqa: N802
            return 0

        def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, answer: Any) -> int:  # noqa: N802
            answer._obj.value = 4500
            return 0

        def nvmlDeviceGetMemoryInfo(self, handle: Any, answer: Any) -> int:  # noqa: N802
            answer._obj[0], answer._obj[1], answer._obj[2] = 24, 7, 17
            return 0

    monkeypatch.setattr(ctypes, "CDLL", Nvml)
    monkeypatch.setattr(gpu, "nvml_library", gpu.nvml_library.__wrapped__)
    assert energy_used(RTX_4090) == joules
    assert free_memory(RTX_4090) == (None if code else 7)
