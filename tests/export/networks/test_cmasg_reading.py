"""CMASG-Bi-LSTM against a numpy reading of its publication, and the properties that it must have."""

import logging

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.cmasg_networks import PRUNED, SLIM, SWITCHES, filled, variant
from export.cmasg_oracle import Oracle
from mmcaf_export.networks.cmasg import CmasgConfig, CmasgNet
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.cmasg.fusion import CrossAttention
from mmcaf_export.networks.cmasg.recurrent import BiLstm, SparseGate
from mmcaf_export.rewrites.rewrite import rewritten

ENTRY = CmasgEntry()
ORACLE = 1e-5  # what the specification asks; in float64 both agree far better
log = logging.getLogger(__name__)


def inputs(config: CmasgConfig, batch: int = 3, seed: int = 3) -> dict[str, Tensor]:
    given = ENTRY.example_inputs(config, batch, seed)
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in given.items()}


def answer(network: nn.Module, given: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        found: Tensor = network(*given.values())
    return found


@pytest.mark.parametrize("name", SWITCHES)
def test_the_network_answers_as_the_publication_reads(name: str) -> None:
    config = variant(**SWITCHES[name])
    network, given = filled(config).double(), inputs(config)
    oracle = Oracle(config, {key: value.numpy() for key, value in network.state_dict().items()})
    grey = given["image"][:, 0].numpy() * config.channels.grey_std + config.channels.grey_mean
    expected = oracle.logits(grey, given["input_ids"].numpy(), given["attention_mask"].numpy())
    error = float(np.abs(answer(network, given).numpy() - expected).max())
    log.info("%s: error %.1e", name, error)
    assert error <= ORACLE
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # and says something


def test_every_switch_changes_the_answer() -> None:
    found = {}
    for name, changes in SWITCHES.items():
        if "classes" not in changes and "hidden" not in changes:
            config = variant(**changes)
            found[name] = answer(filled(config).double(), inputs(config))
    names = list(found)
    same = [
        (one, other)
        for at, one in enumerate(names)
        for other in names[at + 1 :]
        if (found[one] - found[other]).abs().max() < 1e-5
    ]
    assert same == []


@pytest.mark.parametrize("exported", [False, True], ids=["source", "rewritten"])
def test_an_open_gate_is_the_lstm_of_torch(exported: bool) -> None:
    config = variant(features=24, hidden=20, hidden_reverse=20)
    network = filled(config, prune=False).double()
    assert isinstance(network.sparse_gate, SparseGate) and isinstance(network.bilstm, BiLstm)
    state = {name.removeprefix("bilstm."): value for name, value in network.state_dict().items()}
    for ending in ("", "_reverse"):
        network.sparse_gate.get_parameter(f"weight_l0{ending}").data.zero_()
        network.sparse_gate.get_parameter(f"bias_l0{ending}").data.fill_(40)
    stock = nn.LSTM(24, 20, batch_first=True, bidirectional=True).double()
    stock.load_state_dict({key: state[key] for key in stock.state_dict()})
    x, lengths = torch.randn(3, 21, 24, dtype=torch.float64), torch.tensor([21, 9, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(stock(packed)[0], batch_first=True)
    gate = network.sparse_gate
    lean = rewritten(network, ENTRY.rewrites, inputs(config)) if exported else network
    assert isinstance(lean, CmasgNet)
    with torch.inference_mode():
        pooled = lean.bilstm(x, lengths, None if exported else gate)
        assert torch.allclose(pooled, expected.sum(1) / lengths[:, None], rtol=0, atol=1e-6)
        if not exported:
            assert torch.allclose(network.bilstm.outputs(x, lengths, gate), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"pooling": "last"}, {"gate_value": "hard"}, {"sparse_gate": False}], ids=str)
@pytest.mark.parametrize("exported", [False, True], ids=["source", "rewritten"])
def test_padding_and_neighbours_change_nothing(changes: dict[str, object], exported: bool) -> None:
    config = variant(**changes)
    network: nn.Module = filled(config)
    given = {name: tensor.float() if name == "image" else tensor for name, tensor in inputs(config).items()}
    if exported:
        network = rewritten(network, ENTRY.rewrites, given)
    together = answer(network, given)
    for at, length in enumerate(given["attention_mask"].sum(dim=1).tolist()):
        alone = {name: tensor[at : at + 1] for name, tensor in given.items()}
        trimmed = {name: tensor if name == "image" else tensor[:, :length] for name, tensor in alone.items()}
        for other in (alone, trimmed):
            assert float((answer(network, other) - together[at]).abs().max()) <= 1e-5


@pytest.mark.parametrize("changes", [{}, {"gate_state": "hold"}, {"gate_input": "xh"}], ids=str)
def test_units_that_are_not_kept_put_out_nothing(changes: dict[str, object]) -> None:
    network = filled(variant(**changes)).double()
    assert isinstance(network.bilstm, BiLstm)
    x = torch.randn(2, 9, SLIM.features, dtype=torch.float64)
    with torch.inference_mode():
        found = network.bilstm.outputs(x, torch.tensor([9, 4]), network.sparse_gate)
    dropped = [*PRUNED, *(SLIM.hidden + unit for unit in PRUNED[1:])]
    silent = (found == 0).all(dim=(0, 1)).nonzero()[:, 0].tolist()
    assert silent == dropped


@pytest.mark.parametrize("state", ["reset", "hold"])
def test_a_closed_hard_gate_puts_out_exactly_nothing(state: str) -> None:
    """In the loop, and in the standard LSTM whose gates are closed by its weights."""
    config = variant(gate_value="hard", gate_state=state)
    network = filled(config)
    assert isinstance(network.sparse_gate, SparseGate) and isinstance(network.bilstm, BiLstm)
    for ending in ("", "_reverse"):
        network.sparse_gate.get_parameter(f"weight_l0{ending}").data.zero_()
        network.sparse_gate.get_parameter(f"bias_l0{ending}").data.fill_(-1)
    lean = rewritten(network, ENTRY.rewrites, ENTRY.example_inputs(config, 1, 0))
    assert isinstance(lean, CmasgNet)
    x, lengths = torch.randn(2, 12, config.features), torch.tensor([12, 7])
    with torch.inference_mode():
        assert float(network.bilstm(x, lengths, network.sparse_gate).abs().max()) == 0
        assert float(lean.bilstm(x, lengths, None).abs().max()) == 0


@pytest.mark.parametrize("state", ["reset", "hold"])
def test_hard_gates_in_the_loop_and_on_the_standard_lstm(state: str) -> None:
    config = variant(gate_value="hard", gate_state=state)
    network, given = filled(config), ENTRY.example_inputs(config, 3, seed=7)
    error = float((answer(rewritten(network, ENTRY.rewrites, given), given) - answer(network, given)).abs().max())
    log.info("%s: %.1e", state, error)
    assert error <= 1e-5


def test_an_empty_report_has_an_answer() -> None:
    network, given = filled(), ENTRY.example_inputs(SLIM, 2, seed=1)
    given["attention_mask"] = torch.zeros_like(given["attention_mask"])
    given["attention_mask"][:, :2] = 1
    logits = answer(network, given)
    assert torch.isfinite(logits).all()
    given["input_ids"][:, 2:] = 1
    assert torch.equal(answer(network, given), logits)  # what the mask leaves out is not read


def test_attention_computed_once_is_that_of_two_products() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention(SLIM).double().eval()
    image, text = torch.randn(2, 4, SLIM.features).double(), torch.randn(2, 7, SLIM.features).double()
    real = torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
    with torch.inference_mode():
        new_image, new_text, of_pieces, of_regions = fusion(image, text, real)
        swapped_text, swapped_image, *_ = fusion(text, image, torch.ones(2, 4, dtype=torch.bool))  # roles exchanged
    for case, length in ((0, 7), (1, 3)):
        words = text[case, :length]
        toward = torch.softmax(image[case] @ words.T / SLIM.features**0.5, dim=-1)
        back = torch.softmax(words @ image[case].T / SLIM.features**0.5, dim=-1)
        with torch.inference_mode():
            assert torch.allclose(new_image[case], fusion.image_norm(image[case] + toward @ words), atol=1e-12)
            assert torch.allclose(new_text[case, :length], fusion.text_norm(words + back @ image[case]), atol=1e-12)
        assert torch.allclose(of_pieces[case, :length], toward.mean(dim=0), atol=1e-12)
        assert not of_pieces[case, length:].any()
        assert torch.allclose(of_regions[case], back.mean(dim=0), atol=1e-12)
    assert torch.allclose(swapped_text[0], new_text[0], atol=1e-12)  # both norms are fresh, and so alike
    assert torch.allclose(swapped_image[0], new_image[0], atol=1e-12)
