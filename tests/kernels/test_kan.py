"""Kolmogorov-Arnold layer against its float64 reference, and the reference against the network's layer."""

import pytest

pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch

from kernels.cases_kan import Case, layer
from kernels.harness import random, relative_error
from mmcaf_export.networks.mmcaf.kan import KanLayer
from mmcaf_kernels.kan import fold, kan


def test_reference_is_the_networks_layer() -> None:
    torch.manual_seed(0)
    network = KanLayer(7, 24)
    for parameter in (network.mask, network.scale_base, network.scale_sp, network.coef):
        parameter.data.normal_()
    x = random((63, 7), torch.float32, "cpu", seed=1)
    base, coefficients = fold(network.coef, network.mask, network.scale_base, network.scale_sp)
    with torch.no_grad():
        found = kan(x, network.grid, base, coefficients)
        assert relative_error(found, network.double()(x.double())) < 1e-5


def arguments(**changes: object) -> dict[str, object]:
    knots, base, coefficients = layer(Case(3, 7, 24), "cpu")
    plain = {"x": torch.zeros(3, 7), "knots": knots, "base": base, "coefficients": coefficients}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.zeros(7)}, ValueError, r"x is \[7\]; expected \[N, inputs\]"),
        ({"x": torch.zeros(3, 7, dtype=torch.int64)}, TypeError, "x is int64"),
        ({"knots": torch.zeros(7, 4)}, ValueError, "at least 5 knots"),
        ({"base": torch.zeros(8, 24)}, ValueError, r"base is \[8, 24\]; expected \[7, outputs\]"),
        ({"coefficients": torch.zeros(7, 24, 9)}, ValueError, r"expected \[7, 24, 8\]"),
    ],
    ids=["x-shape", "x-type", "knots", "base", "coefficients"],
)
def test_refuses(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kan(**arguments(**changes))  # type: ignore[arg-type]


def test_empty_batch_gives_empty() -> None:
    assert kan(**arguments(x=torch.zeros(0, 7))).shape == (0, 24)  # type: ignore[arg-type]
