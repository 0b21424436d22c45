"""What goes along with quantising: lines of text, progress, and what an interrupted run has measured."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine import __version__
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.bundle.models import model_hashes
from mmcaf_engine.cache.journal import Journal
from mmcaf_engine.cancel import Progress
from mmcaf_engine.machine.cpu import processor, usable_cores

Tell = Callable[[str], None]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Course:
    """How the work is followed, and what it need not measure again.

    tell: called with a line of text at each step. progress: of each phase that takes long, (phase, done, total).
    """

    tell: Tell = lambda _line: None
    progress: Progress = lambda _phase, _done, _total: None
    journal: Journal = field(default_factory=lambda: Journal(None))

    @classmethod
    def of(cls, bundle: Bundle, tell: Tell, progress: Progress | None) -> "Course":
        """With the journal of a bundle's FP32 network on this machine."""
        journal = Journal.of(
            {
                "work": "quantize",
                "program": __version__,
                "model": model_hashes(bundle.manifest, "fp32"),
                "processor": [str(fact) for fact in astuple(processor())],
                "threads": usable_cores(),
            }
        )
        if len(journal):
            tell(f"going on from an interrupted run, with {len(journal)} of its measurements")
        return cls(tell, progress or (lambda _phase, _done, _total: None), journal)

    def measured(self, facts: object, measure: Callable[[], _Value]) -> _Value:
        """As `Journal.measured`."""
        return self.journal.measured(facts, measure)


def model_sha256(model: Path) -> list[str]:
    """Of a model, and of the weights beside it."""
    files = [model, model.with_name(f"{model.name}.data")]
    return [file_sha256(file) for file in files if file.exists()]


def arrays_sha256(arrays: Iterable[Mapping[str, NDArray[Any]]]) -> str:
    """Of windows, in order, each with its names, shapes and types."""
    digest = hashlib.sha256()
    for one in arrays:
        for name in sorted(one):
            array = np.ascontiguousarray(one[name])
            digest.update(f"{name} {array.dtype} {array.shape};".encode())
            digest.update(array.data)
    return digest.hexdigest()
