"""The study: from a path to one series as a volume in Hounsfield units, with its geometry checked."""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from ..errors import StudyError
from ..volume import Intensity, Study, Volume
from .faults import printable
from .files import Found, Source, open_path
from .frames import Frame
from .geometry import arrange_slices
from .header import read_patient
from .instance import Instance, read_instance
from .media import is_directory_file, listed_images
from .pixels import decode_slices
from .series import catalogue, choose
from .tags import describe

__all__ = ["read_study"]

# pydicom tells of odd header values by quoting them, patients' names and numbers among them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom(\.|$)")
logging.getLogger("pydicom").setLevel(logging.ERROR)

DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
"""A file so named, or like the images beside it, that is not DICOM is worth a warning: its transfer may have failed."""
UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "frame_of_reference": "FrameOfReferenceUID"}

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total); the stages are "read" (files) and "decode" (slices)."""


def read_study(
    path: str | Path,
    *,
    intensity: Intensity = "hounsfield",
    modality: str | None = None,
    series: str | None = None,
    progress: Progress | None = None,
) -> Study:
    """Read one series of a study.

    Headers are read first, then the pixels of the chosen series only. The volume's slices run
    toward the patient's head, rows toward the back and columns toward the left, whatever the
    order and orientation that the images came in. Nothing is interpolated or resampled: what
    would need it is refused.

    Args:
        path: a DICOM file of one or more frames, a directory that is searched with its folders, a zip
            that is read in memory, or a DICOMDIR. Names do not matter.
        intensity: "hounsfield" applies the rescale of each slice; "stored" gives the raw pixel values.
        modality: the network's, such as "CT"; other series are left out, and a study without is refused.
        series: SeriesInstanceUID, or the number in the list that an ambiguous study is refused with.
        progress: called as the work goes on.

    Raises:
        StudyError: nothing to read there, no or several series that fit, damaged files, or geometry or
            pixels that would give a wrong volume. No message holds the patient's name or number.
    """
    path = Path(path)
    name = printable(str(path), 512)
    started = perf_counter()
    with open_path(path) as found:
        instances, remarks = _read_headers(found, path, name, progress)
        chosen, left_out = choose(catalogue(instances), name, modality=modality, series=series)
        _refuse_mixture(chosen.frames, name)
        geometry = arrange_slices(chosen.frames, name)
        parsed = perf_counter()
        values, decoded = decode_slices(
            chosen.frames, geometry, name, intensity=intensity, modality=chosen.modality, progress=progress
        )
    finished = perf_counter()
    first = chosen.frames[0].instance
    uids = {key: printable(first.tags.text(keyword)) for key, keyword in UIDS.items()}
    return Study(
        volume=Volume(values, intensity, geometry.spacing_mm, geometry.origin_mm, geometry.direction),
        modality=chosen.modality,
        uids={key: uid for key, uid in uids.items() if uid},
        patient=read_patient(first),
        warnings=(*remarks, *left_out, *geometry.warnings, *decoded),
        read_ms=(parsed - started) * 1e3,
        decode_ms=(finished - parsed) * 1e3,
    )


def _read_headers(
    found: Found, path: Path, name: str, progress: Progress | None
) -> tuple[list[Instance], tuple[str, ...]]:
    """Every DICOM file's header, and warnings on what was passed over."""
    sources: Sequence[Source] = found.sources
    instances, foreign = _parse(sources, progress)
    if found.kind == "file" and instances and is_directory_file(instances[0]):
        sources = listed_images(instances[0], path)
        instances, foreign = _parse(sources, progress)
    instances = [instance for instance in instances if not is_directory_file(instance)]
    if not instances:
        raise _nothing(found, name, len(sources))
    remarks = []
    usual = DICOM_SUFFIXES | {_suffix(instance.name) for instance in instances}
    posing = [source.name for source in foreign if _suffix(source.name) in usual]
    if posing:
        remarks.append(f"{name}: {len(posing)} files named like DICOM are not and were skipped, first {posing[0]}.")
    if found.skipped_links:
        remarks.append(f"{name}: {found.skipped_links} symbolic links lead out of the directory and were skipped.")
    return instances, tuple(remarks)


def _suffix(name: str) -> str:
    """A name's suffix; the last number of a UID is none."""
    suffix = Path(name).suffix.lower()
    return "" if suffix[1:].isdigit() else suffix


def _parse(sources: Sequence[Source], progress: Progress | None) -> tuple[list[Instance], list[Source]]:
    instances, foreign = [], []
    for done, source in enumerate(sources, start=1):
        instance = read_instance(source)
        if instance is None:
            foreign.append(source)
        else:
            instances.append(instance)
        if progress is not None:
            progress("read", done, len(sources))
    return instances, foreign


def _nothing(found: Found, name: str, files: int) -> StudyError:
    remedy = "Give a DICOM file, a directory or zip of such files, or a DICOMDIR."
    if found.kind == "file":
        size = found.sources[0].size
        return StudyError(
            f'{name}: not a DICOM file: "DICM" was expected after its first 128 bytes (PS3.10 section 7.1); '
            f"it has {size} bytes.",
            remedy,
        )
    links = f" and {found.skipped_links} symbolic links, which are not followed" if found.skipped_links else ""
    return StudyError(f"{name}: no DICOM image among the {files} files of this {found.kind}{links}.", remedy)


def _refuse_mixture(frames: Sequence[Frame], name: str) -> None:
    """One series is of one patient and one frame of reference; positions mean nothing across several."""
    instances = {id(frame.instance): frame.instance for frame in frames}.values()
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        values = {instance.tags.text(keyword) for instance in instances}
        if len(values) > 1:
            raise StudyError(
                f"{name}: the slices of one series carry {len(values)} different values of {describe(keyword)}; "
                "one was expected.",
                "Send the study again from its source.",
            )
