"""Which objects, in which encodings, are taken over DICOM's network protocol: those that the engine reads."""

from typing import TYPE_CHECKING

from ...study.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity

IMAGES = (
    "CTImageStorage",
    "EnhancedCTImageStorage",
    "LegacyConvertedEnhancedCTImageStorage",
    "MRImageStorage",
    "EnhancedMRImageStorage",
    "LegacyConvertedEnhancedMRImageStorage",
    "ComputedRadiographyImageStorage",
    "DigitalXRayImageStorageForPresentation",
    "DigitalXRayImageStorageForProcessing",
    "SecondaryCaptureImageStorage",
    "MultiFrameGrayscaleByteSecondaryCaptureImageStorage",
    "MultiFrameGrayscaleWordSecondaryCaptureImageStorage",
)
"""Keywords of SOP classes (PS3.4 B.5)."""


def support_images(entity: "ApplicationEntity") -> None:
    """Take all of them, each in every transfer syntax that is decoded, and C-ECHO."""
    from pydicom import uid
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    for keyword in IMAGES:
        entity.add_supported_context(getattr(uid, keyword), list(TRANSFER_SYNTAXES))
    entity.add_supported_context(Verification)
