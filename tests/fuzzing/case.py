"""One damaged input, and what it was made of: all that is needed to try it and to judge what came."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mmcaf_engine.image import open_image
from mmcaf_engine.manifest import ImageSpec
from mmcaf_engine.study import read_study
from mmcaf_engine.volume import Intensity, PatientHeader

Kind = TypeVar("Kind")
PICTURE = ImageSpec(view="any", size=(8, 8), channels=1, mean=(0.0,), std=(1.0,))


@dataclass(frozen=True)
class Answer:
    """What an input is read as.

    digest: of all that a network would see. said: the warnings and remarks beside it. facts: what it says of the
    patient, and the like, that may be absent.
    """

    digest: str
    said: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict, repr=False)

    def is_another(self, than: "Answer") -> bool:
        """Whether it would be another answer; a fact that is absent in one is none that differs."""
        mine = {name: fact for name, fact in self.facts.items() if fact not in (None, "")}
        theirs = than.facts
        differing = any(theirs.get(name) not in (None, "", fact) for name, fact in mine.items())
        return self.digest != than.digest or differing


@dataclass(frozen=True)
class Case:
    """attempt: reads the input. what: which damage, in words. data: the input itself.

    sound: what the undamaged input gives, where its structure was damaged: another answer must not come in silence.
    secrets: what names the patient in it, so that no message may hold it.
    """

    attempt: Callable[[], Answer]
    what: str
    data: bytes = field(default=b"", repr=False)
    sound: Answer | None = None
    secrets: tuple[str, ...] = ()


class Maker(Protocol):
    """Makes the cases of one kind, each from its own draw."""

    def __call__(self, draw: Generator) -> Case: ...


def digest(*parts: object) -> str:
    """One text for any values; arrays by their bytes, type and shape."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(repr((part.dtype.str, part.shape)).encode())
            found.update(np.ascontiguousarray(part).tobytes())
        else:
            found.update(repr(part).encode("utf-8", "backslashreplace"))
    return found.hexdigest()


def patient(header: PatientHeader) -> dict[str, object]:
    """What is compared with the record; the age in whole years, since a birth date tells it more exactly."""
    facts = {name: value for name, value in asdict(header).items() if name not in ("unread", "contradicting")}
    return facts | {"age": None if header.age is None else int(header.age)}


def answer_of_study(path: Path, intensity: Intensity, modality: str | None = "CT") -> Answer:
    """The volume at a path, where it lies and whose it is."""
    study = read_study(path, intensity=intensity, modality=modality)
    volume = study.volume
    place = (volume.spacing_mm, volume.origin_mm, volume.direction, volume.intensity)
    facts = {**patient(study.patient), "modality": study.modality, "body_part": study.body_part}
    return Answer(digest(volume.values, place), (*study.warnings, *study.remarks), facts)


def answer_of_picture(path: Path) -> Answer:
    """The grey plane at a path, and whose it is."""
    with open_image(path, PICTURE) as opened:
        plane, facts = opened.read()
    values: NDArray[np.float32] = plane
    return Answer(digest(values), (*facts.warnings, *facts.remarks), patient(facts.patient))


def choose(draw: Generator, kinds: Sequence[Kind]) -> Kind:
    """One of them; numpy's own would make an array of what it is given."""
    return kinds[int(draw.integers(len(kinds)))]
