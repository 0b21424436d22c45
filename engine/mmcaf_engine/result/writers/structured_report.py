"""A result as a DICOM structured report: Comprehensive 3D SR, root TID 1500, as IHE AI Results (AIR) wants it.

Each statement is a measurement group (PS3.16 TID 1501) with its tracking identifier: the finding, a qualitative
evaluation, the probabilities as measurements, and the algorithm (TID 4019). It is PRELIMINARY and UNVERIFIED, says
RESEARCH, and names the bundle as contributing equipment with a Device UID. The images that the answer rests on are its
evidence. The same result gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...errors import BackendError, Remedy, StudyError
from ...machine.installation import install_command
from ..codes import private_code
from ..decisions.statements import Statement, answered, in_words, statements
from ..parts import LabelCode
from ..result import Result
from .identity import object_uuid

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code

KIND = "structured report"
MANUFACTURER = "mmcaf-infer"
SERIES_NUMBER = 9001
_MAY_LACK = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"),
    *("StudyID", "ReferringPhysicianName"),
)
"""Elements of type 2 (PS3.5 7.4.3): an object holds them, empty where nothing is known."""
_PROCEDURES = {
    "CT": LabelCode("LN", "25045-6", "CT unspecified body region"),
    "MR": LabelCode("LN", "25056-3", "MRI unspecified body region"),
    **dict.fromkeys(("CR", "DX", "RG"), LabelCode("LN", "43468-8", "XR unspecified body region")),
}
"""Modality -> what was done, where the header does not say (PS3.16 CID 100)."""
_LONGEST = 64
"""Characters of LO, the value representation of a name."""


def structured_report(result: Result, headers: "Sequence[Dataset]") -> "Dataset":
    """The report, ready to be saved.

    Args:
        headers: of each series that the answer rests on, as `SourceHeader.dataset` gives them, in the order of inputs.

    Raises:
        BackendError: highdicom is not installed.
        StudyError: the study is not of DICOM images, or a header lacks what every object needs.
    """
    hd = highdicom()
    evidence = list(_evidence(result, headers))
    if result.created is None:
        raise StudyError(
            "A DICOM object names the patient and says when it was made, which a deidentified result does not.",
            Remedy("Leave it out", option="deidentify"),
        )
    made = _in_zone_of(evidence[0], result.created)
    report: Dataset = hd.sr.Comprehensive3DSR(
        evidence=evidence,
        content=_content(hd, result, evidence)[0],
        series_instance_uid=_uid(result, f"{KIND} series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=_uid(result, KIND),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        manufacturer_model_name=MANUFACTURER,
        software_versions="unknown" if result.software is None else result.software.version,
        series_description=f"RESEARCH {result.model.name}"[:_LONGEST],
        contributing_equipment=[_equipment(hd, result, made)],
    )
    _date(report, made)
    if zone := evidence[0].get("TimezoneOffsetFromUTC"):
        report.TimezoneOffsetFromUTC = zone
    return report


def highdicom() -> Any:
    """The package that makes the objects; ask for it before long work begins.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import highdicom as found
        import highdicom.sr
    except ImportError:
        raise BackendError(
            "Writing results as DICOM needs highdicom, which is not installed.",
            Remedy("Install it", command=install_command("dicom")),
        ) from None
    return found


def _evidence(result: Result, headers: "Sequence[Dataset]") -> "Iterator[Dataset]":
    """A data set for each image, with the patient, study and series of its header."""
    if not headers or not result.evidence:
        raise StudyError(
            "A DICOM object refers to the images that it rests on; this study is not of DICOM images.",
            "Send the study as DICOM.",
        )
    inputs = list(dict.fromkeys(image.input for image in result.evidence))
    for name, header in zip(inputs, headers, strict=True):
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            if not header.get(keyword):
                raise StudyError(f"{name}: the header has no {keyword}, which a DICOM object needs.", "Send it again.")
        known: set[str] = set()
        for image in result.evidence:
            if image.input == name and image.sop_instance_uid not in known:
                known.add(image.sop_instance_uid)
                found = deepcopy(header)
                found.SOPClassUID, found.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
                for keyword in _MAY_LACK:
                    if keyword not in found:
                        setattr(found, keyword, None)
                yield found


def _content(hd: Any, result: Result, evidence: "Sequence[Dataset]") -> Any:
    """The content tree (TID 1500)."""
    from pydicom.sr.codedict import codes

    model, software = result.model, result.software
    algorithm = {
        "name": model.name[:_LONGEST],
        "version": model.version or f"bundle {model.bundle_sha256[:12]}",
        "parameters": [
            f"bundle={model.bundle_sha256}",
            f"precision={result.engine.precision}",
            f"backend={result.engine.backend} {result.engine.runtime_version or ''}".strip(),
            *([] if result.record is None or not result.record.sha256 else [f"record={result.record.sha256}"]),
        ],
        "family": codes.DCM.ArtificialIntelligence,
    }
    images = [hd.sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID) for image in evidence]
    observer = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=model.device_uid,
                name=MANUFACTURER,
                manufacturer_name=MANUFACTURER,
                model_name=model.name[:_LONGEST],
                serial_number=None if software is None else software.version,
            ),
        )
    )
    findings = answered(result)
    groups = [
        _group(hd, result, at, stated, images, hd.sr.AlgorithmIdentification(**algorithm), findings)
        for at, stated in enumerate(statements(result))
    ]
    return hd.sr.MeasurementReport(
        observation_context=observer,
        procedure_reported=_procedure(result, evidence[0]),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _group(
    hd: Any,
    result: Result,
    at: int,
    stated: Statement,
    images: list[Any],
    algorithm: Any,
    findings: Sequence[LabelCode],
) -> Any:
    """One statement (TID 1501)."""
    from pydicom.sr.codedict import codes

    finding = stated.value if stated.value in findings else stated.about
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=_uid(result, f"{KIND} group {at}"), identifier=f"{result.model.name} {stated.name}"[:_LONGEST]
        ),
        algorithm_id=algorithm,
        finding_type=_code(finding),
        measurements=[
            hd.sr.Measurement(name=_code(private_code(name)), value=value, unit=codes.UCUM.NoUnits)
            for name, value in stated.numbers.items()
        ],
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(name=_code(stated.about), value=_code(stated.value))],
        source_images=images,
    )
    text = hd.sr.TextContentItem(
        name=codes.DCM.Comment,
        value=" ".join(("RESEARCH, unverified.", in_words(result), result.disclaimer)).strip(),
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )
    group[0].ContentSequence.append(text)
    return group


def _procedure(result: Result, header: "Dataset") -> "Code":
    """What was done: as the header codes it, if the template knows the code (CID 100), else by its modality."""
    from pydicom.sr.codedict import codes

    known: dict[Any, Code] = {(code.scheme_designator, code.value): code for code in codes.cid100.concepts.values()}
    for item in header.get("ProcedureCodeSequence") or ():
        if found := known.get((item.get("CodingSchemeDesignator"), item.get("CodeValue"))):
            return found
    modality = result.study.modality
    return _code(_PROCEDURES.get(modality) or private_code(f"{modality} study"))


def _equipment(hd: Any, result: Result, made: datetime) -> "Dataset":
    """The bundle as what contributed (PS3.3 C.12.1.1.5), with the Device UID that AIR wants."""
    from pydicom.sr.codedict import codes

    versions = [result.model.version or "", f"bundle {result.model.bundle_sha256[:12]}"]
    equipment: Dataset = hd.ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=result.model.name[:_LONGEST],
        software_versions=[version for version in versions if version],
        contribution_datetime=made,
        contribution_description="RESEARCH: not a medical device",
    )
    equipment.DeviceUID = result.model.device_uid
    return equipment


def _in_zone_of(header: "Dataset", made: datetime) -> datetime:
    """A moment at the offset that all times of a header are at, and so those of what takes its study over; else UTC."""
    try:
        return made.astimezone(datetime.strptime(str(header.get("TimezoneOffsetFromUTC")), "%z").tzinfo)
    except ValueError:
        return made.astimezone(UTC)


def _date(report: "Dataset", made: datetime) -> None:
    """When the result was made, in place of now."""
    date, time = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    report.ContentDate = report.InstanceCreationDate = date
    report.ContentTime = report.InstanceCreationTime = time
    for item in report.ContributingEquipmentSequence:
        if item.ManufacturerModelName == "highdicom":
            item.ContributionDateTime = made.strftime("%Y%m%d%H%M%S%z")


def _code(code: LabelCode) -> "Code":
    from pydicom.sr.coding import Code

    return Code(code.value, code.scheme, code.meaning)


def _uid(result: Result, kind: str) -> str:
    """A UID that is derived from a UUID (PS3.5 B.2)."""
    return f"2.25.{object_uuid(result, kind).int}"
