"""Univariate thresholds and the choice of clinical columns: fixed once, on the training split, never at inference.

For every column and label, the cut and the side of it that maximise Youden's J, the true positive rate less the false
positive rate (Youden, Cancer 3, 1950); of every label the best columns, and of these all that any label chose.

    chosen = fit(columns, findings)
    network.metadata_selection.load_state_dict(chosen.buffers())
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

BEST = 10
"""Columns that each label keeps unless told otherwise."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cuts:
    """The best cut of every column for every label, [columns, labels] each.

    threshold: between two recorded values, or the only one. direction: 1 where values from the threshold on speak for
    the label, -1 where those up to it do. score: J, from 0 to 1.
    """

    threshold: Floats
    direction: Floats
    score: Floats


@dataclass(frozen=True)
class Selection:
    """What is fixed of the F columns that were kept, in their recorded order.

    feature_index: [F] their positions; fill_value: the median, for where a value is missing; mean, std: of the filled
    column; threshold, direction: of the label that it serves best; label: [F] that label's position; score: J there.
    """

    feature_index: NDArray[np.int64]
    fill_value: Floats
    mean: Floats
    std: Floats
    threshold: Floats
    direction: Floats
    label: NDArray[np.int64]
    score: Floats

    def buffers(self) -> dict[str, Tensor]:
        """State of a `MetadataSelection`."""
        names = ("fill_value", "mean", "std", "threshold", "direction")
        values = {name: torch.from_numpy(getattr(self, name).astype(np.float32)) for name in names}
        return {"feature_index": torch.from_numpy(self.feature_index), **values}

    def label_names(self, labels: Sequence[str]) -> list[str]:
        """For which label each threshold was chosen: the entry threshold_labels of a checkpoint's metadata."""
        return [labels[at] for at in self.label]


def fit(columns: ArrayLike, labels: ArrayLike, best: int = BEST) -> Selection:
    """Choose columns and their thresholds on a training split.

    A missing value is filled with its column's median before anything else, as it will be at inference. Equal scores
    are settled by the lower threshold, the earlier column and the earlier label: the outcome is always the same.

    Args:
        columns: [patients, columns] as recorded, NaN where missing.
        labels: [patients, labels], 1 where a finding is present, else 0.
        best: columns that each label keeps; all where there are no more.

    Raises:
        ValueError: other shapes, a column without any value, a label that all or none have, infinite values.
    """
    recorded, present = _checked(columns, labels)
    if best < 1:
        raise ValueError(f"selection: each label is to keep {best} columns; expected at least 1")
    fill = np.nanmedian(recorded, axis=0)
    filled = np.where(np.isnan(recorded), fill, recorded)
    cuts = univariate_cuts(filled, present)
    ranks = np.argsort(-cuts.score, axis=0, kind="stable")[:best]  # [best, labels]
    kept = np.unique(ranks)
    label = cuts.score[kept].argmax(axis=1)
    std = filled.std(axis=0)
    return Selection(
        feature_index=kept.astype(np.int64),
        fill_value=fill[kept],
        mean=filled.mean(axis=0)[kept],
        std=np.where(std > 0, std, 1.0)[kept],
        threshold=cuts.threshold[kept, label],
        direction=cuts.direction[kept, label],
        label=label.astype(np.int64),
        score=cuts.score[kept, label],
    )


def univariate_cuts(columns: Floats, labels: NDArray[np.bool_]) -> Cuts:
    """The best cut of each column [patients, columns] for each label [patients, labels]; no value may be missing.

    Every cut lies in the middle between two neighbouring recorded values, so that it is the same patients' whichever
    side is asked for. A column with one value has that as its threshold, and a score of 0.
    """
    positives = labels.sum(axis=0)
    rates = np.where(labels, 1 / positives, -1 / (len(labels) - positives))  # [patients, labels]
    shape = columns.shape[1], labels.shape[1]
    threshold, direction, score = np.empty(shape), np.ones(shape), np.zeros(shape)
    for at, column in enumerate(columns.T):
        values, places = np.unique(column, return_inverse=True)
        threshold[at] = values[0]
        if len(values) == 1:
            continue
        gains = np.zeros((len(values), labels.shape[1]))
        np.add.at(gains, places, rates)
        above = -gains.cumsum(axis=0)[:-1]  # J of "from the next value on": all rates add up to 0
        chosen = np.abs(above).round(12).argmax(axis=0)
        threshold[at] = ((values[:-1] + values[1:]) / 2)[chosen]
        own = np.take_along_axis(above, chosen[None], axis=0)[0]
        direction[at] = np.where(own < 0, -1.0, 1.0)
        score[at] = np.abs(own).round(12)
    return Cuts(threshold, direction, score)


def _checked(columns: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    recorded, present = np.asarray(columns, np.float64), np.asarray(labels)
    if recorded.ndim != 2 or present.ndim != 2 or len(recorded) != len(present) or not recorded.size:
        raise ValueError(
            f"selection: columns are {list(recorded.shape)} and labels {list(present.shape)}; expected "
            "[patients, columns] and [patients, labels] of the same patients"
        )
    if not np.isin(present, (0, 1)).all():
        raise ValueError("selection: labels hold other values than 0 and 1")
    if np.isinf(recorded).any():
        raise ValueError(f"selection: column {_first(np.isinf(recorded).any(axis=0))} holds infinite values")
    missing = np.isnan(recorded).all(axis=0)
    if missing.any():
        raise ValueError(f"selection: column {_first(missing)} has no value at all")
    alike = (present == present[0]).all(axis=0)
    if alike.any():
        raise ValueError(f"selection: label {_first(alike)} is the same for all patients, so that nothing tells it")
    return recorded, present.astype(bool)


def _first(where: ArrayLike) -> int:
    return int(np.argmax(where))
