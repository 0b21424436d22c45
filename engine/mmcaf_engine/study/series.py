"""From the instances of a study to the one series that is read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import StudyError
from .faults import printable
from .frames import Frame, read_frames
from .geometry_checks import slice_normal
from .instance import Instance
from .tags import Tags, describe

OTHER_OBJECTS = {
    "SR": "structured report (SR)",
    "SEG": "segmentation (SEG)",
    "RTSTRUCT": "structure set (RTSTRUCT)",
    "RTPLAN": "radiotherapy plan (RTPLAN)",
    "RTDOSE": "radiotherapy dose (RTDOSE)",
    "KO": "key object selection (KO)",
    "PR": "presentation state (PR)",
    "REG": "registration (REG)",
    "DOC": "document (DOC)",
}
"""Modalities (PS3.3 C.7.3.1.1.1) that are not acquired images, as messages name them."""
SLICES = {f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130")}
"""SOP classes of CT, MR and PET images (PS3.4 B.5), which always have pixels."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class of screenshots; multi-frame ones append a number."""
LOCALIZER = {"LOCALIZER", "SCOUT"}
"""Values of ImageType (PS3.3 C.8.2.1.1.1) on survey images."""
SAME_PLACE_MM = 0.1
"""Frames of one series this close share a position, and are told apart by their image type."""


@dataclass(frozen=True)
class Candidate:
    """Frames that belong together and could be the volume.

    number: as in the list that messages show, from 1.
    plane: the patient axis that the slices are across, 0 to 2 for x, y, z; -1 when unknown.
    fault: why an image of this series could not be read, if so.
    """

    series_uid: str
    series_number: int | None
    modality: str
    description: str
    plane: int
    frames: tuple[Frame, ...]
    fault: StudyError | None = None
    number: int = 0

    def describe(self) -> str:
        """One line without patient data."""
        count, first = len(self.frames), self.frames[0] if self.frames else None
        parts = [
            "no series number" if self.series_number is None else f"series {self.series_number}",
            self.modality or "no modality",
            f"{count} slice{'' if count == 1 else 's'}" + (f" of {first.rows} x {first.columns}" if first else ""),
        ]
        step = _typical_step(self.frames)
        parts += [f"{step:.2f} mm apart"] if step else []
        parts += [("sagittal", "coronal")[self.plane]] if self.plane in (0, 1) else []
        return ", ".join(parts)


@dataclass
class Catalogue:
    """The candidates of a study, numbered from 1, and what was left out, by reason."""

    candidates: tuple[Candidate, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    left_out_series: dict[str, str] = field(default_factory=dict)


def catalogue(instances: Iterable[Instance]) -> Catalogue:
    """Group the instances into candidates by series, matrix and plane.

    Within a series, frames at the same positions are further told apart by their image type.
    Localizers, secondary captures, colour images and objects without pixels are left out. An image
    with an unreadable element stays with its series as a fault.

    Raises:
        StudyError: a slice was cut short before its pixels; even its series may then be in doubt.
    """
    result = Catalogue()
    groups: dict[tuple[object, ...], list[Frame]] = {}
    faults: dict[str, StudyError] = {}
    members: dict[str, Instance] = {}
    for instance in instances:
        tags = instance.tags
        uid = tags.text("SeriesInstanceUID")
        _refuse_cut_short(instance)
        try:
            reason = _why_not(instance)
            frames = () if reason else read_frames(instance)
        except StudyError as failure:
            faults.setdefault(uid, failure)
            members.setdefault(uid, instance)
            continue
        volume = [frame for frame in frames if not LOCALIZER & set(frame.image_type)]
        if not volume:
            result.left_out[reason or "localizer"] += 1
            result.left_out_series.setdefault(uid, reason or "localizer")
            continue
        members.setdefault(uid, instance)
        for frame in volume:
            groups.setdefault((uid, frame.rows, frame.columns, _plane(frame)), []).append(frame)
    grouped = {str(key[0]) for key in groups}
    found = [
        _candidate(members[str(key[0])], tuple(part), faults.get(str(key[0])))
        for key, group in groups.items()
        for part in _by_image_type(group)
    ]
    found += [_candidate(members[uid], (), fault) for uid, fault in faults.items() if uid not in grouped]
    found.sort(key=_rank)
    result.candidates = tuple(replace(entry, number=number) for number, entry in enumerate(found, start=1))
    return result


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
        StudyError: no candidate, none of that modality or name, or several.
    """
    if not study.candidates:
        raise StudyError(
            f"{name}: no image that can be the volume: {_counts(study.left_out)}.", "Send a series of images."
        )
    if series is not None:
        chosen = [_named(study, series, name)]
        others: list[Candidate] = []
    else:
        chosen = [entry for entry in study.candidates if modality in (None, entry.modality)]
        axial = [entry for entry in chosen if entry.plane in (2, -1)]
        chosen = axial or chosen
        numbers = {entry.number for entry in chosen}
        others = [entry for entry in study.candidates if entry.number not in numbers]
    if not chosen or modality not in (None, chosen[0].modality):
        came = " and ".join(sorted({entry.modality or "no modality" for entry in chosen or study.candidates}))
        raise StudyError(f"{name}: {came} study for a {modality} network.", f"Send the {modality} series.")
    if len(chosen) > 1:
        raise _ambiguous(chosen, f"{name}: {len(chosen)} series could be the volume:")
    if chosen[0].fault is not None:
        raise chosen[0].fault
    if not others:
        return chosen[0], ()
    listed = "; ".join(entry.describe() for entry in others)
    return chosen[0], (f"{name}: read {chosen[0].describe()}; left out {listed}.",)


def _refuse_cut_short(instance: Instance) -> None:
    if instance.pixels is None and instance.media_class in SLICES:
        raise StudyError(
            f"{instance.name}: {describe('PixelData')} is missing from a slice; the file may have been cut short.",
            "Send the study again.",
        )


def _why_not(instance: Instance) -> str:
    """Why an instance cannot be part of the volume; empty if it can."""
    tags = instance.tags
    modality, sop_class = tags.text("Modality"), tags.text("SOPClassUID")
    if modality in OTHER_OBJECTS:
        return OTHER_OBJECTS[modality]
    if sop_class == SECONDARY_CAPTURE or sop_class.startswith(SECONDARY_CAPTURE + "."):
        return "secondary capture"
    if LOCALIZER & set(tags.texts("ImageType")):
        return "localizer"
    if instance.pixels is None or not tags.whole("Rows"):
        return "object without pixel data"
    if instance.pixels.keyword != "PixelData":
        return "image of floating-point pixels"
    if (tags.whole("SamplesPerPixel") or 1) > 1:
        return "colour image"
    return ""


def _plane(frame: Frame) -> int:
    if frame.orientation is None:
        return -1
    return int(np.argmax(np.abs(slice_normal(frame.orientation))))


def _by_image_type(frames: list[Frame]) -> list[list[Frame]]:
    places = {tuple(round(value / SAME_PLACE_MM) for value in frame.position or ()) for frame in frames}
    if len(places) == len(frames):
        return [frames]
    parts: dict[tuple[str, ...], list[Frame]] = {}
    for frame in frames:
        parts.setdefault(frame.image_type, []).append(frame)
    return list(parts.values())


def _candidate(instance: Instance, frames: tuple[Frame, ...], fault: StudyError | None) -> Candidate:
    tags = (frames[0].instance if frames else instance).tags
    try:
        number = tags.whole("SeriesNumber")
    except StudyError:
        number = None
    return Candidate(
        tags.text("SeriesInstanceUID"),
        number,
        _label(tags, "Modality"),
        _label(tags, "SeriesDescription"),
        _plane(frames[0]) if frames else -1,
        frames,
        fault,
    )


def _label(tags: Tags, keyword: str) -> str:
    """A text that only serves to tell series apart; empty where it cannot be read."""
    try:
        return printable(tags.text(keyword))
    except StudyError:
        return ""


def _rank(entry: Candidate) -> tuple[object, ...]:
    number = entry.series_number
    first = entry.frames[0].image_type if entry.frames else ()
    return (number is None, number or 0, entry.series_uid, entry.plane, -len(entry.frames), first)


def _named(study: Catalogue, series: str, name: str) -> Candidate:
    wanted = series.strip()
    matches = [entry for entry in study.candidates if wanted in (str(entry.number), entry.series_uid)]
    if len(matches) == 1:
        return matches[0]
    if wanted in study.left_out_series:
        raise StudyError(
            f"{name}: series {printable(wanted)} cannot be the volume: {study.left_out_series[wanted]}.",
            "Choose another series.",
        )
    what = "belongs to several groups of slices" if matches else "is not in the study"
    raise _ambiguous(matches or study.candidates, f"{name}: series {printable(wanted)} {what}. These could be read:")


def _ambiguous(candidates: Sequence[Candidate], problem: str) -> StudyError:
    lines = []
    for entry in candidates:
        description = f'"{entry.description}", ' if entry.description else ""
        lines.append(f"  {entry.number}: {entry.describe()}, {description}{printable(entry.series_uid)}")
    return StudyError(
        "\n".join([problem, *lines, "One was expected."]),
        f"Choose it by its number or UID: --series {candidates[0].number}",
    )


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}{'' if count == 1 else 's'}" for reason, count in sorted(reasons.items()))


def _typical_step(frames: Sequence[Frame]) -> float:
    """The usual distance between neighbours, mm; 0 when it is not known."""
    placed = [frame for frame in frames if frame.position is not None and frame.orientation is not None]
    if len(placed) < 2 or placed[0].orientation is None:
        return 0.0
    normal = slice_normal(placed[0].orientation)
    heights = np.sort(np.asarray([frame.position for frame in placed]) @ normal)
    return float(np.sort(np.diff(heights))[(len(heights) - 2) // 2])
