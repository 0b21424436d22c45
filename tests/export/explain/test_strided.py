"""Heat maps of networks that write parts of a tensor in place, as a plug-in may where it joins what it has seen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmcaf_engine.backends.registry import backend_class
from mmcaf_export.explain.gradcam import GradCam
from mmcaf_export.explain.graph import export_explain
from mmcaf_export.explain.strided import strided
from mmcaf_export.networks.feature_map import FeatureMap


class Joined(nn.Module):
    """Means and peaks written into one tensor, and a map changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.head = nn.Linear(8, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu_(self.conv(image))
        joined = features.new_zeros(len(image), 8)
        joined[:, :4] = features.mean(dim=(2, 3, 4))
        joined[:, 4:] = features.amax(dim=(2, 3, 4))
        joined[:, 2:6] *= 2
        return self.head(joined)


def test_a_heat_map_behind_parts_written_in_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, image = Joined().requires_grad_(False).eval(), torch.rand(1, 1, 3, 6, 6)
    maps = (FeatureMap("gradcam", "features", "conv", "image"),)
    export_explain(network, {"image": image}, [1], maps, tmp_path / "explain.onnx")
    onnxruntime = backend_class("onnxruntime").runtime()
    session = onnxruntime.InferenceSession(tmp_path / "explain.onnx")
    cotangent = np.ones((1, 1), np.float32)
    found = session.run(None, {"image": image.numpy(), "cotangent": cotangent})[0]
    expected = GradCam(network, maps)(image, torch.from_numpy(cotangent))[0].detach().numpy()
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("size", "stride", "offset"), [((2, 3), (8, 1), 4), ((2, 2, 2), (2, 1, 8), 3), ((), (), 5)])
def test_parts_are_read_and_written_where_torch_does(size: Any, stride: Any, offset: int) -> None:
    given, aten = torch.arange(24.0).reshape(3, 8), torch.ops.aten
    part = -1 - torch.arange(int(np.prod(size)), dtype=torch.float32).reshape(size)
    read, written = strided()[aten.as_strided.default], strided()[aten.as_strided_scatter.default]
    assert torch.equal(read(given, size, stride, offset), given.as_strided(size, stride, offset))
    assert torch.equal(
        written(given, part, size, stride, offset), torch.as_strided_scatter(given, part, size, stride, offset)
    )


def test_another_order_of_axes_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="another order"):
        strided()[torch.ops.aten.as_strided.default](torch.zeros(2, 3).T, (2,), (1,), 0)
