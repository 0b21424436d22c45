"""The manifest's provenance: which checkpoint the weights came from and what was done to them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import Line, ManifestModel
from .tensors import Precision


class RewriteEntry(ManifestModel):
    """A change of the computation that leaves its result the same in exact arithmetic."""

    name: str
    description: str
    flops_saved: int = Field(description="Per window, 2 per multiply-add; negative if it costs some.")
    parameters_saved: int = Field(description="Stored values; negative if it needs more.")


class RepairEntry(ManifestModel):
    """A change of the network without which its published code answers nothing; made because it was asked for."""

    name: Annotated[Line, Field(min_length=1, max_length=60)]
    description: Annotated[Line, Field(min_length=1, max_length=1000)] = Field(description="What is changed.")


class Int8Entry(ManifestModel):
    """How the INT8 network was made."""

    calibration: str = Field(description="The studies that the ranges were taken from.")
    method: Literal["minmax", "percentile", "entropy"]
    processor: Literal["cpu", "gpu"] = Field(default="cpu", description="What its layers were chosen for.")
    family: str | None = Field(default=None, description="Of processors, by whose peaks they were chosen.")
    layers: int = Field(ge=0, description="Convolutions and matrix products in INT8.")
    kept: dict[str, str] = Field(default_factory=dict, description="One left in FP32 -> why.")
    between: Precision = Field(default="fp32", description="In what the values lie from one such layer to the next.")

    version_2: ClassVar[frozenset[str]] = frozenset({"between", "family"})


class SparedEntry(ManifestModel):
    """An FP16 or BF16 network of which some layers that could be in the type are not."""

    layers: int = Field(ge=0, description="Convolutions and matrix products in the type.")
    kept: dict[str, str] = Field(description="One left in FP32 -> why.")


class WeightsEntry(ManifestModel):
    """Which of the weights in a checkpoint were taken, and what was done to them."""

    taken: str | None = Field(default=None, description="Path within the file, where it is not the usual one.")
    averaged: bool = Field(default=False, description="Averages over training (EMA, SWA), not those of the last step.")
    stripped: tuple[str, ...] = Field(default=(), description="Prefixes and wrappers removed from names.")
    left_out: tuple[str, ...] = Field(default=(), description="Weights and entries of the file that were not taken.")
    converted: dict[str, int] = Field(default_factory=dict, description="Type -> tensors of it that became float32.")
    shards: dict[str, str] = Field(default_factory=dict, description="Further file of the weights -> SHA-256.")

    sparse: ClassVar[frozenset[str]] = frozenset({"taken", "averaged", "stripped", "left_out", "converted", "shards"})

    def in_words(self) -> list[str]:
        """A few words for each thing that was done."""
        said = [f"weights taken from {self.taken}"] if self.taken else []
        said += [f"weights put together from {len(self.shards)} shards"] if self.shards else []
        said += ["averaged weights (EMA or SWA)"] if self.averaged else []
        said += [f"removed from names: {', '.join(self.stripped)}"] if self.stripped else []
        said += [f"left out: {', '.join(self.left_out)}"] if self.left_out else []
        return said + [f"{count} tensors of {kind} became float32" for kind, count in self.converted.items()]


class Provenance(ManifestModel):
    """Where the weights came from and what wrote the bundle; no dates, so that exports repeat bit for bit."""

    checkpoint_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    checkpoint_format: str
    dead_keys_ignored: int = Field(ge=0, description="Checkpoint entries that the answer does not depend on.")
    exporter: str
    framework: str
    opset: int
    rewrites: tuple[RewriteEntry, ...] = Field(default=(), description="Applied to the network, in this order.")
    flops: int | None = Field(default=None, ge=0, description="Of one window after them, 2 per multiply-add.")
    int8: Int8Entry | None = None
    int8_bf16: Int8Entry | None = Field(default=None, description="Of INT8 with the maps between its layers in BF16.")
    fp16: SparedEntry | None = Field(default=None, description="Absent where every map of the network is in FP16.")
    bf16: SparedEntry | None = Field(default=None, description="Absent where no layer was left out of BF16.")

    repairs: tuple[RepairEntry, ...] = Field(
        default=(),
        max_length=20,
        description="Without which the published code answers nothing; each answer says so.",
    )
    weights: WeightsEntry | None = Field(
        default=None, description="Absent where they were taken as they are from the usual place."
    )

    sparse: ClassVar[frozenset[str]] = frozenset({"fp16", "bf16"})
    version_2: ClassVar[frozenset[str]] = frozenset({"int8_bf16", "repairs", "weights"})

    @property
    def remarks(self) -> tuple[str, ...]:
        """That the network is not as published, for every answer."""
        return tuple(f"The network is repaired ({one.name}): {one.description}." for one in self.repairs)

    def quantised(self) -> dict[Precision, Int8Entry]:
        """Each precision with layers in INT8 -> how it was made."""
        entries: dict[Precision, Int8Entry | None] = {"int8": self.int8, "int8-bf16": self.int8_bf16}
        return {precision: entry for precision, entry in entries.items() if entry is not None}

    def spared(self) -> dict[Precision, tuple[str, ...]]:
        """FP16 and BF16 -> the layers that they leave in FP32, where some are."""
        entries: dict[Precision, SparedEntry | None] = {"fp16": self.fp16, "bf16": self.bf16}
        return {precision: tuple(entry.kept) for precision, entry in entries.items() if entry is not None}
