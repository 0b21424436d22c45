"""Whether the record and the study are of one patient, by the identifiers that both carry."""

from dataclasses import dataclass
from typing import Literal

from ..errors import RecordError, Remedy, StudyError
from ..manifest import Manifest
from ..volume import PatientHeader

Identity = Literal["matched", "not_compared", "overridden"]
"""Both name one patient; one of them names none, or there is but one of them; the caller accepted what would have been
refused."""


@dataclass(frozen=True)
class Compared:
    """What came of it. warnings: on what was accepted as asked. remarks: on what is absent."""

    identity: Identity = "not_compared"
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def compare_identity(
    patient_ids: tuple[str, ...],
    manifest: Manifest,
    header: PatientHeader,
    *,
    former_ids: tuple[str, ...] = (),
    allow_id_mismatch: bool = False,
) -> Compared:
    """Compare the record's identifiers with PatientID (0010,0020). No message holds any of them.

    Args:
        patient_ids: of the record; none where it names no patient, or a report came without a record.
        former_ids: those that the record says its patient no longer has.
        allow_id_mismatch: accept what is refused, with a warning.

    Raises:
        RecordError: both name a patient, and not the same one; or the manifest's `identity` is "required", and the
            record names none.
        StudyError: it is "required", and the study has no PatientID.
    """
    known = header.patient_id
    if (patient_ids or former_ids) and known is not None:
        return _compared(known, patient_ids, former_ids, allow_id_mismatch)
    reads_record = manifest.table is not None or manifest.text is not None
    absent = {"study": known is None and bool(manifest.modalities), "record": reads_record and not patient_ids}
    nameless = [what for what, lacks in absent.items() if lacks]
    if manifest.identity == "required" and nameless:
        if allow_id_mismatch:
            return Compared("overridden", (_accepted(nameless, manifest.name),))
        raise _refused(nameless, manifest.name)
    if not (reads_record and manifest.modalities):
        return Compared()
    return Compared(remarks=tuple(_ABSENT[what] for what in nameless))


_ABSENT = {
    "study": "the study has no PatientID (0010,0020); nothing ties the record to it.",
    "record": "the record has no patient_id; nothing ties it to the study.",
}


def _compared(known: str, current: tuple[str, ...], former: tuple[str, ...], allow_id_mismatch: bool) -> Compared:
    if known in current:
        return Compared("matched")
    if known in former:
        return Compared(
            "matched",
            ("the study's PatientID (0010,0020) is one that the record's patient had before and no longer has.",),
        )
    if allow_id_mismatch:
        return Compared("overridden", ("the record's patient_id differs from the study's; accepted as asked.",))
    raise RecordError(
        "The record's patient_id differs from the study's PatientID (0010,0020): record and study belong to different "
        "patients.",
        Remedy(
            "Pair the right files; if the identifiers differ for a known reason, accept that",
            option="allow_id_mismatch",
        ),
    )


def _accepted(nameless: list[str], name: str) -> str:
    said = " and ".join(f"the {what}" for what in nameless)
    verb = "does" if len(nameless) == 1 else "do"
    return f"{said} {verb} not say whose it is, which {name} requires; accepted as asked."


def _refused(nameless: list[str], name: str) -> StudyError | RecordError:
    if "study" in nameless:
        return StudyError(
            f"The study has no PatientID (0010,0020); {name} answers only where it says whose it is.",
            Remedy("Send it with its patient's ID, or accept that", option="allow_id_mismatch"),
        )
    return RecordError(
        f"The record has no patient_id; {name} answers only where it says whose it is.",
        Remedy("Add patient_id, the study's PatientID (0010,0020), or accept that", option="allow_id_mismatch"),
    )
