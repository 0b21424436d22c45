"""OpenVINO on devices that are named: which forms there are, what is said of absent ones, and a network divided among
one, which is what every machine has."""

from pathlib import Path

import numpy as np
import pytest

from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.backends.registry import Backends
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.session.session import open_session
from mmcaf_engine.session.tune import one_window, tune

pytest.importorskip("openvino")

DIVIDED = "openvino:hetero:cpu"


def answers(bundle: Path, backend: str, threads: int | None = None) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    opened = load_bundle(bundle)
    with open_session(opened, backend=backend, threads=threads) as session:
        return session.run(one_window(opened))


def test_the_processor_is_the_backend_itself() -> None:
    assert Backends().named("openvino:cpu") is OpenVinoBackend
    assert Backends().named(DIVIDED) is Backends().named(DIVIDED)


@pytest.mark.parametrize("device", ["auto", "gpu.x", "gpu.", "hetero:", "hetero:cpu,auto", "", "cuda", "gpu\n"])
def test_other_names_are_refused(device: str) -> None:
    with pytest.raises(UsageError, match=r"cpu, gpu, gpu\.N or npu"):
        Backends().named(f"openvino:{device}")


def test_why_not_auto() -> None:
    with pytest.raises(UsageError, match="the bits"):
        Backends().named("openvino:auto")


@pytest.mark.parametrize("backend", ["onnxruntime:gpu", "tensorrt:cpu"])
def test_other_backends_are_told_no_device(backend: str) -> None:
    with pytest.raises(UsageError, match="not told a device"):
        Backends().named(backend)


@pytest.mark.parametrize("device", ["gpu.7", "hetero:gpu.7,cpu"])
def test_a_device_that_is_absent_is_refused_by_name(device: str, tiny_bundle: Path) -> None:
    with pytest.raises(BackendError, match=r"finds no device GPU\.7 here; it finds .*CPU") as refused:
        open_session(load_bundle(tiny_bundle), backend=f"openvino:{device}")
    assert any(remedy.option == "device" for remedy in refused.value.remedies)


def test_a_divided_network_answers_as_the_processor_does_and_says_where(tiny_bundle: Path) -> None:
    for name, value in answers(tiny_bundle, "openvino").items():
        np.testing.assert_allclose(answers(tiny_bundle, DIVIDED)[name], value, atol=1e-4)
    one, two = answers(tiny_bundle, DIVIDED, 1), answers(tiny_bundle, DIVIDED, 2)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    with open_session(load_bundle(tiny_bundle), backend=DIVIDED) as session:
        facts = session.describe()
        assert facts["backend"] == DIVIDED and facts["device"].startswith("HETERO:CPU (")
        assert facts["self_test"]["passed"] and facts["kernels"] == {} and facts["runtime"] == "openvino"


def test_its_self_test_is_remembered_apart_from_the_processors(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    bundle = load_bundle(tiny_bundle)
    remembered = []
    for backend in ("openvino", DIVIDED, "openvino", DIVIDED):
        with open_session(bundle, backend=backend) as session:
            remembered.append(session.describe()["self_test"]["remembered"])
            assert session.describe()["cache_hit"] == (len(remembered) == 3)
    assert remembered == [False, False, True, True]


def test_tuning_times_the_devices_that_openvino_finds(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    divided = OpenVinoBackend.on("hetero:cpu")
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.other_devices", lambda kind: [divided])
    tuned = tune(load_bundle(tiny_bundle), runs=1)
    timed = {timing.backend: timing.device or "" for timing in tuned.tuning.timings}
    assert timed[DIVIDED].startswith("HETERO:CPU") and timed["openvino"] == "CPU"
    named = tune(load_bundle(tiny_bundle), runs=1, devices=["hetero:cpu"])
    assert {timing.backend for timing in named.tuning.timings} == {*timed}, "auto loses the processor"
