"""The one decoder of each compressed transfer syntax; a failure never tries another.

imagecodecs wraps the reference libraries and lets go of Python's lock while they work, so that slices decode
in parallel threads. For each syntax that function of it was taken which neither crashed nor hung on tens of
thousands of damaged frames that pass `codestream`, and which accepts the fewest of them. Of 20,000 damaged frames of
JPEG lossless, libjpeg-turbo accepts fewer than imagecodecs' jpegsof3, and it decodes each predictor and depth; the
licence of the other says that it is no clinical tool.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

Decode = Callable[[bytes], NDArray[np.integer[Any]]]
"""From one encoded frame to its samples."""
PACKAGE = "imagecodecs"


@dataclass(frozen=True)
class Codec:
    """package: what must be installed; empty for our own. function: of that package. library: that it wraps."""

    package: str
    function: str
    library: str

    @property
    def name(self) -> str:
        return f"{self.package} ({self.library})" if self.package else self.library

    def load(self) -> Decode | None:
        """Import the decoder; None for run-length decoding, which needs the frame's size.

        Raises:
            ImportError: the package is not installed, or lacks this decoder.
        """
        if not self.package:
            return None
        try:
            decode: Decode = getattr(importlib.import_module(self.package), self.function)
        except AttributeError as failure:
            raise ImportError(f"{self.package} lacks {self.function}") from failure
        return decode


_OPENJPEG = Codec(PACKAGE, "jpeg2k_decode", "OpenJPEG")
_CHARLS = Codec(PACKAGE, "jpegls_decode", "CharLS")
_JPEG = Codec(PACKAGE, "jpeg8_decode", "libjpeg-turbo")
RLE = Codec("", "", "mmcaf_engine")

CODECS: dict[UID, Codec] = {
    RLELossless: RLE,
    JPEGBaseline8Bit: _JPEG,
    JPEGExtended12Bit: _JPEG,
    JPEGLossless: _JPEG,
    JPEGLosslessSV1: _JPEG,
    **dict.fromkeys(JPEGLSTransferSyntaxes, _CHARLS),
    **dict.fromkeys((JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), _OPENJPEG),
}
