"""What a network reads beside the images: the record's table and the report, made ready."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from numpy.typing import NDArray

from ..errors import RecordError, Remedy
from ..manifest import Manifest
from ..volume import PatientHeader
from .csv_rows import Choice
from .document import RecordSource
from .identity import Identity, compare_identity
from .record import Record, contradictions, not_compared, read_record
from .report import ReportSource, read_report
from .tokenizer import TokenisedText, Tokenizer

MOST_UNKNOWN = 0.25
"""A larger share of word pieces that the vocabulary lacks is remarked on: another language, or a damaged text."""


@dataclass(frozen=True)
class Clinical:
    """The validated record and the tokenised report, each None where the network reads none; what there is to say of
    both, and whether they are of the study's patient.

    sha256: of the bytes of the record as it came, followed by those of a report beside it; None without either.
    """

    record: Record | None = None
    text: TokenisedText | None = None
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    identity: Identity = "not_compared"
    sha256: str | None = None

    def inputs(self, manifest: Manifest) -> dict[str, NDArray[Any]]:
        """Input name -> array [1, ...] of the table, the tokens and their mask."""
        arrays: dict[str, NDArray[Any]] = {}
        if manifest.table is not None and self.record is not None:
            arrays[manifest.input("table").name] = self.record.table()
        if self.text is not None:
            arrays[manifest.input("tokens").name] = self.text.ids
            arrays[manifest.input("token_mask").name] = self.text.mask
        return arrays


def expect_clinical(record: RecordSource | None, report: ReportSource | None, manifest: Manifest) -> None:
    """Compare what was given with what the network reads, before anything is read.

    Raises:
        RecordError: a record or a report that the network does not read, or one that it needs is not there.
    """
    table, text = manifest.table, manifest.text
    if text is None and report is not None:
        raise RecordError(
            f"{manifest.name} reads no report, but one was given.", Remedy("Leave it out", option="report")
        )
    if table is None and text is None and record is not None:
        raise RecordError(
            f"{manifest.name} takes no record, but one was given.", Remedy("Leave it out", option="record")
        )
    if table is not None and record is None:
        fields = ", ".join(entry.name for entry in table.fields)
        raise RecordError(
            f"{manifest.name} needs a record with the fields {fields}; none was given.",
            Remedy("Pass it after the study", option="record"),
        )
    if text is not None and text.missing == "refuse" and record is None and report is None:
        raise RecordError(
            f"{manifest.name} reads a report; none was given.",
            Remedy("Pass it as a text file", option="report", value="FILE.txt"),
        )


def read_clinical(
    record: RecordSource | None,
    report: ReportSource | None,
    manifest: Manifest,
    tokenizer: Tokenizer | None,
    patient: PatientHeader,
    *,
    row: int | None = None,
    allow_id_mismatch: bool = False,
) -> Clinical:
    """Read the record and the report, and compare the record with the study's header.

    Args:
        record: as for `read_record`; None if none was given.
        report: path of a text file that holds the report, or its content; None if the record holds it.
        tokenizer: of the bundle; needed where the network reads text.
        row: of a record that is a table, its number from 1; without, that of the study's patient.

    Raises:
        RecordError: either is refused, the report came twice, or it holds no word; or they are of another patient, or
            of nobody where the manifest requires to know, as for the study.
        StudyError: the study is of nobody, where the manifest requires to know.
    """
    text = manifest.text
    digest = sha256()
    found = None
    if record is not None and (manifest.table is not None or text is not None):
        choice = Choice(row, patient.patient_id)
        found = read_record(
            record,
            manifest.table,
            text=text,
            lesion=manifest.lesion_field,
            study_date=patient.study_date,
            choice=choice,
            seen=digest.update,
        )
    whose = compare_identity(
        found.patient_ids if found else (),
        manifest,
        patient,
        former_ids=found.former_ids if found else (),
        allow_id_mismatch=allow_id_mismatch,
    )
    warnings, remarks = whose.warnings, whose.remarks if record is not None or report is not None else ()
    if found is not None:
        warnings = (*found.warnings, *warnings, *contradictions(found, manifest.table, patient))
        remarks = (*found.remarks, *remarks, *not_compared(patient))
    if text is None:
        held = digest.hexdigest() if found is not None else None
        return Clinical(found, None, warnings, remarks, whose.identity, held)
    if tokenizer is None:
        raise ValueError(f"{manifest.name} reads text; its tokenizer is needed")
    said = found.report if found is not None else None
    if report is not None:
        if said is not None:
            raise RecordError(
                f"{'report' if isinstance(report, bytes) else report}: a second report; the record holds one already.",
                Remedy("Take it out of the record, or leave this one out", option="report"),
            )
        said = read_report(report, digest.update)
    tokens, on_tokens = _tokenised(said, tokenizer, manifest)
    held = digest.hexdigest() if found is not None or report is not None else None
    return Clinical(found, tokens, (*warnings, *on_tokens), remarks, whose.identity, held)


def _tokenised(report: str | None, tokenizer: Tokenizer, manifest: Manifest) -> tuple[TokenisedText, tuple[str, ...]]:
    """The report's word pieces, and the remarks on it; no remark quotes it."""
    tokens = tokenizer.tokenise(report or "")
    if not tokens.kept:
        what = "holds no word" if report is not None else "is not in the record"
        if tokenizer.spec.missing == "refuse":
            raise RecordError(
                f"The report {what}; {manifest.name} does not answer without one.",
                Remedy(
                    f"Add it to the record as {' and '.join(tokenizer.spec.fields)}, or pass it as a text file",
                    option="report",
                    value="FILE.txt",
                ),
            )
        return tokens, (f"the report {what}; the network answered without one.",)
    remarks = []
    if tokens.cut:
        whole = tokens.kept + tokens.cut
        remarks.append(
            f"{tokens.cut} of {whole} word pieces of the report were left out, at its end; the network reads "
            f"{tokens.kept}."
        )
    if tokens.unknown > MOST_UNKNOWN * tokens.kept:
        remarks.append(
            f"{tokens.unknown} of {tokens.kept} report tokens are unknown to the network; the report may be in another "
            "language."
        )
    return tokens, tuple(remarks)
