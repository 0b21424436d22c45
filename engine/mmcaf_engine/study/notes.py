"""What there is to say of a study: warnings and remarks, collected on the way from its files to a volume."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Notes:
    """Sentences on a study.

    warnings: on what contradicts or is irregular. remarks: on what is merely absent, or could not change the answer.
    """

    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __add__(self, other: "Notes") -> "Notes":
        return Notes((*self.warnings, *other.warnings), (*self.remarks, *other.remarks))


NONE = Notes()
