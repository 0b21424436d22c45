"""HL7 FHIR R4: the text of the patient's DiagnosticReport (section 10.3)."""

import base64
import binascii
from typing import Any

from ..errors import RecordError, Remedy

Resource = dict[str, Any]

USABLE_REPORTS = ("final", "amended", "corrected", "appended", "preliminary", "partial")
"""DiagnosticReport.status; registered ones have no content yet, and the others are no reports any more."""


def find_report(reports: list[Resource], name: str, warnings: list[str]) -> str | None:
    """The text of the last report by effective or issued date, then by place in the Bundle.

    It is that of the first `presentedForm` in text/plain, else the `conclusion`, which a warning says.

    Args:
        reports: the patient's usable DiagnosticReport resources.
        name: how messages call the record.
        warnings: gets the remarks.

    Raises:
        RecordError: the text is not Base64 of UTF-8.
    """
    told = [(report, found) for report in reports if (found := _text(report, name)) is not None]
    if not told:
        return None
    if len(told) > 1:
        warnings.append(f"the record holds {len(told)} reports; the last one was read.")
    _, (text, whole) = sorted(told, key=lambda each: str(_date(each[0])))[-1]
    if not whole:
        warnings.append("the record's report has no plain text in presentedForm; its conclusion alone was read.")
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


def _date(report: Resource) -> Any:
    period = report.get("effectivePeriod")
    began = period.get("start") if isinstance(period, dict) else None
    return report.get("effectiveDateTime") or began or report.get("issued") or ""
