"""Every series of a study that could be read, with the one that would be and why."""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import StudyError
from .faults import printable
from .files import open_path
from .ranking import choose, rank
from .scan import Progress, read_headers
from .series import PLANES, Candidate, catalogue


@dataclass(frozen=True)
class SeriesEntry:
    """One candidate for the volume.

    number: for `--series`, from 1, in the order of the series numbers.
    series_number: (0020,0011); None where absent.
    plane: "axial", "sagittal", "coronal" or "unknown".
    slices, rows, columns: the last two None where no image could be read.
    spacing_mm: (between slices, between rows, between columns); None where unknown.
    original: False for images that were derived from others.
    chosen, reason: whether it would be read, and why or why not.
    """

    number: int
    study_uid: str
    series_uid: str
    series_number: int | None
    modality: str
    description: str
    kernel: str
    plane: str
    slices: int
    rows: int | None
    columns: int | None
    spacing_mm: tuple[float | None, float | None, float | None]
    original: bool
    chosen: bool
    reason: str


@dataclass(frozen=True)
class SeriesList:
    """A study's candidates.

    left_out: how many files cannot be part of a volume, by reason.
    problem: why none would be read; None where one would.
    warnings: on files that were passed over.
    """

    series: tuple[SeriesEntry, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    problem: str | None = None
    warnings: tuple[str, ...] = ()


def list_series(path: str | Path, *, modality: str | None = None, progress: Progress | None = None) -> SeriesList:
    """Look at the headers of a study as `read_study` does, without decoding pixels.

    A chosen series may still be refused for its geometry or pixels.

    Args:
        path: a DICOM file, a directory, a zip or a DICOMDIR.
        modality: the network's, such as "CT"; all compete without it.
        progress: called with ("read", files done, files).

    Raises:
        StudyError: nothing to read there, or damaged files.
    """
    path = Path(path)
    name = printable(str(path), 512)
    with open_path(path) as found:
        instances, remarks = read_headers(found, path, name, progress)
        study = catalogue(instances)
    ranking = rank(study, modality)
    chosen, problem = None, None
    try:
        chosen, _ = choose(study, name, modality=modality, series=None)
    except StudyError as failure:
        problem = failure.problem
    entries = []
    for entry in study.candidates:
        reason = ranking.reasons.get(entry.number, "")
        if entry is chosen:
            reason = "best of those that fit" if len(ranking.order) > 1 else "the only one that fits"
        elif entry.fault is not None:
            reason = f"unreadable: {entry.fault.problem}"
        elif not reason:
            reason = "no choice is made" if ranking.studies > 1 else f"as good as number {ranking.equals[0].number}"
        entries.append(_entry(entry, entry is chosen, reason))
    return SeriesList(tuple(entries), dict(sorted(study.left_out.items())), problem, remarks)


def _entry(found: Candidate, chosen: bool, reason: str) -> SeriesEntry:
    first = found.frames[0] if found.frames else None
    between = first.spacing if first is not None and first.spacing is not None else (None, None)
    return SeriesEntry(
        number=found.number,
        study_uid=found.study_uid,
        series_uid=printable(found.series_uid),
        series_number=found.series_number,
        modality=found.modality,
        description=found.description,
        kernel=found.kernel,
        plane=PLANES[found.plane],
        slices=found.slices,
        rows=None if first is None else first.rows,
        columns=None if first is None else first.columns,
        spacing_mm=(found.step_mm or None, between[0], between[1]),
        original=not found.derived,
        chosen=chosen,
        reason=reason,
    )
