"""Networks that call the kernels' operators, written as ONNX files of standard operators."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from exporting import describe_once
from kernels.cases_cross_attention import Case as AttentionCase
from kernels.cases_cross_attention import inputs, masks
from kernels.cases_groupnorm_act import layers
from kernels.cases_kan import Case as KanCase
from kernels.cases_kan import layer
from kernels.cases_msca_attention import weights
from kernels.harness import random
from mmcaf_kernels.fusion_head.reference import parameter_count
from mmcaf_kernels.msdc import even_then_odd
from mmcaf_kernels.onnx_form import forms, plain

TOLERANCE = 1e-5
CHANNELS = 4


@pytest.fixture(autouse=True, scope="module")
def quick_exports() -> None:
    describe_once()


class Calls(nn.Module):
    """A module that calls one operator of torch.ops.mmcaf; parameters are its buffers."""

    def __init__(self, name: str, activations: int, rest: tuple[Any, ...], options: dict[str, Any]) -> None:
        super().__init__()
        self.name, self.activations, self.options = name, activations, options
        self.rest = [place if isinstance(part, Tensor) else part for place, part in enumerate(rest)]
        self.tensors = [isinstance(part, Tensor) for part in rest]
        for place, part in enumerate(rest):
            if isinstance(part, Tensor):
                self.register_buffer(f"part{place}", part)

    def forward(self, *activations: Tensor) -> Any:
        rest = [
            getattr(self, f"part{place}") if is_tensor else part
            for place, (part, is_tensor) in enumerate(zip(self.rest, self.tensors, strict=True))
        ]
        return getattr(torch.ops.mmcaf, self.name)(*activations, *rest, **self.options)


def volume(seed: int) -> Tensor:
    return random((2, CHANNELS, 2, 3, 5), torch.float32, "cpu", seed)


def vector(length: int, seed: int) -> Tensor:
    return random((length,), torch.float32, "cpu", seed)


def msdc(ordered: bool) -> tuple[Calls, tuple[Tensor, ...]]:
    parameters = random((CHANNELS, 153), torch.float32, "cpu", 2), random((CHANNELS, 3), torch.float32, "cpu", 3)
    return Calls("msdc", 1, (*parameters, even_then_odd(CHANNELS)) if ordered else parameters, {}), (volume(1),)


def upsample_dw() -> tuple[Calls, tuple[Tensor, ...]]:
    return Calls("upsample_dw", 1, (random((CHANNELS, 27), torch.float32, "cpu", 2), vector(CHANNELS, 3)), {}), (
        volume(1),
    )


def msca_attention() -> tuple[Calls, tuple[Tensor, ...]]:
    return Calls("msca_attention", 1, weights(CHANNELS, 2, "cpu"), {}), (volume(1),)


def groupnorm_act() -> tuple[Calls, tuple[Tensor, ...]]:
    return Calls("groupnorm_act", 1, (2, vector(CHANNELS, 2), vector(CHANNELS, 3)), {"slope": 0.2}), (volume(1),)


class GatedNorm(Calls):
    """The residual is an input too."""

    def forward(self, *activations: Tensor) -> Any:
        x, residual = activations
        gate = [getattr(self, f"part{place}") for place in range(2, 6)]
        return torch.ops.mmcaf.groupnorm_act(x, 2, self.part0, self.part1, 1e-5, 0.01, residual, *gate)


def gated_groupnorm_act() -> tuple[Calls, tuple[Tensor, ...]]:
    parameters = (vector(CHANNELS, 2), vector(CHANNELS, 3), *layers(CHANNELS, 2, "cpu"))
    return GatedNorm("groupnorm_act", 2, parameters, {}), (volume(1), volume(4))


def kan() -> tuple[Calls, tuple[Tensor, ...]]:
    return Calls("kan", 1, layer(KanCase(3, 7, 24), "cpu"), {}), (random((3, 7), torch.float32, "cpu", 4),)


def fusion_head(fusion: Any) -> tuple[Calls, tuple[Tensor, ...]]:
    features = tuple(random((3, 24), torch.float32, "cpu", seed) for seed in (5, 6))
    return Calls("fusion_head", 2, (0.2 * vector(parameter_count(24, fusion), 7), fusion), {}), features


def cross_attention(masked: bool) -> tuple[Calls, tuple[Tensor, ...]]:
    case = AttentionCase(2, 1, 5, 3, 8, masked=masked)
    hidden = tuple(masks(case, "cpu").values()) if masked else ()
    return Calls("cross_attention", 6, (8**-0.5, *hidden), {}), tuple(inputs(case, torch.float32, "cpu"))


EXAMPLES = {
    "msdc": lambda: msdc(False),
    "msdc, ordered": lambda: msdc(True),
    "upsample_dw": upsample_dw,
    "msca_attention": msca_attention,
    "groupnorm_act": groupnorm_act,
    "groupnorm_act, gated": gated_groupnorm_act,
    "kan": kan,
    "fusion_head, tokens": lambda: fusion_head("tokens"),
    "fusion_head, mean": lambda: fusion_head("mean"),
    "cross_attention": lambda: cross_attention(False),
    "cross_attention, masked": lambda: cross_attention(True),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_onnx_runtime_answers_as_the_operator(example: str, tmp_path: Path) -> None:
    """At another batch size than the one it was exported with, where no parameter has a batch of its own."""
    make: Callable[[], tuple[Calls, tuple[Tensor, ...]]] = EXAMPLES[example]
    module, activations = make()
    free = "masked" not in example
    batch = torch.export.Dim("batch", min=1, max=64)
    dynamic = {"activations": tuple({0: batch} if free else None for _ in activations)}
    program = torch.export.export(module.eval(), activations, dynamic_shapes=dynamic)
    assert f"mmcaf.{module.name}" in program.graph_module.code
    path = tmp_path / "network.onnx"
    torch.onnx.export(plain(program), (), path, dynamo=True, verbose=False)
    written = onnx.load(path)
    assert {node.domain for node in written.graph.node} <= {"", "ai.onnx"} and not written.functions
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = tuple(torch.cat([part, 2 * part]) for part in activations) if free else activations
    feed = {entry.name: part.numpy() for entry, part in zip(session.get_inputs(), given, strict=True)}
    expected = module(*given)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for found, wanted in zip(session.run(None, feed), expected, strict=True):
        scale = float(wanted.abs().max())
        np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=TOLERANCE * scale)


def test_every_operator_has_a_form() -> None:
    operators = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("mmcaf::")}
    assert {operator.name() for operator in forms()} == operators
    assert {operator._schema.name.removeprefix("mmcaf::") for operator in forms()} == {
        example.split(",")[0] for example in EXAMPLES
    }
