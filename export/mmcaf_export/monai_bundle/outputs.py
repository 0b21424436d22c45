"""What the scores of a MONAI bundle mean: labels, activation and threshold, by its metadata and its postprocessing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmcaf_engine.errors import ExportError, Remedy, printable

from .references import shown
from .transforms import PREFIX

_WITHOUT_EFFECT = frozenset(
    {"EnsureType", "ToTensor", "ToDevice", "SelectItems", "DeleteItems", "CopyItems", "SaveClassification", "Identity"}
)


@dataclass(frozen=True)
class Meaning:
    """scored_by (an activation), labels and threshold, as far as the bundle says; the threshold is of each label."""

    scored_by: str | None
    labels: tuple[str, ...] | None
    threshold: float | None


def refuse_segmentation(metadata: Mapping[str, Any], name: str) -> None:
    """Refuse a bundle whose output is an image.

    Raises:
        ExportError: it is.
    """
    outputs = _format(metadata, "outputs")
    for key, output in outputs.items():
        if isinstance(output, dict) and (output.get("type") == "image" or output.get("format") == "segmentation"):
            raise ExportError(
                f"{name}: its output {printable(key)} is an image ({shown(output.get('format', output.get('type')))}), "
                "as of a network for segmentation; a bundle here answers with labels of a study."
            )
    if len(outputs) > 1:
        raise ExportError(f"{name}: it has the outputs {', '.join(map(printable, outputs))}; one is expected.")


def meaning(
    metadata: Mapping[str, Any], postprocessing: Sequence[Mapping[str, Any]], classes: int, name: str
) -> Meaning:
    """What the bundle says of its scores.

    Args:
        postprocessing: its transforms, in order.
        classes: scores of the network.

    Raises:
        ExportError: a transform that changes the answer and has no equal here, or labels that are not as many.
    """
    activation, threshold = None, None
    for one in postprocessing:
        short = str(one["_target_"]).rpartition(".")[2].removesuffix("Dict").removesuffix("d")
        if short == "Activations":
            activation = _activation(one, classes, name)
        elif short == "AsDiscrete":
            threshold = _threshold(one, name)
        elif short not in _WITHOUT_EFFECT:
            raise ExportError(
                f"{name}: {shown(one['_target_'])} of its postprocessing has no equal here.",
                Remedy(
                    "Where the answer is the same without it, leave it out",
                    option="set",
                    value=f"{PREFIX}{printable(str(one['_target_']).rpartition('.')[2])}._disabled_=true",
                ),
            )
    return Meaning(activation, _labels(metadata, classes, name), threshold)


def _activation(one: Mapping[str, Any], classes: int, name: str) -> str:
    sigmoid, softmax = (one.get(key, False) for key in ("sigmoid", "softmax"))
    if (sigmoid, softmax) == (True, False):
        return "sigmoid" if classes == 1 else "multilabel"
    if (sigmoid, softmax) == (False, True) and classes > 1:
        return "softmax"
    raise ExportError(
        f"{name}: Activations has sigmoid {shown(sigmoid)}, softmax {shown(softmax)} and other "
        f"{shown(one.get('other'))} for {classes} scores; one of sigmoid and softmax is expected."
    )


def _threshold(one: Mapping[str, Any], name: str) -> float | None:
    value = one.get("threshold")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ExportError(f"{name}: AsDiscrete has the threshold {shown(value)}; a number between 0 and 1 is expected.")
    return float(value)


def _labels(metadata: Mapping[str, Any], classes: int, name: str) -> tuple[str, ...] | None:
    """The names of channel_def in the order of the scores; None where there are none."""
    (output,) = _format(metadata, "outputs").values() or ({},)
    channels = output.get("channel_def") if isinstance(output, dict) else None
    if not isinstance(channels, dict) or not channels:
        return None
    if not all(isinstance(label, str) and label.strip() for label in channels.values()):
        raise ExportError(f"{name}: channel_def of its output is {shown(channels)}; names are expected.")
    expected = 2 if classes == 1 and len(channels) == 2 else classes
    if set(channels) != {str(at) for at in range(expected)}:
        raise ExportError(
            f"{name}: channel_def of its output names the channels {', '.join(map(printable, channels))}; its "
            f"network gives {classes} scores.",
            Remedy("Give the labels in the order of the scores", option="set", value='labels=["...", "..."]'),
        )
    labels = [printable(channels[str(at)]) for at in range(expected)]
    return (f"no {labels[0]}", labels[0]) if expected == 1 else tuple(labels)


def _format(metadata: Mapping[str, Any], side: str) -> dict[str, Any]:
    """inputs or outputs of network_data_format; empty where the metadata has none."""
    form = metadata.get("network_data_format")
    found = form.get(side) if isinstance(form, dict) else None
    return found if isinstance(found, dict) else {}
