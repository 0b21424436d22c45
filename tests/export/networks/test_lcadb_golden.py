"""LCA-DB against the published network's own numbers: every stage, both attention vectors, and the logits."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from export.fill import image
from export.lcadb_networks import filled
from mmcaf_export.networks.lcadb import LcadbConfig, LcadbNet
from mmcaf_export.networks.lcadb.entry import LcadbEntry
from mmcaf_export.networks.lcadb.network import CELL
from mmcaf_export.rewrites.rewrite import rewritten
from shared import Shared

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "lcadb_depth10.npz"
RELATIVE = 1e-4  # of the largest value, or for stages of the standard deviation; float32 against float64 is 3e-6
STAGES = {
    "image_stem": "compose_stem",
    "image_layer1": "compose_layer1",
    "image_layer2": "compose_layer2",
    "image_layer3": "compose_layer3",
    "image_layer4": "compose_layer4",
    "image_instances": "compose_instances",
    "image_scores": "R_compose",
    "image_feature": "compose_feature",
    "patch_stem": "patch_stem",
    "patch_layer1": "patch_layer1",
    "patch_layer4": "patch_layer4",
    "patch_instances": "patch_instances",
    "patch_scores": "P_patch",
    "patch_feature": "patch_feature",
}
OUTPUTS = {"logits": "bag", "alpha_image": "alpha_compose", "alpha_patch": "alpha_patch"}
SPIKES = {0: 1e4, 5: 1e3, 10: 1e2, 15: 10.0}  # cell -> what it is multiplied by
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN))


@pytest.fixture(scope="module")
def volumes(golden: dict[str, np.ndarray]) -> tuple[Tensor, ...]:
    shape = tuple(map(int, golden["image_shape"]))
    return tuple(torch.from_numpy(image(int(seed), shape)) for seed in golden["image_seeds"])


@pytest.fixture(scope="module")
def network() -> LcadbNet:
    return filled(LcadbConfig())


@pytest.fixture(scope="module")
def traced(shared: Shared, volumes: tuple[Tensor, ...]) -> dict[str, Tensor]:
    def trace(_: Path) -> dict[str, Tensor]:
        with torch.inference_mode():
            return filled(LcadbConfig()).trace(*volumes)

    return shared("golden-lcadb", trace)


def error(found: Tensor, expected: np.ndarray, what: str) -> float:
    assert found.numpy().shape == expected.shape
    worst = float(np.abs(found.numpy() - expected).max() / np.abs(expected).max())
    log.info("%s: relative error %.1e", what, worst)
    return worst


@pytest.mark.parametrize("name", STAGES)
def test_stage(name: str, traced: dict[str, Tensor], golden: dict[str, np.ndarray]) -> None:
    values, stored = traced[name].numpy(), STAGES[name]
    scale = float(golden[f"{stored}.std"])
    if name.endswith("scores"):
        values = values[0]  # stored without the batch axis
    assert values.shape == tuple(golden[f"{stored}.shape"])
    samples = values.ravel()[np.linspace(0, values.size - 1, 64).astype(int)]
    errors = {
        "samples": float(np.abs(samples - golden[f"{stored}.samples"]).max()) / scale,
        "mean": abs(float(values.mean(dtype=np.float64)) - float(golden[f"{stored}.mean"])) / scale,
        "std": abs(float(traced[name].std(correction=0)) / scale - 1),
    }
    log.info("%s: %s", name, errors)
    assert max(errors.values()) <= RELATIVE


@pytest.mark.parametrize("name", OUTPUTS)
def test_output(name: str, traced: dict[str, Tensor], golden: dict[str, np.ndarray]) -> None:
    assert error(traced[name], golden[OUTPUTS[name]], name) <= RELATIVE


@pytest.mark.parametrize(("branch", "layer", "scores"), [("image", "linear1", "out_R"), ("patch", "linear2", "out_P")])
def test_scores_of_the_features(
    branch: str, layer: str, scores: str, network: LcadbNet, traced: dict[str, Tensor], golden: dict[str, np.ndarray]
) -> None:
    with torch.inference_mode():
        found = network.get_submodule(layer)(traced[f"{branch}_feature"])
    assert error(found, golden[scores], scores) <= RELATIVE


@pytest.fixture(scope="module")
def spiked(volumes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same volumes with some cells so bright that the attention leaves others out."""
    factors = torch.ones(4, 4)
    for cell, factor in SPIKES.items():
        factors[divmod(cell, 4)] = factor
    plane = factors.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)[:, :, None]
    return tuple(volume * plane for volume in volumes)


@pytest.mark.full
@pytest.mark.parametrize("made", ["published", "rewritten"])
def test_cells_left_out(
    made: str, network: LcadbNet, spiked: tuple[Tensor, ...], golden: dict[str, np.ndarray]
) -> None:
    form: Callable[..., tuple[Tensor, ...]] = network
    if made == "rewritten":
        entry = LcadbEntry()
        form = rewritten(network, entry.rewrites, entry.example_inputs(network.config, 1, seed=0))
    with torch.inference_mode():
        found = dict(zip(OUTPUTS, form(*spiked), strict=True))
    for name, other in OUTPUTS.items():
        assert error(found[name], golden[f"spike.{other}"], f"{made}, {name}") <= RELATIVE
    assert int((found["alpha_image"] == 0).sum()) == 2
    assert int((found["alpha_patch"] == 0).sum()) == 13
