"""Study, record and report as the command line names them; "-" is stdin."""

from dataclasses import dataclass

from mmcaf_engine.errors import UsageError
from mmcaf_engine.record.document import MAX_RECORD_BYTES
from mmcaf_engine.record.report import MAX_REPORT_BYTES

from .console import read_stdin

DASH = "-"


@dataclass(frozen=True)
class Given:
    """Each a path, what came from stdin, or None."""

    study: str | None
    record: str | bytes | None
    report: str | bytes | None


def given_inputs(study: str, record: str | None, report: str | None) -> Given:
    """Read from stdin what is named "-". Alone in the study's place, that is the record of a network without a study.

    Raises:
        UsageError: the study is to come from stdin, or two things are.
    """
    named = [name for name, value in (("RECORD", record), ("--report", report)) if value == DASH]
    if study == DASH and record is not None:
        raise UsageError("-: a study is not read from standard input.", "Name its file or directory.")
    if len(named) > 1 or (study == DASH and named):
        first = named[0] if len(named) > 1 else "RECORD"
        raise UsageError(f"{first} and {named[-1]}: standard input can be only one of them.", "Name a file for one.")
    if study == DASH:
        return Given(None, read_stdin(MAX_RECORD_BYTES), report)
    return Given(
        study,
        read_stdin(MAX_RECORD_BYTES) if record == DASH else record,
        read_stdin(MAX_REPORT_BYTES) if report == DASH else report,
    )
