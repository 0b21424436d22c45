"""HL7 FHIR R4: the text of the patient's DiagnosticReport (section 10.3)."""

import base64
import binascii
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from ..errors import RecordError, Remedy
from .fhir_bundle import Resource
from .fhir_dates import when
from .notes import Notes

USABLE_REPORTS = ("final", "amended", "corrected", "appended", "preliminary", "partial")
"""DiagnosticReport.status; registered ones have no content yet, and the others are no reports any more."""


def find_report(reports: Sequence[Resource], name: str, study: date | None, notes: Notes) -> str | None:
    """The text of the last report that is not of after the study, then by place in the Bundle.

    It is that of the first `presentedForm` in text/plain, else the `conclusion`, which a warning says. A report is
    written after its study, so that a date of issue alone leaves none out.

    Args:
        reports: the patient's usable DiagnosticReport resources.
        name: how messages call the record.
        study: its date, if that is known.

    Raises:
        RecordError: the text is not Base64 of UTF-8.
    """
    told = [(report, found) for report in reports if (found := _text(report, name)) is not None]
    if not told:
        return None
    if len(told) > 1:
        notes.warnings.append(f"the record holds {len(told)} reports; the last one was read.")
    before = [each for each in told if not _days_after(each[0], study)]
    taken, (text, whole) = sorted(before or told, key=lambda each: _order(each[0]))[-1]
    if days := _days_after(taken, study):
        notes.warnings.append(f"the record's report is of {days} days after the study; none is of before.")
    elif len(before) < len(told):
        notes.remarks.append(f"{len(told) - len(before)} report(s) are of after the study, and were left out.")
    if when(taken).moment is None:
        notes.remarks.append("the record's report has no date that FHIR knows: it is not known to be of this study.")
    if not whole:
        notes.warnings.append("the record's report has no plain text in presentedForm; its conclusion alone was read.")
    return text


def _text(report: Resource, name: str) -> tuple[str, bool] | None:
    """The report's text, and whether it is the whole report."""
    forms = report.get("presentedForm")
    for form in forms if isinstance(forms, list) else []:
        if isinstance(form, dict) and _is_plain(form.get("contentType")) and isinstance(form.get("data"), str):
            return _decoded(form["data"], name), True
    conclusion = report.get("conclusion")
    return (conclusion, False) if isinstance(conclusion, str) else None


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, str) and kind.partition(";")[0].strip().lower() == "text/plain"


def _decoded(data: str, name: str) -> str:
    try:
        return base64.b64decode("".join(data.split()), validate=True).decode("utf-8-sig")
    except (binascii.Error, ValueError):
        raise RecordError(
            f"{name}: DiagnosticReport.presentedForm.data is not Base64 of UTF-8 text.",
            Remedy("Pass the report as a text file", option="report", value="FILE.txt"),
        ) from None


def _days_after(report: Resource, study: date | None) -> int:
    """Days that what is reported on was after the study; 0 where it may have been before, or was the study itself."""
    dated = when(report)
    if study is None or dated.moment is None or dated.issued:
        return 0
    return max(0, (dated.moment.first_day - study).days)


def _order(report: Resource) -> tuple[datetime, timedelta]:
    moment = when(report).moment
    return (datetime.min, timedelta(0)) if moment is None else moment.order()
