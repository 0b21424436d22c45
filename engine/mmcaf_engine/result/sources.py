"""What each input of a network was read from: the images, their header and where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..inputs.prepare import Prepared, PreparedSeries
from ..volume import Placement, SourceHeader, SourceImage


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


def sources_of(prepared: Prepared) -> Mapping[str, SourceImages]:
    """By input, in their order."""
    return {
        entry.input: SourceImages(
            entry.facts.images, entry.facts.header, entry.placement if isinstance(entry, PreparedSeries) else None
        )
        for entry in prepared.studied
    }
