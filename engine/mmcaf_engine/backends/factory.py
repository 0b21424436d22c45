"""The one place where a backend is made: for a network as a whole, or in two parts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ..cancel import Progress
from ..machine.plugins import attributing_errors
from ..manifest import Manifest, Precision, ReportParts, TensorSpec
from ..manifest.text import text_lengths
from .base import Backend, Hold
from .split import SplitNetwork


@dataclass(frozen=True)
class Parts:
    """The files of a network's two parts, and what goes from one to the other."""

    text_part: Path
    image_part: Path
    embeddings: TensorSpec

    @classmethod
    def of(cls, parts: ReportParts | None, folder: Path, precision: Precision) -> Self | None:
        """The parts that a manifest names in a precision; None where it names none."""
        if parts is None or precision not in parts.models:
            return None
        files = parts.models[precision]
        return cls(folder / files.text, folder / files.rest, parts.words)


@dataclass(frozen=True)
class Network:
    """A network's file and tensors.

    lengths: that texts are padded to, ascending; empty without a text. parts: None where it lies whole only.
    hold: what gives copies of these files to read, where they are a bundle's.
    """

    model: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    lengths: tuple[int, ...] = ()
    parts: Parts | None = None
    hold: Hold | None = None

    @classmethod
    def of(cls, manifest: Manifest, folder: Path, precision: Precision, hold: Hold | None = None) -> Self:
        """The network that a bundle in this folder holds in a precision."""
        whole = cls.whole(manifest, folder / manifest.models[precision])
        return replace(whole, parts=Parts.of(manifest.parts, folder, precision), hold=hold)

    @classmethod
    def whole(cls, manifest: Manifest, model: Path) -> Self:
        """A file with a manifest's inputs and outputs."""
        return cls(model, manifest.inputs, manifest.outputs, text_lengths(manifest.text))


def make_backend(
    kind: type[Backend],
    network: Network,
    threads: int,
    precision: Precision = "fp32",
    *,
    reports: int = 0,
    progress: Progress | None = None,
) -> Backend:
    """A backend, not yet open.

    Args:
        reports: encoded reports to keep, which runs the network in its two parts; with 0 it runs as a whole.
        progress: told of an engine that must be built first, from any thread.

    Raises:
        BackendError: another package's class cannot be made.
    """
    lengths = network.lengths
    with attributing_errors(kind, "while being set up"):
        if not reports:
            made = kind(network.model, network.inputs, network.outputs, threads, precision, lengths=lengths)
        elif network.parts is None or not kind.can_split:
            raise ValueError(f"{kind.name} and {network.model.name} cannot keep reports")
        else:
            made = SplitNetwork(
                kind,
                network.model,
                network.inputs,
                network.outputs,
                threads,
                precision,
                lengths=lengths,
                text_part=network.parts.text_part,
                image_part=network.parts.image_part,
                embeddings=network.parts.embeddings,
                reports=reports,
            )
        made.progress = progress
        for part in made.parts:
            part.hold = network.hold
    return made
