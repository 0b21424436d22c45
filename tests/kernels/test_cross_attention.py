"""Bidirectional cross-attention against its float64 reference, and the reference against PyTorch and the network."""

import pytest

pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch
import torch.nn.functional as F

from kernels.cases_cross_attention import Case, inputs, masks
from kernels.harness import random, relative_error
from mmcaf_export.networks.mmcaf.fusion import CrossAttention
from mmcaf_kernels.cross_attention import cross_attention


def test_reference_is_attention_both_ways() -> None:
    six = inputs(Case(2, 3, 5, 4, 6), torch.float32, "cpu")
    hidden = masks(Case(2, 3, 5, 4, 6, masked=True), "cpu")
    hidden["image_mask"][-1, 0] = True  # scaled_dot_product_attention leaves a row without keys undefined
    image, table = cross_attention(*six, **hidden)
    wide = [part.double() for part in six]
    to_table = hidden["table_mask"][:, None, None, :]
    to_image = hidden["image_mask"][:, None, None, :]
    expected = F.scaled_dot_product_attention(wide[0], wide[4], wide[5], to_table)
    assert relative_error(image, expected) < 1e-6
    expected = F.scaled_dot_product_attention(wide[3], wide[1], wide[2], to_image)
    assert relative_error(table, expected) < 1e-6


def test_one_token_on_either_side_is_the_networks_module() -> None:
    torch.manual_seed(0)
    module = CrossAttention(24)
    image, table = (random((5, 24), torch.float32, "cpu", seed) for seed in (1, 2))
    with torch.no_grad():
        tokens = [part[:, None, None, :].contiguous() for part in (image, image, module.v_proj(image))]
        others = [part[:, None, None, :].contiguous() for part in (table, table, module.v_proj(table))]
        gathered, _ = cross_attention(*tokens, *others)
        assert relative_error(image + gathered[:, 0, 0], module(image, table).double()) < 1e-6


def arguments(**changes: object) -> dict[str, object]:
    names = ("image_query", "image_key", "image_value", "table_query", "table_key", "table_value")
    plain = dict(zip(names, inputs(Case(2, 1, 5, 3, 8), torch.float32, "cpu"), strict=True))
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image_query": torch.zeros(2, 1, 5, 513)}, ValueError, "expected a head size of 1 to 512"),
        ({"image_key": torch.zeros(2, 1, 4, 8)}, ValueError, r"image_key is \[2, 1, 4, 8\]; expected \[2, 1, 5, 8\]"),
        ({"table_query": torch.zeros(2, 1, 3, 9)}, ValueError, r"expected \[2, 1, M, 8\]"),
        ({"table_value": torch.zeros(2, 1, 3, 8).half()}, TypeError, "table_value is float16; expected float32"),
        ({"table_key": torch.zeros(2, 1, 8, 3).transpose(2, 3)}, ValueError, "contiguous"),
        ({"image_mask": torch.ones(2, 5)}, TypeError, "image_mask is float32; expected bool"),
        ({"table_mask": torch.ones(2, 5, dtype=torch.bool)}, ValueError, r"table_mask is \[2, 5\]; expected \[2, 3\]"),
    ],
    ids=["head", "image_key", "table_query", "table_value", "strided", "image_mask", "table_mask"],
)
def test_refuses(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cross_attention(**arguments(**changes))  # type: ignore[arg-type]


def test_empty_batch_gives_empty() -> None:
    image, table = cross_attention(*inputs(Case(0, 1, 5, 3, 8), torch.float32, "cpu"))
    assert (image.shape, table.shape) == ((0, 1, 5, 8), (0, 1, 3, 8))


def test_a_side_without_tokens_gives_zeros() -> None:
    image, table = cross_attention(*inputs(Case(1, 1, 5, 0, 8), torch.float32, "cpu"))
    assert table.shape == (1, 1, 0, 8)
    assert not image.any()
