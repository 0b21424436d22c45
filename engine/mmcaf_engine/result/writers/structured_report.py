"""A result as a DICOM structured report: Comprehensive 3D SR, root TID 1500, as IHE AI Results (AIR) wants it.

Each statement is a measurement group (PS3.16 TID 1501) with its tracking identifier: the finding, a qualitative
evaluation, the probabilities as measurements, and the algorithm (TID 4019). It is PRELIMINARY and UNVERIFIED, says
RESEARCH, and names the bundle as contributing equipment with a Device UID. The images that the answer rests on are its
evidence. The same result gives the same bytes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..codes import private_code
from ..decisions.statements import Statement, answered, in_words, statements
from ..parts import LabelCode
from ..result import Result
from .objects import Objects, as_name, highdicom

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code

KIND = "structured report"
SERIES_NUMBER = 9001
_PROCEDURES = {
    "CT": LabelCode("LN", "25045-6", "CT unspecified body region"),
    "MR": LabelCode("LN", "25056-3", "MRI unspecified body region"),
}
"""Modality -> what was done, where the header does not say (PS3.16 CID 100)."""
_ANY_PROCEDURE = LabelCode("SCT", "363679005", "Imaging procedure")
"""Of the others: radiographs have a code in CID 100 that validators of 2022 do not know."""


def structured_report(objects: Objects, previous: "Dataset | None" = None) -> bytes:
    """The report, ready to be saved.

    Args:
        previous: the report that it takes the place of, as `predecessor` reads it.

    Raises:
        BackendError: highdicom is not installed.
    """
    report: Dataset = highdicom().sr.Comprehensive3DSR(
        evidence=objects.evidence,
        content=_content(objects)[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=None if previous is None else [previous],
        **objects.arguments(KIND, SERIES_NUMBER),
    )
    return objects.finished(report, KIND)


def _content(objects: Objects) -> Any:
    """The content tree (TID 1500)."""
    from pydicom.sr.codedict import codes

    hd, result, evidence = highdicom(), objects.result, objects.evidence
    model = result.model
    algorithm = {
        "name": as_name(model.name),
        "version": objects.version,
        "parameters": [
            f"bundle={model.bundle_sha256}",
            f"precision={result.engine.precision}",
            f"backend={result.engine.backend} {result.engine.runtime_version or ''}".strip(),
            *([] if result.ensemble is None else [f"ensemble={result.ensemble.members} members"]),
            *([] if result.record is None or not result.record.sha256 else [f"record={result.record.sha256}"]),
        ],
        "family": codes.DCM.ArtificialIntelligence,
    }
    images = [
        hd.sr.SourceImageForMeasurementGroup(
            image.SOPClassUID, image.SOPInstanceUID, _frames(result, image.SOPInstanceUID, image.get("NumberOfFrames"))
        )
        for image in evidence
    ]
    observer = hd.sr.ObservationContext(observer_device_context=objects.observer())
    findings = answered(result)
    groups = [
        _group(objects, at, stated, images, hd.sr.AlgorithmIdentification(**algorithm), findings)
        for at, stated in enumerate(statements(result))
    ]
    return hd.sr.MeasurementReport(
        observation_context=observer,
        procedure_reported=_procedure(result, evidence[0]),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _frames(result: Result, image: str, of: int | None) -> list[int] | None:
    """Of an image of several frames, those that were scored; None where these are all, and of one of one."""
    frames = {one.frame for one in result.evidence or () if one.sop_instance_uid == image and one.frame is not None}
    return None if not frames or len(frames) == of else sorted(frames)


def _group(
    objects: Objects, at: int, stated: Statement, images: list[Any], algorithm: Any, findings: Sequence[LabelCode]
) -> Any:
    """One statement (TID 1501)."""
    from pydicom.sr.codedict import codes

    hd, result = highdicom(), objects.result
    finding = stated.value if stated.value in findings else stated.about
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=objects.uid(f"{KIND} group {at}"), identifier=as_name(f"{result.model.name} {stated.name}")
        ),
        algorithm_id=algorithm,
        finding_type=_code(finding),
        measurements=[
            hd.sr.Measurement(
                name=_code(private_code(name)), value=value, unit=codes.UCUM.NoUnits, derivation=derivation
            )
            for derivation, values in (
                (None, stated.numbers),
                (codes.SCT.StandardDeviation, stated.spreads),
            )
            for name, value in values.items()
        ],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(name=_code(name), value=_code(value))
            for name, value in (
                (stated.about, stated.value),
                *((private_code(name), private_code(level)) for name, level in stated.levels.items()),
            )
        ],
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
    return _code(_PROCEDURES.get(result.study.modality, _ANY_PROCEDURE))


def _code(code: LabelCode) -> "Code":
    from pydicom.sr.coding import Code

    return Code(code.value, code.scheme, code.meaning)
