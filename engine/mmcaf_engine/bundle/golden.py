"""golden.npz: stored cases of network inputs and outputs, and one raw case, which is a study and record as they come.

The raw case's arrays have names that begin with "raw."; no input or output can be called so. Texts are stored as UTF-8.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, Remedy
from ..manifest import Manifest, Precision, TensorSpec
from ..manifest.text import text_lengths
from ..volume import Arrays, Intensity, Volume
from .bundle import Bundle
from .npz import FAULTS, Npz

GOLDEN_NAME = "golden.npz"

RAW = "raw."
MOST_VALUES = 65_536
"""Values of windows that are stored, of all inputs together."""

_INTENSITIES: tuple[Intensity, ...] = ("hounsfield", "rescaled", "stored")


@dataclass(frozen=True)
class Sample:
    """Values at evenly strided flat positions of an array: 0, stride, 2 stride and so on.

    shape: of the whole array. values: float32 [1 + (size - 1) // stride].
    """

    shape: tuple[int, ...]
    stride: int
    values: NDArray[np.float32]

    def of(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same positions of another array of this shape."""
        taken: NDArray[np.float32] = array.reshape(-1)[:: self.stride]
        return taken


@dataclass(frozen=True)
class RawStudy:
    """What a caller would give: a volume for each volume input, or a plane for the image; a record; a report.

    plane: grey values from 0, black, to 255, white, uint8 [H, W].
    """

    volumes: dict[str, Volume] = field(default_factory=dict)
    plane: NDArray[np.uint8] | None = None
    record: dict[str, Any] | None = None
    report: str | None = None


@dataclass(frozen=True)
class RawCase:
    """A study and record, and what became of them when the bundle was exported.

    windows: volume or image input -> values of all windows. starts: first slice of each window of a longer series of
    three windows and a slice. features: every other input -> its array [1, ...]. probabilities: of each label, by the
    source network. own: precision -> probabilities by its own network, where these are what to compare with.
    """

    study: RawStudy
    windows: dict[str, Sample]
    starts: tuple[int, ...]
    features: Arrays
    probabilities: NDArray[np.float64]
    own: dict[Precision, NDArray[np.float64]] = field(default_factory=dict)

    def expected(self, precision: Precision) -> NDArray[np.float64]:
        """The probabilities to compare a precision's with."""
        return self.own.get(precision, self.probabilities)


def own_probabilities(precision: Precision) -> str:
    """Name of the array that holds a precision's own answer to the raw case."""
    return f"{RAW}probabilities@{precision}"


def sample(array: NDArray[np.float32], most: int) -> Sample:
    """At most `most` values of an array, from all over it: the stride shares no factor with a length of an axis."""
    stride = max(-(-array.size // most), 1)
    while any(gcd(stride, length) > 1 for length in array.shape):
        stride += 1
    return Sample(array.shape, stride, array.reshape(-1)[::stride].copy())


def raw_arrays(case: RawCase) -> dict[str, NDArray[Any]]:
    """The case as arrays by name, as they lie in golden.npz."""
    study = case.study
    arrays: dict[str, NDArray[Any]] = {}
    for name, volume in study.volumes.items():
        arrays[f"{RAW}volume.{name}"] = volume.values
        arrays[f"{RAW}spacing.{name}"] = np.array(volume.spacing_mm)
        arrays[f"{RAW}origin.{name}"] = np.array(volume.origin_mm)
        arrays[f"{RAW}direction.{name}"] = np.array(volume.direction)
        arrays[f"{RAW}intensity.{name}"] = _text(volume.intensity)
    if study.plane is not None:
        arrays[f"{RAW}plane"] = study.plane
    if study.record is not None:
        arrays[f"{RAW}record"] = _text(json.dumps(study.record, ensure_ascii=False))
    if study.report is not None:
        arrays[f"{RAW}report"] = _text(study.report)
    for name, found in case.windows.items():
        arrays[f"{RAW}windows.{name}"] = found.values
        arrays[f"{RAW}shape.{name}"] = np.array(found.shape, np.int64)
        arrays[f"{RAW}stride.{name}"] = np.array(found.stride, np.int64)
    arrays |= {f"{RAW}features.{name}": array for name, array in case.features.items()}
    arrays[f"{RAW}starts"] = np.array(case.starts, np.int64)
    arrays[f"{RAW}probabilities"] = case.probabilities
    return arrays | {own_probabilities(precision): values for precision, values in case.own.items()}


@contextmanager
def open_golden(bundle: Bundle) -> Iterator[Npz]:
    """The arrays of a bundle's golden.npz by name, each read when it is asked for, until the block ends.

    Raises:
        BundleError: the file, or what the block asks it for, is missing or damaged.
    """
    try:
        with bundle.open(GOLDEN_NAME) as stream:
            yield Npz(stream)
    except FAULTS as failure:
        raise BundleError(
            f"{bundle.folder}: {GOLDEN_NAME} cannot be used: {failure}.", Remedy("Export the bundle again.")
        ) from None


def read_cases(bundle: Bundle, precision: Precision) -> Arrays:
    """The stored cases: every input and output by name, each of the manifest's shape and type, N at least 1.

    Outputs are a precision's own answers where those are stored.

    Raises:
        BundleError: one is missing, damaged, or of another shape or type.
    """
    manifest, found = bundle.manifest, {}
    with open_golden(bundle) as arrays:
        for spec in (*manifest.inputs, *manifest.outputs):
            own = f"{spec.name}@{precision}"
            named = own if spec in manifest.outputs and own in arrays else spec.name
            _check_case(arrays, named, spec, manifest)
            found[spec.name] = arrays[named]
        batches = {len(array) for array in found.values()}
        lengths = {found[spec.name].shape[1] for spec in manifest.inputs if "L" in spec.shape}
        if len(batches) > 1 or len(lengths) > 1:
            raise ValueError(f"arrays of {sorted(batches)} cases, with texts of {sorted(lengths)} tokens")
    return found


def one_window(bundle: Bundle) -> Arrays:
    """The inputs of the first case, N = 1.

    Raises:
        BundleError: as `read_cases`.
    """
    cases = read_cases(bundle, "fp32")
    return {spec.name: cases[spec.name][:1] for spec in bundle.manifest.inputs}


def _check_case(arrays: Npz, name: str, spec: TensorSpec, manifest: Manifest) -> None:
    header = arrays.header(name)
    longest = max(text_lengths(manifest.text), default=0)
    if header.dtype != np.dtype(spec.dtype) or not spec.fits(header.shape, longest):
        wanted = ", ".join(map(str, spec.shape))
        raise ValueError(f"{name} is {header.dtype} {list(header.shape)}; expected {spec.dtype} [{wanted}]")


def read_raw_case(bundle: Bundle) -> RawCase | None:
    """The raw case of a bundle; None where it has none, as bundles of version 1 do.

    Raises:
        BundleError: it is incomplete or damaged.
    """
    manifest = bundle.manifest
    with open_golden(bundle) as arrays:
        if f"{RAW}probabilities" not in arrays:
            return None
        seen = [spec.name for spec in manifest.inputs if spec.kind in ("volume", "image")]
        others = [spec for spec in manifest.inputs if spec.name not in seen]
        return RawCase(
            study=_study(arrays, manifest),
            windows={name: _sample(arrays, name) for name in seen},
            starts=tuple(map(int, _shaped(arrays, f"{RAW}starts", None))),
            features={spec.name: arrays[f"{RAW}features.{spec.name}"].astype(spec.dtype) for spec in others},
            probabilities=_probabilities(arrays, f"{RAW}probabilities"),
            own={
                precision: _probabilities(arrays, own_probabilities(precision))
                for precision in manifest.models
                if own_probabilities(precision) in arrays
            },
        )


def _study(arrays: Mapping[str, NDArray[Any]], manifest: Manifest) -> RawStudy:
    plane = arrays[f"{RAW}plane"].astype(np.uint8) if manifest.image is not None else None
    if plane is not None and (plane.ndim != 2 or 0 in plane.shape):
        raise ValueError(f"{RAW}plane is {list(plane.shape)}")
    record = json.loads(_read_text(arrays, f"{RAW}record")) if f"{RAW}record" in arrays else None
    if record is not None and not isinstance(record, dict):
        raise ValueError(f"{RAW}record is no JSON object")
    return RawStudy(
        volumes={spec.name: _volume(arrays, spec.name) for spec in manifest.volumes},
        plane=plane,
        record=record,
        report=_read_text(arrays, f"{RAW}report") if f"{RAW}report" in arrays else None,
    )


def _volume(arrays: Mapping[str, NDArray[Any]], name: str) -> Volume:
    with np.errstate(invalid="ignore"):  # What int16 does not hold is no study of an export, and answers otherwise.
        values = arrays[f"{RAW}volume.{name}"].astype(np.int16)
    said = _read_text(arrays, f"{RAW}intensity.{name}")
    intensity = next((known for known in _INTENSITIES if known == said), None)
    if intensity is None or values.ndim != 3:
        raise ValueError(f"{RAW}volume.{name} is {list(values.shape)} of unknown intensity")
    first, second, third = (_triple(row) for row in _shaped(arrays, f"{RAW}direction.{name}", 3, 3))
    spacing = _triple(_shaped(arrays, f"{RAW}spacing.{name}", 3))
    origin = _triple(_shaped(arrays, f"{RAW}origin.{name}", 3))
    return Volume(values, intensity, spacing, origin, (first, second, third))


def _shaped(arrays: Mapping[str, NDArray[Any]], name: str, *lengths: int | None) -> NDArray[Any]:
    """An array of so many axes, each of its length or, for None, of any."""
    array = arrays[name]
    expected = tuple(length if wanted is None else wanted for length, wanted in zip(array.shape, lengths, strict=False))
    if array.ndim != len(lengths) or array.shape != expected:
        raise ValueError(f"{name} is {list(array.shape)}")
    return array


def _triple(row: Sequence[float] | NDArray[Any]) -> tuple[float, float, float]:
    first, second, third = row
    return float(first), float(second), float(third)


def _sample(arrays: Mapping[str, NDArray[Any]], name: str) -> Sample:
    shape = tuple(map(int, _shaped(arrays, f"{RAW}shape.{name}", None)))
    stride = int(arrays[f"{RAW}stride.{name}"].item())
    values = arrays[f"{RAW}windows.{name}"].astype(np.float32)
    if stride < 1 or min(shape) < 1 or values.shape != (1 + (prod(shape) - 1) // stride,):
        raise ValueError(f"{RAW}windows.{name} holds {values.size} values of {list(shape)}, each {stride}th")
    return Sample(shape, stride, values)


def _probabilities(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    values = arrays[name].astype(np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"{name} is {list(values.shape)}")
    return values


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


def _read_text(arrays: Mapping[str, NDArray[Any]], name: str) -> str:
    return arrays[name].astype(np.uint8).tobytes().decode()
