"""Whether record and study say whose they are, for networks that do not answer otherwise."""

from ..errors import RecordError, Remedy, StudyError
from ..manifest import Manifest
from ..volume import PatientHeader
from .clinical import Clinical


def check_identity(
    clinical: Clinical, manifest: Manifest, header: PatientHeader, *, allow_id_mismatch: bool = False
) -> tuple[str, ...]:
    """Where the manifest's `identity` is "required": the study must name its patient, and so must what comes with it.

    Whether both name the same one is `check_patient`'s to say.

    Returns:
        A warning that names what is not known, where `allow_id_mismatch` accepts that.

    Raises:
        StudyError: the study has no PatientID (0010,0020).
        RecordError: the record has no patient_id, or a report came without a record.
    """
    if manifest.identity != "required":
        return ()
    reads_record = manifest.table is not None or manifest.text is not None
    nameless = []
    if manifest.modalities and header.patient_id is None:
        nameless.append("study")
    if reads_record and not (clinical.record is not None and clinical.record.patient_ids):
        nameless.append("record")
    if not nameless:
        return ()
    if allow_id_mismatch:
        said = " and ".join(f"the {what}" for what in nameless)
        verb = "does" if len(nameless) == 1 else "do"
        return (f"{said} {verb} not say whose it is, which {manifest.name} requires; accepted as asked.",)
    if "study" in nameless:
        raise StudyError(
            f"The study has no PatientID (0010,0020); {manifest.name} answers only where it says whose it is.",
            Remedy("Send it with its patient's ID, or accept that", option="allow_id_mismatch"),
        )
    raise RecordError(
        f"The record has no patient_id; {manifest.name} answers only where it says whose it is.",
        Remedy("Add patient_id, the study's PatientID (0010,0020), or accept that", option="allow_id_mismatch"),
    )
