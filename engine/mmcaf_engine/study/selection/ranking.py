"""Which candidate is the volume: the best by a fixed rule, or none where the rule cannot tell."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import Remedy, StudyError, program
from ..faults import printable
from ..geometry.checks import AXIAL_TOLERANCE_DEGREES, listed
from ..nifti import NIFTI
from .series import PLANES, Candidate, Catalogue

CLEARLY = 1.1
"""A series is better by its slices or spacing only when it has this many times more or less of them."""
FRAGMENT = 0.5
"""A series that covers less than this part of the longest one's length does not compete with it."""
LISTED = 5
"""Series that a warning lists; a refusal lists all."""


@dataclass
class Ranking:
    """The outcome of the rule.

    order: the candidates that could be the volume, best first.
    equals: those of them that are as good as the best; a choice is made only when there are none.
    reasons: why each other candidate was not chosen, by its number.
    studies: how many studies or patients `order` is of; a choice is made only within one.
    """

    order: tuple[Candidate, ...]
    equals: tuple[Candidate, ...] = ()
    reasons: dict[int, str] = field(default_factory=dict)
    studies: int = 1

    @property
    def best(self) -> Candidate | None:
        """The choice, if the rule makes one."""
        return self.order[0] if self.order and not self.equals and self.studies == 1 else None


def rank(study: Catalogue, modality: str | None) -> Ranking:
    """Rank the candidates of the network's modality.

    By this rule, the first difference deciding: axial before sagittal and coronal; long before
    fragments under half of the longest; upright before oblique by more than 5 degrees; ORIGINAL before
    DERIVED (PS3.3 C.7.6.1.1.2); more slices, by over 10 %; thinner spacing, by over 10 %. Kernel,
    contrast and number do not decide: the rule cannot know which of them the network needs.
    """
    reasons = {
        entry.number: f"{entry.modality or 'no modality'}, not {modality}"
        for entry in study.candidates
        if not entry.fits(modality)
    }
    reasons |= {entry.number: f"number {entry.twin} in another form" for entry in study.candidates if entry.twin}
    fitting = [entry for entry in study.candidates if entry.number not in reasons]
    longest = max((entry.extent_mm for entry in fitting if _plane_class(entry) == 0), default=0.0)

    def key(entry: Candidate) -> tuple[float, ...]:
        step = entry.step_mm or float("inf")
        return (*(float(flag) for flag, _ in _classes(entry, longest)), -entry.slices, step, entry.number)

    order = tuple(sorted(fitting, key=key))
    studies = len({(entry.patient, entry.study_uid) for entry in fitting})
    equals = []
    for entry in order[1:]:
        why = _worse(entry, order[0], longest)
        equals += [] if why else [entry]
        reasons[entry.number] = why or f"as good as number {order[0].number}"
    return Ranking(order, tuple(equals), reasons, studies)


def choose(
    study: Catalogue, name: str, *, modality: str | None, series: str | None
) -> tuple[Candidate, tuple[str, ...]]:
    """The candidate to read, and warnings on which others were left out.

    Args:
        study: what was found.
        name: the study's path, for messages.
        modality: the only one that the network takes; any without it.
        series: SeriesInstanceUID, or a candidate's number.

    Raises:
        StudyError: no candidate, none of that modality or name, several that are equally good, or of
            several studies; or an image of the best one is unreadable.
    """
    if not study.candidates:
        raise StudyError(
            f"{name}: no image that can be the volume: {counted(study.left_out)}.", "Send a series of images."
        )
    if series is not None:
        chosen = named(study, series, name)
        _refuse_modality([chosen], modality, name)
        if chosen.fault is not None:
            raise chosen.fault
        return chosen, ()
    ranking = rank(study, modality)
    _refuse_modality(ranking.order or study.candidates, modality, name)
    if ranking.studies > 1:
        raise ambiguous(ranking.order, f"{name}: series of {ranking.studies} studies or patients came:")
    if ranking.equals:
        rivals = (ranking.order[0], *ranking.equals)
        raise ambiguous(rivals, f"{name}: {len(rivals)} series could be the volume, none better than the others:")
    best = ranking.order[0]
    others = [entry for entry in study.candidates if entry.number != best.number and not entry.twin]
    if best.fault is not None:
        other = Remedy("Or read another series", option="series")
        listing = Remedy("See which there are", command=program("studies", name))
        raise StudyError(
            best.fault.problem, *best.fault.remedies, *((other, listing) if others else ())
        ) from best.fault
    if not others:
        return best, ()
    why = [f"{entry.describe()} ({ranking.reasons[entry.number]})" for entry in others[:LISTED]]
    return best, (f"{name}: read {best.describe()}; left out {listed(why, len(others))}. To read another, name it.",)


def counted(reasons: Counter[str]) -> str:
    """What was left out, as messages say it."""
    told = []
    for reason, count in sorted(reasons.items()):
        noun, bracket, code = reason.partition(" (")
        told.append(f"{count} {noun}{'' if count == 1 else 's'}{bracket}{code}")
    return ", ".join(told)


def _plane_class(entry: Candidate) -> int:
    return int(entry.plane not in (2, -1))


def _classes(entry: Candidate, longest: float) -> tuple[tuple[bool, str], ...]:
    """(whether the entry is of the lesser class, in words), in the order of the rule.

    Of an unreadable series nothing but the slices counts against it: it may be the one that is needed.
    """
    unknown = entry.fault is not None
    return (
        (bool(_plane_class(entry)), PLANES[entry.plane]),
        (
            not unknown and entry.extent_mm < FRAGMENT * longest,
            f"covers {entry.extent_mm:.1f} mm, less than half of {longest:.1f} mm",
        ),
        (
            not unknown and entry.oblique_degrees > AXIAL_TOLERANCE_DEGREES,
            f"oblique by {entry.oblique_degrees:.1f} degrees",
        ),
        (not unknown and entry.derived, "derived images"),
    )


def _worse(entry: Candidate, best: Candidate, longest: float) -> str:
    """Why an entry is not as good as the one that sorts first; empty if it is."""
    for (lesser, why), (better_lesser, _) in zip(_classes(entry, longest), _classes(best, longest), strict=True):
        if lesser and not better_lesser:
            return why
    if best.slices > CLEARLY * entry.slices:
        return f"fewer slices than {best.slices}"
    if best.step_mm and entry.step_mm > CLEARLY * best.step_mm:
        return f"wider spacing than {best.step_mm:.2f} mm"
    return ""


def _refuse_modality(candidates: Sequence[Candidate], modality: str | None, name: str) -> None:
    if not any(entry.fits(modality) for entry in candidates):
        came = " and ".join(sorted({entry.modality or "no modality" for entry in candidates}))
        raise StudyError(f"{name}: {came} study for a {modality} network.", f"Send the {modality} series.")


def named(study: Catalogue, series: str, name: str, option: str = "") -> Candidate:
    """The candidate of a number, SeriesInstanceUID or NIfTI file name.

    Args:
        option: what goes before the number of a series that a remedy names, such as "t2=".

    Raises:
        StudyError: none, or several.
    """
    wanted = series.strip()
    matches = [entry for entry in study.candidates if wanted in (str(entry.number), entry.source)]
    if len(matches) == 1:
        return matches[0]
    if wanted in study.left_out_series:
        raise StudyError(
            f"{name}: series {printable(wanted)} cannot be the volume: {study.left_out_series[wanted]}.",
            "Choose another series.",
        )
    what = "belongs to several groups of slices" if matches else "is not in the study"
    raise ambiguous(
        matches or study.candidates, f"{name}: series {printable(wanted)} {what}. These could be read:", option
    )


def ambiguous(candidates: Sequence[Candidate], problem: str, option: str = "") -> StudyError:
    """The error that lists candidates to choose from; `option` as for `named`."""
    candidates = sorted(candidates, key=lambda entry: entry.number)
    lines = []
    for entry in candidates:
        if entry.modality == NIFTI:
            lines.append(f"  {entry.number}: {entry.describe()}")
            continue
        description = f'"{entry.description}", ' if entry.description else ""
        kernel = f"kernel {entry.kernel}, " if entry.kernel else ""
        lines.append(f"  {entry.number}: {entry.describe()}, {description}{kernel}{entry.source}".rstrip(", "))
    return StudyError(
        "\n".join([problem, *lines, "One was expected."]),
        Remedy("Choose it by its number or UID", option="series", value=f"{option}{candidates[0].number}"),
    )


def better_class(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that are of no lesser class than another: axial, no fragment, upright, ORIGINAL, in this order."""
    best = list(candidates)
    longest = max((entry.extent_mm for entry in best if _plane_class(entry) == 0), default=0.0)
    for at in range(len(_classes(best[0], longest)) if best else 0):
        better = [entry for entry in best if not _classes(entry, longest)[at][0]]
        best = better or best
    return best
