"""What an engine of TensorRT is kept under, and the kernel times that are kept beside it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmcaf_engine.backends.tensorrt import timing_cache
from mmcaf_engine.backends.tensorrt.engine_key import differences, engine_facts
from mmcaf_engine.backends.tensorrt.flavour import Flavour
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine.compute_capability import Target
from refusals import refused
from small_networks import specs

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


# Keys


def test_every_fact_changes_the_key() -> None:
    rtx = Flavour("tensorrt_rtx", "1.7.1", None)
    inputs, outputs = specs(("x", ("N", 4))), specs(("y", ("N", 1)))
    base = engine_facts(rtx, "fp16", Target(8, 6), inputs, outputs)
    others = [
        engine_facts(Flavour("tensorrt_rtx", "1.7.2", None), "fp16", Target(8, 6), inputs, outputs),
        engine_facts(rtx, "int8", Target(8, 6), inputs, outputs),
        engine_facts(rtx, "fp16", Target(12, 0), inputs, outputs),
        engine_facts(rtx, "fp16", Target(8, 6), specs(("x", ("N", 5))), outputs),
        engine_facts(rtx, "fp16", Target(8, 6), inputs, specs(("z", ("N", 1)))),
    ]
    assert all(len(differences(other, base)) == 1 for other in others)
    assert differences(others[0], base) == ["version 1.7.2 (1.7.1 is expected)"]
    assert differences(others[2], base) == ["compute capability sm_120 (sm_86 is expected)"]
    assert engine_facts(rtx, "fp16", Target(8, 6), inputs, outputs, gpu="any", driver="1.2") == base


def test_an_engine_of_tensorrt_belongs_to_one_gpu_and_driver() -> None:
    classic = Flavour("tensorrt", "10.13.2", None)
    tensors = specs(("x", ("N", 4)))
    with refused(BackendError, "GPU"):
        engine_facts(classic, "fp16", Target(8, 6), tensors, tensors)
    facts = engine_facts(classic, "fp16", Target(8, 6), tensors, tensors, gpu="RTX A4000", driver="580.65")
    other = engine_facts(classic, "fp16", Target(8, 6), tensors, tensors, gpu="RTX A5000", driver="590.1")
    assert differences(other, facts) == [
        "gpu RTX A5000 (RTX A4000 is expected)",
        "driver 590.1 (580.65 is expected)",
    ]


# Kernel times of TensorRT, whose configuration alone is stood in for


class Times:
    """As much of a builder's configuration as keeping times needs; it refuses what another version wrote."""

    def __init__(self) -> None:
        self.data: bytes | None = None

    def create_timing_cache(self, data: bytes) -> Any:
        return None if data.startswith(b"broken") else SimpleNamespace(data=data, serialize=lambda: data + b"+new")

    def set_timing_cache(self, times: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if times.data.startswith(b"other"):
            return False
        self.data = times.data
        return True

    def get_timing_cache(self) -> Any:
        return None if self.data is None else self.create_timing_cache(self.data)


@pytest.mark.parametrize(
    ("kept", "used"), [(None, b""), (b"times", b"times"), (b"broken", b""), (b"other version", b"")]
)
def test_kernel_times_are_used_or_measured_again(kept: bytes | None, used: bytes) -> None:
    file = timing_cache.timing_cache_file(Flavour("tensorrt", "10.13", None), "RTX A4000", "580")
    if kept is not None:
        file.write_bytes(kept)
    config = Times()
    timing_cache.read_timing_cache(config, file)
    assert config.data == used
    timing_cache.write_timing_cache(config, file)
    assert file.read_bytes() == used + b"+new" and len(list(file.parent.iterdir())) == 1


def test_each_gpu_and_driver_has_its_own_times() -> None:
    classic = Flavour("tensorrt", "10.13", None)
    files = {timing_cache.timing_cache_file(classic, *place) for place in (("A", "1"), ("B", "1"), ("A", "2"))}
    assert len(files) == 3
    assert {file.parent for file in files} == {cache_folder("kernels")}
