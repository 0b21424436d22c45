"""The networks beyond the golden numbers: keys, configurations, training, refused inputs, recognition."""

import pytest
import torch
from torch import Tensor

from mmcaf_engine.errors import ExportError
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from mmcaf_export.networks.mmcaf.kan import KanLayer, b_splines
from mmcaf_export.networks.mmcaf.layers import even_then_odd
from mmcaf_export.networks.registry import Networks
from refusals import Fact, check_facts, refused


def shapes(config: MmcafConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return MmcafNet(config).state_dict()


def test_state_dict_holds_the_live_keys_only() -> None:
    state = shapes(MmcafConfig())
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    assert len(state) - len(counters) == 352
    assert len(counters) == 22
    # Every weight the published network's answer depends on, counted there one by one.
    parameters = sum(p.numel() for p in MmcafNet(MmcafConfig(width=1 / 64)).parameters())
    assert parameters < 100_000
    buffers = {key for key in state if key.rsplit(".", 1)[-1] in ("running_mean", "running_var")}
    weights = [value for key, value in state.items() if key not in buffers and key not in counters]
    assert sum(value.numel() for value in weights) == 89_265_967


def test_mean_variant_differs_in_the_head_only() -> None:
    tokens, mean = shapes(MmcafConfig()), shapes(MmcafConfig(fusion="mean"))
    assert [key for key in tokens if tokens[key].shape != mean[key].shape] == ["fin_cls.weight"]
    assert mean["fin_cls.weight"].shape == (1, 24)


@pytest.mark.parametrize(
    ("config", "skip"),
    [
        (MmcafConfig(), (3, 24, 24)),
        (MmcafConfig(slices=11, size=189), (3, 24, 24)),
        (MmcafConfig(slices=24, size=96, width=0.25), (6, 12, 12)),
        (MmcafConfig(slices=4, size=32, width=1 / 64), (1, 4, 4)),
    ],
    ids=str,
)
def test_skip_size_follows_the_configuration(config: MmcafConfig, skip: tuple[int, int, int]) -> None:
    assert config.skip_size == skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slices": 10}, "slices is 10, which the first stage reduces to 5"),
        ({"slices": 0}, "slices is 0"),
        ({"size": 180}, "size is 180, which the first stage reduces to 45"),
        ({"width": 0.1}, "width 0.1 gives 6.4 stem channels"),
        ({"width": 0}, "width 0 gives 0"),
        ({"width": 7 / 64}, r"layers of \[56\] channels"),
        ({"fusion": "sum"}, "fusion is 'sum'"),
    ],
    ids=str,
)
def test_impossible_configurations(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MmcafConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("fusion", ["tokens", "mean"])
@pytest.mark.parametrize("slices", [4, pytest.param(12, marks=pytest.mark.full)])
def test_slim_network_trains(fusion: str, slices: int) -> None:
    torch.manual_seed(0)
    network = MmcafNet(MmcafConfig(slices=slices, size=32, width=0.09375, fusion=fusion)).train()  # type: ignore[arg-type]
    logit = network(torch.randn(3, 1, slices, 32, 32), torch.rand(3, 7))
    assert logit.shape == (3, 1)
    logit.square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert not network.kan.grid.requires_grad


@pytest.mark.parametrize("table", [(1, 6), (2, 7), (7,)], ids=str)
def test_refused_tables(table: tuple[int, ...], slim_network: MmcafNet) -> None:
    with pytest.raises(ValueError, match=r"expected \[N, 7\] with the image's N"):
        slim_network(torch.zeros(1, 1, 12, 96, 96), torch.zeros(table))


def test_shuffle_puts_even_channels_before_odd_ones() -> None:
    channels = torch.arange(6.0).reshape(1, 6, 1, 1, 1)
    assert even_then_odd(channels).flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_splines_sum_to_one_between_the_inner_knots_and_vanish_outside() -> None:
    grid = KanLayer(1, 1).grid
    x = torch.tensor([[-0.99], [-0.3], [0.0], [0.99]])
    assert torch.allclose(b_splines(x, grid).sum(-1), torch.ones(4, 1), atol=1e-6)
    assert b_splines(torch.tensor([[-2.3], [2.3]]), grid).abs().max() == 0


def test_equal_knots_count_as_nothing() -> None:
    knots = torch.tensor([[0.0, 0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 3]])
    bases = b_splines(torch.tensor([[0.0], [0.5], [2.0], [2.9]]), knots)
    assert torch.isfinite(bases).all()
    assert torch.allclose(bases.sum(-1), torch.ones(4, 1), atol=1e-6)


def test_not_a_number_in_the_table_reaches_the_output() -> None:
    assert torch.isnan(KanLayer(2, 3)(torch.tensor([[0.1, torch.nan]]))).all()


@pytest.mark.parametrize(
    "config",
    [MmcafConfig(), MmcafConfig(fusion="mean"), MmcafConfig(width=0.09375), MmcafConfig(width=0.5)],
    ids=str,
)
def test_recognition_by_shapes(config: MmcafConfig) -> None:
    assert Networks().recognise(shapes(config), {}) == ("mmcaf", config)
    assert Networks().recognise(shapes(config), {}, network="mmcaf") == ("mmcaf", config)


def test_recognition_reads_sizes_from_metadata(slim_state: dict[str, Tensor]) -> None:
    metadata = {"network": "mmcaf", "slices": "8", "size": "64", "fusion": "tokens"}
    assert Networks().recognise(slim_state, metadata) == ("mmcaf", MmcafConfig(slices=8, size=64, width=0.09375))


@pytest.mark.parametrize(
    ("metadata", "facts"),
    [
        ({"slices": "many"}, ("slices", "'many'")),
        ({"slices": "10"}, ("slices", 10)),
        ({"network": "resnet"}, ("'resnet'",)),
        ({"fusion": "mean"}, ("fusion=mean", "fin_cls.weight", "48 features")),
    ],
    ids=str,
)
def test_recognition_refuses_metadata(
    metadata: dict[str, str], facts: tuple[Fact, ...], slim_state: dict[str, Tensor]
) -> None:
    with refused(ExportError, *facts):
        Networks().recognise(slim_state, metadata)


def test_recognition_refuses_another_head(slim_state: dict[str, Tensor]) -> None:
    slim_state["fin_cls.weight"] = torch.zeros(1, 36)
    with refused(ExportError, "fin_cls.weight", "36 features", 48, 24):
        Networks().recognise(slim_state, {})


def test_a_missing_head_is_left_for_matching_to_name(slim_state: dict[str, Tensor]) -> None:
    del slim_state["fin_cls.weight"], slim_state["fin_cls.bias"]
    assert Networks().recognise(slim_state, {}) == ("mmcaf", MmcafConfig(width=0.09375))


def test_unknown_network_lists_the_known_ones() -> None:
    with refused(ExportError, "1 tensors", "layer.weight", "MMCAF-Net") as caught:
        Networks().recognise({"layer.weight": torch.zeros(1)}, {})
    check_facts(str(caught.value), "image_encoder.encoder.in_conv.0.weight", "kan.coef")


def test_every_network_describes_itself() -> None:
    networks = Networks()
    for name, entry in networks.entries.items():
        assert networks.entry(name) is entry and entry.name == name
        assert entry.title
        assert set(entry.signature)
