"""What each layer does to the logit in INT8, to first order, beside networks with that layer in INT8."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.errors import BackendError
from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision import side_by_side
from mmcaf_export.precision.calibration import METHODS, largest_magnitudes
from mmcaf_export.precision.course import Course
from mmcaf_export.precision.effects import Trial, expected_together
from mmcaf_export.precision.int8 import write_int8
from mmcaf_export.precision.layers import candidates, grouped_by_part
from mmcaf_export.precision.observe import Observation, observe
from mmcaf_export.precision.sensitivity import DIRECTIONS, Sensitivities, directions
from mmcaf_kernels.graph import UnsupportedGraphError
from small_networks import answer, save_network

SHAPE = (1, 3, 9, 11)
COLUMNS = 512
"""Enough for a product to be a candidate."""


def network(path: Path, *, logits: int = 1, curve: str = "Sigmoid", last: str = "Tanh", groups: int = 1) -> Path:
    """A convolution, a curve, two further convolutions of it, a large product and another curve."""
    generator = np.random.default_rng(3)
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["first"], name="one", pads=[1] * 6),
        helper.make_node(curve, ["first"], ["bent"]),
        helper.make_node("Conv", ["bent", "w2"], ["left"], name="two", pads=[1] * 6, group=groups),
        helper.make_node("Conv", ["bent", "w3"], ["right"], name="three"),
        helper.make_node("Mul", ["left", "right"], ["joined"]),
        helper.make_node("ReduceMean", ["joined", "space"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "w4"], ["wide"], name="four"),
        helper.make_node(last, ["wide"], ["squeezed"]),
        helper.make_node("Gemm", ["squeezed", "w5"], ["logit"], name="five", transB=1),
    ]
    constants = {
        "w1": generator.normal(size=(8, 1, 3, 3, 3)),
        "b1": generator.normal(size=8),
        "w2": generator.normal(size=(1024, 8 // groups, 3, 3, 3)),
        "w3": generator.normal(size=(1024, 8, 1, 1, 1)),
        "w4": generator.normal(size=(1024, COLUMNS)) / 512,
        "w5": generator.normal(size=(logits, COLUMNS)) / 16,
        "space": np.array([2, 3, 4]),
    }
    stored = {name: array if name == "space" else array.astype(np.float32) for name, array in constants.items()}
    return save_network(path, nodes, {"image": ["N", *SHAPE]}, {"logit": ["N", logits]}, stored)


def windows(count: int) -> list[dict[str, NDArray[Any]]]:
    generator = np.random.default_rng(1)
    return [{"image": generator.laplace(size=(1, *SHAPE)).astype(np.float32)} for _ in range(count)]


def changes(model: Path, chosen: Sequence[dict[str, NDArray[Any]]], limits: dict[str, float]) -> NDArray[np.float64]:
    """What networks with one layer in INT8 each answer otherwise, [windows, layers, logits]."""
    found = []
    for layer in candidates(load_model(model), grouped=True):
        write_int8(model, model.with_name("one.onnx"), [layer.node], limits)
        found.append([(answer(model.with_name("one.onnx"), one) - answer(model, one)).ravel() for one in chosen])
    return np.array(found, np.float64).transpose(1, 0, 2)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("logits", [1, 3])
def test_as_networks_with_that_layer_in_int8(tmp_path: Path, logits: int, groups: int) -> None:
    model, chosen = network(tmp_path / "m.onnx", logits=logits, groups=groups), windows(3)
    layers = candidates(load_model(model), grouped=True)
    assert [layer.node for layer in layers] == ["one", "two", "three", "four"]
    limits = largest_magnitudes(model, {layer.input for layer in layers}, chosen)
    sensitivities = Sensitivities(model, layers, "logit")
    found = np.array([sensitivities.of(window, limits) for window in chosen])
    expected = changes(model, chosen, limits)
    assert found.shape == expected.shape == (3, 4, logits)
    scale = np.sqrt((expected**2).mean(axis=(0, 2)))[None, :, None]
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=0.1)


def test_exact_where_nothing_is_bent(tmp_path: Path) -> None:
    model, chosen = network(tmp_path / "m.onnx", curve="Identity", last="Identity"), windows(2)
    layers = candidates(load_model(model))
    limits = largest_magnitudes(model, {layer.input for layer in layers}, chosen)
    found = np.array([Sensitivities(model, layers, "logit").of(window, limits) for window in chosen])
    expected = changes(model, chosen, limits)
    np.testing.assert_allclose(found[:, 1:], expected[:, 1:], rtol=0, atol=1e-3 * np.abs(expected[:, 1:]).max())


def test_more_logits_than_backward_runs(tmp_path: Path) -> None:
    """Signed sums of all keep what the logits move by on the whole."""
    model, chosen = network(tmp_path / "m.onnx", logits=9), windows(4)
    layers = candidates(load_model(model))
    limits = largest_magnitudes(model, {layer.input for layer in layers}, chosen)
    sensitivities = Sensitivities(model, layers, "logit")
    found = np.array([sensitivities.of(window, limits) for window in chosen])
    assert found.shape == (4, 4, DIRECTIONS)
    expected = changes(model, chosen, limits)
    ratio = np.sqrt((found**2).mean(axis=(0, 2)) / (expected**2).mean(axis=(0, 2)))
    assert np.all((ratio > 0.6) & (ratio < 1.6)), ratio


def test_directions() -> None:
    np.testing.assert_array_equal(directions(DIRECTIONS), np.eye(DIRECTIONS))
    found = directions(18)
    np.testing.assert_array_equal(found, directions(18))
    assert found.shape == (DIRECTIONS, 18)
    np.testing.assert_allclose((found**2).sum(axis=1), 1, rtol=1e-6)


def observed(model: Path, chosen: Sequence[dict[str, NDArray[Any]]], told: list[str]) -> Observation:
    layers = candidates(load_model(model))
    largest = largest_magnitudes(model, {layer.input for layer in layers}, chosen)
    trial = Trial(model, tiny_manifest_of(), chosen, backend_class("onnxruntime"), "int8")

    def alone(members: Sequence[str]) -> float:
        return trial.error(lambda changed: write_int8(model, changed, members, largest))

    return observe(model, layers, grouped_by_part(layers), "logit", largest, trial, METHODS, alone, Course(told.append))


def tiny_manifest_of() -> Any:
    """One image and one logit, as far as a trial reads it."""
    from types import SimpleNamespace

    from mmcaf_engine.manifest import TensorSpec

    image = TensorSpec(name="image", kind="volume", dtype="float32", shape=("N", *SHAPE))
    logit = TensorSpec(name="logit", kind="score", shape=("N", 1))
    return SimpleNamespace(inputs=(image,), outputs=(logit,), text=None)


def test_the_number_of_cores_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, chosen = network(tmp_path / "m.onnx"), windows(5)
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(side_by_side, "usable_cores", lambda cores=cores: cores)
        found.append(observed(model, chosen, []))
    assert found[0] == found[1] == found[2]
    assert all(0 < error < 1 for error in found[0].errors.values())
    assert found[0].ranges.keys() == set(METHODS)


def test_little_memory_leaves_one_window_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 8)
    for free, count in ((None, 8), (10, 1), (250, 2), (10_000, 8)):
        monkeypatch.setattr(side_by_side, "available_memory", lambda free=free: free)
        assert side_by_side.workers(100) == count


def test_a_network_that_pytorch_does_not_know_is_tried_layer_by_layer(tmp_path: Path) -> None:
    model, chosen = network(tmp_path / "m.onnx", curve="Celu"), windows(2)
    told: list[str] = []
    found = observed(model, chosen, told)
    assert any("Celu" in line and "each layer is tried in INT8 by itself" in line for line in told)
    limits = found.ranges["minmax"]
    expected = np.sqrt((changes(model, chosen, limits) ** 2).mean(axis=(0, 2)))
    assert list(found.errors) == ["one", "two", "three", "four"]
    np.testing.assert_allclose(list(found.errors.values()), expected, rtol=0.02)


def test_what_has_no_derivative_is_tried_layer_by_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_given: Any) -> Any:
        raise RuntimeError("derivative for aten::frob is not implemented\nand more")

    monkeypatch.setattr(Sensitivities, "of", none)
    told: list[str] = []
    found = observed(network(tmp_path / "m.onnx"), windows(2), told)
    assert any("(derivative for aten::frob is not implemented)" in line for line in told)
    assert all(error > 0 for error in found.errors.values())


def test_want_of_memory_is_not_taken_for_want_of_a_derivative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_given: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 1 bytes")

    monkeypatch.setattr(Sensitivities, "of", none)
    told: list[str] = []
    with pytest.raises(BackendError, match="Out of memory while looking for what each layer does in INT8"):
        observed(network(tmp_path / "m.onnx"), windows(2), told)
    assert not any("backwards" in line for line in told)


def test_an_error_by_other_kernels_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    model, facts = network(tmp_path / "m.onnx"), []
    for fingerprint in ("one", "one", "another"):
        monkeypatch.setattr("mmcaf_kernels.cpu.extension.fingerprint", lambda fingerprint=fingerprint: fingerprint)
        monkeypatch.setattr("mmcaf_kernels.cpu.extension.missing", lambda: None)
        facts.append(Trial(model, tiny_manifest_of(), windows(1), backend_class("openvino"), "int8").facts)
    assert facts[0] == facts[1] != facts[2]


def test_an_unknown_operator(tmp_path: Path) -> None:
    model = network(tmp_path / "m.onnx", curve="Celu")
    with pytest.raises(UnsupportedGraphError, match="Celu"):
        Sensitivities(model, candidates(load_model(model)), "logit").memory(windows(1)[0])


def test_effects_that_are_independent() -> None:
    assert expected_together([3.0, 4.0]) == 5.0 and expected_together([]) == 0.0
