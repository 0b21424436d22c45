"""What a runtime gives back, checked against the manifest's outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BackendError
from ..manifest import TensorSpec
from ..volume import Arrays
from .declared import in_words, not_as_listed
from .remedies import OTHER_BACKEND

Given = Mapping[str, Any]
"""What a runtime gives back for one window: by name, arrays of N = 1 unless it is wrong."""


def joined(
    answers: Sequence[Given],
    windows: int,
    specs: Sequence[TensorSpec],
    called: str,
    model: str | None = None,
    length: int | None = None,
) -> Arrays:
    """The outputs of several windows, each with N = 1, in one array each.

    Args:
        windows: how many there are.
        called: the backend, in an error.
        model: the name of the network's file, where a wrong output is its fault; None where it is the backend's.
        length: of the text inputs, and so "L" of outputs; None for any.

    Raises:
        BackendError: a window or an output is missing, or an output of the wrong shape or type.
        BundleError: the same of an output, where it is the model's fault.
    """
    if len(answers) != windows:
        raise BackendError(f"{called}: expected outputs of {windows} windows, got {len(answers)}.", OTHER_BACKEND)
    for spec in specs:
        for answer in answers:
            _check(answer, spec, called, model, length)
    return {spec.name: np.concatenate([answer[spec.name] for answer in answers]) for spec in specs}


def _check(answer: Given, spec: TensorSpec, called: str, model: str | None, length: int | None) -> None:
    found: object = answer.get(spec.name)
    free = {"N": 1} if length is None else {"N": 1, "L": length}
    expected = [free.get(axis, axis) if isinstance(axis, str) else axis for axis in spec.shape]
    if isinstance(found, np.ndarray):
        fits = len(found.shape) == len(expected) and all(
            isinstance(axis, str) or size == axis for size, axis in zip(found.shape, expected, strict=True)
        )
        if fits and found.dtype == np.dtype(spec.dtype):
            return
        got = in_words(str(found.dtype), found.shape)
    else:
        got = "nothing" if found is None else type(found).__name__
    wanted = in_words(spec.dtype, expected)
    if model is not None:
        raise not_as_listed(model, f"output {spec.name}", wanted, got)
    raise BackendError(f"{called}: output {spec.name}: expected {wanted}, got {got}.", OTHER_BACKEND)
