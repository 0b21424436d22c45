"""Occlusion: how far a label's score falls when a part of an input is hidden from the network.

It needs nothing of a network but its answers, so it is the control of every other map. Of the window that the answer
rests on most, one part after the other is replaced by a neutral value, and the network is run again (Zeiler, Fergus:
Visualizing and understanding convolutional networks, ECCV 2014). A part without which the score rises has a value below
0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..cancel import Progress, check
from ..inputs.prepare import Prepared
from ..inputs.windows import padding_value
from ..manifest import Manifest, PreprocessingSpec
from ..orientation import canonical
from ..volume import Arrays
from .aggregate import refuse_not_finite
from .explain import ExplanationMap

MOST_PARTS = 512
"""Hidden one after the other, of all inputs together: each is a window more."""
GRIDS = ((4, 8, 8), (4, 6, 6), (2, 6, 6), (2, 4, 4), (1, 4, 4))
"""Slices, rows and columns of parts, of a volume; the finest that stays within `MOST_PARTS` is taken."""
IMAGE_GRID = (1, 12, 12)
NEUTRAL_GREY = 0.0
"""Of an image, in each channel: what the mean grey of the images that the network was trained on becomes."""


class Network(Protocol):
    """What explanations need of a session."""

    @property
    def bundle(self) -> Bundle:
        """Whose network it is."""

    @property
    def windows_per_call(self) -> int:
        """Windows that one call of `run` should be given."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The outputs by name; see `Session.run`."""

    def explain(
        self, inputs: Mapping[str, NDArray[Any]], cotangent: NDArray[np.float32], progress: Progress | None = None
    ) -> Arrays:
        """The heat maps of one window by name; see `Session.explain`."""


@dataclass(frozen=True)
class Hideable:
    """One input of which parts can be hidden.

    volumes: how volumes are made ready; None of an image. grid: slices, rows and columns of parts.
    """

    name: str
    volumes: PreprocessingSpec | None
    grid: tuple[int, int, int]

    def over(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of it: of a volume [D, H, W] toward head, back and left; of an image [C, 1, H, W]."""
        return array[0][:, np.newaxis] if self.volumes is None else canonical(array[0, 0], self.volumes.axes)

    def neutral(self, array: NDArray[Any]) -> float:
        """What stands for nothing: of windows what pads a short series, of CT air; of a whole volume its mean."""
        if self.volumes is None:
            return NEUTRAL_GREY
        return float(array.mean(dtype=np.float64)) if self.volumes.windows is None else padding_value(self.volumes)

    def hidden(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """The input with one part after the other replaced, in the order of the grid."""
        neutral = self.neutral(array)
        for slices, rows, columns in boxes(self.over(array).shape[-3:], self.grid):
            changed = array.copy()
            self.over(changed)[..., slices, rows, columns] = neutral
            yield changed


@dataclass(frozen=True)
class Occlusion:
    """What is hidden of one window."""

    window: int
    inputs: tuple[Hideable, ...]

    @classmethod
    def of(cls, manifest: Manifest, window: int) -> "Occlusion":
        """The parts of every volume, or of the image; of an axis that is shorter than a grid, each place is one."""
        seen = [spec for spec in manifest.inputs if spec.kind in ("volume", "image")]
        volumes = manifest.preprocessing
        fitting = (grid for grid in GRIDS if prod(grid) * len(seen) <= MOST_PARTS)
        grid = IMAGE_GRID if volumes is None else next(fitting, GRIDS[-1])
        inputs = []
        for spec in seen:
            whole = Hideable(spec.name, volumes, grid)
            shape = whole.over(np.empty([1, *map(int, spec.shape[1:])], np.bool_)).shape[-3:]
            slices, rows, columns = map(min, grid, shape)
            inputs.append(Hideable(spec.name, volumes, (slices, rows, columns)))
        return cls(window, tuple(inputs))

    def __len__(self) -> int:
        """How many windows must be run."""
        return sum(prod(one.grid) for one in self.inputs)

    def maps(
        self,
        session: Network,
        prepared: Prepared,
        logits: NDArray[np.float32],
        direction: NDArray[np.float32],
        label: str,
        progress: Progress | None = None,
    ) -> tuple[ExplanationMap, ...]:
        """A map for each input; the same input, the same bits.

        Args:
            logits: float32 [N, K], of all windows, as the session gave them; of an ensemble [N, members, K].
            direction: float32 of the shape of one window's, the combination of them that is the label's score.
            progress: told of the stage "explain", in windows.

        Raises:
            BackendError: the runtime failed, or a score is not finite.
            CancelledError, DeadlineError: as `cancel.check`, between two calls of the network.
        """
        manifest = session.bundle.manifest
        whole = prepared.inputs(self.window, manifest)
        before = logits[self.window].astype(np.float64)
        falls: list[float] = []
        waiting = self._windows(whole)
        while len(falls) < len(self):
            check()
            count = min(session.windows_per_call, len(self) - len(falls))
            windows = [next(waiting) for _ in range(count)]
            batch = {name: np.concatenate([one[name] for one in windows]) for name in whole}
            after = session.run(batch)[manifest.score.name]
            refuse_not_finite((prepared.starts[self.window],) * count, after)
            falls += ((before - after).reshape(count, -1) @ direction.ravel()).tolist()
            if progress is not None:
                progress("explain", len(falls), len(self))
        maps, found = [], iter(falls)
        for one in self.inputs:
            values = np.array([next(found) for _ in range(prod(one.grid))], np.float32).reshape(one.grid)
            slices = (0, one.over(whole[one.name]).shape[-3])
            maps.append(
                ExplanationMap("occlusion", "Occlusion", one.name, self.window, label, values, slices, 0.0, False)
            )
        return tuple(maps)

    def _windows(self, whole: Arrays) -> Iterator[Arrays]:
        for one in self.inputs:
            for changed in one.hidden(whole[one.name]):
                yield {**whole, one.name: changed}


def boxes(shape: tuple[int, ...], grid: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """The parts of an array in the order of the grid's cells: place p of n lies in part p * parts // n, as drawn."""
    edges = [[-(-at * size // parts) for at in range(parts + 1)] for size, parts in zip(shape, grid, strict=True)]
    for cell in product(*(range(parts) for parts in grid)):
        yield tuple(slice(edges[axis][at], edges[axis][at + 1]) for axis, at in enumerate(cell))
