"""explain.onnx of a bundle: the maps that torch's own gradients give, what the manifest says, and what is refused."""

import gc
import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from mmcaf_engine import load_bundle
from mmcaf_engine.errors import BackendError, ExportError
from mmcaf_export import export
from mmcaf_export.explain import graph, write
from mmcaf_export.explain.gradcam import GradCam
from mmcaf_export.explain.write import write_explain
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.networks.feature_map import FeatureMap
from mmcaf_export.rewrites.rewrite import Rewrite
from refusals import refused

STUDY = {
    "data": "phantoms",
    "cases": 4,
    "hits": 3,
    "interval": [0.3, 0.95],
    "chance": 0.1,
    "randomised": [0.0, 0.2],
}


class Seen(nn.Module):
    """image [N, 1, D, H, W] -> logit [N, 1]: a feature map, a ReLU on it in place, and one number of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 3, 3, padding=1)
        self.head = nn.Linear(3, 2)
        generator = torch.Generator().manual_seed(3)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu_(self.conv(image))
        return self.head(features.mean(dim=(2, 3, 4)) ** 2), features.sum(dim=(1, 2, 3, 4))


def test_the_map_is_the_weighted_sum_of_the_channels() -> None:
    network = Seen().eval().requires_grad_(False)
    image = torch.randn(1, 1, 2, 4, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = network.conv(image)
    leaf = features.clone().requires_grad_()
    answer = network.head(torch.relu(leaf).mean(dim=(2, 3, 4)) ** 2)
    gradient = torch.autograd.grad(answer @ torch.tensor([2.0, -1.0]), leaf)[0]
    weights = gradient.mean(dim=(2, 3, 4))[0]
    expected = sum(weight * plane for weight, plane in zip(weights, features[0], strict=True))
    maps = (FeatureMap("cam", "features", "conv", "image", lambda x: x.permute(0, 1, 4, 2, 3)),)
    (signed,) = GradCam(network, maps).signed([image], torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(signed[0], expected.permute(2, 0, 1))
    (shown,) = GradCam(network, maps)(image, torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(shown, signed.clamp(min=0))
    assert 0 < float(shown.max()) < float(signed.abs().sum())


@pytest.mark.parametrize(
    ("module", "facts"),
    [("other", ("no module", "other")), ("head", ("head", "no feature map")), ("unread", ("No score", "unread"))],
)
def test_what_is_no_feature_map_is_refused(module: str, facts: tuple[str, ...]) -> None:
    network = Seen().eval().requires_grad_(False)
    if module == "unread":
        network.unread = nn.Identity()
        network.conv.register_forward_pre_hook(lambda _module, given: [network.unread(given[0]), given[0]][1:][0])
    spec = FeatureMap("cam", "features", module, "image")
    with refused(ExportError, *facts):
        GradCam(network, (spec,)).signed([torch.ones(1, 1, 2, 4, 5)], torch.ones(1, 2))


def test_a_bundle_holds_the_graph_of_its_maps(density_checkpoint: Path, tmp_path: Path) -> None:
    settings = {"explain.judged": json.dumps(STUDY)}
    report = export_bundle(density_checkpoint, tmp_path / "density.mmcaf", settings=settings)
    bundle = load_bundle(report.output)
    spec = bundle.manifest.explain
    assert spec is not None and spec.file == "explain.onnx" and spec.judged is not None and spec.judged.hits == 3
    (only,) = spec.maps
    assert (only.output, only.module, only.input, only.grid) == ("gradcam", "norm", "image", (4, 16, 16))
    assert [done.backend for done in report.maps] == ["onnxruntime", "openvino"]
    assert all(done.max_relative_error <= write.TOLERANCE for done in report.maps)
    assert "heat maps within" in report.summary() and len(report.to_dict()["maps"]) == 2
    written = onnx.load(report.output / "explain.onnx").graph
    assert [value.name for value in written.input] == ["image", "cotangent"]
    assert [value.name for value in written.output] == ["gradcam"]
    read = {name for node in written.node for name in node.input}
    assert {tensor.name for tensor in written.initializer} <= read
    with np.load(report.output / "golden.npz") as golden:
        held = {name: golden[name] for name in ("image", "cotangent", "gradcam")}
    session = onnxruntime.InferenceSession(report.output / "explain.onnx")
    for at in range(2):
        feed = {name: held[name][at : at + 1] for name in ("image", "cotangent")}
        np.testing.assert_allclose(session.run(None, feed)[0][0], held["gradcam"][at], rtol=1e-3, atol=1e-7)
        assert held["gradcam"][at].max() > 0


def test_another_map_than_torchs_is_refused(density_checkpoint: Path, tmp_path: Path) -> None:
    from density_network import DensityConfig, DensityEntry

    def turned(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
        network.set_submodule("norm", nn.Sequential(network.get_submodule("norm"), nn.ReLU()))
        return True

    class Other(DensityEntry):
        explained_rewrites = (Rewrite("turned", "It changes what the features are.", turned),)

    entry, config = Other(), DensityConfig()
    source = entry.build(config).requires_grad_(False)
    with refused(ExportError, "heat maps", "onnxruntime", 0.0001, option="no_explain"):
        write_explain(entry, config, source, entry.example_inputs(config, 2, seed=1), tmp_path)


class OnlyForward(torch.autograd.Function):
    """As of a package that answers and does not train."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x * 2


class NoGradient(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OnlyForward.apply(x)  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("module", ["absent", "norm.0"])
def test_a_map_that_cannot_be_made_names_what_leaves_it_out(
    module: str, density_checkpoint: Path, tmp_path: Path
) -> None:
    from density_network import DensityConfig, DensityEntry

    class Other(DensityEntry):
        def explained(self, config: DensityConfig) -> tuple[FeatureMap, ...]:
            return (FeatureMap("gradcam", "features", module, "image"),)

        rewrites = ()

    entry, config = Other(), DensityConfig()
    source = entry.build(config).requires_grad_(False)
    source.set_submodule("norm", nn.Sequential(source.get_submodule("norm"), NoGradient()))
    cases = entry.example_inputs(config, 2, seed=1)
    facts = ("no module absent",) if module == "absent" else ("backward", "gradients")
    with refused(ExportError, "heat maps", *facts, option="no_explain"):
        write_explain(entry, config, source, cases, tmp_path)


class SliceBySlice(nn.Module):
    """Slices as a batch, as of an encoder of pictures."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        slices = x.transpose(1, 2).flatten(0, 1)[:, :, None]
        done: Tensor = self.inner(slices)[:, :, 0].unflatten(0, (len(x), -1))
        return done.transpose(1, 2)


def test_a_feature_map_of_each_slice_is_refused(density_checkpoint: Path, tmp_path: Path) -> None:
    from density_network import DensityConfig, DensityEntry

    class Other(DensityEntry):
        def explained(self, config: DensityConfig) -> tuple[FeatureMap, ...]:
            return (FeatureMap("gradcam", "features", "norm.inner", "image"),)

        rewrites = ()

    entry, config = Other(), DensityConfig()
    source = entry.build(config).requires_grad_(False)
    source.set_submodule("norm", SliceBySlice(source.get_submodule("norm")))
    cases = entry.example_inputs(config, 2, seed=1)
    with refused(ExportError, "norm.inner", "4 maps [1, 16, 16] of one case", "gradcam", option="no_explain"):
        write_explain(entry, config, source, cases, tmp_path)


def test_a_network_that_names_no_feature_map_has_no_graph(density_checkpoint: Path, tmp_path: Path) -> None:
    from density_network import DensityConfig, DensityEntry

    class Plain(DensityEntry):
        explained = NetworkEntry.explained

    entry, config = Plain(), DensityConfig()
    assert write_explain(entry, config, entry.build(config), {}, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_cannot_be_is_refused(density_checkpoint: Path, tmp_path: Path) -> None:
    wrong: dict[str, Any] = STUDY | {"hits": 5}
    with refused(ExportError, "5 hits of 4 cases"):
        export_bundle(density_checkpoint, tmp_path / "b.mmcaf", settings={"explain.judged": json.dumps(wrong)})
    assert list(tmp_path.iterdir()) == []


def test_no_layer_norm_is_asked_for_its_statistics() -> None:
    """TensorRT's layer norm has its result alone."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 3, 1)
            self.norm = nn.LayerNorm(4)

        def forward(self, x: Tensor) -> Tensor:
            return (self.norm(self.conv(x)) ** 3).sum(dim=2)

    network = Normed().double().requires_grad_(False)
    module = GradCam(network, (FeatureMap("cam", "features", "conv", "x"),))
    given = torch.randn(1, 2, 4).double(), torch.ones(1, 3).double()
    traced = graph._traced(module, given, False)
    norms = traced.graph.find_nodes(op="call_function", target=torch.ops.aten.native_layer_norm.default)
    assert norms and all(user.args[1] == 0 for norm in norms for user in norm.users)
    other = torch.randn(1, 2, 4).double(), torch.tensor([[1.0, -2.0, 0.5]]).double()
    torch.testing.assert_close(traced(*other), module(*other), rtol=1e-9, atol=1e-12)


def test_a_runtime_that_cannot_run_the_graph_is_named_with_what_leaves_it_out(
    density_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise BackendError("openvino failed while loading explain.onnx.")

    monkeypatch.setattr(write, "make_backend", refuse)
    with refused(ExportError, "openvino", "explain.onnx", option="no_explain"):
        export_bundle(density_checkpoint, tmp_path / "density.mmcaf")
    assert not (tmp_path / "density.mmcaf").exists()


def test_no_copy_of_the_network_is_left_when_runtimes_open(
    density_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of published size is 0.3 GB, and a runtime that is given it takes three times that."""
    copies: list[weakref.ref[nn.Module]] = []
    left: list[int] = []

    def noted(make: Any) -> Any:
        def made(*given: Any) -> Any:
            done = make(*given)
            copies.append(weakref.ref(done[0] if isinstance(done, tuple) else done))
            return done

        return made

    def counted(check: Any) -> Any:
        def checked(*given: Any) -> Any:
            left.append(sum(copy() is not None for copy in copies))
            return check(*given)

        return checked

    for module, copying, checking in ((export, "prepared", "verify"), (write, "rewritten", "_verify")):
        monkeypatch.setattr(module, copying, noted(getattr(module, copying)))
        monkeypatch.setattr(module, checking, counted(getattr(module, checking)))
    gc.disable()
    try:
        export.export_bundle(density_checkpoint, tmp_path / "density.mmcaf")
    finally:
        gc.enable()
    assert len(copies) == 2 and left == [0, 0]
