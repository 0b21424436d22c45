"""The manifest's network: what it is, and the tensors that go in and come out."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from ..errors import UsageError
from .base import Line, ManifestModel

Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-bf16"]
"""int8-bf16: INT8 with the maps between its layers in BF16."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def between(precision: Precision) -> Precision:
    """In what a network of a precision keeps the maps from one convolution to the next."""
    kept: dict[Precision, Precision] = {"fp16": "fp16", "int8-bf16": "bf16"}
    return kept.get(precision, "fp32")


def types_in(precision: Precision) -> frozenset[str]:
    """The types below FP32 that a network of a precision computes in."""
    return frozenset(precision.split("-")) - {"fp32"}


InputKind = Literal["volume", "image", "tokens", "token_mask", "table"]
OutputKind = Literal["score", "attention", "branch_score", "diagnostic"]

Axis = Annotated[int, Field(ge=1)] | Literal["N", "L"]
"""N: the batch. L: word pieces of the longest text, from 1 to text.max_tokens."""

TEXT_KINDS = ("tokens", "token_mask")


def named_precision(name: str) -> Precision:
    """The precision of this name.

    Raises:
        UsageError: there is none.
    """
    for known in PRECISIONS:
        if known == name:
            return known
    raise UsageError(f"Unknown precision {name!r:.40}.", f"Choose among: {', '.join(PRECISIONS)}.")


class TensorSpec(ManifestModel):
    """One tensor of the network.

    The first axis is the batch, written "N". An image is [N, channels, rows, columns]; tokens, the numbers of word
    pieces, and token_mask, 1 where there is one and 0 where there is none, are int64 [N, "L"]; all else is float32.
    Words are what becomes of the tokens within a network that lies in two parts; they may have the axis "L". Of the
    graph of the heat maps, cotangent is the last input and map is each output; no network has them.
    Attention to word pieces is [N, "L"], other attention [N, weights]; a branch_score has the score's shape. A
    diagnostic, [N, values], tells of how the network computed; no answer is made of it, and it is optional.
    """

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    kind: Literal[InputKind, OutputKind, "words", "cotangent", "map"]
    dtype: Literal["float32", "int64"] = "float32"
    shape: tuple[Axis, ...] = Field(min_length=1)
    optional: bool = Field(
        default=False, description="Of an output that is no score: left out unless a session is asked for it."
    )

    version_2: ClassVar[frozenset[str]] = frozenset({"optional"})

    @model_validator(mode="after")
    def _axes(self) -> "TensorSpec":
        if self.optional and self.kind not in ("attention", "branch_score", "diagnostic"):
            raise ValueError("optional belongs to outputs other than the score")
        if self.kind == "diagnostic" and not (self.optional and len(self.shape) == 2):
            raise ValueError("a diagnostic must be optional, and [N, values]")
        if self.shape[0] != "N" or "N" in self.shape[1:]:
            raise ValueError('the first axis, and only the first, must be "N"')
        if self.kind in TEXT_KINDS:
            if self.shape != ("N", "L") or self.dtype != "int64":
                raise ValueError(f'{self.kind} must be int64 ["N", "L"]')
            return self
        if self.dtype != "float32":
            raise ValueError(f"{self.kind} must be float32")
        of_pieces = self.kind == "attention" and self.shape == ("N", "L")
        if "L" in self.shape and self.kind != "words" and not of_pieces:
            raise ValueError('the axis "L" belongs to tokens, token_mask, and attention ["N", "L"] to word pieces')
        return self

    def fits(self, shape: Sequence[int], longest: int) -> bool:
        """Whether an array has this shape: any N from 1, and L from 1 to `longest`."""
        return len(shape) == len(self.shape) and all(
            size == axis if isinstance(axis, int) else size >= 1 and (axis == "N" or size <= longest)
            for size, axis in zip(shape, self.shape, strict=True)
        )


class NetworkSpec(ManifestModel):
    """Which network this is and how it was configured."""

    name: str
    config: dict[str, int | float | str | bool]
    parameters: int = Field(ge=0, description="Weights that the answer depends on.")
    batch: Literal[1] | None = Field(
        default=None, description='1: the models take one case at a time: their first axis, "N" elsewhere, is 1.'
    )

    version_2: ClassVar[frozenset[str]] = frozenset({"batch"})


ModulePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=200)]
"""A module of the source network by its attributes, such as image_encoder.bfpu1."""

ModuleTitle = Annotated[Line, Field(min_length=1, max_length=60)]
