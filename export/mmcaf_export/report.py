"""What an export did, for programs and for people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmcaf_engine.errors import program
from mmcaf_engine.manifest import WeightsEntry

from .explain.write import MapVerification
from .rewrites.rewrite import Applied, LeftOut
from .verify import Verification

REPORT_VERSION = 1

UNSIGNED = "not signed any more, since the signature was of another manifest"
"""What is said of a bundle that was made from, or takes the place of, one that is signed."""


def sign_again(bundle: Path) -> str:
    """The command for it."""
    return program("sign", bundle, "--key", "FILE")


@dataclass(frozen=True)
class ExportReport:
    """A finished export.

    output: the bundle; sha256: of its manifest, which identifies the whole content.
    network, config: what the checkpoint was recognised as; parameters: weights the answer depends on.
    ignored: checkpoint entries the answer does not depend on.
    rewrites: what made the network cheaper before it was written, in order, with the cost of one window.
    left_out: what would fit too, where and why it was not done; of a network that lists no rewrites of its own.
    verifications: per runtime, the difference from the source network.
    maps: per runtime, the difference of heat maps from torch's gradients; empty where there are none.
    sizes: file of the bundle -> bytes.
    notes: assumptions and omissions that a person should know of.
    taken: which weights of the checkpoint were taken and what was done to them, in words.
    weights: the same of each checkpoint, as the manifest has it; None where they were taken as they are.
    """

    output: Path
    sha256: str
    network: str
    config: dict[str, int | float | str | bool]
    parameters: int
    ignored: tuple[str, ...]
    rewrites: tuple[Applied, ...]
    verifications: tuple[Verification, ...]
    maps: tuple[MapVerification, ...]
    sizes: dict[str, int]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    taken: tuple[str, ...] = ()
    weights: tuple[WeightsEntry | None, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers."""
        return {
            "schema_version": REPORT_VERSION,
            "bundle": str(self.output),
            "bundle_sha256": self.sha256,
            "network": self.network,
            "config": self.config,
            "parameters": self.parameters,
            "ignored": list(self.ignored),
            "rewrites": [
                {
                    "name": done.rewrite.name,
                    "description": done.rewrite.description,
                    "flops_before": done.before.flops,
                    "flops_after": done.after.flops,
                }
                for done in self.rewrites
            ],
            "left_out": [asdict(one) for one in self.left_out],
            "verifications": [asdict(done) for done in self.verifications],
            "maps": [asdict(done) for done in self.maps],
            "sizes": self.sizes,
            "notes": list(self.notes),
        } | self._weights()

    def _weights(self) -> dict[str, Any]:
        found = [entry and entry.model_dump(mode="json") for entry in self.weights]
        return {"weights": found[0] if len(found) == 1 else found} if any(found) else {}

    def summary(self) -> str:
        """The report as a few lines of text."""
        config = ", ".join(f"{name} {value}" for name, value in self.config.items())
        total = sum(self.sizes.values())
        lines = [
            f"{self.output}: {self.network} ({config}), {self.parameters:,} parameters, {total / 1e6:.1f} MB",
            *(f"  {line}" for line in self.taken),
            f"  {len(self.ignored)} checkpoint entries do not affect the answer and were left out",
        ]
        if self.rewrites:
            lines.append(f"  {_rewrites(self.rewrites)}")
        lines += [f"  {one.rewrite} left {_places(one.modules)}: {one.reason}" for one in self.left_out]
        for done in self.verifications:
            batches = " and ".join(map(str, done.batches))
            lines.append(
                f"  {done.backend} {done.version}: within {done.max_abs_error:.1e} of the source network's logit "
                f"(batches of {batches})"
            )
        lines += [
            f"  {done.backend} {done.version}: heat maps within {done.max_relative_error:.1e} of their largest value"
            for done in self.maps
        ]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def _rewrites(applied: Sequence[Applied]) -> str:
    """What the rewrites came to; more arithmetic, which less memory traffic pays for, is called what it is."""
    before, after = applied[0].before, applied[-1].after
    names = "" if len(applied) > 3 else f" ({', '.join(done.rewrite.name for done in applied)})"
    counted = f"{len(applied)} exact rewrite{'s' * (len(applied) > 1)}{names}"
    unit, scale = ("GFLOP", 1e9) if before.flops >= 1e8 else ("MFLOP", 1e6)
    flops = f"{before.flops / scale:.1f} {unit} per window"
    if after.flops < before.flops:
        return f"{counted}: {flops} became {after.flops / scale:.1f}"
    moved = f"{before.moved / 1e6:.1f} MB read and written became {after.moved / 1e6:.1f}"
    return f"{counted}: {moved}, for {(after.flops - before.flops) / scale:.1f} {unit} more than {flops}"


def _places(modules: Sequence[str]) -> str:
    """The first of the modules, and how many others there are."""
    if len(modules) == 1:
        return f"{modules[0]} as it is"
    return f"{modules[0]} and {len(modules) - 1} more as they are"
