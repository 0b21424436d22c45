"""One file that may be the image, as far as its header tells, and the grey values that are decoded from it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..study.dicom.examined import Examined
from ..study.dicom.instance import Instance
from ..volume import PatientHeader
from .view import Seen

MAX_SIDE = 8192
MAX_PIXELS = 2**25
"""Of an image: a detector has up to 4300 x 4300; images of the whole spine are put together of several."""

PICTURES = ("PNG", "JPEG")
"""What stands for the modality of a file that names none."""

Plane = NDArray[np.float32]
"""Grey values [H, W] from 0, black, to 255, white."""


@dataclass(frozen=True)
class Grey:
    """A decoded image, and remarks on what was irregular.

    padded: where there is no image, but padding; None where the file tells of none.
    """

    plane: Plane
    warnings: tuple[str, ...] = ()
    padded: NDArray[np.bool_] | None = None

    @property
    def seen(self) -> Plane:
        """The grey values of the image itself [N]."""
        return self.plane.ravel() if self.padded is None else self.plane[~self.padded]


@dataclass(frozen=True)
class Candidate:
    """A file that may be the image.

    modality: as in the DICOM header, or "PNG" or "JPEG".
    matrix: rows and columns; None where they could not be read.
    spacing_mm: between rows, then between columns; None where not known.
    other_kind: in words, what it is that is no radiograph of any network; empty for one.
    fault: why it cannot be read, if so.
    decode: reads its pixels; raises StudyError.
    uids: of "study", "series" and "image". sop_class: SOPClassUID (0008,0016).
    examined: what its header says of the part of the body. instance: the DICOM file that it is.
    number: as in the list that messages show, from 1.
    """

    name: str
    modality: str
    matrix: tuple[int, int] | None
    spacing_mm: tuple[float, float] | None
    view: Seen
    decode: Callable[[], Grey] = field(repr=False)
    other_kind: str = ""
    fault: StudyError | None = None
    uids: dict[str, str] = field(default_factory=dict)
    sop_class: str = ""
    series_number: int | None = None
    description: str = ""
    derived: bool = False
    patient: PatientHeader = field(default_factory=PatientHeader, repr=False)
    examined: Examined = field(default_factory=Examined)
    instance: Instance | None = field(default=None, repr=False)
    number: int = 0

    @property
    def is_picture(self) -> bool:
        """Whether it is a file that says nothing of patient, study and view."""
        return self.modality in PICTURES

    @property
    def source(self) -> str:
        """What it is told by: its SOPInstanceUID, or its file's name."""
        return self.uids.get("image") or self.name

    def describe(self) -> str:
        """One line without patient data."""
        matrix = f"{self.matrix[0]} x {self.matrix[1]}" if self.matrix else "unreadable"
        parts = [f"{self.modality or 'no modality'}", matrix, f"{self.view.view or 'unknown'} view", self.name]
        if self.series_number is not None:
            parts.insert(0, f"series {self.series_number}")
        return ", ".join(parts)


def refuse_size(rows: int, columns: int, name: str) -> None:
    """Refuse an image that is too large, before anything is allocated for it.

    Raises:
        StudyError: a side, or all pixels together, are beyond the limits above.
    """
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE and rows * columns <= MAX_PIXELS):
        raise StudyError(
            f"{name}: an image of {rows} x {columns} pixels; sides of 1 to {MAX_SIDE} and at most {MAX_PIXELS} pixels "
            "are read.",
            "Give a smaller image.",
        )
