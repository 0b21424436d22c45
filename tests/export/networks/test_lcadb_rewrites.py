"""Every rewrite of LCA-DB leaves every answer as it was: compared in float64, one after the other."""

import logging

import pytest
import torch
from torch import Tensor, nn

from export.lcadb_networks import SLIM, filled
from export.rewrites.test_rewrites import RELATIVE, One, relative
from mmcaf_export.networks.lcadb import LcadbConfig, LcadbNet
from mmcaf_export.networks.lcadb.entry import LcadbEntry
from mmcaf_export.rewrites import batch_norm
from mmcaf_export.rewrites.copies import share_copy
from mmcaf_export.rewrites.cost import measure
from mmcaf_export.rewrites.rewrite import Rewrite
from shared import Shared

ENTRY = LcadbEntry()
CONFIGS = {
    "slim": LcadbConfig(size=64, width=1 / 32),
    "deep": LcadbConfig(depth=18, slices=40, size=32, width=1 / 32),  # conv5 reads two of five slices
    "odd": LcadbConfig(depth=34, slices=11, size=64, width=1 / 64, classes=3),
    "bottlenecks": LcadbConfig(depth=50, slices=24, size=32, width=1 / 64),
    "flat": LcadbConfig(slices=3, size=32, width=1 / 16, branch_scores=True),
}
NOTHING_TO_DO = {("flat", "unread_slices"), ("deep", "padding_taps")}
log = logging.getLogger(__name__)


def inputs(config: LcadbConfig, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    batch = 2 if config.size == 32 else 1  # A larger size takes four times as long.
    return {name: tensor.to(dtype) for name, tensor in ENTRY.example_inputs(config, batch, seed=3).items()}


def stages(name: str) -> dict[str, tuple[bool, dict[str, Tensor]]]:
    """Rewrite -> whether it applied, and what the network then answers and has on the way."""
    config = CONFIGS[name]
    copied, given = share_copy(filled(config).double()), inputs(config)
    found: dict[str, tuple[bool, dict[str, Tensor]]] = {}
    for rewrite in (None, *ENTRY.rewrites):
        applied = rewrite.apply(copied, given) if rewrite is not None else True
        assert isinstance(copied, LcadbNet)
        with torch.inference_mode():
            traced = copied.trace(*given.values())
        kept = ("image_layer3", "image_instances", "patch_instances", "image_feature", "patch_feature")
        kept += config.outputs
        found[rewrite.name if rewrite is not None else ""] = applied, {key: traced[key] for key in kept}
    return found


@pytest.mark.parametrize("rewrite", ENTRY.rewrites, ids=lambda rewrite: rewrite.name)
@pytest.mark.parametrize("name", CONFIGS)
def test_exact(rewrite: Rewrite, name: str, shared: Shared) -> None:
    done = shared(f"rewrites-lcadb-{name}", lambda _: stages(name))
    names = list(done)
    before = done[names[names.index(rewrite.name) - 1]][1]
    applied, after = done[rewrite.name]
    assert applied != ((name, rewrite.name) in NOTHING_TO_DO)
    for key in after:
        step, whole = relative(after[key], before[key]), relative(after[key], done[""][1][key])
        log.info("%s, %s, %s: %.1e by this rewrite, %.1e by all so far", name, rewrite.name, key, step, whole)
        assert max(step, whole) <= RELATIVE


def test_applying_twice_changes_nothing_more() -> None:
    copied = share_copy(filled(SLIM))
    given = inputs(SLIM, torch.float32)
    for rewrite in ENTRY.rewrites:
        rewrite.apply(copied, given)
    assert [rewrite.name for rewrite in ENTRY.rewrites if rewrite.apply(copied, given)] == []


def test_no_batch_norm_is_left_and_no_dead_tap_of_the_last_patch_layer() -> None:
    copied = share_copy(filled(SLIM))
    for rewrite in ENTRY.rewrites:
        rewrite.apply(copied, inputs(SLIM, torch.float32))
    assert not [module for module in copied.modules() if isinstance(module, nn.BatchNorm3d)]
    kernels = {
        path: tuple(module.kernel_size) for path, module in copied.named_modules() if isinstance(module, nn.Conv3d)
    }
    assert kernels["layer4_patch_com.0.conv1"] == (2, 3, 3)  # slice 0 of 2, with padding before it
    assert kernels["layer4_patch_com.0.conv2"] == (1, 3, 3)  # 1 slice
    assert kernels["layer4_compose.0.conv2"] == (2, 3, 3)  # reads both slices, makes the first


def test_cost_at_the_published_size() -> None:
    with torch.device("meta"):
        network = LcadbNet()
    given = {
        name: torch.empty(tensor.shape, device="meta") for name, tensor in inputs(LcadbConfig(), torch.float32).items()
    }
    given = {name: tensor[:1] for name, tensor in given.items()}
    assert measure(network, given).flops == pytest.approx(705.6e9, rel=0.001)  # as published


class SharedNorms(nn.Module):
    """A convolution whose result is read beside the norm, one whose norm serves twice, and one that can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)
        self.conv2, self.norm2 = nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)
        self.conv3, self.norm3 = nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)
        self.conv4 = nn.Conv3d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = x + self.norm1(x)
        x = self.norm2(self.conv2(x))
        x = self.norm2(x)
        x = self.norm3(self.conv3(x))
        return self.conv4(x)


class ShownBefore(nn.Module):
    """A convolution whose result is an output of the network, beside what the norm makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        made = self.conv(x)
        return self.norm(made), made


def test_what_the_network_also_answers_with_is_not_folded() -> None:
    network, x = ShownBefore().double().eval(), torch.randn(1, 2, 3, 4, 5, dtype=torch.float64)
    copied = share_copy(network)
    assert not batch_norm.REWRITE.apply(copied, {"x": x})
    assert isinstance(copied.get_submodule("norm"), nn.BatchNorm3d)


def test_only_norms_that_alone_read_a_convolution_are_folded() -> None:
    torch.manual_seed(0)
    network = One(SharedNorms()).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.bias)
    copied, x = share_copy(network), torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    assert batch_norm.REWRITE.apply(copied, {"x": x})
    left = [path for path, module in copied.named_modules() if isinstance(module, nn.BatchNorm3d)]
    assert left == ["layer.norm1", "layer.norm2"]
    with torch.inference_mode():
        assert relative(copied(x), network(x)) <= RELATIVE
