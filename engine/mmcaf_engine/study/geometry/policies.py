"""What a caller may accept in an irregular series; by default all that changes the anatomy is refused."""

from dataclasses import dataclass
from typing import Literal

from ...errors import Remedy, UsageError

Gaps = Literal["refuse", "interpolate"]
Tilt = Literal["refuse", "resample"]
Duplicates = Literal["refuse", "first"]
Oblique = Literal["refuse", "accept"]

MAX_MISSING_IN_A_ROW = 3
"""Missing slices between two neighbours that may be interpolated; a nodule may hide in more."""
MAX_MISSING_FRACTION = 0.1
"""Of the complete series' slices."""
MAX_TILT_DEGREES = 30.0
"""CT gantries lean no further; more is an oblique reconstruction."""
MAX_SHIFT_FRACTION = 0.25
"""Of the slice's shorter side: how far undoing a tilt may move a slice in-plane."""

MAX_OBLIQUE_DEGREES = 20.0
"""MR is planned along the anatomy, so that axial slices lean by 5 to 20 degrees; beyond, they are of another plane."""

_CHOICES = {
    "gaps": ("refuse", "interpolate"),
    "tilt": ("refuse", "resample"),
    "duplicates": ("refuse", "first"),
    "oblique": ("refuse", "accept"),
}


@dataclass(frozen=True)
class Policies:
    """What to do with missing slices, a tilted gantry, several slices at one position, and oblique slices.

    gaps: "interpolate" fills missing slices linearly from their neighbours, within the limits above.
    tilt: "resample" shifts slices in-plane until they lie above one another.
    duplicates: "first" keeps, of several slices at one position, the one that comes first by
        InstanceNumber (0020,0013), then by SOPInstanceUID (0008,0018).
    oblique: "accept" takes MR slices that lean against the patient as they lie, within the limit above.
    oblique_usual: whether the network's manifest accepts these, so that they are nothing irregular: what is accepted is
        a remark then, and no warning.

    Raises:
        UsageError: a policy of another name.
    """

    gaps: Gaps = "refuse"
    tilt: Tilt = "refuse"
    duplicates: Duplicates = "refuse"
    oblique: Oblique = "refuse"
    oblique_usual: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(
                    f"{name}: expected {' or '.join(choices)}, got {value!r:.40}.",
                    Remedy("The one that refuses is", option=name, value=choices[0]),
                )

    @property
    def accepting(self) -> tuple[str, ...]:
        """The names of those that do not refuse."""
        return tuple(name for name, choices in _CHOICES.items() if getattr(self, name) != choices[0])
