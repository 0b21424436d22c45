"""From a path to the one image that a network reads, in two steps: the headers, then the pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..cancel import Progress, check
from ..errors import StudyError
from ..manifest import BodyPartRule
from ..manifest.image import ImageSpec
from ..study.copies import identity
from ..study.dicom.source_header import read_source_header
from ..study.faults import printable
from ..study.files import Found, open_path
from ..study.given import StudyFiles, open_files, study_name
from ..study.nifti import is_nifti
from ..study.notes import Notes
from ..study.scan import parse_sources, passed_over
from ..study.selection.body_part import check_body_part
from ..study.selection.inputs import Series, choices
from ..study.selection.listing import SeriesEntry, SeriesList
from ..timing import span
from ..volume import PatientHeader, SourceImage, StudyFacts
from .candidate import Candidate, Plane
from .choosing import Choice, choose_image, reasons, unfit
from .picture import read_picture
from .radiograph import read_radiograph
from .range import check_range


@dataclass(frozen=True)
class OpenImage:
    """The chosen image, whose header is in order; its pixels still lie in the file."""

    choice: Choice
    notes: Notes

    @property
    def source(self) -> str:
        """What it is told by: its SOPInstanceUID, or its file's name."""
        return self.choice.image.source

    @property
    def patient(self) -> PatientHeader:
        """What its header says of the patient."""
        return self.choice.image.patient

    def read(self, progress: Progress | None = None) -> tuple[Plane, StudyFacts]:
        """Decode its pixels.

        Args:
            progress: called with ("decode", 1, 1) when it is done.

        Returns:
            Grey values, float32 [H, W] from 0 (black) to 255 (white), and what there is to say of the image.

        Raises:
            StudyError: pixels that cannot be decoded, colour, or all of one grey value.
        """
        image = self.choice.image
        with span("decode"):
            grey = image.decode()
            of_range = check_range(grey.seen, image.name)
        if progress is not None:
            progress("decode", 1, 1)
        of_pixels = [*(f"{image.name}: {text}." for text in grey.warnings), *of_range]
        facts = StudyFacts(
            modality=image.modality,
            uids=image.uids,
            patient=image.patient,
            slices=1,
            spacing_mm=(0.0, *(image.spacing_mm or (0.0, 0.0))),
            images=() if image.is_picture else (SourceImage(image.sop_class, image.uids.get("image", "")),),
            header=None if image.instance is None else read_source_header(image.instance),
            warnings=(*self.notes.warnings, *self.choice.remarks, *of_pixels),
            remarks=self.notes.remarks,
            body_part=image.examined.told,
        )
        return grey.plane, facts


@contextmanager
def open_image(
    study: StudyFiles,
    spec: ImageSpec,
    *,
    input: str = "image",
    series: Series | None = None,
    body_part: BodyPartRule | None = None,
    progress: Progress | None = None,
) -> Iterator[OpenImage]:
    """Read the headers at a path and choose the one image that fits; read its pixels within the block.

    Args:
        study: path of a DICOM, PNG or JPEG file, of a directory that is searched with its folders, of a zip that is
            read in memory, or of a DICOMDIR; or a list of pydicom data sets.
        spec: the manifest's; which modality and view the network reads.
        input: the network's input, as `series` may name it.
        series: number in the list of `list_images`, SOPInstanceUID, SeriesInstanceUID or file name of the image.
        body_part: the manifest's rule.
        progress: called with ("read", files done, files).

    Raises:
        StudyError: nothing to read there, damaged DICOM files, no image that fits, or several, or one of a part of the
            body that the rule refuses.
        UsageError: `series` names no input.
    """
    wanted = choices(series, [input]).get(input)
    name = study_name(study)
    with open_files(study) as found:
        with span("read"):
            path = Path(study) if isinstance(study, str | Path) else Path()
            images, notes = _images(found, path, name, progress)
            choice = choose_image(images, spec, name, wanted)
            said = () if choice.image.is_picture else (choice.image.examined,)
            notes += check_body_part(body_part, said, name)
        yield OpenImage(choice, notes)


def list_images(
    path: str | Path, spec: ImageSpec, *, body_part: BodyPartRule | None = None, progress: Progress | None = None
) -> SeriesList:
    """The images at a path, as `open_image` numbers them, with the one that would be read and why not the others.

    The pixels of that one are looked at, as an answer would.

    Raises:
        StudyError: nothing to read there, or damaged DICOM files.
    """
    path = Path(path)
    name = printable(str(path), 512)
    with open_path(path) as found:
        images, notes = _images(found, path, name, progress)
        chosen, problem, refused, why = None, None, None, ""
        try:
            choice = choose_image(images, spec, name)
            chosen, why = choice.image.number, choice.why
            said = () if choice.image.is_picture else (choice.image.examined,)
            examined = notes + check_body_part(body_part, said, name)
            facts = OpenImage(choice, examined).read()[1]
            notes = Notes(facts.warnings, facts.remarks)
        except StudyError as failure:
            problem = failure.problem
            refused = None if chosen is None else problem
    shown = [image for image in images if image.is_picture or image.modality in spec.modality]
    left_out = reasons([image for image in images if image not in shown], spec)
    entries = tuple(
        replace(_entry(image, spec, image.number == chosen, why), refused=refused if image.number == chosen else None)
        for image in shown
    )
    return SeriesList(entries, dict(sorted(left_out.items())), problem, notes.warnings, notes.remarks)


def _images(found: Found, path: Path, name: str, progress: Progress | None) -> tuple[list[Candidate], Notes]:
    """Every image, numbered by series and then by file, and what there is to say of files that were passed over."""
    volumes = [source.name for source in found.sources if is_nifti(source)]
    parsed = parse_sources(found, path, name, progress)
    images = [
        replace(read_radiograph(instance), fault=contradiction)
        if (contradiction := parsed.contradictions.get(identity(instance)))
        else read_radiograph(instance)
        for instance in parsed.instances
    ]
    others = []
    for source in parsed.foreign:
        check()
        picture = read_picture(source)
        others += [] if picture else [source]
        images += [picture] if picture else []
    if not images:
        what = f"the {len(found.sources)} files of this {found.kind}" if found.kind != "file" else "it"
        kind = "NIfTI files, which hold volumes, are" if volumes else "no DICOM, PNG or JPEG file is"
        raise StudyError(
            f"{name}: {kind} in {what}; a radiograph was expected.",
            "Give a DICOM, PNG or JPEG file, or a directory or zip of such files.",
        )
    images.sort(key=_order)
    numbered = [replace(image, number=number) for number, image in enumerate(images, start=1)]
    return numbered, passed_over(found, name, parsed.instances, others) + parsed.notes


def _order(image: Candidate) -> tuple[object, ...]:
    number = image.series_number
    return (image.is_picture, number is None, number or 0, image.uids.get("series", ""), image.name, image.source)


def _entry(image: Candidate, spec: ImageSpec, chosen: bool, why: str) -> SeriesEntry:
    found = unfit(image, spec)
    reason = why if chosen else found.reason if found else "fits as well" if image.fault is None else ""
    if image.fault is not None:
        reason = f"unreadable: {image.fault.problem}"
    rows, columns = image.matrix or (None, None)
    between = image.spacing_mm or (None, None)
    return SeriesEntry(
        number=image.number,
        study_uid=image.uids.get("study", ""),
        series_uid=image.uids.get("series", ""),
        series_number=image.series_number,
        modality=image.modality,
        description=image.description,
        kernel="",
        plane=f"{image.view.view or 'unknown'} view",
        slices=1,
        rows=rows,
        columns=columns,
        spacing_mm=(None, *between),
        original=not image.derived,
        chosen=chosen,
        reason=reason,
        input=None,
        source=image.source,
        instance_uid=image.uids.get("image", ""),
    )
