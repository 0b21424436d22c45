"""A MONAI bundle as the exporter sees a network: built by MONAI, described by what the bundle says."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError, Remedy, UsageError, printable
from mmcaf_engine.manifest import PreprocessingSpec, TensorSpec, describe_validation

from ..checkpoint import Checkpoint, Reading, load_checkpoint
from ..networks.entry import NetworkEntry
from .files import MonaiFiles, opened
from .network import MonaiConfig, build, network_of, shape_of
from .outputs import Meaning, meaning, refuse_segmentation
from .references import References, shown
from .transforms import PREFIX, listed, map_transforms, overridden, subtracted

_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR"}
_PREPROCESSING, _POSTPROCESSING = "preprocessing", "postprocessing"


class MonaiEntry(NetworkEntry[MonaiConfig]):
    """One bundle's network; it recognises no checkpoint, since the bundle says what it is."""

    name = "monai"
    signature = ("network.",)
    dead = (r".*\.num_batches_tracked",)

    def __init__(
        self,
        title: str,
        size: tuple[int, int, int],
        classes: int,
        document: Mapping[str, Any],
        notes: Mapping[str, str],
    ) -> None:
        self.title = f"MONAI {title}"  # type: ignore[misc]
        self.assumptions = notes  # type: ignore[misc]
        self._classes = classes
        self._document = dict(document)
        self._size = size

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {f"network.{key}": tensor for key, tensor in state.items()}

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> MonaiConfig:
        raise ValueError("a MONAI bundle says itself how its network is configured")

    def build(self, config: MonaiConfig) -> nn.Module:
        return build(config)

    def tensors(self, config: MonaiConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        image = TensorSpec(name="image", kind="volume", shape=("N", 1, *self._size))
        return (image,), (TensorSpec(name="logits", kind="score", shape=("N", self._classes)),)

    def example_inputs(self, config: MonaiConfig, batch: int, seed: int) -> dict[str, Tensor]:
        """Blocks of few levels, which store small."""
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.randint(0, 9, (batch, 1, *(-(-side // 4) for side in self._size)), generator=generator)
        for axis in (2, 3, 4):
            coarse = coarse.repeat_interleave(4, axis)
        return {"image": coarse[:, :, : self._size[0], : self._size[1], : self._size[2]].contiguous() / 8}

    def manifest(self, config: MonaiConfig) -> dict[str, Any]:
        return dict(self._document)


@dataclass(frozen=True)
class Imported:
    """A bundle that was read: its entry, configuration and checkpoint, and the settings that are not about MONAI."""

    entry: MonaiEntry
    config: MonaiConfig
    checkpoint: Checkpoint
    settings: dict[str, str]


@contextmanager
def imported(
    paths: Sequence[str | Path],
    settings: Mapping[str, str],
    network: str | None = None,
    tell: Callable[[str], None] = lambda _line: None,
    reading: Reading | None = None,
) -> Iterator[Imported]:
    """Read a MONAI bundle as data.

    Args:
        paths: what is to be exported: the bundle, and nothing else.
        network: the network that was asked for, if any.
        tell: called with a line of text.
        reading: which of the weights are meant, where the file leaves it open.
        settings: as of `export_bundle`; those that begin with "monai." change what the bundle says.

    Raises:
        ExportError: what it says has no equal here, is code, or does not hold together.
        UsageError: there is more than the bundle, or another network was asked for.
        BackendError: MONAI is not installed.
    """
    if len(paths) > 1:
        raise UsageError(f"{len(paths)} paths, of which one is a MONAI bundle; no ensemble is made of MONAI bundles.")
    if network not in (None, MonaiEntry.name):
        raise UsageError(
            f"{paths[0]}: a MONAI bundle, which says itself what its network is.",
            Remedy("Leave it out", option="network"),
        )
    overrides, others = _overrides(settings)
    tell(f"reading the MONAI bundle {paths[0]}")
    with opened(paths[0]) as files:
        entry, config = _read(files, overrides, others)
        try:
            checkpoint = load_checkpoint(files.weights, reading)
        except ExportError as failure:
            problem = failure.problem.replace(str(files.weights), f"{files.path}: {files.weights.name}")
            raise ExportError(problem, *failure.remedies) from failure.__cause__
        yield Imported(entry, config, replace(checkpoint, state=entry.own_names(checkpoint.state)), others)


def _overrides(settings: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    found: dict[str, dict[str, Any]] = {}
    for key, text in settings.items():
        if not key.startswith(PREFIX):
            continue
        name, _, argument = key.removeprefix(PREFIX).partition(".")
        if not name or not argument:
            raise UsageError(f"{key}: expected {PREFIX}TRANSFORM.ARGUMENT or {PREFIX}network.ARGUMENT.")
        found.setdefault(name, {})[argument] = _value(text)
    return found, {key: text for key, text in settings.items() if not key.startswith(PREFIX)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read(
    files: MonaiFiles, overrides: Mapping[str, Mapping[str, Any]], settings: Mapping[str, str]
) -> tuple[MonaiEntry, MonaiConfig]:
    where = f"{files.path}: {files.inference_name}"
    references = References(files.inference, where)
    refuse_segmentation(files.metadata, str(files.path))
    network, arguments = network_of(references, where, overrides.get("network", {}))
    _refuse_windows(references, where)
    shape = shape_of(network, arguments)
    if shape.spatial != 3 or shape.channels != 1:
        raise ExportError(
            f"{files.path}: its network reads {shape.channels} channels of {shape.spatial} axes; expected one channel "
            "of a volume of three. MONAI reads and resizes pictures otherwise than this program does, and does not say "
            "which series each of several channels is.",
            "Write an entry for it, as docs/add-a-network.md shows.",
        )
    before = [] if _PREPROCESSING in settings else _transforms(references, _PREPROCESSING, where)
    after = _transforms(references, _POSTPROCESSING, where)
    names = {str(one["_target_"]).rpartition(".")[2] for one in (*before, *after)}
    if idle := sorted(set(overrides) - names - {"network"}):
        raise ExportError(
            f"{PREFIX}{idle[0]}: no transform of that name; there: {', '.join(sorted(names)) or 'none'}.",
            Remedy("Correct the setting", option="set"),
        )
    after, changed_after = overridden(after, overrides)
    own = overrides.get("network", {})
    said = meaning(files.metadata, after, shape.classes, where)
    preprocessing, size, scale, shift, changed = _preprocessing(files, before, overrides, settings, where)
    document, notes = _document(files, said, shape.classes, settings)
    document |= {_PREPROCESSING: preprocessing.model_dump(mode="json")}
    changes = [
        *changed,
        *changed_after,
        *(f"the network with {key} = {shown(value)}" for key, value in own.items()),
    ]
    notes |= {
        f"{PREFIX}{at}": f"answers are right with a change of the bundle: {one}" for at, one in enumerate(changes)
    }
    if changes:
        document["description"] += f" Imported with changes: {'; '.join(changes)}."
    entry = MonaiEntry(network, size, shape.classes, document, notes)
    return entry, MonaiConfig(network, json.dumps(arguments, sort_keys=True), scale, shift)


def _transforms(references: References, key: str, where: str) -> list[dict[str, Any]]:
    found = references.get(key)
    return [] if found is None else listed(found, f"{where}: {key}")


def _refuse_windows(references: References, where: str) -> None:
    inferer = references.get("inferer")
    target = inferer.get("_target_") if isinstance(inferer, dict) else inferer
    if target is not None and str(target).rpartition(".")[2] != "SimpleInferer":
        raise ExportError(
            f"{where}: its inferer is {shown(target)}; only SimpleInferer has an equal here, which gives the "
            "network the whole volume."
        )


def _preprocessing(
    files: MonaiFiles,
    transforms: list[dict[str, Any]],
    overrides: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, str],
    where: str,
) -> tuple[PreprocessingSpec, tuple[int, int, int], float, float, list[str]]:
    """The manifest's preprocessing, the size that it gives, scale and shift after it, and what settings changed."""
    if _PREPROCESSING in settings:
        given = _validated(_value(settings[_PREPROCESSING]), _PREPROCESSING)
        if given.size is None:
            raise ExportError(f"{_PREPROCESSING}: a resize_volume step is needed, of the size of the network's input.")
        return given, given.size, 1.0, 0.0, ["another preprocessing"]
    if not transforms:
        raise ExportError(f"{where}: has no {_PREPROCESSING}; how a series becomes the network's input is not known.")
    kept, changed = overridden(transforms, overrides)
    found = subtracted(map_transforms(kept, f"{where}: {_PREPROCESSING}"))
    if found.size is None:
        raise ExportError(
            f"{where}: no Resized gives all three axes a size, and a network here has an input of a fixed size."
        )
    axes = settings.get("preprocessing.axes", found.axes)
    if axes is None:
        raise ExportError(
            f"{where}: no Orientationd says how the axes lie in the patient; MONAI leaves them as the file has them.",
            Remedy("Give the axes of the files that it was trained on", option="set", value="preprocessing.axes=RAS"),
        )
    modality = settings.get("preprocessing.modality") or _modality(files)
    spec = {
        "modality": modality,
        "intensity": settings.get("preprocessing.intensity", "hounsfield" if modality == "CT" else "rescaled"),
        "windows": None,
        "axes": axes,
        "steps": [step.model_dump(mode="json") for step in found.steps],
    }
    return _validated(spec, where), found.size, found.scale, found.shift, changed


def _validated(spec: Any, where: str) -> PreprocessingSpec:
    try:
        return PreprocessingSpec.model_validate(spec)
    except ValidationError as failure:
        raise ExportError(
            f"{where}: {describe_validation(failure, _PREPROCESSING)}.", Remedy("Correct it", option="set")
        ) from None


def _modality(files: MonaiFiles) -> str:
    form = files.metadata.get("network_data_format")
    inputs = form.get("inputs") if isinstance(form, dict) else None
    if not isinstance(inputs, dict) or len(inputs) != 1:
        told = ", ".join(map(printable, inputs)) if isinstance(inputs, dict) else "none"
        raise ExportError(f"{files.path}: its metadata names the inputs {told or 'none'}; one image is expected.")
    (image,) = inputs.values()
    given = image.get("modality") if isinstance(image, dict) else None
    if str(given).upper() not in _MODALITIES:
        raise ExportError(
            f"{files.path}: its metadata gives the modality {shown(given)}; CT or MR is expected.",
            Remedy("Say which it is", option="set", value="preprocessing.modality=CT"),
        )
    return _MODALITIES[str(given).upper()]


def _document(
    files: MonaiFiles, said: Meaning, classes: int, settings: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The manifest's other fields, and what was assumed."""
    activation = settings.get("activation", said.scored_by)
    if activation is None:
        raise ExportError(
            f"{files.path}: no Activationsd of its postprocessing says what becomes of the scores.",
            Remedy("Say it: sigmoid, softmax or multilabel", option="set", value="activation=softmax"),
        )
    labels = _value(settings["labels"]) if "labels" in settings else said.labels
    if labels is None:
        raise ExportError(
            f"{files.path}: channel_def of its output names no labels.",
            Remedy("Give them in the order of the scores", option="set", value='labels=["...", "..."]'),
        )
    notes = {}
    if classes == 1 and "labels" not in settings:
        notes["labels"] = f"the one score is of {labels[-1]!r}, and a low one means {labels[0]!r}"
    threshold = said.threshold
    if threshold is not None and activation == "softmax":
        raise ExportError(
            f"{files.path}: its AsDiscreted has the threshold {threshold:g} after softmax, where the most probable "
            "label is the answer here.",
            Remedy("Leave it out", option="set", value=f"{PREFIX}AsDiscreted._disabled_=true"),
        )
    if threshold is None and activation != "softmax":
        threshold, notes["threshold" if activation == "sigmoid" else "thresholds"] = 0.5, "a label holds from 0.5 on"
    several = activation in ("multilabel", "independent")
    return {
        "name": _text(files, "name") or files.path.stem,
        "version": _text(files, "version")[:64],
        "description": _text(files, "description") or "Imported from a MONAI bundle.",
        "labels": list(labels) if isinstance(labels, list | tuple) else labels,
        "activation": activation,
        "threshold": threshold if activation == "sigmoid" else None,
        "thresholds": [threshold] * classes if several else [],
        "aggregation": {"method": "mean"},
        "licence": _text(files, "license") or _text(files, "copyright") or "not stated in the MONAI bundle's metadata",
        "intended_use": _text(files, "intended_use") or "Research only: no decision about a patient may rest on it.",
        "demonstration": False,
    }, notes


def _text(files: MonaiFiles, key: str) -> str:
    value = files.metadata.get(key)
    return printable(value.strip(), 1000) if isinstance(value, str) else ""
