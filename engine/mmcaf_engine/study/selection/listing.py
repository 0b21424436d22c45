"""Every series of a study that could be read, with the one that would be and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...cancel import Progress
from ...errors import StudyError
from ...manifest import BodyPartRule
from ...manifest.series import SeriesSpec
from ...volume import Intensity, Study, StudyFacts
from ..extremes import Extremes
from ..faults import shown_text
from ..geometry.one_geometry import check_one_geometry
from ..geometry.policies import Policies
from ..notes import NONE, Notes
from ..reading import Headers, open_headers
from .body_part import check_body_part
from .inputs import InputSeries, check_one_patient
from .matching import Match, competing, match_input
from .ranking import choose, rank
from .series import PLANES, Candidate, Catalogue


def _decode(entry: InputSeries) -> StudyFacts:
    extremes = Extremes(entry.opened.shape, entry.source)
    facts = entry.opened.stream(lambda index, values, scratch: extremes.look(index, values))
    extremes.refuse_one_value()
    return replace(facts, warnings=(*facts.warnings, *extremes.warnings(entry.opened.intensity)))


@dataclass(frozen=True)
class SeriesEntry:
    """One candidate for the volume.

    number: what to name it by, from 1, in the order of the series numbers.
    series_number: (0020,0011); None where absent.
    plane: "axial", "sagittal", "coronal" or "unknown".
    slices, rows, columns: the last two None where no image could be read.
    spacing_mm: (between slices, between rows, between columns); None where unknown.
    original: False for images that were derived from others.
    chosen, reason: whether it would be read, and why or why not.
    input: the input that it would be read for, by the rules of a network that has some.
    refused: why an answer from it would be refused; of a chosen one by headers and pixels, of others by headers alone.
    source: what a caller may name it by beside its number: its SeriesInstanceUID, or an image's SOPInstanceUID, or the
        name of a file that has neither.
    instance_uid: SOPInstanceUID of a 2D image; empty for a series.
    label: what tells it from others of its series, in words; empty where it is all of it.
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
    input: str | None = None
    source: str = ""
    instance_uid: str = ""
    refused: str | None = None
    label: str = ""


@dataclass(frozen=True)
class SeriesList:
    """A study's candidates.

    left_out: how many files cannot be part of a volume, by reason.
    problem: why there would be no answer; None where there would be one.
    warnings, remarks: on files that were passed over, and on what would be read.
    """

    series: tuple[SeriesEntry, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def list_series(
    path: str | Path,
    *,
    modality: str | None = None,
    inputs: Sequence[SeriesSpec] = (),
    intensity: Intensity | None = None,
    body_part: BodyPartRule | None = None,
    policies: Policies | None = None,
    decode: Callable[[InputSeries], StudyFacts | Study] = _decode,
    progress: Progress | None = None,
) -> SeriesList:
    """Look at a study as an answer would: all headers, and the pixels of what would be read.

    Args:
        path: a DICOM or NIfTI file, a directory, a zip or a DICOMDIR.
        modality: the network's, such as "CT"; all compete without it.
        inputs: the series rules of a network that has some; each chooses its own.
        intensity: as for `read_study`; by default hounsfield for CT, rescaled for others.
        body_part: the rule of a network that has one.
        policies: what is accepted of an irregular series.
        decode: streams the pixels of what would be read as an answer does, and raises what that would raise.
        progress: called with ("read", files done, files).

    Raises:
        StudyError: nothing to read there, or damaged files.
    """
    with open_headers(path, progress) as opened:
        headers = opened.in_one_form(intensity or "rescaled", policies or Policies())
        study, name = headers.catalogue, headers.name
        choose_for = _by_rules(study, name, modality, inputs) if inputs else _best(study, name, modality)
        looked = _look(headers, choose_for, intensity, body_part, policies or Policies(), decode)
        entries = tuple(
            _entry(entry, *choose_for.told(entry), looked.refused.get(entry.number)) for entry in study.candidates
        )
    left_out = dict(sorted(study.left_out.items()))
    notes = headers.notes + looked.notes
    return SeriesList(entries, left_out, choose_for.problem or looked.problem, notes.warnings, notes.remarks)


@dataclass(frozen=True)
class _Looked:
    """refused: why, by number. problem: why there is no answer from what was chosen."""

    refused: dict[int, str]
    problem: str | None
    notes: Notes


def _look(
    headers: Headers,
    chosen: "_Chosen",
    intensity: Intensity | None,
    body_part: BodyPartRule | None,
    policies: Policies,
    decode: Callable[[InputSeries], StudyFacts | Study],
) -> _Looked:
    """What an answer would refuse, and what it would say, of every candidate."""
    refused: dict[int, str] = {}
    notes, places = NONE, []
    for entry in headers.catalogue.candidates:
        kind = intensity or ("hounsfield" if entry.modality == "CT" else "rescaled")
        try:
            opened = headers.open(entry, intensity=kind, policies=policies)
            said = check_body_part(body_part, entry.examined, headers.name)
            if entry.number in chosen.inputs:
                name = chosen.inputs[entry.number] or ""
                facts = decode(InputSeries(name, entry.source, chosen.reasons[entry.number], opened))
                notes += said + Notes(facts.warnings, facts.remarks)
                places.append((name, opened.placement))
        except StudyError as failure:
            refused[entry.number] = failure.problem
    problems = [refused[number] for number in chosen.inputs if number in refused]
    if not problems and chosen.problem is None and len(chosen.matches) > 1:
        try:
            notes += check_one_patient(chosen.matches, headers.name)
            check_one_geometry(places, headers.name)
        except StudyError as failure:
            problems.append(failure.problem)
    return _Looked(refused, "\n".join(problems) or None, notes)


@dataclass(frozen=True)
class _Chosen:
    """By number: the input that a candidate is read for, if any, and why or why not. problem: why none is read.

    matches: the series of each input, of a network with rules.
    """

    inputs: dict[int, str | None]
    reasons: dict[int, str]
    problem: str | None
    matches: tuple[Match, ...] = ()

    def told(self, entry: Candidate) -> tuple[bool, str | None, str]:
        reason = self.reasons.get(entry.number, "")
        if entry.fault is not None and entry.number not in self.inputs:
            reason = f"unreadable: {entry.fault.problem}"
        return entry.number in self.inputs, self.inputs.get(entry.number), reason


def _best(study: Catalogue, name: str, modality: str | None) -> _Chosen:
    ranking = rank(study, modality)
    reasons = dict(ranking.reasons)
    for entry in study.candidates:
        if entry.number not in reasons:
            equal = ranking.studies == 1 and ranking.equals
            reasons[entry.number] = f"as good as number {ranking.equals[0].number}" if equal else "no choice is made"
    try:
        chosen, _ = choose(study, name, modality=modality, series=None)
    except StudyError as failure:
        return _Chosen({}, reasons, failure.problem)
    reasons[chosen.number] = "best of those that fit" if len(ranking.order) > 1 else "the only one that fits"
    return _Chosen({chosen.number: None}, reasons, None)


def _by_rules(study: Catalogue, name: str, modality: str | None, inputs: Sequence[SeriesSpec]) -> _Chosen:
    """Each input's series, or what keeps it from having one."""
    pool = competing(study, modality)
    found: dict[int, list[str]] = {}
    reasons = {entry.number: "no input's rule fits" for entry in study.candidates}
    reasons |= {
        entry.number: f"{entry.modality or 'no modality'}, not {modality}"
        for entry in study.candidates
        if not entry.fits(modality)
    }
    reasons |= {entry.number: f"number {entry.twin} in another form" for entry in study.candidates if entry.twin}
    problems = []
    matches = []
    for spec in inputs:
        try:
            match = match_input(pool, spec, name, study)
        except StudyError as failure:
            problems.append(failure.problem.splitlines()[0])
            continue
        matches.append(match)
        found.setdefault(match.chosen.number, []).append(spec.input)
        reasons[match.chosen.number] = match.why
    named = {number: " and ".join(names) for number, names in found.items()}
    problems += [f"{name}: number {at} could be {named[at]}." for at, names in found.items() if len(names) > 1]
    return _Chosen({**named}, reasons, "\n".join(problems) or None, tuple(matches))


def _entry(found: Candidate, chosen: bool, read_for: str | None, reason: str, refused: str | None) -> SeriesEntry:
    first = found.frames[0] if found.frames else None
    between: tuple[float | None, ...] = (None, None)
    if found.image is not None:
        between = found.image.placement.spacing_mm[1:]
    elif first is not None and first.spacing is not None:
        between = first.spacing
    rows, columns = found.matrix or (None, None)
    return SeriesEntry(
        number=found.number,
        study_uid=found.study_uid,
        series_uid=shown_text(found.series_uid),
        series_number=found.series_number,
        modality=found.modality,
        description=found.description,
        kernel=found.kernel,
        plane=PLANES[found.plane],
        slices=found.slices,
        rows=rows,
        columns=columns,
        spacing_mm=(found.step_mm or None, between[0], between[1]),
        original=not found.derived,
        chosen=chosen,
        reason=reason,
        input=read_for,
        source=found.source,
        refused=refused,
        label=found.label,
    )
