"""The gradient of CMASG's loop, as the graph of heat maps has it: that of the plain LSTM, whatever its gates."""

from typing import Any

import pytest
import torch

from export.cmasg_networks import SWITCHES, variant
from mmcaf_export.networks.cmasg import adjoint
from mmcaf_export.networks.cmasg.recurrent import BiLstm, SparseGate
from mmcaf_export.networks.cmasg.rewrites.hoisted_gates import HoistedBiLstm

NARROW = {"features": 6, "hidden": 5, "hidden_reverse": 5}


@pytest.mark.parametrize(
    "name", ["as recommended", "plain LSTM", "hold", "hard, misprint", "hard, reads the output, hold", "last"]
)
def test_the_gradient_is_that_of_the_plain_loop(name: str) -> None:
    settings: dict[str, Any] = {**SWITCHES[name], **NARROW}
    config, generator = variant(**settings), torch.Generator().manual_seed(1)
    bilstm, gate = BiLstm(config).double(), SparseGate(config).double() if config.sparse_gate else None
    for weight in (*bilstm.parameters(), *(gate.parameters() if gate else ())):
        weight.requires_grad_(False).normal_(generator=generator)
    hoisted = HoistedBiLstm(bilstm, gate, config)
    x = torch.randn(2, 7, config.features, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([7, 5])
    found = []
    for run in (lambda x: bilstm(x, lengths, gate), lambda x: hoisted(x, lengths, None)):
        given = x.clone().requires_grad_()
        pooled = run(given)
        found.append(torch.autograd.grad(pooled, given, torch.ones_like(pooled).cumsum(dim=-1))[0])
    plain, looped = found
    assert plain.abs().max() > 1e-3 and (plain[1, 5:] == 0).all()
    torch.testing.assert_close(looped, plain, rtol=1e-9, atol=1e-12)


def test_the_loop_forgets_nothing_of_the_steps_behind() -> None:
    slopes = torch.zeros(1, 2, 2, 1, 1)
    slopes[0, 1] = 1.0  # of the last step alone
    half = torch.full((1, 2, 2, 1, 1), 0.5)
    factors = torch.tensor([0.5, 0.25]).expand(1, 2, 2, 1, 2)
    w = adjoint.lstm_adjoint(slopes, factors, half, half, torch.full((2, 2, 1), 2.0), "ch")
    # Last: h 1, c 0.5; handed on: h (0.25 + 0.25) 2 = 1, c 0.25. Before: h 1, c 0.75.
    assert w[0, :, 0, 0].tolist() == [[0.75, 1.0], [0.5, 1.0]]
