"""The source network: built where it can be, whole, and the same every time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.checkpoint import STATE_DICT, Checkpoint
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.source import filled
from refusals import refused


class Net(nn.Module):
    """scale * table . weight; `prepare` says how it comes to its scale."""

    def __init__(self, prepare: Callable[["Net"], None]) -> None:
        super().__init__()
        self.head = nn.Linear(3, 1, bias=False)
        prepare(self)

    def forward(self, table: Tensor) -> Tensor:
        return self.head(table * self.factors())

    def factors(self) -> Tensor:
        return self.scale  # type: ignore[return-value]


@dataclass(frozen=True)
class Config:
    """Nothing is to be set."""


class Entry(NetworkEntry[Config]):
    name, title, signature = "test", "Test", ("head.weight",)
    dead = (r"unread\..*",)

    def __init__(self, prepare: Callable[[Net], None]) -> None:
        self.prepare = prepare
        self.places: list[str] = []

    def configure(self, state: Any, metadata: Any) -> Config:
        return Config()

    def build(self, config: Config) -> nn.Module:
        self.places.append(torch.empty(0).device.type)
        return Net(self.prepare)

    def tensors(self, config: Config) -> Any:
        table = TensorSpec(name="table", kind="table", shape=("N", 3))
        return (table,), (TensorSpec(name="logit", kind="score", shape=("N", 1)),)

    def example_inputs(self, config: Config, batch: int, seed: int) -> dict[str, Tensor]:
        return {"table": torch.rand(batch, 3, generator=torch.Generator().manual_seed(seed))}

    def manifest(self, config: Config) -> dict[str, Any]:
        return {}


WEIGHT = torch.tensor([[1.0, 10.0, 100.0]])
ONES = torch.ones(1, 3)


def checkpoint(**more: Tensor) -> Checkpoint:
    return Checkpoint(Path("weights.pth"), STATE_DICT, "0" * 64, {"head.weight": WEIGHT, **more}, {})


def persistent(net: Net) -> None:
    net.register_buffer("scale", torch.zeros(3))


def fleeting(net: Net) -> None:
    net.register_buffer("scale", torch.arange(1, 4).float(), persistent=False)


def read_off(net: Net) -> None:
    net.register_buffer("scale", torch.tensor([one.item() for one in torch.linspace(1, 3, 3)]), persistent=False)


def attribute(net: Net) -> None:
    net.scale = torch.arange(1, 4).float()  # type: ignore[assignment]


def in_a_list(net: Net) -> None:
    kept = [torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)]
    net.kept = {"all": kept}  # type: ignore[assignment]
    net.factors = lambda: torch.stack(kept)  # type: ignore[method-assign]


def hidden(net: Net) -> None:
    kept = torch.arange(1, 4).float()
    net.factors = lambda: kept  # type: ignore[method-assign]


@pytest.mark.parametrize("prepare", [fleeting, read_off, attribute, in_a_list, hidden], ids=lambda one: one.__name__)
def test_what_meta_leaves_without_values_is_built_on_the_cpu(prepare: Callable[[Net], None]) -> None:
    entry = Entry(prepare)
    network, matched = filled(entry, Config(), checkpoint())
    assert entry.places == ["meta", "cpu", "cpu"]
    assert float(network(ONES)) == 321
    assert network.head.weight.data_ptr() == matched.state["head.weight"].data_ptr()  # the file's, not a copy


def test_a_network_without_such_tensors_is_built_on_meta_alone() -> None:
    entry = Entry(persistent)
    network, _matched = filled(entry, Config(), checkpoint(scale=torch.tensor([1.0, 2.0, 3.0])))
    assert entry.places == ["meta"]
    assert float(network(ONES)) == 321


@pytest.mark.parametrize("prepare", [fleeting, persistent], ids=lambda one: one.__name__)
def test_the_checkpoint_is_held_against_it_wherever_it_was_built(prepare: Callable[[Net], None]) -> None:
    with refused(ExportError, "weights.pth", "other (2)", "head.weight", "1x3"):
        wrong = Checkpoint(Path("weights.pth"), STATE_DICT, "0" * 64, {"other": torch.zeros(2)}, {})
        filled(Entry(prepare), Config(), wrong)


def drawn(net: Net) -> None:
    net.register_buffer("scale", torch.randn(3), persistent=False)


def unlisted(net: Net) -> None:
    net.layers = [nn.Linear(3, 3)]  # type: ignore[assignment]
    net.factors = lambda: net.layers[0](ONES)[0]  # type: ignore[method-assign, operator, index]


@pytest.mark.parametrize(
    ("prepare", "facts"),
    [
        (drawn, ("the buffer scale", "test_source.Net", __file__, drawn.__code__.co_firstlineno + 1)),
        (unlisted, ("the attribute layers[0].weight", "test_source.Net")),
    ],
    ids=["buffer", "list"],
)
def test_what_is_drawn_anew_each_time_is_refused_by_name(
    prepare: Callable[[Net], None], facts: tuple[Any, ...]
) -> None:
    with refused(ExportError, *facts, "random"):
        filled(Entry(prepare), Config(), checkpoint())


def test_a_fixed_draw_is_no_chance() -> None:
    def fixed(net: Net) -> None:
        draw = torch.rand(3, generator=torch.Generator("cpu").manual_seed(5), device="cpu")
        net.register_buffer("scale", draw, persistent=False)

    network, _matched = filled(Entry(fixed), Config(), checkpoint())
    assert float(network(ONES)) > 0


def on_meta(net: Net) -> None:
    net.register_buffer("scale", torch.zeros(3, device="meta"), persistent=False)


def no_number(net: Net) -> None:
    net.register_buffer("scale", torch.full((3,), torch.nan), persistent=False)


@pytest.mark.parametrize(("prepare", "fact"), [(on_meta, '"meta"'), (no_number, "NaN")], ids=["meta", "nan"])
def test_what_has_no_value_on_the_cpu_either_is_refused_with_its_line(
    prepare: Callable[[Net], None], fact: str
) -> None:
    with refused(ExportError, "the buffer scale", "Net", __file__, prepare.__code__.co_firstlineno + 1, fact):
        filled(Entry(prepare), Config(), checkpoint())


def test_a_lazy_module_is_refused_by_name() -> None:
    def lazy(net: Net) -> None:
        net.more = nn.LazyLinear(2)

    with refused(ExportError, "more.weight", "lazy"):
        filled(Entry(lazy), Config(), checkpoint())


def test_what_the_answer_does_not_depend_on_may_be_absent_and_is_no_number() -> None:
    def with_unread(net: Net) -> None:
        persistent(net)
        net.unread = nn.Linear(2, 2)

    network, matched = filled(Entry(with_unread), Config(), checkpoint(scale=torch.ones(3)))
    assert matched.absent == ("unread.weight", "unread.bias")
    assert float(network(ONES)) == 111
    assert bool(network.unread.weight.isnan().all())
