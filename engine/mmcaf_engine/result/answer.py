"""One study's answer with all that it was made from, for whoever writes it down in another form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..bundle.bundle import Bundle
from ..inputs.prepare import Prepared, PreparedSeries
from ..volume import Arrays, Placement, SourceHeader, SourceImage
from .aggregate import StudyScore
from .result import Result
from .writers.fhir import to_fhir


@dataclass(frozen=True)
class SourceImages:
    """What one input was read from.

    images: the image that each slice was made from, in slice order; None for an interpolated one. Empty where the study
        does not consist of DICOM images, and `header` is then None.
    header: what result objects take over from the first of them.
    placement: where the volume lies in the patient; None of a 2D image.
    """

    images: tuple[SourceImage | None, ...]
    header: SourceHeader | None
    placement: Placement | None


@dataclass(frozen=True)
class Answer:
    """A result, and what it was made from.

    No pixel of the study is kept but as the network saw it.

    prepared: the windows, the table and the tokens, as the network saw them.
    outputs: of the network, by name, float32 [N, ...] for N windows.
    score: what the network's decision made of them; among it, which window decided.
    """

    result: Result
    bundle: Bundle = field(repr=False)
    prepared: Prepared = field(repr=False)
    outputs: Arrays = field(repr=False)
    score: StudyScore = field(repr=False)

    @property
    def source_images(self) -> Mapping[str, SourceImages]:
        """By input, which images the answer is about, and where they lie."""
        return {
            entry.input: SourceImages(
                entry.facts.images, entry.facts.header, entry.placement if isinstance(entry, PreparedSeries) else None
            )
            for entry in self.prepared.studied
        }

    def to_fhir(self) -> dict[str, Any]:
        """As a FHIR R4 Bundle of plain dicts and lists; see `result.writers.fhir`."""
        headers = [images.header for images in self.source_images.values() if images.header is not None]
        return to_fhir(self.result, headers[0].dataset() if headers else None)
