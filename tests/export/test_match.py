"""A checkpoint's tensors held against a network's, name by name."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmcaf_engine.errors import ExportError
from mmcaf_export.checkpoint import Checkpoint
from mmcaf_export.match import match_state
from refusals import Fact, refused

DEAD = (r".*\.num_batches_tracked", "old")
EXPECTED = {"weight": torch.zeros(2, 3), "norm.num_batches_tracked": torch.tensor(0)}


def checkpoint(**state: Tensor) -> Checkpoint:
    return Checkpoint(Path("weights.pth"), "state_dict", "0" * 64, {"weight": torch.ones(2, 3), **state}, {})


def test_what_does_not_matter_is_told_by_its_whole_name() -> None:
    found = match_state(EXPECTED, checkpoint(old=torch.ones(1)), DEAD)
    assert found.ignored == ("old",) and torch.equal(found.state["weight"], torch.ones(2, 3))
    for name in ("older", "cold"):
        with refused(ExportError, name, "1"):
            match_state(EXPECTED, checkpoint(**{name: torch.ones(1)}), DEAD)


@pytest.mark.parametrize(
    ("weight", "facts"),
    [
        (torch.ones(3, 2), ("3x2", "2x3")),
        (torch.ones(2, 3, dtype=torch.int64), ("floating-point",)),
        (torch.ones(2, 3, dtype=torch.complex64), ("floating-point",)),
        (torch.tensor([[1.0, float("inf"), 1.0], [1.0, 1.0, float("nan")]]), (2, 6, "NaN")),
        (torch.full((2, 3), 1e300, dtype=torch.float64), (6, "NaN")),
    ],
    ids=["shape", "type", "complex", "not-finite", "beyond-float32"],
)
def test_what_does_not_fit(weight: Tensor, facts: tuple[Fact, ...]) -> None:
    with refused(ExportError, "weight", *facts):
        match_state(EXPECTED, checkpoint(weight=weight), DEAD)


def test_other_precisions_are_converted_and_told() -> None:
    found = match_state(EXPECTED, checkpoint(weight=torch.ones(2, 3, dtype=torch.float16)), DEAD)
    assert found.state["weight"].dtype == torch.float32 and found.converted == ("weight",)
    assert match_state(EXPECTED, checkpoint(), DEAD).converted == ()


def test_a_pattern_allows_what_it_fits_alone() -> None:
    one = checkpoint(**{"aux.weight": torch.ones(1), "other.weight": torch.ones(1)})
    with refused(ExportError, "aux.weight", "other.weight", option="allow_extra", value="aux.*"):
        match_state(EXPECTED, one, DEAD)
    with refused(ExportError, "other.weight", option="allow_extra", value="other.*"):
        match_state(EXPECTED, one, DEAD, ["aux.*"])
    assert match_state(EXPECTED, one, DEAD, ["aux.*", "o*"]).left_out == ("aux.weight", "other.weight")
    with refused(ExportError, "'none*'", option="allow_extra"):
        match_state(EXPECTED, one, DEAD, ["none*"])


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [(torch.tensor([2**40]), torch.int32), (torch.tensor([300]), torch.uint8), (torch.tensor([2]), torch.bool)],
    ids=["int32", "uint8", "bool"],
)
def test_whole_numbers_that_a_type_cannot_hold(stored: Tensor, wanted: torch.dtype) -> None:
    expected = {"index": torch.empty(1, dtype=wanted, device="meta")}
    found = Checkpoint(Path("weights.pth"), "state_dict", "", {"index": stored}, {})
    with refused(ExportError, "index", str(wanted)):
        match_state(expected, found, ())
