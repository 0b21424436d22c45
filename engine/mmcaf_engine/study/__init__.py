"""The study: from a path to one series, or one for each input, as a volume with its geometry checked."""

import logging
import warnings

from .geometry.policies import Duplicates, Gaps, Oblique, Policies, Tilt
from .given import StudySource
from .reading import OpenSeries, open_study, read_study
from .selection.inputs import InputSeries, Series, open_inputs
from .selection.listing import SeriesEntry, SeriesList, list_series

__all__ = [
    "open_inputs",
    "InputSeries",
    "Series",
    "open_study",
    "OpenSeries",
    "read_study",
    "list_series",
    "SeriesList",
    "SeriesEntry",
    "Policies",
    "Gaps",
    "Tilt",
    "Duplicates",
    "Oblique",
    "StudySource",
]

# pydicom tells of odd header values by quoting them, patients' names and numbers among them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom(\.|$)")
logging.getLogger("pydicom").setLevel(logging.ERROR)
logging.getLogger("imagecodecs").setLevel(logging.CRITICAL + 1)  # libpng quotes what a file holds.
