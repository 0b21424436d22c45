"""What every DICOM object of one result shares: patient, study and evidence, identifiers, dates, and what made it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

from ...errors import BackendError, Remedy, StudyError, printable
from ...machine.installation import install_command
from ...volume import SourceImage
from ..result import Result
from ..sources import SourceImages
from .identity import object_uuid, result_digest
from .kinds import Kind, check_sources

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER = "mmcaf-infer"
LONGEST = 64
"""Characters of LO, the value representation of a name."""
_BEHIND_UID = 0x00080019
"""The first tag behind SOPInstanceUID's."""
_MAY_LACK = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"),
    *("StudyID", "ReferringPhysicianName"),
)
"""Elements of type 2 (PS3.5 7.4.3): an object holds them, empty where nothing is known."""


def highdicom() -> Any:
    """The package that makes the objects; ask for it before long work begins.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import highdicom as found
        import highdicom.ko
        import highdicom.pm
        import highdicom.pr
        import highdicom.sc
        import highdicom.seg
        import highdicom.sr
    except ImportError:
        raise BackendError(
            "Writing results as DICOM needs highdicom, which is not installed.",
            Remedy("Install it", command=install_command("dicom")),
        ) from None
    return found


@dataclass(frozen=True)
class Objects:
    """The objects of one result.

    sources: what each input was read from.
    images: by input, a data set for each image that the answer rests on, with the patient, study and series of its
        header, by its SOPInstanceUID.
    made: when the result was made, at the offset from UTC that all times of the header are at, else in UTC.
    """

    result: Result
    sources: Mapping[str, SourceImages]
    images: "Mapping[str, Mapping[str, Dataset]]"
    made: datetime

    @classmethod
    def of(cls, result: Result, sources: Mapping[str, SourceImages], kinds: Sequence[Kind]) -> Self:
        """What there is to know of them.

        Args:
            sources: what each input was read from. kinds: what is to be made.

        Raises:
            StudyError: as `check_sources`, or the result is deidentified.
        """
        if result.created is None:
            raise StudyError(
                "A DICOM object names the patient and says when it was made, which a deidentified result does not.",
                Remedy("Leave it out", option="deidentify"),
            )
        check_sources(kinds, sources)
        scored = {image.sop_instance_uid for image in result.evidence or () if result.scored is not None}
        images = {name: _images_of(source, scored) for name, source in sources.items()}
        first = next(iter(next(iter(images.values())).values()))
        return cls(result, sources, images, _in_zone_of(first, result.created))

    @property
    def evidence(self) -> "tuple[Dataset, ...]":
        """All images, input by input, each once."""
        return tuple(image for of_input in self.images.values() for image in of_input.values())

    @property
    def version(self) -> str:
        """Of the model, or what tells its bundle."""
        model = self.result.model
        return as_name(model.version or "") or f"bundle {model.bundle_sha256[:12]}"

    @property
    def serial(self) -> str:
        """What stands for the serial number of what made it: the bundle's."""
        return self.result.model.bundle_sha256[:12]

    @property
    def date(self) -> str:
        """Of the result, as DICOM writes it."""
        return self.made.strftime("%Y%m%d")

    @property
    def time(self) -> str:
        """Of the result, as DICOM writes it."""
        return self.made.strftime("%H%M%S")

    def image(self, image: SourceImage) -> "Dataset":
        """The data set of one image."""
        found = {uid: one for of_input in self.images.values() for uid, one in of_input.items()}
        return found[image.sop_instance_uid]

    def observer(self) -> Any:
        """The bundle as the device that says it (TID 1002, 1004)."""
        from pydicom.sr.codedict import codes

        sr, model = highdicom().sr, self.result.model
        return sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=model.device_uid,
                name=MANUFACTURER,
                manufacturer_name=MANUFACTURER,
                model_name=as_name(model.name),
            ),
        )

    def uid(self, kind: str) -> str:
        """A UID that is derived from a UUID (PS3.5 B.2): another result or another kind, another UID."""
        return f"2.25.{object_uuid(self._digest, kind).int}"

    def arguments(self, kind: str, series_number: int) -> dict[str, Any]:
        """Of highdicom's classes: identifiers, and what made the object."""
        result = self.result
        return {
            "series_instance_uid": self.uid(f"{kind} series"),
            "series_number": series_number,
            "sop_instance_uid": self.uid(kind),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MANUFACTURER,
            "software_versions": "unknown" if result.software is None else result.software.version,
            "contributing_equipment": [self._equipment()],
        }

    @cached_property
    def _digest(self) -> str:
        return result_digest(self.result)

    def finished(self, made: "Dataset", kind: str) -> bytes:
        """The object's file, with the result's date in place of now, and a UID of all in it: other bytes, another."""
        made.SeriesDescription = as_name(f"RESEARCH {self.result.model.name}")
        made.ContentDate = made.InstanceCreationDate = self.date
        made.ContentTime = made.InstanceCreationTime = self.time
        for item in made.ContributingEquipmentSequence:
            if item.ManufacturerModelName == "highdicom":
                item.ContributionDateTime = self.made.strftime("%Y%m%d%H%M%S%z")
        if zone := self.evidence[0].get("TimezoneOffsetFromUTC"):
            made.TimezoneOffsetFromUTC = zone
        file, before = _encoded(made), _up_to_its_uid(made)
        made.SOPInstanceUID = self.uid(f"{kind} {sha256(file).hexdigest()}")
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        return _up_to_its_uid(made) + file.removeprefix(before)

    def _equipment(self) -> "Dataset":
        """The bundle as what contributed (PS3.3 C.12.1.1.5), with the Device UID that AIR wants."""
        from pydicom.sr.codedict import codes

        model = self.result.model
        versions = [model.version or "", f"bundle {model.bundle_sha256[:12]}"]
        equipment: Dataset = highdicom().ContributingEquipment(
            manufacturer=MANUFACTURER,
            purpose_of_reference=codes.DCM.ProcessingEquipment,
            manufacturer_model_name=as_name(model.name),
            software_versions=[as_name(version) for version in versions if version],
            contribution_datetime=self.made,
            contribution_description="RESEARCH: not a medical device",
        )
        equipment.DeviceUID = model.device_uid
        return equipment


def as_name(text: str, longest: int = LONGEST) -> str:
    r"""A text as LO can hold it: on one line, not too long, and without the backslash, which separates values."""
    return printable(text.replace("\\", "/"), longest)


def _encoded(made: "Dataset") -> bytes:
    """An object as its file."""
    stream = BytesIO()
    made.save_as(stream)
    return stream.getvalue()


def _up_to_its_uid(made: "Dataset") -> bytes:
    """The file's beginning, with the SOP instance UID: all that changes with it."""
    head: Any = made[:_BEHIND_UID]
    head.file_meta, head.preamble = made.file_meta, made.preamble
    return _encoded(head)


def _images_of(source: SourceImages, scored: Collection[str]) -> "dict[str, Dataset]":
    """A data set for each image, with the patient, study and series of the header; of several frames one.

    They share the header's elements, which are to be read, not changed.

    Args:
        scored: the images that were scored, by their UIDs, where these are not all of them; else empty.
    """
    from pydicom import Dataset

    found: dict[str, Dataset] = {}
    if source.header is None:
        return found
    shared = source.header.dataset()
    for keyword in _MAY_LACK:
        if keyword not in shared:
            setattr(shared, keyword, None)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        shared.pop(keyword, None)
    for _ in shared.iterall():
        pass  # decodes each element once, by the header's character set
    for image in source.images:
        if image is None or (scored and image.sop_instance_uid not in scored):
            continue
        if image.sop_instance_uid not in found:
            one = found[image.sop_instance_uid] = Dataset()
            one.update(shared)
            one.SOPClassUID, one.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    return found


def _in_zone_of(header: "Dataset", made: datetime) -> datetime:
    """A moment at the offset that all times of a header are at, and so those of what takes its study over; else UTC."""
    try:
        return made.astimezone(datetime.strptime(str(header.get("TimezoneOffsetFromUTC")), "%z").tzinfo)
    except ValueError:
        return made.astimezone(UTC)
