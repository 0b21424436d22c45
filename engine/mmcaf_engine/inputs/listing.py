"""What a study holds that a network could read, and what it would."""

from dataclasses import replace
from pathlib import Path

from ..errors import Remedy, UsageError
from ..image import list_images
from ..manifest import Manifest
from ..study import InputSeries, Policies, SeriesList, list_series
from ..volume import Study, StudyFacts
from .prepare import called, prepared_series
from .windows import Preprocessor


def list_study(path: str | Path, *, manifest: Manifest | None = None, modality: str | None = None) -> SeriesList:
    """List the series of a study, or its images for a network that reads one, and what an answer would refuse.

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
        wanted = spec.model_copy(update={"modality": (modality,)}) if modality else spec
        return list_images(path, wanted, body_part=manifest.body_part)
    of_volumes = manifest.of_volumes

    def decode(entry: InputSeries) -> StudyFacts | Study:
        named = replace(entry, input=entry.input or manifest.volumes[0].name)
        preprocessor = Preprocessor(entry.opened.shape, of_volumes, name=called(named))
        return prepared_series(named, preprocessor).facts

    return list_series(
        path,
        modality=modality or manifest.modalities[0],
        inputs=manifest.series,
        intensity=of_volumes.intensity,
        body_part=manifest.body_part,
        policies=Policies(oblique=of_volumes.oblique, oblique_usual=of_volumes.oblique == "accept"),
        decode=decode,
    )
