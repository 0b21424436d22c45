"""One study's answer with all that it was made from, for whoever writes it down in another form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..bundle.bundle import Bundle
from ..inputs.prepare import Prepared
from ..volume import Arrays, SourceImage
from .result import Result

SourceImages = Mapping[str, tuple[SourceImage | None, ...]]
"""Input -> the image that each of its slices was made from, in slice order; None for an interpolated slice. An input
whose study does not consist of DICOM images has none."""


@dataclass(frozen=True)
class Answer:
    """A result, and what it was made from.

    prepared: the windows, the table and the tokens, as the network saw them.
    outputs: of the network, by name, float32 [N, ...] for N windows.
    """

    result: Result
    bundle: Bundle = field(repr=False)
    prepared: Prepared = field(repr=False)
    outputs: Arrays = field(repr=False)

    @property
    def source_images(self) -> SourceImages:
        """Which images the answer is about."""
        return {entry.input: entry.facts.images for entry in self.prepared.studied}
