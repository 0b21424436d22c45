"""Every rewrite of CMASG-Bi-LSTM leaves every answer as it was: compared in float64, one after the other."""

import logging

import pytest
import torch
from torch import Tensor, nn

from export.cmasg_networks import SWITCHES, filled, variant
from mmcaf_export.networks.bert import Bert, BertConfig
from mmcaf_export.networks.cmasg import CmasgConfig, CmasgNet
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.cmasg.recurrent import SparseGate
from mmcaf_export.rewrites.copies import share_copy
from mmcaf_export.rewrites.cost import measure
from mmcaf_export.rewrites.rewrite import Rewrite
from shared import Shared

ENTRY = CmasgEntry()
RELATIVE = 1e-12
log = logging.getLogger(__name__)


def inputs(config: CmasgConfig) -> dict[str, Tensor]:
    given = ENTRY.example_inputs(config, 3, seed=3)
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in given.items()}


def stages(name: str) -> dict[str, tuple[bool, Tensor]]:
    """Rewrite -> whether it applied, and what the network then answers."""
    config = variant(**SWITCHES[name])
    copied, given = share_copy(filled(config).double()), inputs(config)
    found: dict[str, tuple[bool, Tensor]] = {}
    for rewrite in (None, *ENTRY.rewrites):
        applied = rewrite.apply(copied, given) if rewrite is not None else True
        with torch.inference_mode():
            found[rewrite.name if rewrite is not None else ""] = applied, copied(*given.values())
    return found


@pytest.mark.parametrize("rewrite", ENTRY.rewrites, ids=lambda rewrite: rewrite.name)
@pytest.mark.parametrize("name", SWITCHES)
def test_exact(rewrite: Rewrite, name: str, shared: Shared) -> None:
    done = shared(f"rewrites-cmasg-{name}", lambda _: stages(name))
    names = list(done)
    before, original = done[names[names.index(rewrite.name) - 1]][1], done[""][1]
    applied, after = done[rewrite.name]
    assert applied == (rewrite.name in expected_rewrites(variant(**SWITCHES[name])))
    scale = float(original.abs().max())
    step, whole = float((after - before).abs().max()) / scale, float((after - original).abs().max()) / scale
    log.info("%s, %s: %.1e by this rewrite, %.1e by all so far", name, rewrite.name, step, whole)
    assert max(step, whole) <= RELATIVE


def expected_rewrites(config: CmasgConfig) -> set[str]:
    found = {"batch_norm", "grey_stem", "segment_in_places", "merged_qkv"}
    if config.sparse_gate:
        found.add("pruned_units")
    stock = not config.sparse_gate or (config.gate_value == "hard" and config.gate_input == "x")
    return found | {"stock_lstm" if stock else "hoisted_gates"}


@pytest.mark.parametrize("name", ["as recommended", "hard", "plain LSTM"])
def test_applying_twice_changes_nothing_more(name: str) -> None:
    config = variant(**SWITCHES[name])
    copied, given = share_copy(filled(config)), ENTRY.example_inputs(config, 1, 0)
    for rewrite in ENTRY.rewrites:
        rewrite.apply(copied, given)
    assert [rewrite.name for rewrite in ENTRY.rewrites if rewrite.apply(copied, given)] == []


def test_nothing_is_left_of_what_was_folded() -> None:
    config = variant()
    copied, given = share_copy(filled(config)), ENTRY.example_inputs(config, 1, 0)
    for rewrite in ENTRY.rewrites:
        rewrite.apply(copied, given)
    assert isinstance(copied, CmasgNet)
    assert not [module for module in copied.modules() if isinstance(module, nn.BatchNorm2d)]
    names = " ".join(copied.state_dict())
    assert not any(word in names for word in ("token_type", "bias_hh", "query", "keep", "sparse_gate"))
    stem = copied.image_encoder.conv1
    assert {name: tuple(value.shape) for name, value in stem.named_parameters()} == {
        "map": (1, 4, 32, 32),
        "conv.weight": (4, 1, 7, 7),
        "conv.bias": (4,),
    }
    assert copied.classifier.in_features == 2 * 16  # 14 and 15 of 24 units are kept, 16 are computed


def test_a_bias_in_place_of_the_border_map_is_wrong() -> None:
    config = variant()
    copied, given = share_copy(filled(config).double()), inputs(config)
    for rewrite in ENTRY.rewrites[:2]:
        rewrite.apply(copied, given)
    assert isinstance(copied, CmasgNet)
    with torch.inference_mode():
        right = copied(*given.values())
        stem = copied.image_encoder.conv1
        inner = stem.get_parameter("map")[:, :, 8:9, 8:9].expand_as(stem.get_parameter("map")).clone()
        stem.map = nn.Parameter(inner, requires_grad=False)
        assert float((copied(*given.values()) - right).abs().max()) > 1e-6


@pytest.mark.parametrize("kept", [0, 1, 8, 9, 24], ids=lambda kept: f"{kept} kept")
def test_every_number_of_kept_units(kept: int) -> None:
    config = variant()
    network, given = filled(config).double(), inputs(config)
    assert isinstance(network.sparse_gate, SparseGate)
    network.sparse_gate.get_buffer("keep_l0")[:] = torch.arange(config.hidden) < kept
    network.sparse_gate.get_buffer("keep_l0_reverse")[:] = torch.arange(config.hidden) < min(kept, 3)
    copied = share_copy(network)
    for rewrite in ENTRY.rewrites:
        rewrite.apply(copied, given)
    assert isinstance(copied, CmasgNet)
    assert copied.config.hidden == copied.config.hidden_reverse == max(8, -(-kept // 8) * 8)
    with torch.inference_mode():
        assert float((copied(*given.values()) - network(*given.values())).abs().max()) <= RELATIVE


@pytest.mark.parametrize("pruned", [0, 0.25, 0.5, 0.75])
def test_cost_of_the_loop_falls_as_units_are_pruned(pruned: float) -> None:
    config = variant(features=64, hidden=64, hidden_reverse=64)
    network = filled(config, prune=False)
    assert isinstance(network.sparse_gate, SparseGate)
    for ending in ("", "_reverse"):
        network.sparse_gate.get_buffer(f"keep_l0{ending}")[: int(64 * pruned)] = False
    given = ENTRY.example_inputs(config, 1, 3)
    steps = 4 + given["input_ids"].shape[1]
    copied = share_copy(network)
    for rewrite in ENTRY.rewrites:
        rewrite.apply(copied, given)
    assert isinstance(copied, CmasgNet)
    x, lengths = torch.zeros(1, steps, 64), torch.tensor([steps])
    flops = measure(copied.bilstm, {"x": x, "lengths": lengths, "gate": torch.zeros(())}).flops
    left = 1 - pruned
    products = 2 * steps * 2 * (left * 64 * 5 * 64 + 4 * (left * 64) ** 2)  # hoisted, and in the loop
    assert products < flops < 1.1 * products


def test_bert_of_any_size_is_merged_exactly() -> None:
    torch.manual_seed(0)
    bert = Bert(BertConfig(vocabulary=30, width=24, layers=3, heads=3, intermediate=40, positions=20, types=4))
    network = bert.double().eval()
    ids, mask = torch.randint(0, 30, (2, 11)), torch.ones(2, 11, dtype=torch.int64)
    mask[1, 6:] = 0
    copied = share_copy(network)
    with torch.inference_mode():
        expected = network(ids, mask)
        for rewrite in ENTRY.rewrites:
            rewrite.apply(copied, {"input_ids": ids, "attention_mask": mask}) if rewrite.name != "grey_stem" else None
        assert float((copied(ids, mask) - expected).abs().max()) <= RELATIVE
    assert {tuple(value.shape) for name, value in copied.named_parameters() if "qkv.weight" in name} == {(72, 24)}
