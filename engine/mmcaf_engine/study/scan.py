"""The headers of every DICOM and NIfTI file at a path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..cancel import Progress, check
from ..errors import StudyError
from .copies import Identity, without_copies
from .dicom.instance import Instance, read_instance
from .dicom.media import SUFFIXES, is_directory_file, listed_images
from .dicom.tags import Known
from .files import Found, Source
from .nifti import NiftiImage, is_nifti, is_of_pair, read_nifti
from .notes import Notes

_PAIR = "the two files (.hdr, .img) of a NIfTI or Analyze volume"


_PACKED = {
    *(".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz"),
    *(".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp"),
}
"""What files are named by that hold others, or are not whole yet."""


@dataclass(frozen=True)
class Headers:
    """What lies at a path.

    instances: of DICOM files. images: NIfTI files by name, or why one cannot be read.
    contradictions: why images of one SOPInstanceUID cannot be read, whose files differ. notes: on what was passed over.
    """

    instances: list[Instance]
    images: dict[str, NiftiImage | StudyError]
    notes: Notes
    contradictions: Mapping[Identity, StudyError] = field(default_factory=dict)


@dataclass(frozen=True)
class Parsed:
    """The DICOM files at a path, without copies, and the files that are none. notes: on copies; see `copies.Unique`."""

    instances: list[Instance]
    foreign: list[Source]
    contradictions: Mapping[Identity, StudyError]
    notes: Notes


def read_headers(found: Found, path: Path, name: str, progress: Progress | None) -> Headers:
    """Read every header.

    Args:
        found: what lies at `path`.
        name: the path, as messages call it.
        progress: called with ("read", files done, files).

    Raises:
        StudyError: no such file, a damaged DICOM file, or a DICOMDIR that lists what is not there.
    """
    sources = found.sources
    images = {source.name: _image(source) for source in sources if is_nifti(source)}
    sources = tuple(source for source in sources if not is_nifti(source))
    parsed = parse_sources(replace(found, sources=sources), path, name, progress)
    pairs = [source.name for source in parsed.foreign if is_of_pair(source)]
    if not parsed.instances and not images:
        raise _pair(name, pairs[0]) if pairs else _nothing(found, name, len(sources))
    notes = passed_over(found, name, parsed.instances, parsed.foreign) + parsed.notes
    if pairs:
        notes += Notes((f"{name}: {len(pairs)} files named like {_PAIR} were skipped, first {pairs[0]}.",))
    return Headers(parsed.instances, images, notes, parsed.contradictions)


def parse_sources(found: Found, path: Path, name: str, progress: Progress | None) -> Parsed:
    """The DICOM files that lie at `path`, or that a DICOMDIR there lists.

    Raises:
        StudyError: a damaged DICOM file, or a DICOMDIR that lists what is not there.
    """
    instances, foreign = _parse(found.sources, progress)
    if found.kind == "file" and instances and is_directory_file(instances[0]):
        instances, foreign = _parse(listed_images(instances[0], path), progress)
    images = without_copies([instance for instance in instances if not is_directory_file(instance)], name)
    return Parsed(images.instances, foreign, images.contradictions, images.notes)


def passed_over(found: Found, name: str, instances: Sequence[Instance], foreign: Sequence[Source]) -> Notes:
    """What there is to say of files that are no proper DICOM, and on links that were not followed."""
    warnings = []
    legacy = [instance for instance in instances if instance.legacy]
    if legacy:
        warnings.append(
            f"{name}: {len(legacy)} files lack the preamble and file meta of PS3.10, first {legacy[0].name}; read as "
            f"{legacy[0].syntax.name}."
        )
    # A file named as they are that is not DICOM: its transfer may have failed.
    usual = set(SUFFIXES) | {_suffix(instance.name) for instance in instances}
    posing = [source.name for source in foreign if _suffix(source.name) in usual]
    packed = [source.name for source in foreign if _suffix(source.name) in _PACKED and source.name not in posing]
    if packed:
        warnings.append(
            f"{name}: {len(packed)} packed or unfinished files were skipped, first {packed[0]}; what they hold was not "
            "read."
        )
    if posing:
        warnings.append(f"{name}: {len(posing)} files named like DICOM are not and were skipped, first {posing[0]}.")
    if found.skipped_links:
        warnings.append(f"{name}: {found.skipped_links} symbolic links lead out of the directory and were skipped.")
    return Notes(tuple(warnings))


def _image(source: Source) -> NiftiImage | StudyError:
    try:
        return read_nifti(source)
    except StudyError as failure:
        return failure


def _suffix(name: str) -> str:
    """A name's suffix; the last number of a UID is none."""
    suffix = Path(name).suffix.lower()
    return "" if suffix[1:].isdigit() else suffix


def _parse(sources: Sequence[Source], progress: Progress | None) -> tuple[list[Instance], list[Source]]:
    instances, foreign = [], []
    known: Known = {}
    for done, source in enumerate(sources, start=1):
        check()
        instance = read_instance(source, known)
        if instance is None:
            foreign.append(source)
        else:
            instances.append(instance)
        if progress is not None:
            progress("read", done, len(sources))
    return instances, foreign


def _pair(name: str, first: str) -> StudyError:
    return StudyError(
        f"{name}: {first} is named like {_PAIR}, which are not read; a volume in one file (.nii or .nii.gz) was "
        "expected.",
        "Convert the pair to one file, for example with fslchfiletype NIFTI_GZ, or give its DICOM files.",
    )


def _nothing(found: Found, name: str, files: int) -> StudyError:
    remedy = "Give a DICOM or NIfTI file, a directory or zip of such files, or a DICOMDIR."
    if found.kind == "file":
        size = found.sources[0].size
        return StudyError(
            f'{name}: not a DICOM file: "DICM" was expected after its first 128 bytes (PS3.10 section 7.1); '
            f"it has {size} bytes.",
            remedy,
        )
    links = f" and {found.skipped_links} symbolic links, which are not followed" if found.skipped_links else ""
    return StudyError(f"{name}: no DICOM image among the {files} files of this {found.kind}{links}.", remedy)
