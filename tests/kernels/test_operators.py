"""The kernels as PyTorch operators: opcheck, export, compilation, autocast, and how a path is chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kernels.cases_cross_attention import Case as AttentionCase
from kernels.cases_cross_attention import inputs, masks
from kernels.cases_groupnorm_act import layers
from kernels.cases_kan import Case as KanCase
from kernels.cases_kan import layer
from kernels.cases_msca_attention import weights
from kernels.harness import random
from mmcaf_kernels.cross_attention import cross_attention
from mmcaf_kernels.fusion_head import fusion_head
from mmcaf_kernels.fusion_head.reference import parameter_count
from mmcaf_kernels.groupnorm_act import groupnorm_act
from mmcaf_kernels.kan import kan
from mmcaf_kernels.launch import path
from mmcaf_kernels.msca_attention import msca_attention
from mmcaf_kernels.msdc import even_then_odd, msdc
from mmcaf_kernels.upsample_dw import upsample_dw


@dataclass(frozen=True)
class Example:
    """A public function with the arguments that hold activations and those that do not."""

    function: Callable[..., Any]
    activations: tuple[Tensor, ...]
    rest: tuple[Any, ...]
    options: dict[str, Any]
    operator: tuple[Any, ...]  # the operator's positional arguments
    autocast: torch.dtype  # what a bfloat16 region makes of it

    def __str__(self) -> str:
        return self.function.__name__


def volume(channels: int = 4, seed: int = 1) -> Tensor:
    return random((2, channels, 2, 3, 5), torch.float32, "cpu", seed)


def examples() -> list[Example]:
    half, single = torch.bfloat16, torch.float32
    x = volume()
    numbers = {n: random((n,), torch.float32, "cpu", seed=n) for n in (4, parameter_count(24, "mean"))}
    taps = random((4, 153), single, "cpu", seed=2), random((4, 3), single, "cpu", seed=3), even_then_odd(4)
    few = random((4, 27), single, "cpu", seed=2), numbers[4]
    norm, gate = (2, numbers[4], numbers[4] + 1), layers(4, 2, "cpu")
    splines = layer(KanCase(3, 7, 24), "cpu")
    table = random((3, 7), single, "cpu", seed=4)
    pair = random((3, 24), single, "cpu", seed=5), random((3, 24), single, "cpu", seed=6)
    head = (numbers[parameter_count(24, "mean")], "mean")
    case = AttentionCase(2, 1, 5, 3, 8, masked=True)
    tokens, hidden = tuple(inputs(case, single, "cpu")), masks(case, "cpu")
    return [
        Example(msdc, (x,), taps, {}, (x, *taps), half),
        Example(upsample_dw, (x,), few, {}, (x, *few), half),
        Example(msca_attention, (x,), weights(4, 2, "cpu"), {}, (x, *weights(4, 2, "cpu")), half),
        Example(
            groupnorm_act,
            (x,),
            norm,
            {"gate": gate, "residual": volume(seed=2)},
            (x, *norm, 1e-5, 0.01, volume(seed=2), *gate),
            half,
        ),
        Example(kan, (table,), splines, {}, (table, *splines), single),
        Example(fusion_head, pair, head, {}, (*pair, *head), single),
        Example(cross_attention, tokens, (), hidden, (*tokens, 8**-0.5, *hidden.values()), half),
    ]


EXAMPLES = pytest.mark.parametrize("example", examples(), ids=str)


class Wrapped(nn.Module):
    """The example as a module, its activations the inputs."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        self.example = example

    def forward(self, *activations: Tensor) -> Any:
        return self.example.function(*activations, *self.example.rest, **self.example.options)


def tensors(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


@EXAMPLES
def test_opcheck(example: Example) -> None:
    outcome = torch.library.opcheck(getattr(torch.ops.mmcaf, str(example)).default, example.operator)
    assert set(outcome.values()) == {"SUCCESS"}


@EXAMPLES
def test_export_keeps_the_operator_and_the_batch_free(example: Example) -> None:
    module = Wrapped(example).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    free = str(example) not in ("groupnorm_act", "cross_attention")  # whose residual and masks are constants here
    shapes = {"activations": tuple({0: batch} if free else None for _ in example.activations)}
    program = torch.export.export(module, example.activations, dynamic_shapes=shapes)
    assert f"mmcaf.{example}" in program.graph_module.code
    more = tuple(torch.cat([part, part]) for part in example.activations) if free else example.activations
    for found, expected in zip(tensors(program.module()(*more)), tensors(module(*more)), strict=True):
        assert found.equal(expected)


@EXAMPLES
def test_compiles_without_a_break(example: Example) -> None:
    module = Wrapped(example).eval()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for found, expected in zip(
        tensors(compiled(*example.activations)), tensors(module(*example.activations)), strict=True
    ):
        assert found.equal(expected)


@EXAMPLES
def test_autocast_rule(example: Example) -> None:
    module = Wrapped(example).eval()
    with torch.autocast("cpu", torch.bfloat16):
        results = tensors(module(*example.activations))
    assert all(part.dtype == example.autocast for part in results)
    assert all(part.dtype == torch.float32 for part in tensors(module(*example.activations)))


def test_path_says_which_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    found = path(volume())
    assert (found.name, found.runs_kernel) == ("reference", False)
    assert "on cpu" in found.reason
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert path(volume()).name == "interpreter"


def test_path_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert path(volume()).reason.startswith("Triton is not installed")


def test_backward_is_refused() -> None:
    x = volume().requires_grad_()
    with pytest.raises(RuntimeError, match="mmcaf"):
        msdc(x, torch.zeros(4, 153), torch.zeros(4, 3)).sum().backward()
