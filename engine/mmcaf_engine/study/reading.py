"""Reading a study in two steps: all that its headers tell, then the pixels of one series."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ..cancel import Progress
from ..timing import span
from ..volume import Intensity, PatientHeader, Placement, SourceImage, Study, StudyFacts, Volume
from ..workers import each_slice
from .dicom.concatenation import unknown_last_parts
from .dicom.header import read_patient
from .dicom.pixels import PixelPlan, Receive, decode_slices, plan_slices, stream_slices
from .dicom.repair import differing_copies, repair
from .dicom.source_header import read_source_header
from .geometry.arrangement import Geometry, arrange_slices
from .geometry.policies import Duplicates, Gaps, Oblique, Policies, Tilt
from .given import StudyFiles, open_files, study_name
from .nifti import OpenNifti
from .notes import NONE, Notes
from .scan import read_headers
from .selection.forms import marked
from .selection.grouping import check_one_volume
from .selection.mixture import refuse_mixture
from .selection.ranking import choose
from .selection.series import Candidate, Catalogue, catalogue
from .told import compare_told

UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "frame_of_reference": "FrameOfReferenceUID"}


def study_of(volume: Volume, facts: StudyFacts) -> Study:
    """The volume with what there is to say of it, but for what it says itself."""
    said = {part.name: getattr(facts, part.name) for part in fields(Study) if part.name != "volume"}
    return Study(volume, **said)


@dataclass(frozen=True)
class OpenSeries:
    """One series whose headers are in order; its pixels still lie in the files.

    patient: what its header says of the patient.
    copies: the slices that a policy leaves out, to be compared with those kept.
    notes: what its headers gave rise to.
    """

    name: str
    chosen: Candidate
    geometry: Geometry
    plan: PixelPlan
    copies: PixelPlan | None
    patient: PatientHeader
    notes: Notes

    @property
    def placement(self) -> Placement:
        """Where the volume to come lies in the patient."""
        geometry, tags = self.geometry, self.chosen.frames[0].instance.tags
        frame = tags.text(UIDS["frame_of_reference"])
        return Placement(self.shape, geometry.spacing_mm, geometry.origin_mm, geometry.direction, frame)

    @property
    def intensity(self) -> Intensity:
        """What its values will be."""
        return self.plan.intensity

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the volume to come."""
        count, rows, columns = self.plan.shape
        return (self.geometry.slots[-1] + 1 if self.geometry.slots else count), rows, columns

    def read(self, progress: Progress | None = None) -> Study:
        """Decode the pixels into one volume.

        Args:
            progress: called with ("decode", slices done, slices).

        Raises:
            StudyError: pixels that cannot be decoded, or would give a wrong volume.
        """
        volume, facts = self._volume(progress)
        return study_of(volume, facts)

    def stream(self, receive: Receive, progress: Progress | None = None) -> StudyFacts:
        """Decode the pixels and hand over each slice of the volume, in any order and once.

        The volume is held as a whole only where slices depend on each other: missing ones are
        interpolated, a tilt is undone, or copies are compared.

        Args:
            progress: called with ("decode", slices done, slices).

        Raises:
            StudyError: pixels that cannot be decoded, or would give a wrong volume; and what `receive` raises.
        """
        if self.geometry.slots or self.geometry.shifts or self.copies:
            volume, facts = self._volume(progress)
            each_slice(volume.values, receive)
            return facts
        warnings = stream_slices(self.plan, receive, progress)
        return self._facts(warnings)

    def _volume(self, progress: Progress | None) -> tuple[Volume, StudyFacts]:
        geometry, intensity = self.geometry, self.plan.intensity
        values, warnings = decode_slices(self.plan, progress)
        if self.copies is not None:
            copies, _ = decode_slices(self.copies)
            if differing := differing_copies(values, copies, geometry):
                warnings += (
                    f"{self.name}: {differing} of the {len(copies)} repeated slices differ in their pixels from those "
                    "kept.",
                )
        with span("geometry"):
            values = repair(values, self.chosen.frames, geometry, intensity, self.name)
        volume = Volume(values, intensity, geometry.spacing_mm, geometry.origin_mm, geometry.direction)
        return volume, self._facts(warnings)

    def _facts(self, warnings: tuple[str, ...]) -> StudyFacts:
        tags = self.chosen.frames[0].instance.tags
        uids = {key: tags.label(keyword) for key, keyword in UIDS.items()}
        notes = self.notes + self.geometry.notes + Notes(warnings)
        return StudyFacts(
            modality=self.chosen.modality,
            uids={key: uid for key, uid in uids.items() if uid},
            patient=self.patient,
            slices=self.shape[0],
            spacing_mm=self.geometry.spacing_mm,
            warnings=notes.warnings,
            remarks=notes.remarks,
            images=self.images,
            header=read_source_header(self.chosen.frames[self.geometry.order[0]].instance),
            body_part=self.chosen.body_part,
        )

    @property
    def images(self) -> tuple[SourceImage | None, ...]:
        """What each slice of the volume was made from; None for an interpolated one."""
        geometry, frames = self.geometry, self.chosen.frames
        images: list[SourceImage | None] = [None] * self.shape[0]
        for slot, index in zip(geometry.slots or range(len(geometry.order)), geometry.order, strict=True):
            images[slot] = frames[index].source_image
        return tuple(images)


@dataclass(frozen=True)
class Headers:
    """A study whose headers are read: the candidates for a volume, any of which can be opened.

    name: the path, as messages call it. notes: on what was passed over.
    """

    name: str
    catalogue: Catalogue
    notes: Notes

    def open(
        self, chosen: Candidate, *, intensity: Intensity, policies: Policies, notes: Notes = NONE
    ) -> OpenSeries | OpenNifti:
        """Check all that the headers of one candidate tell.

        Args:
            notes: what its choice gave rise to.

        Raises:
            StudyError: an image of it is unreadable, or its geometry or pixels would give a wrong volume.
        """
        if chosen.fault is not None:
            raise chosen.fault
        if chosen.image is not None:
            return OpenNifti(chosen.image, intensity, notes + chosen.image.check_axial(policies))
        refuse_mixture(chosen.frames, self.name)
        geometry = arrange_slices(chosen.frames, self.name, policies, modality=chosen.modality)
        told = check_one_volume([chosen.frames[index] for index in geometry.order], self.name)
        told += Notes(remarks=unknown_last_parts({id(each.instance): each.instance for each in chosen.frames}.values()))

        told += compare_told(chosen.frames, geometry, chosen.modality, self.name)

        def planned(part: Geometry) -> PixelPlan:
            return plan_slices(chosen.frames, part, self.name, intensity=intensity, modality=chosen.modality)

        plan = planned(geometry)
        copies = tuple(copy for copy, _ in geometry.copies)
        return OpenSeries(
            self.name,
            chosen,
            geometry,
            plan,
            planned(replace(geometry, order=copies)) if copies else None,
            read_patient(chosen.frames[0].instance),
            notes + told,
        )

    def in_one_form(self, intensity: Intensity, policies: Policies) -> "Headers":
        """The same, with series marked that came in a second form; see `forms.marked`."""

        def opened(entry: Candidate) -> OpenSeries | OpenNifti:
            return self.open(entry, intensity=intensity, policies=policies)

        found = marked(self.catalogue, opened)
        new = found.notes.remarks[len(self.catalogue.notes.remarks) :]
        return replace(self, catalogue=found, notes=self.notes + Notes(remarks=new))


@contextmanager
def open_headers(study: StudyFiles, progress: Progress | None = None) -> Iterator[Headers]:
    """Read every header of a study; pixels may be read within the block.

    Raises:
        StudyError: nothing to read there, or damaged files.
    """
    name = study_name(study)
    with ExitStack() as opened:
        with span("read"):
            found = opened.enter_context(open_files(study))
            path = Path(study) if isinstance(study, str | Path) else Path()
            headers = read_headers(found, path, name, progress)
        with span("geometry"):
            candidates = catalogue(headers)
        yield Headers(name, candidates, headers.notes + candidates.notes)


@contextmanager
def open_study(
    path: StudyFiles,
    *,
    intensity: Intensity = "hounsfield",
    modality: str | None = None,
    series: str | None = None,
    gaps: Gaps = "refuse",
    tilt: Tilt = "refuse",
    duplicates: Duplicates = "refuse",
    oblique: Oblique = "refuse",
    progress: Progress | None = None,
) -> Iterator[OpenSeries | OpenNifti]:
    """Read a study's headers, choose one series and check all that headers tell; read its pixels within the block.

    The volume's slices run toward the patient's head, rows toward the back and columns toward the
    left, whatever the order and orientation that the images came in. Nothing is interpolated or
    resampled unless a policy below accepts it, and then a warning says so.

    Args:
        path: a DICOM file of one or more frames, a directory that is searched with its folders, a zip
            that is read in memory, or a DICOMDIR; or NIfTI files in any of these but the last. Names of DICOM
            files do not matter.
            Or a list of pydicom data sets.
        intensity: "hounsfield" applies the rescale of each slice, which must be there; "rescaled" applies it where it
            is; "stored" gives the raw pixel values.
        modality: the network's, such as "CT"; other series are left out, and a study without is refused.
        series: SeriesInstanceUID, or the number in the list of `list_series`, instead of the best by
            the rule of `ranking.rank`.
        gaps: "interpolate" fills missing slices, at most 3 in a row and 10 % of all.
        tilt: "resample" undoes the shear of a tilted gantry, at most 30 degrees.
        duplicates: "first" keeps, of slices at one position, the first by InstanceNumber.
        oblique: "accept" takes slices of MR that lean by 5 to 20 degrees as they lie.
        progress: called with ("read", files done, files).

    Raises:
        StudyError: nothing to read there, no series that fits or several equally good ones, damaged
            files, or geometry or pixels that would give a wrong volume. No message holds the patient's
            name or number.
        UsageError: a policy of another name.
    """
    policies = Policies(gaps, tilt, duplicates, oblique)
    with open_headers(path, progress) as found:
        headers = found if series is not None else found.in_one_form(intensity, policies)
        chosen, left_out = choose(headers.catalogue, headers.name, modality=modality, series=series)
        yield headers.open(chosen, intensity=intensity, policies=policies, notes=headers.notes + Notes(left_out))


def read_study(
    path: StudyFiles,
    *,
    intensity: Intensity = "hounsfield",
    modality: str | None = None,
    series: str | None = None,
    gaps: Gaps = "refuse",
    tilt: Tilt = "refuse",
    duplicates: Duplicates = "refuse",
    oblique: Oblique = "refuse",
    progress: Progress | None = None,
) -> Study:
    """Read one series of a study: headers first, then the pixels of the chosen series only.

    Arguments and errors are those of `open_study`; `progress` also counts decoded slices.
    """
    with open_study(
        path,
        intensity=intensity,
        modality=modality,
        series=series,
        gaps=gaps,
        tilt=tilt,
        duplicates=duplicates,
        oblique=oblique,
        progress=progress,
    ) as opened:
        return opened.read(progress)
