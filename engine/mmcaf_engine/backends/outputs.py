"""What a runtime gives back, checked against the manifest's outputs."""

from collections.abc import Sequence

import numpy as np

from ..errors import BackendError
from ..manifest import TensorSpec
from ..volume import Arrays
from .remedies import OTHER_BACKEND


def joined(answers: Sequence[Arrays], specs: Sequence[TensorSpec], called: str) -> Arrays:
    """The outputs of several windows, each with N = 1, in one array each.

    Args:
        called: the backend, in an error.

    Raises:
        BackendError: an output is missing, or of the wrong shape or type.
    """
    for spec in specs:
        for answer in answers:
            _check(answer, spec, called)
    return {spec.name: np.concatenate([answer[spec.name] for answer in answers]) for spec in specs}


def _check(answer: Arrays, spec: TensorSpec, called: str) -> None:
    found: object = answer.get(spec.name)
    free = {"N": 1}
    expected = [free.get(axis, axis) if isinstance(axis, str) else axis for axis in spec.shape]
    if isinstance(found, np.ndarray):
        fits = len(found.shape) == len(expected) and all(
            isinstance(axis, str) or size == axis for size, axis in zip(found.shape, expected, strict=True)
        )
        if fits and found.dtype == np.dtype(spec.dtype):
            return
        got = f"{found.dtype} {list(found.shape)}"
    else:
        got = "nothing" if found is None else type(found).__name__
    wanted = f"{spec.dtype} [{', '.join(map(str, expected))}]"
    raise BackendError(f"{called}: output {spec.name}: expected {wanted}, got {got}.", OTHER_BACKEND)
