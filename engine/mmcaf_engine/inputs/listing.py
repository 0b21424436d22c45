"""What a study holds that a network could read, and what it would."""

from pathlib import Path

from ..errors import Remedy, UsageError
from ..image import list_images
from ..manifest import Manifest
from ..study import SeriesList, list_series


def list_study(path: str | Path, *, manifest: Manifest | None = None, modality: str | None = None) -> SeriesList:
    """List the series of a study, or its images for a network that reads one; no pixels are decoded.

    Args:
        path: a DICOM or NIfTI file, a directory, a zip or a DICOMDIR; PNG or JPEG for a network that reads an image.
        manifest: of a network, whose rules then choose; without it, every series competes.
        modality: rank series of this one only; by default the network's, or all.

    Raises:
        UsageError: the network reads no study.
        StudyError: nothing to read there, or damaged files.
    """
    if manifest is None:
        return list_series(path, modality=modality)
    if not manifest.modalities:
        raise UsageError(f"{manifest.name} reads no study.", Remedy("Leave it out", option="bundle"))
    if manifest.image is not None:
        spec = manifest.image
        return list_images(path, spec.model_copy(update={"modality": (modality,)}) if modality else spec)
    return list_series(path, modality=modality or manifest.modalities[0], inputs=manifest.series)
