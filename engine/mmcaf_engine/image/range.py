"""Whether an image's grey values use the range from black to white, as those of a radiograph do."""

import numpy as np

from ..errors import StudyError
from .candidate import Plane
from .grey import WHITE

PART = 0.25 * WHITE
"""An image all darker than this, all brighter than the rest of the range, or of values this close, is remarked on."""
BETWEEN = 0.2
"""A radiograph has more of its pixels between black and white, even where much of it was not exposed."""
STRAY = 0.001
"""Of the pixels: so many may be a marker or dead elements of the detector, which are no use of the range."""


def check_range(seen: Plane, name: str) -> list[str]:
    """Look at both ends of the range: a wrong number of bits, or values of interest beside the data, spoil either.

    Args:
        seen: grey values of the image without its padding [N].
        name: of the file, for messages.

    Returns:
        Warnings.

    Raises:
        StudyError: all have one value, or there are none.
    """
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    if low == high:
        raise StudyError(
            f"{name}: every pixel has the grey value {low:g}; there is nothing to be seen in it.",
            "Send the radiograph again from its source.",
        )
    counts = np.cumsum(np.bincount(seen.astype(np.uint8), minlength=int(WHITE) + 1))
    stray = STRAY * seen.size
    # Whole grey values, but where no pixel is stray the exact ones.
    dark = max(low, float(np.searchsorted(counts, stray, side="right")))
    bright = min(high, float(np.searchsorted(counts, seen.size - stray, side="left")))
    if bright < PART:
        what = f"its brightest pixel is {bright:.1f} of {WHITE:g}"
    elif dark > WHITE - PART:
        what = f"its darkest pixel is {dark:.1f} of {WHITE:g}"
    elif bright - dark < PART:
        what = f"its grey values run from {dark:.1f} to {bright:.1f} of {WHITE:g} only"
    elif (between := int(np.count_nonzero((seen > 0) & (seen < WHITE)))) < BETWEEN * seen.size:
        what = f"{100 * between / seen.size:.1f} % of its pixels lie between black and white"
    else:
        return []
    return [f"{name}: {what}; its values may be of fewer bits than the file says, or its window lies beside them."]
