"""The study: from a path to one series as a volume in Hounsfield units, with its geometry checked."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from ..errors import StudyError
from ..volume import Intensity, Study, Volume
from .faults import printable
from .files import open_path
from .frames import Frame
from .geometry import arrange_slices
from .header import read_patient
from .listing import SeriesEntry, SeriesList, list_series
from .pixels import decode_slices
from .policies import Duplicates, Gaps, Policies, Tilt
from .ranking import choose
from .repair import differing_copies, repair
from .scan import Progress, read_headers
from .series import catalogue
from .tags import describe

__all__ = ["read_study", "list_series", "SeriesList", "SeriesEntry", "Gaps", "Tilt", "Duplicates"]

# pydicom tells of odd header values by quoting them, patients' names and numbers among them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom(\.|$)")
logging.getLogger("pydicom").setLevel(logging.ERROR)

UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "frame_of_reference": "FrameOfReferenceUID"}


def read_study(
    path: str | Path,
    *,
    intensity: Intensity = "hounsfield",
    modality: str | None = None,
    series: str | None = None,
    gaps: Gaps = "refuse",
    tilt: Tilt = "refuse",
    duplicates: Duplicates = "refuse",
    progress: Progress | None = None,
) -> Study:
    """Read one series of a study.

    Headers are read first, then the pixels of the chosen series only. The volume's slices run
    toward the patient's head, rows toward the back and columns toward the left, whatever the
    order and orientation that the images came in. Nothing is interpolated or resampled unless a
    policy below accepts it, and then a warning says so.

    Args:
        path: a DICOM file of one or more frames, a directory that is searched with its folders, a zip
            that is read in memory, or a DICOMDIR. Names do not matter.
        intensity: "hounsfield" applies the rescale of each slice; "stored" gives the raw pixel values.
        modality: the network's, such as "CT"; other series are left out, and a study without is refused.
        series: SeriesInstanceUID, or the number in the list of `list_series`, instead of the best by
            the rule of `ranking.rank`.
        gaps: "interpolate" fills missing slices, at most 3 in a row and 10 % of all.
        tilt: "resample" undoes the shear of a tilted gantry, at most 30 degrees.
        duplicates: "first" keeps, of slices at one position, the first by InstanceNumber.
        progress: called as the work goes on.

    Raises:
        StudyError: nothing to read there, no series that fits or several equally good ones, damaged
            files, or geometry or pixels that would give a wrong volume. No message holds the patient's
            name or number.
        UsageError: a policy of another name.
    """
    policies = Policies(gaps, tilt, duplicates)
    path = Path(path)
    name = printable(str(path), 512)
    started = perf_counter()
    with open_path(path) as found:
        instances, remarks = read_headers(found, path, name, progress)
        chosen, left_out = choose(catalogue(instances), name, modality=modality, series=series)
        _refuse_mixture(chosen.frames, name)
        geometry = arrange_slices(chosen.frames, name, policies)
        parsed = perf_counter()
        values, decoded = decode_slices(
            chosen.frames, geometry, name, intensity=intensity, modality=chosen.modality, progress=progress
        )
        if geometry.copies:
            left_away = replace(geometry, order=tuple(copy for copy, _ in geometry.copies))
            copies, _ = decode_slices(chosen.frames, left_away, name, intensity=intensity, modality=chosen.modality)
            if differing := differing_copies(values, copies, geometry):
                decoded = (
                    *decoded,
                    f"{name}: {differing} of the {len(copies)} repeated slices differ in their pixels from those kept.",
                )
        values = repair(values, chosen.frames, geometry, intensity, name)
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
