"""MMCAF-Net against the published network's own numbers: every intermediate and every logit."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from export.fill import fill, image, table
from export.mmcaf_networks import filled
from mmcaf_export.networks.mmcaf import INTERMEDIATES, MmcafConfig, MmcafNet
from shared import Shared

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
SHAPE = (1, 1, 12, 192, 192)
RELATIVE = 1e-4  # of the tensor's standard deviation; float32 against float64 is 1.1e-5
ABSOLUTE = 1e-4  # logit; float32 against float64 is 9.2e-6
log = logging.getLogger(__name__)

CHECKSUMS = {
    ("image_encoder.encoder.in_conv.0.weight", (64, 3, 7, 7, 7)): "7cc44e2de9b5ea97",
    ("image_encoder.fc.0.bias", (24,)): "b42e4654d014851f",
    ("image_encoder.scale1.0.running_var", (256,)): "522fda1b5b2a98a5",
    ("kan.grid", (7, 12)): "811fb7cf9a1fa07c",
    ("kan.coef", (7, 24, 8)): "f0b900245019c3bc",
    ("conv5.weight", (512, 512, 1, 4, 4)): "aa4724de7851ced9",
}


@pytest.fixture(scope="module")
def tokens() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "mmcaf_tokens.npz"))


@pytest.fixture(scope="module")
def mean() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "mmcaf_mean.npz"))


@pytest.fixture(scope="module")
def traced(shared: Shared) -> dict[str, Tensor]:
    return shared("golden-mmcaf", lambda _: trace(filled(MmcafConfig())))


@pytest.fixture(scope="module")
def mean_traced(shared: Shared) -> dict[str, Tensor]:
    return shared("golden-mmcaf-mean", lambda _: trace(of_the_mean()))


def of_the_mean() -> MmcafNet:
    with torch.device("meta"):
        network = MmcafNet(MmcafConfig(fusion="mean")).eval()
    head = torch.from_numpy(fill("fin_cls.weight", (1, 24)))
    network.load_state_dict({**filled(MmcafConfig()).state_dict(), "fin_cls.weight": head}, assign=True)
    return network


def trace(network: MmcafNet) -> dict[str, Tensor]:
    with torch.inference_mode():
        return network.trace(torch.from_numpy(image(0, SHAPE)), torch.from_numpy(table(0)))


def logit(network: MmcafNet, pixels: np.ndarray, row: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(pixels), torch.from_numpy(row)).numpy()


def assert_close(found: np.ndarray, expected: np.ndarray, what: str, tolerance: float = ABSOLUTE) -> None:
    assert found.shape == expected.shape
    error = float(np.abs(found - expected).max())
    log.info("%s: error %.2e, tolerance %.0e", what, error, tolerance)
    assert error <= tolerance, what


def assert_intermediate(found: Tensor, golden: dict[str, np.ndarray], name: str) -> None:
    array = found.numpy()
    assert array.shape == tuple(golden[f"{name}.shape"])
    std = float(golden[f"{name}.std"])
    samples = array.ravel()[np.linspace(0, array.size - 1, 64).astype(int)]
    errors = {
        "samples": float(np.abs(samples - golden[f"{name}.samples"]).max()) / std,
        "mean": abs(array.mean(dtype=np.float64) - float(golden[f"{name}.mean"])) / std,
        "std": abs(array.std(dtype=np.float64) / std - 1),
    }
    if f"{name}.values" in golden:
        errors["values"] = float(np.abs(array - golden[f"{name}.values"]).max()) / std
    log.info("%s: %s", name, ", ".join(f"{key} {error:.2e}" for key, error in errors.items()))
    assert max(errors.values()) <= RELATIVE, errors


@pytest.mark.parametrize(("name", "shape"), CHECKSUMS, ids=[name for name, _ in CHECKSUMS])
def test_fill_draws_the_golden_weights(name: str, shape: tuple[int, ...]) -> None:
    assert hashlib.sha256(fill(name, shape).tobytes()).hexdigest()[:16] == CHECKSUMS[name, shape]


def test_fill_draws_the_golden_inputs() -> None:
    assert hashlib.sha256(image(0, SHAPE).tobytes()).hexdigest()[:16] == "1c1016ad314e6d98"
    assert hashlib.sha256(table(0).tobytes()).hexdigest()[:16] == "ec67deea9b444c96"


@pytest.mark.parametrize("name", INTERMEDIATES)
def test_intermediate(name: str, traced: dict[str, Tensor], tokens: dict[str, np.ndarray]) -> None:
    assert_intermediate(traced[name], tokens, name)


@pytest.mark.parametrize("name", ["f", "kan", "fusion"])
def test_intermediate_of_the_mean_variant(
    name: str, mean_traced: dict[str, Tensor], mean: dict[str, np.ndarray]
) -> None:
    assert_intermediate(mean_traced[name], mean, name)


def test_logit(traced: dict[str, Tensor], tokens: dict[str, np.ndarray]) -> None:
    assert_close(traced["logit"].numpy(), tokens["logit"], "logit")


def test_logit_of_the_mean_variant(mean_traced: dict[str, Tensor], mean: dict[str, np.ndarray]) -> None:
    assert_close(mean_traced["logit"].numpy(), mean["logit"], "logit, mean")


def test_logit_of_other_inputs(full_network: MmcafNet, tokens: dict[str, np.ndarray]) -> None:
    assert_close(logit(full_network, image(5, SHAPE), table(0)), tokens["logit_other_image"], "other image")
    assert_close(logit(full_network, image(0, SHAPE), table(5)), tokens["logit_other_table"], "other table")


@pytest.mark.full
def test_logits_of_a_batch(full_network: MmcafNet, tokens: dict[str, np.ndarray]) -> None:
    found = logit(full_network, image(1, (3, *SHAPE[1:])), table(1, 2, 3))
    assert_close(found, tokens["logit_batch3"], "batch of 3")


@pytest.mark.full
@pytest.mark.parametrize("shape", [(1, 11, 190, 189), (3, 12, 192, 192)], ids=["11x190x189", "three channels"])
def test_other_accepted_shapes(shape: tuple[int, ...], full_network: MmcafNet, tokens: dict[str, np.ndarray]) -> None:
    case = "size_" + "x".join(map(str, shape))
    seed = int(tokens[f"{case}.seed"])
    assert_close(logit(full_network, image(seed, (1, *shape)), table(seed)), tokens[f"{case}.logit"], case)


def refused_shapes() -> list[tuple[int, ...]]:
    """What the published network refuses, and the two depths that it lets through by accident."""
    golden = np.load(GOLDEN / "mmcaf_tokens.npz")
    names = [key[5:-6] for key in golden.files if key.startswith("size_") and key.endswith(".error")]
    names += ["1x1x192x192", "1x2x192x192"]
    return [tuple(map(int, name.split("x"))) for name in names]


@pytest.mark.parametrize("shape", refused_shapes(), ids=lambda shape: "x".join(map(str, shape)))
def test_refused_shapes(shape: tuple[int, ...], full_network: MmcafNet) -> None:
    came = ", ".join(map(str, (1, *shape)))
    with pytest.raises(ValueError, match=rf"image is \[{came}\]; expected \[N, 1 or 3, 12, 192, 192\]"):
        logit(full_network, np.zeros((1, *shape), np.float32), table(0))


def test_table_encoder_inside_and_outside_its_knots(full_network: MmcafNet, tokens: dict[str, np.ndarray]) -> None:
    with torch.inference_mode():
        found = full_network.kan(torch.from_numpy(tokens["kan_probe.in"])).numpy()
    assert_close(found, tokens["kan_probe.out"], "KAN from -3 to 3")
