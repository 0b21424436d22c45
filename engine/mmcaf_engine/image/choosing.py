"""Which of a study's files is the image: the only one that fits, or none where several do."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Remedy, StudyError
from ..manifest.image import ImageSpec
from ..study.faults import printable
from ..study.geometry.checks import listed
from .candidate import Candidate

LISTED = 8
"""Images that a message lists."""


@dataclass(frozen=True)
class Choice:
    """The image to read, why this one, and remarks on the choice."""

    image: Candidate
    why: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Unfit:
    """Why a file is not the image: in a few words, as a sentence, and what to do."""

    reason: str
    problem: str
    remedy: str


def unfit(image: Candidate, spec: ImageSpec) -> Unfit | None:
    """Why a network does not read this file; None if it does, as far as its header tells."""
    name, wanted = image.name, " or ".join(spec.modality)
    view = "" if spec.view == "any" else f"{spec.view} "
    if not image.is_picture and image.modality not in spec.modality:
        came = image.modality or "no modality"
        problem = f"{name}: {came} image for a network that reads {wanted}."
        return Unfit(f"{came}, not {wanted}", problem, f"Send the {view}radiograph.")
    if image.other_kind:
        problem = f"{name}: {image.other_kind}; a single grey image for presentation was expected."
        return Unfit(image.other_kind.split(":")[0], problem, f"Send the {view}radiograph as one such image.")
    if image.view.is_other_than(spec.view):
        article = "an" if image.view.view[0] in "aeiou" else "a"
        problem = f"{name}: {article} {image.view.view} view by {image.view.told}; a {spec.view} one was expected."
        return Unfit(f"{image.view.view} view", problem, f"Send the {spec.view} view.")
    return None


def choose_image(images: Sequence[Candidate], spec: ImageSpec, name: str, series: str | None = None) -> Choice:
    """The image to read.

    An image whose view is known to be right comes before those of unknown view.

    Args:
        images: all that were found, numbered.
        name: the study's path, for messages.
        series: the number, SOPInstanceUID, SeriesInstanceUID or file name of the one to read.

    Raises:
        StudyError: none fits, or several; or the one that does is unreadable.
    """
    if series is not None:
        return _accepted(_named(images, series, name), "as asked", spec)
    fitting = [image for image in images if unfit(image, spec) is None]
    if not fitting:
        raise _none(images, spec, name)
    best = [image for image in fitting if image.view.view and spec.view != "any"] or fitting
    if len(best) > 1:
        raise _ambiguous(best, f"{name}: {len(best)} images could be the one that this network reads:")
    others = [image for image in fitting if image is not best[0]]
    why = "the only one that fits" if len(images) > 1 else "the only one"
    choice = _accepted(best[0], f"the only {best[0].view.view} view" if others else why, spec)
    if not others:
        return choice
    left_out = listed([image.describe() for image in others[:LISTED]], len(others))
    remark = (
        f"{name}: read {best[0].describe()}; left out, since their view is not known, {left_out}. To read another, "
        "name it."
    )
    return Choice(choice.image, choice.why, (remark, *choice.remarks))


def reasons(images: Sequence[Candidate], spec: ImageSpec) -> Counter[str]:
    """How many files are not the image, by reason."""
    return Counter(found.reason for image in images if (found := unfit(image, spec)) is not None)


def _accepted(image: Candidate, why: str, spec: ImageSpec) -> Choice:
    found = unfit(image, spec)
    if found is not None:
        raise StudyError(found.problem, found.remedy)
    if image.fault is not None:
        raise image.fault
    remarks = []
    if spec.view != "any" and not image.view.view:
        remarks.append(f"{image.name}: its view is not known, since {image.view.told}; it was taken to be {spec.view}.")
    if image.view.lies:
        remarks.append(f"{image.name}: {image.view.lies}.")
    return Choice(image, why, tuple(remarks))


def _none(images: Sequence[Candidate], spec: ImageSpec, name: str) -> StudyError:
    if len(images) == 1:
        found = unfit(images[0], spec)
        if found is not None:
            return StudyError(found.problem, found.remedy)
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons(images, spec).items()))
    view = "" if spec.view == "any" else f"{spec.view} "
    return StudyError(
        f"{name}: none of its {len(images)} images is a {view}radiograph ({' or '.join(spec.modality)}, or a PNG or "
        f"JPEG file): {counted}.",
        f"Send the {view}radiograph.",
    )


def _named(images: Sequence[Candidate], series: str, name: str) -> Candidate:
    wanted = series.strip()
    found = [
        image for image in images if wanted in (str(image.number), image.name, *(image.uids.get(key) for key in _KEYS))
    ]
    if len(found) == 1:
        return found[0]
    what = "is that of several images" if found else "is none of the images"
    raise _ambiguous(found or images, f"{name}: {printable(wanted)} {what}. These could be read:")


_KEYS = ("image", "series")


def _ambiguous(images: Sequence[Candidate], problem: str) -> StudyError:
    lines = [f"  {image.number}: {image.describe()}{_quoted(image)}" for image in images[:LISTED]]
    lines += [f"  and {len(images) - LISTED} more"] if len(images) > LISTED else []
    return StudyError(
        "\n".join([problem, *lines, "One was expected."]),
        Remedy("Choose it by its number, file name or UID", option="series", value=str(images[0].number)),
    )


def _quoted(image: Candidate) -> str:
    return f', "{image.description}"' if image.description else ""
