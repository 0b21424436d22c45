"""The files of a bundle that make one network of it: a model, and the weights beside it."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..errors import BundleError, printable
from ..manifest import COTANGENT, Manifest, Precision, TensorSpec
from .external_data import external_locations


def model_hashes(manifest: Manifest, precision: Precision, model: str | None = None) -> list[str]:
    """SHA-256 of a precision's model, or one of its parts, and of the weights beside it, as the manifest has them."""
    named = model_files(manifest, precision, model or manifest.models[precision])
    return [manifest.files[name].sha256 for name in named]


def model_files(manifest: Manifest, precision: Precision, model: str) -> list[str]:
    """A model and what it may be read with: weights beside it, or beside the whole network if it is a part of one."""
    named = (model, f"{model}.data", f"{manifest.models[precision]}.data")
    return [name for name in dict.fromkeys(named) if name in manifest.files]


def check_weights(folder: Path, manifest: Manifest, precision: Precision, model: str, *, shown: Path) -> None:
    """Refuse a model that reads weights from any other file than `model_files`.

    Args:
        folder: that the model lies in, by its name.

    Raises:
        BundleError: it does, or it is no ONNX model.
        OSError: it cannot be read.
    """
    weights = model_files(manifest, precision, model)[1:]
    for location in sorted(external_locations(folder / model)):
        if "\\" in location or (PurePosixPath(model).parent / location).as_posix() not in weights:
            raise BundleError(
                f"{shown}: {model} reads weights from {printable(location, 200)!r}, expected "
                f"{' or '.join(weights) or 'the model itself'}: no hash is known of any other file.",
                "Export the bundle again.",
            )


def check_all_weights(folder: Path, manifest: Manifest, *, shown: Path) -> None:
    """As `check_weights`, of every model of a bundle, and of the graph that draws its heat maps."""
    for precision, model in _networks(manifest):
        check_weights(folder, manifest, precision, model, shown=shown)
    if (graph := explaining_manifest(manifest)) is not None:
        check_weights(folder, graph, "fp32", graph.models["fp32"], shown=shown)


def explaining_manifest(manifest: Manifest) -> Manifest | None:
    """The manifest as if the graph that draws heat maps were its network, in FP32; None where there is no such graph.

    Its inputs are the network's and the cotangent, its outputs the maps.
    """
    spec = manifest.explain
    if spec is None:
        return None
    cotangent = TensorSpec(name=COTANGENT, kind="cotangent", shape=("N", *manifest.score.shape[1:]))
    maps = tuple(TensorSpec(name=entry.output, kind="map", shape=("N", *entry.grid)) for entry in spec.maps)
    return manifest.model_copy(
        update={
            "name": f"{manifest.name}, its heat maps",
            "inputs": (*manifest.inputs, cotangent),
            "outputs": maps,
            "models": {"fp32": spec.file},
        }
    )


def _networks(manifest: Manifest) -> Iterator[tuple[Precision, str]]:
    """Every model with its precision, those of parts too."""
    yield from manifest.models.items()
    for precision, files in () if manifest.parts is None else manifest.parts.models.items():
        yield from ((precision, files.text), (precision, files.rest))
