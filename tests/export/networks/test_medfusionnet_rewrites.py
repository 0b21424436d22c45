"""Every rewrite of MedFusionNet leaves every answer as it was: compared in float64, one after the other."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.medfusionnet_networks import CONFIGS, filled
from export.rewrites.test_rewrites import RELATIVE, relative
from mmcaf_export.networks.grey import NORMALISATIONS, GreyChannels
from mmcaf_export.networks.medfusionnet import MedFusionConfig
from mmcaf_export.networks.medfusionnet.densenet import Transition
from mmcaf_export.networks.medfusionnet.entry import MedFusionEntry
from mmcaf_export.networks.medfusionnet.network import ServedMedFusionNet
from mmcaf_export.networks.medfusionnet.pyramid import FeaturePyramid
from mmcaf_export.networks.medfusionnet.rewrites import REWRITES
from mmcaf_export.networks.medfusionnet.rewrites.pool_first import PooledTransition
from mmcaf_export.networks.medfusionnet.rewrites.pooled_pyramid import PooledPyramid
from mmcaf_export.rewrites.copies import share_copy
from mmcaf_export.rewrites.cost import measure
from mmcaf_export.rewrites.grey_stem import GreyStem, grey_stem
from mmcaf_export.rewrites.rewrite import Rewrite, rewritten, rewritten_with_costs
from shared import Shared

ENTRY = MedFusionEntry()
SINGLE = 1e-5  # of a logit in float32
OF_IMAGES = {"batch_norm", "pool_first", "grey_stem"}
log = logging.getLogger(__name__)


def inputs(config: MedFusionConfig, dtype: torch.dtype = torch.float64, batch: int = 2) -> dict[str, Tensor]:
    given = ENTRY.example_inputs(config, batch, seed=3)
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in given.items()}


def applying(name: str) -> set[str]:
    """The rewrites that have something to do, by what the network is."""
    config = CONFIGS[name]
    found = set(OF_IMAGES) if config.has("image") else set()
    if config.profile == "release":
        return found | {"one_token" if config.fpn_taps == "stages" else "pooled_pyramid"}
    if config.has("image") and not config.fpn_smoothing:
        found.add("pooled_pyramid")
    if config.has("text"):
        found |= {"segment_in_places", "merged_qkv"}
    return found | {"joint_constants"}


def stages(name: str) -> dict[str, tuple[bool, Tensor]]:
    """Rewrite -> whether it applied, and the logits after it."""
    config = CONFIGS[name]
    copied, given = share_copy(filled(config).double()), inputs(config)
    with torch.inference_mode():
        found = {"": (True, copied(*given.values()))}
        for rewrite in REWRITES:
            applied = rewrite.apply(copied, given)
            found[rewrite.name] = applied, copied(*given.values())
    return found


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.name)
@pytest.mark.parametrize("name", CONFIGS)
def test_exact(rewrite: Rewrite, name: str, shared: Shared) -> None:
    done = shared(f"rewrites-medfusionnet-{name}", lambda _: stages(name))
    names = list(done)
    before = done[names[names.index(rewrite.name) - 1]][1]
    applied, after = done[rewrite.name]
    assert applied == (rewrite.name in applying(name))
    step, whole = relative(after, before), relative(after, done[""][1])
    log.info("%s, %s: %.1e by this rewrite, %.1e by all so far", name, rewrite.name, step, whole)
    assert max(step, whole) <= RELATIVE
    assert applied or torch.equal(after, before)


@pytest.mark.parametrize("name", CONFIGS)
def test_float32_and_any_batch(name: str) -> None:
    config = CONFIGS[name]
    network = filled(config)
    copied = rewritten(network, REWRITES, inputs(config, torch.float32, 1))
    for batch in (1, 3):
        given = inputs(config, torch.float32, batch)
        with torch.inference_mode():
            error = float((copied(*given.values()) - network(*given.values())).abs().max())
        log.info("%s, batch of %d: error %.1e", name, batch, error)
        assert error <= SINGLE


@pytest.mark.parametrize("name", CONFIGS)
def test_applying_twice_changes_nothing_more_and_the_source_stays(name: str) -> None:
    config = CONFIGS[name]
    network, given = filled(config), inputs(config, torch.float32)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    copied = share_copy(network)
    assert {rewrite.name for rewrite in REWRITES if rewrite.apply(copied, given)} == applying(name)
    assert [rewrite.name for rewrite in REWRITES if rewrite.apply(copied, given)] == []
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["slim", "release"])
def test_what_is_left(name: str) -> None:
    config = CONFIGS[name]
    copied = rewritten(filled(config), REWRITES, inputs(config, torch.float32))
    norms = {path.rpartition(".")[2] for path, part in copied.named_modules() if isinstance(part, nn.BatchNorm2d)}
    stem = copied.get_submodule("image_encoder.features.conv0")
    if name == "release":  # its channels' means and deviations are equal, so that nothing is added at the border
        assert norms == {"norm1", "norm"} and isinstance(stem, nn.Conv2d) and stem.in_channels == 1
        linear = [(path, part.in_features) for path, part in copied.named_modules() if isinstance(part, nn.Linear)]
        channels = config.block_channels[-1] + config.features
        assert linear == [("fusion", channels), ("head.hidden", config.hidden), ("head.output", config.head)]
    else:
        assert norms == {"norm1", "norm", "norm5"} and isinstance(stem, GreyStem)
        gone = {"region_position", "label_queries", "modality_embedding.weight", "self_attention.query.weight"}
        assert not gone & copied.state_dict().keys()


def published(profile: str, size: int = 224) -> tuple[nn.Module, dict[str, Tensor]]:
    features = 4 if profile == "full" else 1
    config = MedFusionConfig(profile=profile, features=features, size=size)  # type: ignore[arg-type]
    with torch.device("meta"):
        network = ServedMedFusionNet(config).eval()
    image, table = torch.empty(1, 1, size, size), torch.empty(1, config.table_values)
    return network, {"image": image.to("meta"), "metadata": table.to("meta")}


@pytest.mark.parametrize(("profile", "gmac", "least"), [("full", 2.92, 0.12), ("release", 2.84, 0.10)])
def test_savings_at_the_published_size(profile: str, gmac: float, least: float) -> None:
    network, given = published(profile)
    lean, applied = rewritten_with_costs(network, REWRITES, given)
    before, after = applied[0].before.flops, applied[-1].after.flops
    saved = {done.rewrite.name: round((done.before.flops - done.after.flops) / 2e9, 4) for done in applied}
    log.info("%s: %.3f GMAC become %.3f; saved %s", profile, before / 2e9, after / 2e9, saved)
    assert before / 2e9 == pytest.approx(gmac, rel=0.01)
    assert 1 - after / before >= least
    assert saved["pool_first"] == pytest.approx(0.231, abs=0.001)
    assert saved["grey_stem"] == pytest.approx(0.118 * 2 / 3, abs=0.001)
    if profile == "full":
        assert saved["pooled_pyramid"] == pytest.approx(0.083 - 0.016, abs=0.001)
    assert measure(lean, given).flops == after


@pytest.mark.full
@pytest.mark.parametrize("profile", ["full", "release"])
def test_published_size(profile: Any) -> None:
    config = MedFusionConfig(profile=profile, features=4 if profile == "full" else 1)
    network = filled(config)
    single, double = inputs(config, torch.float32, 1), inputs(config, batch=1)
    with torch.inference_mode():
        lean32 = rewritten(network, REWRITES, single)(*single.values())
        plain32 = network(*single.values())
        network.double()
        expected = network(*double.values())
        found = rewritten(network, REWRITES, double)(*double.values())
    error, scale = float((found - expected).abs().max()), float(expected.abs().max())
    errors = [float((logits - expected).abs().max()) for logits in (plain32, lean32)]
    log.info("%s: %.1e of %.2f in float64; float32 %.1e before, %.1e after", profile, error, scale, *errors)
    assert error <= RELATIVE * scale
    assert max(errors) <= SINGLE


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"), [(7, 2, 3, 16), (3, 1, 1, 5), (7, 2, 3, 3), (1, 1, 0, 4)]
)
def test_grey_stem(kernel: int, stride: int, padding: int, size: int, normalisation: str, bias: bool) -> None:
    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grey = GreyChannels(NORMALISATIONS[normalisation])
            self.conv = nn.Conv2d(3, 5, kernel, stride=stride, padding=padding, bias=bias)

        def forward(self, image: Tensor) -> Tensor:
            return self.conv(self.grey(image))

    torch.manual_seed(0)
    network, image = Stem().double().eval(), torch.rand(2, 1, size, size + 2, dtype=torch.float64)
    copied, rewrite = share_copy(network), grey_stem("grey", "conv")
    assert not rewrite.apply(copied, {"image": image.expand(-1, 3, -1, -1)})
    assert not rewrite.apply(copied, {"table": image})
    assert rewrite.apply(copied, {"image": image}) and not rewrite.apply(copied, {"image": image})
    assert isinstance(copied.get_submodule("conv"), GreyStem) == (normalisation != "half")
    with torch.inference_mode():
        wanted = network(image)
        assert relative(copied(image), wanted) <= RELATIVE
        channels = NORMALISATIONS[normalisation]
        mean, std = (torch.tensor(v, dtype=torch.float64).reshape(3, 1, 1) for v in (channels.mean, channels.std))
        plane = image * channels.grey_std + channels.grey_mean
        assert relative(network.conv((plane.expand(-1, 3, -1, -1) - mean) / std), wanted) <= RELATIVE


@pytest.mark.parametrize("size", [8, 7])
def test_pool_first(size: int) -> None:
    torch.manual_seed(0)
    transition = Transition(5).double().eval()
    nn.init.uniform_(transition.norm.running_var, 0.5, 2)
    x = torch.randn(2, 5, size, size + 2, dtype=torch.float64)
    with torch.inference_mode():
        assert relative(PooledTransition(transition)(x), transition(x)) <= RELATIVE


def test_pooled_pyramid_of_any_maps() -> None:
    torch.manual_seed(0)
    pyramid = FeaturePyramid(CONFIGS["slim"]).double()
    sides = (24, 12, 6)
    maps = [
        torch.randn(2, channels, side, side, dtype=torch.float64)
        for channels, side in zip(CONFIGS["slim"].tapped_channels, sides, strict=True)
    ]
    with torch.inference_mode():
        wanted = pyramid(*maps)
        assert wanted.shape == (2, CONFIGS["slim"].width, 6, 6)
        laterals = [lateral for lateral in pyramid.lateral if isinstance(lateral, nn.Conv2d)]
        assert relative(PooledPyramid(laterals)(*maps), wanted) <= RELATIVE
