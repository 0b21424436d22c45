"""What an export did, for programs and for people."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmcaf_engine.errors import program

from .explain.write import MapVerification
from .rewrites.rewrite import Applied
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
    verifications: per runtime, the difference from the source network.
    maps: per runtime, the difference of heat maps from torch's gradients; empty where there are none.
    sizes: file of the bundle -> bytes.
    notes: assumptions and omissions that a person should know of.
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
            "verifications": [asdict(done) for done in self.verifications],
            "maps": [asdict(done) for done in self.maps],
            "sizes": self.sizes,
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """The report as a few lines of text."""
        config = ", ".join(f"{name} {value}" for name, value in self.config.items())
        total = sum(self.sizes.values())
        lines = [
            f"{self.output}: {self.network} ({config}), {self.parameters:,} parameters, {total / 1e6:.1f} MB",
            f"  {len(self.ignored)} checkpoint entries do not affect the answer and were left out",
        ]
        if self.rewrites:
            before, after = self.rewrites[0].before.flops, self.rewrites[-1].after.flops
            lines.append(
                f"  {len(self.rewrites)} exact rewrites: {before / 1e9:.1f} GFLOP per window became {after / 1e9:.1f}"
            )
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
