"""The key slices of an answer as a Key Object Selection (PS3.3 A.35.4, TID 2010), by which a viewer finds them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..decisions.statements import in_words
from ..key_slices import KeySlice
from .objects import Objects, highdicom

if TYPE_CHECKING:
    from pydicom import Dataset

KIND = "key objects"
SERIES_NUMBER = 9006


def key_objects(objects: Objects, keys: Sequence[KeySlice]) -> bytes:
    """The selection, ready to be saved.

    highdicom names the purpose of each reference, which TID 2010 does not have; it is taken out.

    Args:
        keys: of which those are named that were made of one image.

    Raises:
        BackendError: highdicom is not installed.
    """
    from pydicom.sr.codedict import codes

    hd = highdicom()
    named = [key.image for key in keys if key.image is not None]
    images = {image.sop_instance_uid: objects.image(image) for image in named}
    content = hd.ko.KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=list(images.values()),
        observer_device_context=objects.observer(),
        description=f"RESEARCH, unverified. {in_words(objects.result)} Slices that it is shown by, not findings.",
    )
    arguments = objects.arguments(KIND, SERIES_NUMBER)
    made_by = {name: arguments.pop(name) for name in ("manufacturer_model_name", "software_versions")}
    made: Dataset = hd.ko.KeyObjectSelectionDocument(evidence=list(images.values()), content=content, **arguments)
    made.ManufacturerModelName, made.SoftwareVersions = made_by.values()
    for item in made.ContentSequence:
        if item.ValueType == "IMAGE":
            del item.ConceptNameCodeSequence
            [reference] = item.ReferencedSOPSequence
            frames = {image.frame for image in named if image.sop_instance_uid == reference.ReferencedSOPInstanceUID}
            if frames - {None}:
                reference.ReferencedFrameNumber = sorted(frame for frame in frames if frame)
    return objects.finished(made, KIND)
