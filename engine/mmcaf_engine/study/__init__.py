"""The study: from a path to one series as a volume in Hounsfield units, with its geometry checked."""

import logging
import warnings

from .listing import SeriesEntry, SeriesList, list_series
from .policies import Duplicates, Gaps, Tilt
from .reading import OpenSeries, open_study, read_study

__all__ = [
    "open_study",
    "OpenSeries",
    "read_study",
    "list_series",
    "SeriesList",
    "SeriesEntry",
    "Gaps",
    "Tilt",
    "Duplicates",
]

# pydicom tells of odd header values by quoting them, patients' names and numbers among them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom(\.|$)")
logging.getLogger("pydicom").setLevel(logging.ERROR)
