"""Heat maps of an answer: which parts of the input moved it, or were attended to, as values over the slices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, Remedy
from ..manifest import AttentionSpec, Manifest
from ..orientation import canonical

Method = Literal["attention", "gradcam", "occlusion"]


@dataclass(frozen=True, eq=False)
class ExplanationMap:
    """One heat map, over one window of one input.

    method: what it is made by. title: what it is of, as pictures name it.
    input: the volume or image input that it lies over. window: which one.
    label: that it speaks for; None where all share it.
    values: float32 [D, R, C], parts of equal size: slices from the feet upwards, rows toward the back, columns toward
        the patient's left; [1, R, C] of an image, and where all slices share it.
    slices: the first slice of the window that it covers, and one past the last.
    floor: the value of nothing; what lies below is not drawn.
    localises: whether it was shown to point at lesions; see `manifest.PointingStudy`.
    """

    method: Method
    title: str
    input: str
    window: int
    label: str | None
    values: NDArray[np.float32] = field(repr=False)
    slices: tuple[int, int]
    floor: float = 0.0
    localises: bool = False


def attention_maps(
    manifest: Manifest, outputs: Mapping[str, NDArray[np.float32]], window: int
) -> tuple[ExplanationMap, ...]:
    """Of every attention output over a volume or the image.

    Args:
        outputs: of all windows, by name, as `run_windows` gives them with the optional ones.
        window: which one.
    """
    axes = None if manifest.preprocessing is None else manifest.preprocessing.axes
    maps = []
    for spec in manifest.mapped:
        weighed = manifest.weighed(spec)
        depth = 1 if axes is None else int(weighed.shape[2 + manifest.of_volumes.slice_axis])
        weights = weight_map(spec, outputs[spec.output][window], axes)
        first, end = spec.slices or (0, depth)
        if axes is not None and "I" in axes:  # The input's own slices run to the feet.
            first, end = depth - end, depth - first
        maps.append(
            ExplanationMap(
                method="attention",
                title=spec.title,
                input=weighed.name,
                window=window,
                label=None,
                values=weights[np.newaxis],
                slices=(first, end),
                floor=float(weights.mean()),
            )
        )
    return tuple(maps)


def gradcam_maps(
    manifest: Manifest, found: Mapping[str, NDArray[np.float32]], window: int, label: str
) -> tuple[ExplanationMap, ...]:
    """Of every map of the manifest's graph.

    Args:
        found: of one window, by name, [1, *grid], as `Session.explain` gives them.
        window: which one. label: whose score they are of.

    Raises:
        BackendError: a value is not finite.
    """
    explain, volumes = manifest.explain, manifest.preprocessing
    if explain is None:
        return ()
    localises = explain.judged is not None and explain.judged.localises
    maps = []
    for spec in explain.maps:
        values, depth = found[spec.output], 1
        if not np.isfinite(values).all():
            raise BackendError(
                f"The heat map {spec.title!r} holds a value that is no number.",
                Remedy("Try another backend", option="backend", value="onnxruntime"),
            )
        if volumes is not None:
            size = next(one.shape for one in manifest.inputs if one.name == spec.input)
            values, depth = canonical(values[0], volumes.axes), int(size[2 + volumes.slice_axis])
        maps.append(
            ExplanationMap(
                method=explain.method,
                title=spec.title,
                input=spec.input,
                window=window,
                label=label,
                values=values,
                slices=(0, depth),
                localises=localises,
            )
        )
    return tuple(maps)


def weight_map(spec: AttentionSpec, weights: NDArray[np.float32], axes: str | None) -> NDArray[np.float32]:
    """The weights [rows * columns] of one window as [R, C]: over a slice, toward the back and the left, or the image.

    Args:
        axes: of the volume inputs; None of an image.
    """
    if spec.grid is None:
        raise ValueError(f"{spec.output} weighs no parts")  # Never: see Manifest.mapped.
    if axes is None:
        return weights.reshape(spec.grid)
    shape = [*spec.grid]
    shape.insert(next(at for at, letter in enumerate(axes) if letter in "SI"), 1)
    over: NDArray[np.float32] = canonical(weights.reshape(shape), axes)[0]
    return over
