"""What is learnt from runs of the FP32 network on calibration windows: ranges, and what each layer does in INT8."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.machine.memory import lacks_memory, out_of_memory

from .calibration import Histograms, Method, Window, histograms
from .course import Course
from .effects import Trial, root_mean_square
from .layers import Layer
from .side_by_side import in_order, torch_in_one_thread, workers

Alone = Callable[[Sequence[str]], float]


@dataclass(frozen=True)
class Observation:
    """errors: what is decided at once -> root mean square of the logit's change by it alone; ranges: by method."""

    errors: dict[str, float]
    ranges: dict[Method, dict[str, float]]


def observe(
    model: Path,
    layers: Sequence[Layer],
    choices: Mapping[str, Sequence[str]],
    output: str,
    largest: Mapping[str, float],
    trial: Trial,
    methods: Sequence[Method],
    alone: Alone,
    course: Course,
) -> Observation:
    """Run a network on the windows of a trial, once forwards and once backwards each.

    One that PyTorch cannot run so has each choice tried in INT8 by itself, which takes long; `course` is told. Want of
    memory is no such case: the layers that are chosen must not depend on it.

    Args:
        layers: those that may become INT8.
        choices: what is decided at once -> its layers.
        output: the logits' name.
        largest: value -> its largest magnitude.
        alone: tries these layers in INT8 and gives the root mean square of the logit's change.

    Raises:
        BackendError: memory ran out.
    """

    def measure() -> dict[str, Any]:
        errors, seen = _observed(model, layers, choices, output, largest, trial, alone, course)
        return {"errors": errors, "ranges": {method: seen.ranges(method) for method in methods}}

    names = sorted(node for members in choices.values() for node in members)
    return Observation(**course.measured(["observed", trial.facts, names, dict(largest), list(methods)], measure))


def _observed(
    model: Path,
    layers: Sequence[Layer],
    choices: Mapping[str, Sequence[str]],
    output: str,
    largest: Mapping[str, float],
    trial: Trial,
    alone: Alone,
    course: Course,
) -> tuple[dict[str, float], Histograms]:
    import torch

    from mmcaf_kernels.graph import UnsupportedGraphError

    from .sensitivity import Sensitivities

    course.tell(f"looking for what each layer does in INT8, on {len(trial.windows)} windows")
    read = {name: largest[name] for name in sorted({layer.input for layer in layers})}

    def run(window: Window) -> tuple[NDArray[np.float64], Histograms]:
        torch.set_num_threads(1)  # of this thread, too
        counted = Histograms(read)
        return network.of(window, read, lambda name, value: counted.add(name, value.numpy())), counted

    changes, seen = [], Histograms(read)
    try:
        network = Sensitivities(model, layers, output)
        count = workers(max(map(network.memory, trial.windows)))
        with torch_in_one_thread():
            for done, (change, counted) in enumerate(in_order(run, trial.windows, count), start=1):
                changes.append(change)
                seen.include(counted)
                course.progress("windows", done, len(trial.windows))
    except (UnsupportedGraphError, RuntimeError) as failure:
        if lacks_memory(failure):
            raise out_of_memory("looking for what each layer does in INT8", failure) from failure
        reason = str(failure).splitlines()[0]
        course.tell(f"PyTorch does not run the network backwards ({reason}): each layer is tried in INT8 by itself")
        return _tried(choices, alone, course), histograms(model, read, trial.windows)
    places = {layer.node: at for at, layer in enumerate(layers)}
    together = np.stack(changes)  # [windows, layers, logits]
    return {
        name: root_mean_square(together[:, [places[node] for node in members]].sum(axis=1))
        for name, members in choices.items()
    }, seen


def _tried(choices: Mapping[str, Sequence[str]], alone: Alone, course: Course) -> dict[str, float]:
    errors: dict[str, float] = {}
    for done, (name, members) in enumerate(choices.items(), start=1):
        errors[name] = alone(members)
        course.progress("layers in INT8", done, len(choices))
    return errors
