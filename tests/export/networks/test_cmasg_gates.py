"""Bits of steps and the share of open gates of CMASG-Bi-LSTM: what files say, and what the network then computes."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from export.cmasg_networks import SLIM, SWITCHES, filled, metadata, save_slim, variant
from export.cmasg_oracle import Oracle
from export.networks.test_cmasg_reading import inputs
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import TensorSpec
from mmcaf_engine.session.session import open_session
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.cmasg import CmasgConfig
from mmcaf_export.networks.cmasg.density import StandaloneDensity
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.cmasg.rewrites import HOISTED_GATES, PRUNED_UNITS, STOCK_LSTM
from mmcaf_export.networks.recorded import recorded
from mmcaf_export.networks.registry import Networks
from mmcaf_export.rewrites.copies import share_copy
from refusals import Fact, refused

ENTRY = CmasgEntry()
REWRITES = (PRUNED_UNITS, STOCK_LSTM, HOISTED_GATES)
REGIONS = 4
DENSE: dict[str, dict[str, object]] = {
    "soft": {},
    "soft, bits of steps": {"keep_steps": 40},
    "hard": {"gate_value": "hard"},
    "hard, bits of steps": {"gate_value": "hard", "keep_steps": 44},
    "soft, reads the output": {"gate_input": "xh", "keep_steps": 28},
    "no attention, unequal": {"cross_attention": False, "hidden_reverse": 23},
}
log = logging.getLogger(__name__)


@pytest.mark.parametrize("name", DENSE)
def test_the_share_of_open_gates_is_that_of_a_loop_over_them(name: str) -> None:
    """Before and after each rewrite, in float64: by cases of different lengths, with units that are not kept."""
    config = variant(**DENSE[name], gate_density=True)
    network = share_copy(filled(config).double())
    oracle = Oracle(config, {key: value.numpy() for key, value in network.state_dict().items()})
    lengths = torch.tensor([19, 7, 28])
    steps = torch.randn(3, 28, config.features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = []
    for case, length in zip(steps.numpy(), lengths.tolist(), strict=True):
        oracle.outputs(case[:length])
        expected.append([oracle.opened[""], oracle.opened["_reverse"]])
    assert np.min(expected) > 0 and np.max(expected) < 1
    for rewrite in (None, *REWRITES):
        if rewrite is not None:
            rewrite.apply(network, {})
        with torch.inference_mode():
            found = network.density(steps, lengths, network.sparse_gate).numpy()
        assert np.abs(found - expected).max() <= 1e-12, rewrite
    assert isinstance(network.density, StandaloneDensity) and network.sparse_gate is None


@pytest.mark.parametrize("changes", [{}, {"gate_value": "hard"}], ids=str)
def test_bits_of_steps_that_are_all_1_change_nothing(changes: dict[str, object]) -> None:
    plain, network = filled(variant(**changes)), filled(variant(keep_steps=12, **changes))
    for ending in ("", "_reverse"):
        network.sparse_gate.get_buffer(f"keep_steps_l0{ending}").fill_(True)
    steps, lengths = torch.randn(2, 9, SLIM.features, generator=torch.Generator().manual_seed(2)), torch.tensor([9, 6])
    with torch.inference_mode():
        expected = plain.bilstm(steps, lengths, plain.sparse_gate)
        assert torch.equal(network.bilstm(steps, lengths, network.sparse_gate), expected)
        network.sparse_gate.get_buffer("keep_steps_l0")[3, 0] = False
        assert not torch.equal(network.bilstm(steps, lengths, network.sparse_gate), expected)


def test_a_step_without_a_unit_empties_the_cells_of_both_directions() -> None:
    """Bits are by the place in the sequence, whichever direction reads it: what lies before a closed step is lost."""
    config = variant(keep_steps=12, pooling="last", gate_density=True)
    network = filled(config, prune=False).double()
    for ending in ("", "_reverse"):
        bits = network.sparse_gate.get_buffer(f"keep_steps_l0{ending}")
        bits.fill_(True)
        bits[6] = False
    steps = torch.randn(
        1, REGIONS + 8, config.features, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    other = steps.clone()
    other[:, :6] += 1  # before the closed step
    lengths = torch.tensor([REGIONS + 8])
    with torch.inference_mode():
        first, second = (network.bilstm.outputs(x, lengths, network.sparse_gate) for x in (steps, other))
    hidden = config.hidden
    assert not first[:, 6].any()
    assert torch.equal(first[:, 7:, :hidden], second[:, 7:, :hidden])  # forwards, after it
    assert torch.equal(first[:, 7:, hidden:], second[:, 7:, hidden:])  # backwards, before it
    assert not torch.equal(first[:, :6, hidden:], second[:, :6, hidden:])


def shapes(config: CmasgConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(ENTRY.build(config).state_dict())


@pytest.mark.parametrize(
    ("changes", "said", "facts"),
    [
        ({"": (44, 24), "_reverse": (43, 24)}, {}, ("44 steps", "sparse_gate.keep_steps_l0_reverse", 43)),
        ({"": (24,), "_reverse": (24,)}, {}, ("sparse_gate.keep_steps_l0", "[24]", "[steps, units]")),
        ({"": (4, 24), "_reverse": (4, 24)}, {}, ("keep_steps is 4", "5 to 44", "4 regions", "1 to 40 word pieces")),
        ({"": (45, 24), "_reverse": (45, 24)}, {}, ("keep_steps is 45", "5 to 44")),
        ({"": (44, 24), "_reverse": (44, 24)}, {"keep_steps": "40"}, ("keep_steps='40'", "for 44 steps")),
        ({}, {"keep_steps": "44"}, ("keep_steps='44'", "sparse_gate.keep_steps_l0 is missing")),
        ({}, {"keep_steps": "many"}, ("keep_steps", "'many'")),
        ({}, {"gate_density": "0.5"}, ("gate_density='0.5'", "true or false")),
        ({}, {"gate_density": "2"}, ("gate_density='2'", "true or false")),
    ],
    ids=str,
)
def test_what_a_file_cannot_say_is_refused(
    changes: dict[str, tuple[int, ...]], said: dict[str, str], facts: tuple[Fact, ...]
) -> None:
    held = {f"sparse_gate.keep_steps_l0{end}": torch.empty(shape, device="meta") for end, shape in changes.items()}
    with refused(ExportError, "CMASG-Bi-LSTM", *facts):
        Networks().recognise(shapes(SLIM) | held, metadata(SLIM) | said)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparse_gate": False, "keep_steps": 40}, "belong to sparse_gate"),
        ({"sparse_gate": False, "gate_density": True}, "belong to sparse_gate"),
        ({"keep_steps": -1}, "keep_steps is -1; expected 5 to 44"),
        ({"gate_value": "hard", "gate_input": "xh", "gate_density": True}, "hard gates that read the last output"),
    ],
    ids=str,
)
def test_impossible_configurations(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        variant(**changes)


def test_a_report_beyond_the_bits_of_steps_is_refused() -> None:
    network = filled(variant(keep_steps=20))
    given = inputs(SLIM)
    with pytest.raises(ValueError, match=r"word pieces; expected 1 to 16, .* 20 steps, 4 of them"):
        network.float()(given["image"].float(), *list(given.values())[1:])


def test_bits_that_are_none_and_numbers_that_are_bits() -> None:
    config = variant(keep_steps=20)
    state = dict(filled(config).state_dict())
    bits = state["sparse_gate.keep_steps_l0"]
    named = ENTRY.own_names(state | {"sparse_gate.keep_steps_l0": bits.float()})
    assert torch.equal(named["sparse_gate.keep_steps_l0"], bits)
    between = ENTRY.own_names(state | {"sparse_gate.keep_steps_l0": bits.float() / 2})
    assert between["sparse_gate.keep_steps_l0"].is_floating_point()  # which the comparison with the network refuses


def test_a_network_without_them_is_recorded_as_before() -> None:
    held = recorded(SLIM)
    assert "keep_steps" not in held and "gate_density" not in held and held["hidden"] == 24
    assert recorded(variant(keep_steps=40, gate_density=True)) == held | {"keep_steps": 40, "gate_density": True}
    assert ENTRY.manifest(variant(keep_steps=20))["text"]["max_tokens"] == 16


@pytest.mark.parametrize(
    "changes",
    [{"optional": False}, {"shape": ("N", 2, 2)}, {"dtype": "int64"}],
    ids=str,
)
def test_a_diagnostic_output_is_optional_and_flat(changes: dict[str, Any]) -> None:
    fields = {"name": "gate_density", "kind": "diagnostic", "shape": ("N", 2), "optional": True}
    TensorSpec.model_validate(fields)
    with pytest.raises(ValueError, match=r"diagnostic must be"):
        TensorSpec.model_validate(fields | changes)


def told(network: torch.nn.Module, given: dict[str, Tensor]) -> Tensor:
    """The share of open gates, the last that the network says."""
    with torch.inference_mode():
        return network.answer(*given.values())[-1]  # type: ignore[operator,no-any-return]


@pytest.mark.full
def test_an_export_tells_the_share_if_it_is_asked(tmp_path: Any) -> None:
    config = variant(**SWITCHES["hard, bits of steps, density"])
    settings = save_slim(tmp_path)
    network = filled(config)
    save_file(network.state_dict(), tmp_path / "steps.safetensors", metadata(config))
    report = export_bundle(tmp_path / "steps.safetensors", tmp_path / "steps.mmcaf", settings=settings, explain=False)
    bundle = load_bundle(report.output)
    assert bundle.manifest.network.config["keep_steps"] == 30 and bundle.manifest.text is not None
    assert bundle.manifest.text.max_tokens == 26
    given = ENTRY.example_inputs(config, 3, seed=1)
    expected = told(network, given).numpy()
    for backend in ("onnxruntime", "openvino"):
        with open_session(bundle, backend=backend) as session:
            arrays = {name: tensor.numpy() for name, tensor in given.items()}
            assert "gate_density" not in session.run(arrays)
            found = session.run(arrays, optional=True)["gate_density"]
            log.info("%s: %.1e", backend, np.abs(found - expected).max())
            assert found.shape == (3, 2) and np.abs(found - expected).max() <= 1e-4
    with refused(ExportError, "max_tokens", 40, 26):
        again = settings | {"text.max_tokens": "40", "text.buckets": "[40]"}
        export_bundle(tmp_path / "steps.safetensors", tmp_path / "refused.mmcaf", settings=again, explain=False)
