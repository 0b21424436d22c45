"""MONAI's preprocessing as the manifest's steps: what maps exactly is taken, and everything else is refused by name.

MONAI's transforms are listed in its documentation, https://docs.monai.io/en/stable/transforms.html.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from mmcaf_engine.errors import ExportError, Remedy
from mmcaf_engine.manifest import (
    ClipScaleStep,
    ResizeVolumeStep,
    StandardiseStep,
    Step,
    SubtractStep,
    describe_validation,
)

from .references import Expression, plain, shown

PREFIX = "monai."
"""Settings that change what the bundle says: monai.TRANSFORM.ARGUMENT=VALUE, monai.network.ARGUMENT=VALUE."""

_READING = frozenset(
    {
        *("LoadImage", "EnsureChannelFirst", "EnsureType", "ToTensor", "ToDevice", "AddChannel", "AsChannelFirst"),
        *("CastToType", "FromMetaTensor", "ToMetaTensor", "SelectItems", "DeleteItems", "ToNumpy", "Identity"),
    }
)
"""What leaves the values as they are."""
_FLOAT32 = (None, "float32", "$torch.float32", "$torch.float", "$np.float32", "$numpy.float32")
"""Spellings of the one type that values have here; compared as text."""
_LEFT_OUT = "_disabled_"
_IGNORED = frozenset({"keys", "allow_missing_keys", "meta_keys", "meta_key_postfix", "dtype", "track_meta"})


@dataclass
class Mapped:
    """What was read of a list of transforms.

    axes: the letters of Orientation; None without one. size: of the volume in the order of the axes. steps: of the
    manifest. scale, shift: what the network does to the values after them. changed: in words, what a setting changed.
    """

    axes: str | None = None
    size: tuple[int, int, int] | None = None
    steps: list[Step] = field(default_factory=list)
    scale: float = 1.0
    shift: float = 0.0
    changed: list[str] = field(default_factory=list)


class _UnmappedError(Exception):
    """Why a transform is none of the manifest's steps."""


def listed(composed: Any, name: str) -> list[dict[str, Any]]:
    """The transforms of a Compose, or of a list of them, in order.

    Raises:
        ExportError: it is no list of transforms, or an expression.
    """
    found: Any = composed
    while isinstance(found, dict) and _short(found) == "Compose":
        found = found.get("transforms", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) and "_target_" in one for one in found):
        raise ExportError(
            f"{name} is no list of transforms as data: {shown(found)}. Expressions are not evaluated.",
            'Write it as {"_target_": "Compose", "transforms": [{"_target_": "...", ...}]}.',
        )
    flat: list[dict[str, Any]] = []
    for one in found:
        flat += listed(one, name) if _short(one) == "Compose" else [one]
    return flat


def overridden(
    transforms: Sequence[Mapping[str, Any]], overrides: Mapping[str, Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The transforms with the arguments that settings give them, without those that are left out, and what changed."""
    kept, changed = [], []
    for one in transforms:
        name = str(one["_target_"]).rpartition(".")[2]
        given = overrides.get(name, {})
        changed += [
            f"{name} left out"
            if key == _LEFT_OUT and value is True
            else f"{name} with {key} = {shown(value)} in place of {shown(one.get(key))}"
            for key, value in given.items()
        ]
        merged = {**one, **given}
        if merged.get(_LEFT_OUT, False) is not True:
            kept.append(merged)
    return kept, changed


def map_transforms(transforms: Sequence[Mapping[str, Any]], where: str) -> Mapped:
    """The manifest's steps for a list of transforms.

    Raises:
        ExportError: one that does not map, and what to do about it: every such one is named at once.
    """
    found = Mapped()
    problems: dict[str, str] = {}
    for one in transforms:
        name = str(one["_target_"]).rpartition(".")[2]
        try:
            _map(one, found)
        except _UnmappedError as reason:
            problems.setdefault(name, str(reason))
        except ValidationError as failure:
            problems.setdefault(name, describe_validation(failure, "it"))
    if not (math.isfinite(found.scale) and math.isfinite(found.shift)):
        raise ExportError(f"{where}: its numbers together are beyond what single precision holds.")
    if problems:
        told = "; ".join(f"{name}: {reason}" for name, reason in problems.items())
        raise ExportError(
            f"{where}: {len(problems)} of its transforms have no equal here, so that answers would differ from the "
            f"bundle's. {told}.",
            Remedy(
                "Where the network's makers agree to do without one, leave it out; or change an argument",
                option="set",
                value=f"{PREFIX}{next(iter(problems))}.{_LEFT_OUT}=true",
            ),
        )
    return found


def _map(one: Mapping[str, Any], found: Mapped) -> None:
    target, short = one["_target_"], _short(one)
    if isinstance(target, Expression) or not isinstance(target, str) or not _is_monais(target):
        raise _UnmappedError("it is none of MONAI's own, and code of others is not imported")
    arguments = {key: value for key, value in one.items() if not key.startswith("_") and key not in _IGNORED}
    if one.get(_LEFT_OUT, False) is not False:
        raise _UnmappedError(f"whether it counts is {shown(one[_LEFT_OUT])}, which is not evaluated")
    if short in _READING:
        if one.get("dtype") not in _FLOAT32:
            raise _UnmappedError(f"its dtype is {shown(one['dtype'])}, and values are float32 here")
        return
    if unclear := [key for key, value in arguments.items() if not plain(value)]:
        raise _UnmappedError(f"its {unclear[0]} is {shown(arguments[unclear[0]])}, which is not evaluated")
    mapper = _MAPPERS.get(short)
    if mapper is None:
        raise _UnmappedError(_REASONS.get(short, "nothing here does the same"))
    mapper(arguments, found)


def _orientation(arguments: Mapping[str, Any], found: Mapped) -> None:
    axes = arguments.get("axcodes")
    if arguments.get("as_closest_canonical"):
        axes = "RAS"
    if not isinstance(axes, str) or len(axes) != 3:
        raise _UnmappedError(f"axcodes is {shown(axes)}; three letters such as RAS are expected")
    if found.size is not None:
        raise _UnmappedError("it comes after the resize, which is read in its order of axes")
    found.axes = axes


def _scale_range(arguments: Mapping[str, Any], found: Mapped) -> None:
    low, high = _number(arguments, "a_min"), _number(arguments, "a_max")
    start, end = arguments.get("b_min"), arguments.get("b_max")
    if start is None or end is None:
        raise _UnmappedError("it has no b_min and b_max")
    start, end = _number(arguments, "b_min"), _number(arguments, "b_max")
    if arguments.get("clip", False) is not True:
        raise _UnmappedError("clip is not true, and values here are clipped")
    if not (low < high and start < end):
        raise _UnmappedError(f"a_min {low:g} must be below a_max {high:g}, and b_min {start:g} below b_max {end:g}")
    found.steps.append(ClipScaleStep(lower=(low - found.shift) / found.scale, upper=(high - found.shift) / found.scale))
    found.scale, found.shift = end - start, start


def _normalise(arguments: Mapping[str, Any], found: Mapped) -> None:
    if arguments.get("nonzero", False) is not False:
        raise _UnmappedError("nonzero is true, and here all voxels are normalised together")
    given = [arguments.get(key) for key in ("subtrahend", "divisor")]
    if given == [None, None]:
        found.steps.append(StandardiseStep())
        found.scale, found.shift = 1.0, 0.0
        return
    if None in given:
        raise _UnmappedError("it gives one of subtrahend and divisor, and takes the other from the image")
    subtrahend, divisor = (_first(arguments, key) for key in ("subtrahend", "divisor"))
    if divisor <= 0:
        raise _UnmappedError(f"divisor is {divisor:g}; a number above 0 is expected")
    found.scale, found.shift = found.scale / divisor, (found.shift - subtrahend) / divisor


def _resize(arguments: Mapping[str, Any], found: Mapped) -> None:
    size = arguments.get("spatial_size")
    mode = str(arguments.get("mode", "area")).casefold().rpartition(".")[2]
    if arguments.get("size_mode", "all") != "all":
        raise _UnmappedError("size_mode is not all")
    if arguments.get("anti_aliasing", False) is not False:
        raise _UnmappedError("anti_aliasing is true")
    if mode != "area":
        raise _UnmappedError(f"mode is {mode}, and volumes are resized here by mode area, plain means of voxels")
    if not (isinstance(size, list) and len(size) == 3 and all(type(side) is int and side > 0 for side in size)):
        raise _UnmappedError(f"spatial_size is {shown(size)}; three whole numbers are expected")
    if found.size is not None:
        raise _UnmappedError("it comes a second time")
    found.size = (size[0], size[1], size[2])
    found.steps.append(ResizeVolumeStep(size=found.size))


def subtracted(found: Mapped) -> Mapped:
    """The same with a mere shift as a step of the manifest."""
    if found.scale == 1 and found.shift:
        found.steps.append(SubtractStep(value=-found.shift))
        found.shift = 0.0
    return found


_MAPPERS: Mapping[str, Callable[[Mapping[str, Any], Mapped], None]] = {
    "Orientation": _orientation,
    "ScaleIntensityRange": _scale_range,
    "NormalizeIntensity": _normalise,
    "Resize": _resize,
}
_REASONS: Mapping[str, str] = {
    "Spacing": "series are not resampled here to voxels of a given size",
    "CropForeground": "volumes are not cropped here to their foreground",
    "ScaleIntensity": "values are not scaled here by the image's own smallest and largest",
    "ScaleIntensityRangePercentiles": "values are not scaled here by the image's own percentiles",
    "CenterSpatialCrop": "volumes are not cropped here",
    "SpatialCrop": "volumes are not cropped here",
    "SpatialPad": "volumes are not padded here",
    "ResizeWithPadOrCrop": "volumes are neither padded nor cropped here",
    "DivisiblePad": "volumes are not padded here",
    "Lambda": "it is code, which is not run",
}


def _short(one: Mapping[str, Any]) -> str:
    """A transform's name without its module and without the d, D or Dict of those that take a dictionary."""
    name = str(one.get("_target_", "")).rpartition(".")[2]
    for ending in ("Dict", "d", "D"):
        bare = name.removesuffix(ending)
        if bare != name and (bare in _READING or bare in _MAPPERS or bare in _REASONS or bare[-1:].islower()):
            return bare
    return name


def _is_monais(target: str) -> bool:
    module = target.rpartition(".")[0]
    return module in ("", "monai") or module == "monai.transforms" or module.startswith("monai.transforms.")


def _number(arguments: Mapping[str, Any], key: str) -> float:
    value = arguments.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _UnmappedError(f"its {key} is {shown(value)}; a number is expected")
    return float(value)


def _first(arguments: Mapping[str, Any], key: str) -> float:
    """A number, or the only one of a list of one channel."""
    value = arguments.get(key)
    if isinstance(value, list) and len(value) == 1:
        return _number({key: value[0]}, key)
    return _number(arguments, key)
