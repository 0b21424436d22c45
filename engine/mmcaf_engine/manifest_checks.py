"""What must agree within a manifest; each violation is a ValueError that says what does not."""

from typing import TYPE_CHECKING

from .manifest_network import TEXT_KINDS

if TYPE_CHECKING:
    from .manifest import Manifest

_AT_MOST_ONE = ("image", "table", *TEXT_KINDS)
_PARTS = {"volume": "preprocessing", "image": "image", "table": "table", "tokens": "text", "token_mask": "text"}
"""Kind of input -> the part of the manifest that tells how it is made; each needs the other."""


def check_consistent(manifest: "Manifest") -> None:
    """Check what no single field of a manifest can tell.

    Raises:
        ValueError: two parts of it contradict each other.
    """
    _check_files(manifest)
    names = [spec.name for spec in (*manifest.inputs, *manifest.outputs)]
    if len(set(names)) != len(names):
        raise ValueError("two inputs or outputs share a name")
    _check_inputs(manifest)
    _check_parts(manifest)
    _check_volumes(manifest)
    _check_shapes(manifest)
    _check_labels(manifest)
    _check_outputs(manifest)


def _check_files(manifest: "Manifest") -> None:
    text = [] if manifest.text is None else [manifest.text.vocabulary]
    parts = [] if manifest.parts is None else manifest.parts.models.values()
    cut = [file for part in parts for file in (part.text, part.rest)]
    for file in (*manifest.models.values(), *cut, "golden.npz", *text):
        if file not in manifest.files:
            raise ValueError(f"files does not list {file}")
    if "fp32" not in manifest.models:
        raise ValueError("models has no fp32 entry")
    for name in manifest.files:
        if not _is_plain_name(name):
            raise ValueError(f"file name {name!r} is not a plain name")


def _check_inputs(manifest: "Manifest") -> None:
    kinds: list[str] = [spec.kind for spec in manifest.inputs]
    if unknown := sorted(set(kinds) - set(_PARTS)):
        raise ValueError(f"no input can be of the kind {', '.join(unknown)}")
    if repeated := [kind for kind in _AT_MOST_ONE if kinds.count(kind) > 1]:
        raise ValueError(f"there is more than one input of the kind {repeated[0]}")
    if "volume" in kinds and "image" in kinds:
        raise ValueError("inputs must hold volumes or one image, not both")
    for kind, part in _PARTS.items():
        if (kind in kinds) != (getattr(manifest, part) is not None):
            raise ValueError(f"inputs of the kind {kind} and the manifest's {part} must come together")
    if manifest.table is not None and manifest.text is not None:
        both = sorted({field.name for field in manifest.table.fields} & set(manifest.text.fields))
        if both:
            raise ValueError(f"{', '.join(both)}: a field of the record is either the table's or the text's")


def _check_parts(manifest: "Manifest") -> None:
    parts = manifest.parts
    if parts is None:
        return
    if unknown := sorted(parts.models.keys() - manifest.models.keys()):
        raise ValueError(f"text.parts are of {', '.join(unknown)}, of which models has no network")
    if parts.words.kind != "words":
        raise ValueError(f"text.parts.words is of the kind {parts.words.kind}; words is expected")
    if parts.words.name in [spec.name for spec in (*manifest.inputs, *manifest.outputs)]:
        raise ValueError(f"text.parts.words shares its name, {parts.words.name}, with an input or output")
    files = [*manifest.models.values(), *(file for part in parts.models.values() for file in (part.text, part.rest))]
    if repeated := sorted({file for file in files if files.count(file) > 1}):
        raise ValueError(f"{', '.join(repeated)}: each precision's network and its parts are files of their own")
    if all(spec.kind in TEXT_KINDS for spec in manifest.inputs):
        raise ValueError("text.parts are of networks that read more than a report")


def _check_volumes(manifest: "Manifest") -> None:
    matched, volumes = [entry.input for entry in manifest.series], [spec.name for spec in manifest.volumes]
    if matched != volumes and (matched or len(volumes) > 1):
        raise ValueError(f"series must tell which series each volume input is, in this order: {volumes}")
    if manifest.preprocessing is None:
        return
    windows, size = manifest.preprocessing.windows, manifest.preprocessing.size
    if windows is not None and len(volumes) > 1:
        raise ValueError("windows are of one series; a network of several takes each as a whole (windows: null)")
    for spec in manifest.volumes:
        at = 2 + manifest.preprocessing.slice_axis
        if windows is not None and spec.shape[at : at + 1] != (windows.slices,):
            raise ValueError("the volume input's depth differs from preprocessing.windows.slices")
        if size is not None and spec.shape[2:] != size:
            raise ValueError(f"the input {spec.name} is {spec.shape[2:]}; resize_volume gives {size}")


def _check_shapes(manifest: "Manifest") -> None:
    if manifest.image is not None:
        spec, expected = manifest.input("image"), ("N", manifest.image.channels, *manifest.image.size)
        if spec.shape != expected:
            raise ValueError(f"the input {spec.name} is {spec.shape}; channels and size of image give {expected}")
    if manifest.table is not None and manifest.input("table").shape != ("N", manifest.table.width):
        raise ValueError(
            f"the table input's width differs from the number of table fields and cuts, {manifest.table.width}"
        )


def _check_labels(manifest: "Manifest") -> None:
    activation, labels = manifest.activation, manifest.labels
    if len(set(labels)) != len(labels):
        raise ValueError("two labels share a name")
    if activation == "sigmoid" and len(labels) != 2:
        raise ValueError("activation sigmoid tells two labels apart; softmax is for more")
    if activation == "softmax" and len(labels) < 2:
        raise ValueError("activation softmax tells two labels or more apart; independent can be of one")
    if (activation == "sigmoid") != (manifest.threshold is not None):
        raise ValueError(
            "threshold belongs to activation sigmoid, which needs it; softmax takes the largest, and independent has "
            "thresholds"
        )
    if len(manifest.thresholds) != (len(labels) if activation == "independent" else 0):
        raise ValueError("thresholds belongs to activation independent, which needs one for each label")


def _check_outputs(manifest: "Manifest") -> None:
    score, attention = manifest.outputs[0], manifest.outputs[1:]
    if [spec.kind for spec in manifest.outputs] != ["score"] + ["attention"] * len(attention):
        raise ValueError("outputs must hold one score, and attention after it")
    scores = 1 if manifest.activation == "sigmoid" else len(manifest.labels)
    if score.shape != ("N", scores):
        raise ValueError(f"the output {score.name} must be [N, {scores}] for these labels")
    if [entry.output for entry in manifest.attention] != [spec.name for spec in attention]:
        raise ValueError("attention must tell what each attention output weighs, in their order")
    if attention and manifest.preprocessing is None:
        raise ValueError("attention weighs parts of a volume input, and there is none")
    for entry, spec in zip(manifest.attention, attention, strict=True):
        if spec.shape != ("N", entry.grid[0] * entry.grid[1]):
            raise ValueError(f"the output {spec.name} does not have one weight for each of {entry.grid} parts")
        depth = manifest.volumes[0].shape[2 + manifest.of_volumes.slice_axis]
        if entry.slices is not None and not entry.slices[0] < entry.slices[1] <= int(depth):
            raise ValueError(f"attention {entry.output}: slices {entry.slices} are not within {depth}")


def _is_plain_name(name: str) -> bool:
    parts = name.split("/")
    return bool(name) and not any(part in ("", ".", "..") for part in parts) and not set(name) & set("\\:\0")
