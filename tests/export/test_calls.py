"""How a network is called and what it gives: by declared names, or refused by name."""

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError
from mmcaf_engine.machine.plugins import PluginError
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.calls import adapted
from mmcaf_export.rewrites.copies import share_copy
from refusals import refused

SCORE = TensorSpec(name="logit", kind="score", shape=("N", 1))
WEIGHTS = TensorSpec(name="places", kind="attention", shape=("N", 2))
EXAMPLE = {"image": torch.tensor([[1.0, 2.0]]), "table": torch.tensor([[3.0, 5.0]])}
LOGIT, PLACES = torch.tensor([[7.0]]), torch.tensor([[0.25, 0.75]])


@dataclass
class Record:
    logit: Tensor
    places: Tensor | None = None


Named = namedtuple("Named", ["places", "logit"])
Foreign = namedtuple("Foreign", ["score", "weights"])


class Gives(nn.Module):
    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, image: Tensor, table: Tensor) -> Any:
        return self.answer()


@pytest.mark.parametrize(
    "answer",
    [
        lambda: {"places": PLACES, "logit": LOGIT},
        lambda: {"heads": {"logit": LOGIT}, "places": PLACES},
        lambda: {"logit": LOGIT, "maps": [PLACES], "loss": None, "maps_0": None},
        lambda: [LOGIT, PLACES],
        lambda: (LOGIT, (PLACES,)),
        lambda: (LOGIT, None, PLACES),
        lambda: Named(PLACES, LOGIT),
        lambda: Foreign(LOGIT, PLACES),
        lambda: Record(LOGIT, PLACES),
        lambda: {"all": Record(LOGIT, PLACES)},
    ],
    ids=["dict", "nested", "list in dict", "list", "tuples", "none", "named", "other names", "dataclass", "in dict"],
)
def test_outputs_come_in_declared_order(answer: Callable[[], Any]) -> None:
    outputs = (SCORE, WEIGHTS if "maps" not in str(answer()) else WEIGHTS.model_copy(update={"name": "maps_0"}))
    network = adapted(Gives(answer), EXAMPLE, outputs)
    found = share_copy(network)(*EXAMPLE.values())
    assert type(found) is tuple and len(found) == 2
    assert torch.equal(found[0], LOGIT) and torch.equal(found[1], PLACES)


def test_one_tensor_stays_one_and_the_network_itself() -> None:
    network = Gives(lambda: LOGIT)
    kind = type(network)
    assert adapted(network, EXAMPLE, (SCORE,)) is network and type(network) is kind


def test_what_is_unused_is_left_out() -> None:
    network = adapted(Gives(lambda: {"risk": {"logit": LOGIT}, "aux": PLACES}), EXAMPLE, (SCORE,), ("aux",))
    assert [value.tolist() for value in network(*EXAMPLE.values())] == [[[7.0]]]


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (lambda: {"risk": LOGIT, "hazards": PLACES}, ("risk", "hazards", "[1, 2]", "logit missing", "not declared")),
        (lambda: {"logit": LOGIT, "extra": PLACES}, ("extra not declared",)),
        (lambda: {"logit": LOGIT, "heads": {"extra": PLACES}}, ("heads.extra not declared",)),
        (lambda: {"a": {"logit": LOGIT}, "b": {"logit": LOGIT}}, ("a.logit", "b.logit", "logit missing")),
        (lambda: [LOGIT, PLACES], (2, 1, "[1, 2]")),
        (lambda: Named(PLACES, LOGIT), ("places not declared",)),
        (lambda: {"logit": 7.0}, ("logit (a float)", "a tensor is expected")),
        (lambda: None, ("nothing",)),
        (lambda: LOGIT[0], ("logit", "[1]", "[1, 1]")),
        (lambda: {"logit": PLACES}, ("logit", "[1, 2]", "[1, 1]")),
        (lambda: LOGIT.double(), ("torch.float64", "torch.float32")),
    ],
    ids=["other", "extra", "deep", "twice", "many", "named", "float", "none", "flat", "wide", "double"],
)  # fmt: skip
def test_other_outputs_are_refused_by_name(answer: Callable[[], Any], facts: tuple[Any, ...]) -> None:
    with refused(ExportError, *facts):
        adapted(Gives(answer), EXAMPLE, (SCORE,))


class Sum(nn.Module):
    """3 * image + table, summed, so that changed places would show."""

    def of(self, image: Tensor, table: Tensor) -> Tensor:
        return (3 * image + table).sum(1, keepdim=True)


class ByName(Sum):
    def forward(self, table: Tensor, image: Tensor) -> Tensor:
        return self.of(image, table)


class Keywords(Sum):
    def forward(self, *, table: Tensor, image: Tensor, temperature: float = 1.0) -> Tensor:
        return self.of(image, table) / temperature


class OtherNames(Sum):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.of(x, y)


class OneDict(Sum):
    def forward(self, batch: Mapping[str, Tensor], with_maps: bool = False) -> Tensor:
        return self.of(batch["image"], batch["table"])


class PlainDict(Sum):
    def forward(self, batch, mask=None):  # type: ignore[no-untyped-def]
        return self.of(batch["image"], batch["table"])


class Swapped(Sum):
    def forward(self, table: Tensor, x: Tensor) -> Tensor:
        return self.of(x, table)


class Three(Sum):
    def forward(self, image: Tensor, table: Tensor, text: Tensor) -> Tensor:
        return self.of(image, table) + text


class One(Sum):
    def forward(self, image: Tensor, scale: float = 2.0) -> Tensor:
        return image * scale


@pytest.mark.parametrize("kind", [ByName, Keywords, OtherNames, OneDict, PlainDict], ids=lambda kind: kind.__name__)
def test_inputs_go_by_name_by_place_or_as_a_dict(kind: type[Sum]) -> None:
    network = adapted(kind(), EXAMPLE, (SCORE,))
    found = network(*EXAMPLE.values())
    assert float(found[0] if isinstance(found, tuple) else found) == 3 * 3 + 8


@pytest.mark.parametrize(
    ("kind", "facts"), [(Swapped, ("table", "image, table")), (One, ("image", "image, table"))], ids=["swapped", "one"]
)
def test_other_arguments_are_refused_by_name(kind: type[Sum], facts: tuple[str, ...]) -> None:
    with refused(ExportError, *facts):
        adapted(kind(), EXAMPLE, (SCORE,))


def test_a_forward_that_fails_says_at_which_line() -> None:
    with pytest.raises(PluginError) as caught:
        adapted(Three(), EXAMPLE, (SCORE,))
    assert "text" in str(caught.value)

    class Fails(Sum):
        def forward(self, image: Tensor, table: Tensor) -> Tensor:
            raise ValueError("three columns are expected")

    with pytest.raises(PluginError) as caught:
        adapted(Fails(), EXAMPLE, (SCORE,))
    line = Fails.forward.__code__.co_firstlineno + 1
    assert f"three columns are expected ({__name__}.{Fails.forward.__qualname__}, {__file__}, line {line})" in str(
        caught.value
    )


def test_example_inputs_need_their_batch() -> None:
    with refused(ExportError, "table", "[2]", "example_inputs"):
        adapted(Gives(lambda: LOGIT), {**EXAMPLE, "table": torch.zeros(2)}, (SCORE,))
