"""What /proc/cpuinfo says of the processor, and how many of its cores are ours."""

import os
from pathlib import Path

import pytest

from mmcaf_engine.machine.cpu import Processor, processor, usable_cores

INTEL = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) 8480
stepping\t: 8
flags\t\t: fpu sse4_2 avx512_vnni sse2 amx_int8 fma

processor\t: 1
model name\t: another
flags\t\t: avx2
"""
ARM = """\
processor\t: 0
Features\t: fp asimd sve crc32 i8mm
CPU part\t: 0xd40

processor\t: 1
Features\t: fp
"""


def of(file: Path, monkeypatch: pytest.MonkeyPatch) -> Processor:
    monkeypatch.setattr("mmcaf_engine.machine.cpu.Path", lambda name: file)
    return processor.__wrapped__()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (INTEL, Processor("Intel(R) Xeon(R) 8480 6 143 8", ("amx_int8", "avx512_vnni", "fma", "sse4_2"))),
        (ARM, Processor("0xd40", ("asimd", "i8mm", "sve"))),
        ("", Processor("", ())),
    ],
    ids=["intel", "arm", "empty"],
)
def test_the_first_core_tells(text: str, expected: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert of(tmp_path / "cpuinfo", monkeypatch) == expected


def test_a_system_without_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert of(tmp_path / "missing", monkeypatch) == Processor("arm64", ())


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 64
