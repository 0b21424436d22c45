"""From grey values to the image input, by the manifest's constants."""

import numpy as np
from numpy.typing import NDArray

from ..image.candidate import Plane
from ..image.grey import WHITE
from ..manifest.image import ImageSpec
from .resize import resize_bilinear


def image_input(plane: Plane, spec: ImageSpec) -> NDArray[np.float32]:
    """Resize an image and standardise it.

    Args:
        plane: [H, W], 0 to 255.

    Returns:
        float32 [1, channels, rows, columns], as the manifest's image has them.
    """
    shares = resize_bilinear(plane, *spec.size) / np.float32(WHITE)
    channels = [(shares - np.float32(mean)) / np.float32(std) for mean, std in zip(spec.mean, spec.std, strict=True)]
    stacked: NDArray[np.float32] = np.stack(channels)[np.newaxis]
    return stacked
