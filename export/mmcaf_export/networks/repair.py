"""Repairs: changes without which a network's published code answers no input, made only where they are asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Repair:
    """One repair that a network declares.

    name: as it is asked for at export. fault: what the published code does with such a checkpoint, and why.
    change: what the exported network does instead; both without a full stop. The bundle's provenance keeps the change.
    """

    name: str
    fault: str
    change: str

    def __str__(self) -> str:
        return f"{self.name} ({self.change})"
