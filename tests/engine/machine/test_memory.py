"""How much memory is left, by whatever of the system says least."""

from pathlib import Path

import pytest

from mmcaf_engine.machine import memory

V2, V1 = ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")


@pytest.mark.parametrize(
    ("meminfo", "version_2", "version_1", "expected"),
    [
        (None, None, None, None),
        (2048, None, None, 2048 * 1024),
        (2048, (1_000_000, 400_000), None, 600_000),
        (2048, None, (1_000_000, 400_000), 600_000),
        (2048, (1_000_000, 400_000), (1_000_000, 500_000), 500_000),
        (2048, ("max", 400_000), (2**63 - 4096, 400_000), 2048 * 1024),
        (2048, (1000, 4000), None, 0),
        (None, None, (1000, 400), 600),
    ],
)
def test_the_least_of_what_is_left(
    meminfo: int | None,
    version_2: tuple[object, object] | None,
    version_1: tuple[object, object] | None,
    expected: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(f"MemTotal: 99999 kB\nMemFree: 7 kB\nMemAvailable:   {meminfo} kB\n")
    for names, values in ((V2, version_2), (V1, version_1)):
        for name, value in zip(names, values or (), strict=False):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(f"{value}\n")
    assert memory.available_memory() == expected
