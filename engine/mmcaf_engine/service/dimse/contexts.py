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
VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"


def support_images(entity: "ApplicationEntity") -> None:
    """Take all of them, each in every transfer syntax that is decoded; C-ECHO; and reports on storage commitments."""
    from pydicom import uid

    for keyword in IMAGES:
        entity.add_supported_context(getattr(uid, keyword), list(TRANSFER_SYNTAXES))
    entity.add_supported_context(VERIFICATION)
    entity.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)  # An archive reports with the roles swapped.
