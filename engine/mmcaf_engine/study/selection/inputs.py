"""From a study to the series of every volume input of a network: one best series, or one by rule for each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ...cancel import Progress
from ...errors import Remedy, StudyError, UsageError
from ...manifest import Manifest, PreprocessingSpec
from ...timing import span
from ...volume import Study, Volume
from ..dicom.examined import Examined
from ..faults import printable
from ..geometry.one_geometry import check_one_geometry
from ..geometry.policies import Policies
from ..given import StudySource, StudyVolumes
from ..in_memory import GIVEN, OpenVolume, open_volumes
from ..nifti import OpenNifti
from ..notes import NONE, Notes
from ..reading import Headers, OpenSeries, open_headers
from .body_part import check_body_part
from .matching import AS_ASKED, Match, match_series
from .ranking import choose
from .series import Candidate

Series = str | Sequence[str] | Mapping[str, str]
"""Which series to read: a value for the only input, "INPUT=VALUE" for each of several, or these as a mapping."""


@dataclass(frozen=True)
class InputSeries:
    """One volume input's series, whose headers are in order.

    source: its SeriesInstanceUID, or its file's name. why: why this one, in words.
    """

    input: str
    source: str
    why: str
    opened: OpenSeries | OpenNifti | OpenVolume


@dataclass(frozen=True)
class _Choice:
    """A match, and the headers that it is of: the study's, or those of another path."""

    match: Match
    headers: Headers
    notes: Notes = NONE


@contextmanager
def open_inputs(
    study: StudySource,
    manifest: Manifest,
    *,
    series: Series | None = None,
    policies: Policies | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[InputSeries, ...]]:
    """Read a study's headers and choose a series for each volume input; read their pixels within the block.

    A network without series rules gets the best series by `ranking.rank`. The inputs of one with rules must be of one
    patient, one study and one geometry.

    Args:
        study: what `reading.open_study` reads; or one volume in memory, or a mapping from input to volume.
        series: other choices than the rules': SeriesInstanceUID, number, or the path of a NIfTI file or of another
            DICOM series.
        policies: what to accept of an irregular series; without them nothing but what the manifest does.

    Raises:
        StudyError: a series is missing, ambiguous, damaged, of another patient, geometry or part of the body, or would
            give a wrong volume.
        UsageError: `series` names no input, or one twice, or comes with volumes in memory; or these do not fit.
    """
    usual = manifest.of_volumes.oblique
    policies = replace(policies or Policies(oblique=usual), oblique_usual=usual == "accept")
    if policies.oblique == "accept" and manifest.of_volumes.modality != "MR":
        raise UsageError(
            f"oblique: accept is for networks that take MR; {manifest.name} takes {manifest.of_volumes.modality}.",
            Remedy("Leave it out", option="oblique"),
        )
    wanted = choices(series, [spec.name for spec in manifest.volumes])
    spec = manifest.of_volumes
    if isinstance(study, Volume | Study | Mapping):
        yield _given(study, manifest, wanted, policies)
        return
    with ExitStack() as stack:
        headers = stack.enter_context(open_headers(study, progress)).in_one_form(spec.intensity, policies)
        with span("geometry"):
            found = _chosen(headers, manifest, wanted, policies, stack, progress)
            opened = []
            for choice in found:
                candidate = choice.match.chosen
                notes = choice.notes + check_body_part(manifest.body_part, candidate.examined, choice.headers.name)
                read = choice.headers.open(candidate, intensity=spec.intensity, policies=policies, notes=notes)
                shown = InputSeries(choice.match.input, candidate.source, choice.match.why, read)
                opened.append(shown)
            places = [(entry.input, entry.opened.placement) for entry in opened]
            check_one_geometry(places, headers.name)
        yield tuple(opened)


def _given(
    study: StudyVolumes, manifest: Manifest, wanted: Mapping[str, str], policies: Policies
) -> tuple[InputSeries, ...]:
    """Volumes in memory: nothing is chosen, but what is compared of files is compared of them."""
    chosen = [name for name in policies.accepting if name != "oblique"]
    options = [*(["series"] if wanted else []), *chosen]
    if options:
        raise UsageError(
            f"{', '.join(options)}: for studies in files; a volume in memory is taken as it is.",
            *(Remedy("Leave it out", option=name) for name in options),
        )
    spec, names = manifest.of_volumes, [entry.name for entry in manifest.volumes]
    with span("geometry"):
        opened = open_volumes(study, names, intensity=spec.intensity, modality=spec.modality, policies=policies)
        check_one_geometry([(name, entry.placement) for name, entry in opened.items()], "study")
        patients = {entry.patient.patient_id for entry in opened.values()} - {None}
        studies = {entry.study.uids.get("study") for entry in opened.values()} - {None}
    for kind, values in (("patients", patients), ("studies", studies)):
        if len(values) > 1:
            raise StudyError(f"study: its volumes are of {len(values)} different {kind}.", "Give those of one study.")
    nameless = [
        name for name, entry in opened.items() if not (entry.patient.patient_id or entry.study.uids.get("study"))
    ]
    mixed = f"study: nothing says whose these are, beside volumes of a patient: {', '.join(nameless)}; read as given."
    found = []
    for name, entry in opened.items():
        examined = check_body_part(manifest.body_part, [Examined(entry.study.body_part)], "study")
        beside = (mixed,) if name in nameless and len(nameless) < len(opened) else ()
        notes = Notes(entry.study.warnings, entry.study.remarks) + examined + Notes(beside)
        warned = replace(entry.study, warnings=notes.warnings, remarks=notes.remarks)
        found.append(InputSeries(name, warned.uids.get("series", ""), GIVEN, replace(entry, study=warned)))
    return tuple(found)


def choices(series: Series | None, inputs: Sequence[str]) -> dict[str, str]:
    """What was asked for, by input.

    Raises:
        UsageError: an unknown input, one named twice, or a value without an input where there are several.
    """
    if series is None:
        return {}
    if isinstance(series, Mapping):
        pairs = list(series.items())
    else:
        pairs = [_pair(text, inputs) for text in ([series] if isinstance(series, str) else series)]
    wanted: dict[str, str] = {}
    for name, value in pairs:
        if name not in inputs or name in wanted:
            what = "is named twice" if name in wanted else "is no input of this network"
            raise UsageError(
                f"series: {printable(name)} {what}; its inputs are {', '.join(inputs)}.",
                Remedy("For example", option="series", value=f"{inputs[0]}=3"),
            )
        wanted[name] = value
    return wanted


def _pair(text: str, inputs: Sequence[str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if equals and name in inputs:
        return name, value
    if len(inputs) == 1:
        return inputs[0], text
    return name, value


def _chosen(
    headers: Headers,
    manifest: Manifest,
    wanted: dict[str, str],
    policies: Policies,
    stack: ExitStack,
    progress: Progress | None,
) -> list[_Choice]:
    modality, name = manifest.of_volumes.modality, headers.name
    elsewhere = {key: value for key, value in wanted.items() if _is_path(value)}
    there = {key: _elsewhere(value, manifest.of_volumes, policies, stack, progress) for key, value in elsewhere.items()}
    inside = {key: value for key, value in wanted.items() if key not in elsewhere}
    if not manifest.series:
        only = manifest.volumes[0].name
        if only in there:
            return [_Choice(Match(only, there[only][1], AS_ASKED), there[only][0])]
        chosen, left_out = choose(headers.catalogue, name, modality=modality, series=inside.get(only))
        why = AS_ASKED if inside else "the best of those that fit" if left_out else "the only one that fits"
        return [_Choice(Match(only, chosen, why), headers, headers.notes + Notes(left_out))]
    specs = [spec for spec in manifest.series if spec.input not in there]
    by_rule = match_series(headers.catalogue, specs, name, modality=modality, chosen=inside)
    matches = {match.input: _Choice(match, headers) for match in by_rule}
    for key, (other, candidate) in there.items():
        matches[key] = _Choice(Match(key, candidate, AS_ASKED), other, other.notes)
    found = [matches[spec.input] for spec in manifest.series]
    notes = check_one_patient([choice.match for choice in found], name)
    first = found[0]
    return [replace(first, notes=headers.notes + first.notes + notes), *found[1:]]


def _is_path(value: str) -> bool:
    try:
        return Path(value).exists() and not value.isdigit()
    except (OSError, ValueError):
        return False


def _elsewhere(
    value: str, spec: PreprocessingSpec, policies: Policies, stack: ExitStack, progress: Progress | None
) -> tuple[Headers, Candidate]:
    headers = stack.enter_context(open_headers(value, progress)).in_one_form(spec.intensity, policies)
    chosen, _ = choose(headers.catalogue, headers.name, modality=spec.modality, series=None)
    return headers, chosen


def check_one_patient(found: Sequence[Match], name: str) -> Notes:
    """What says whose it is must agree; what does not is not read beside it, unless the caller named it.

    Raises:
        StudyError: two patients or studies, or a series of unknown origin beside another's.
    """
    known = [match for match in found if _says_whose(match.chosen)]
    unknown = [match for match in found if not _says_whose(match.chosen)]
    for other in known[1:]:
        first = known[0]
        if first.chosen.patient != other.chosen.patient:
            raise StudyError(
                f"{name}: {first.input} and {other.input} are of different patients by (0010,0020) PatientID.",
                "Give the series of one patient.",
            )
        if first.chosen.study_uid != other.chosen.study_uid:
            raise StudyError(
                f"{name}: {first.input} and {other.input} are of different studies by (0020,000D) StudyInstanceUID.",
                "Give the series of one study.",
            )
    if not unknown or len(found) < 2:
        return NONE
    files = ", ".join(f"{match.input} ({match.chosen.source or 'DICOM'})" for match in unknown)
    if not known:
        return Notes(remarks=(f"{name}: nothing says whose the series are: {files}.",))
    beside = f"{name}: nothing says whose these are, beside DICOM series of a patient: {files}"
    if taken := [match for match in unknown if match.why != AS_ASKED]:
        raise StudyError(
            f"{beside}; series of one patient were expected.",
            Remedy(
                "Give the series of one patient alone, or say which series it is",
                option="series",
                value=f"{taken[0].input}=NUMBER",
            ),
        )
    return Notes((f"{beside}; read as asked.",))


def _says_whose(chosen: Candidate) -> bool:
    return bool(chosen.frames) and bool(chosen.patient or chosen.study_uid)
