"""A prepared study through an open session: every window, as many at a time as suit the backend."""

import numpy as np

from ..cancel import Progress, check
from ..inputs.prepare import Prepared
from ..timing import span
from ..volume import Arrays
from .session import Session


def run_windows(
    session: Session, prepared: Prepared, progress: Progress | None = None, *, optional: bool = False
) -> Arrays:
    """Every output for every window, float32 [N, ...] by name; as many windows in flight as suit the backend.

    Args:
        optional: also those that the manifest calls optional.
    """
    answers = []
    for start in range(0, len(prepared), session.windows_per_call):
        check()
        end = min(start + session.windows_per_call, len(prepared))
        with span("copy_in"):
            windows = [prepared.inputs(at, session.bundle.manifest) for at in range(start, end)]
            batch = (
                windows[0]
                if len(windows) == 1
                else {name: np.concatenate([w[name] for w in windows]) for name in windows[0]}
            )
        answers.append(session.run(batch, optional=optional))
        if progress is not None:
            progress("infer", end, len(prepared))
    with span("copy_out"):
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
