"""Fusion head against its float64 reference, and the reference against the network's modules."""

import pytest

pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch
from torch import nn

from kernels.harness import random, relative_error
from mmcaf_export.networks.mmcaf.fusion import Fusion, MultiscaleFusion
from mmcaf_kernels.fusion_head import fusion_head, pack
from mmcaf_kernels.fusion_head.reference import parameter_count


@pytest.mark.parametrize("fusion", ["tokens", "mean"])
def test_reference_is_the_networks_head(fusion: Fusion) -> None:
    torch.manual_seed(0)
    module = MultiscaleFusion(fusion).eval()
    head = nn.Linear(48 if fusion == "tokens" else 24, 1)
    for norm in (module.norm_img, module.norm_tab):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.data.uniform_(0.5, 2)
    image, table = (random((5, 24), torch.float32, "cpu", seed) for seed in (1, 2))
    with torch.no_grad():
        found = fusion_head(image, table, pack(module.state_dict(), (head.weight, head.bias), fusion), fusion)
        fused = module.double()(image.double(), table.double())
        assert relative_error(found, head.double()(fused.flatten(1))) < 1e-5


def test_pack_refuses_the_other_modes_head() -> None:
    head = nn.Linear(24, 1)
    with pytest.raises(ValueError, match=r"head.weight is \[1, 24\]; expected \[1, 48\]"):
        pack(MultiscaleFusion("tokens").state_dict(), (head.weight, head.bias), "tokens")


def arguments(**changes: object) -> dict[str, object]:
    parameters = torch.zeros(parameter_count(24, "tokens"))
    return {"image": torch.zeros(3, 24), "table": torch.zeros(3, 24), "parameters": parameters, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": torch.zeros(3, 22)}, ValueError, "expected a width that is a multiple of 4 up to 128"),
        ({"image": torch.zeros(24)}, ValueError, r"image is \[24\]; expected \[N, width\]"),
        ({"table": torch.zeros(2, 24)}, ValueError, r"table is \[2, 24\]; expected \[3, 24\]"),
        ({"table": torch.zeros(3, 24).half()}, TypeError, "table is float16; expected float32"),
        ({"fusion": "sum"}, ValueError, "fusion is 'sum'; expected 'tokens' or 'mean'"),
        ({"fusion": "mean"}, ValueError, "parameters is"),
    ],
    ids=["image-width", "image-shape", "table-shape", "table-type", "fusion", "parameters"],
)
def test_refuses(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fusion_head(**arguments(**changes))  # type: ignore[arg-type]


def test_empty_batch_gives_empty() -> None:
    assert fusion_head(**arguments(image=torch.zeros(0, 24), table=torch.zeros(0, 24))).shape == (0, 1)  # type: ignore[arg-type]
