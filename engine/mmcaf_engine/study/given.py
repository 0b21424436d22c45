"""The forms in which a caller may give a study, and what messages call each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..volume import Study, Volume
from .datasets import NAME, open_datasets
from .faults import printable
from .files import Found, open_path

StudyFiles = str | Path | Sequence[Any]
"""A path, or pydicom data sets in memory."""

StudyVolumes = Volume | Study | Mapping[str, Volume | Study]
"""A volume in memory, with what is known of its patient where it is a Study; of several inputs, each by name."""

StudySource = StudyFiles | StudyVolumes


def study_name(study: StudyFiles) -> str:
    """What messages call it: the path as it was given."""
    return printable(str(study), 512) if isinstance(study, str | Path) else NAME


@contextmanager
def open_files(study: StudyFiles) -> Iterator[Found]:
    """List the files of a study; they may be opened until the block ends.

    Raises:
        UsageError: no path, and no list of data sets.
        StudyError: as `files.open_path` and `datasets.open_datasets`.
    """
    if isinstance(study, str | Path):
        with open_path(Path(study)) as found:
            yield found
    elif isinstance(study, Sequence) and not isinstance(study, bytes | bytearray):
        with open_datasets(study) as found:
            yield found
    else:
        raise UsageError(
            f"study: expected a path, pydicom data sets or a Volume, got {type(study).__name__}.",
            "A single data set is given as a list of one.",
        )
