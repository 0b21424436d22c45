"""HL7 FHIR R4: of several values of one field the one that held when the study was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ..manifest import TableField
from .codings.tables import Table
from .fhir_dates import Dated, Moment
from .fhir_values import Reading, contradict
from .notes import Notes

OLDEST_DAYS = 1826
"""Five years: an older observation of a field without a limit of its own is warned of."""


@dataclass(frozen=True)
class Value:
    """One usable value. code: the LOINC code of the question that it answers. focus, site: what it is about; see
    `fhir_about`.
    """

    code: str
    reading: Reading
    dated: Dated
    focus: tuple[str, ...] = ()
    site: tuple[str, ...] = ()

    @property
    def moment(self) -> Moment | None:
        return self.dated.moment

    def days_after(self, study: date | None) -> int:
        """Days that it was observed after the study, the fewest that its date allows; 0 where it may be of before."""
        if study is None or self.moment is None:
            return 0
        return max(0, (self.moment.first_day - study).days)

    def order(self) -> tuple[datetime, timedelta]:
        """What has no date comes first."""
        return (datetime.min, timedelta(0)) if self.moment is None else self.moment.order()


def latest_value(
    entry: TableField,
    code: str,
    table: Table,
    values: Sequence[Value],
    study: date | None,
    notes: Notes,
    *,
    told: bool,
) -> Value | None:
    """The latest value at or before the study's date, of equals the last of the Bundle; else the first after it.

    Args:
        table: of the answers that may contradict older ones.
        study: None where not known; then the latest of all.
        told: whether the value counts, so that what there is to say of its date goes to `notes`.
    """
    before = [value for value in values if not value.days_after(study)]
    after = [value for value in values if value.days_after(study)]
    if not values:
        return None
    if before:
        taken = max(reversed(before), key=Value.order)
    else:
        taken = min(after, key=lambda value: (value.days_after(study), value.order()))
    if told:
        _tell(entry, code, table, taken, before or after, after if before else [], study, notes)
    return taken


def _tell(
    entry: TableField,
    code: str,
    table: Table,
    taken: Value,
    rivals: Sequence[Value],
    later: Sequence[Value],
    study: date | None,
    notes: Notes,
) -> None:
    days = taken.days_after(study)
    if days:
        notes.warnings.append(
            f"{entry.name} was observed {days} days after the study (LOINC {code}); none is of before."
        )
    limit = OLDEST_DAYS if entry.max_age_days is None else entry.max_age_days
    if study is not None and taken.moment is not None and (age := (study - taken.moment.last_day).days) > limit:
        notes.warnings.append(
            f"{entry.name} was observed {age} days before the study (LOINC {code}); at most {limit} are expected."
        )
    if any(_at_once(one, taken) and contradict(entry, one.reading.value, taken.reading.value) for one in rivals):
        notes.warnings.append(
            f"{entry.name}: the record has different values (LOINC {code}) whose dates do not tell which is the latest."
        )
    contradicted = table.never_after.get(taken.reading.meaning, ())
    if any(one.reading.meaning in contradicted for one in rivals):
        notes.warnings.append(
            f"{entry.name}: the latest observation (LOINC {code}) says {taken.reading.meaning}; an older one "
            "contradicts that."
        )
    if later:
        first = min(value.days_after(study) for value in later)
        notes.remarks.append(
            f"{len(later)} observation(s) of {entry.name} (LOINC {code}) are of after the study, the first {first} "
            "days, and were left out."
        )
    if taken.moment is None and not taken.dated.unreadable:
        notes.remarks.append(
            f"the observation of {entry.name} (LOINC {code}) has no date: it is not known to be of before the study."
        )
    if any(one.dated.unreadable for one in (*rivals, *later)):
        notes.remarks.append(f"a date of an observation of {entry.name} (LOINC {code}) is none of FHIR.")


def _at_once(one: Value, other: Value) -> bool:
    """Whether nothing tells which of two values is the later; what has no date may be of any time."""
    if one is other:
        return False
    return one.moment is None or other.moment is None or one.moment.overlaps(other.moment)
