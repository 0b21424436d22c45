"""Results of schema version 1 in the terms of version 2."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..bundle.device import device_uid

_SAID_LATER = {
    "study": ("body_part",),
    "record": ("sha256", "identity"),
    "model": ("version", "signed_by"),
    "engine": ("runtime", "runtime_version", "processor", "threads", "kernels", "accuracy"),
}
"""What parts of a result did not say in version 1, at first or at all."""


def from_version_1(old: Mapping[str, Any]) -> dict[str, Any]:
    """The same result as a document of version 2, in which null is what version 1 did not say.

    There, probability, logit and the windows' were those of label 1 of two, else of the most probable label.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is none of version 1; but not all that is none is found.
    """
    fields: dict[str, Any] = {"positive": None, "remarks": [], **old}
    logit, threshold, scored = fields.pop("logit"), fields.pop("threshold"), fields.pop("probability")
    names, findings = list(old["probabilities"]), old["findings"]
    present = [one["label"] for one in findings if one["present"]]
    single = old["label"] if not findings or len(present) == 1 else None
    windows = [{**one, "slices": None} for one in old["windows"]]
    if threshold is not None and not findings:
        fields["positive"] = {"label": names[1], "probability": scored, "logit": logit, "threshold": threshold}
        if old["label"] == names[0]:
            windows = [{**one, "logit": -one["logit"], "probability": 1 - one["probability"]} for one in windows]
    elif findings and _most_probable(old, present or names) != _most_probable(old, names):
        windows = []  # They were of another label.
    parts = {name: _with_nulls(old[name], keys) for name, keys in _SAID_LATER.items()}
    study = parts["study"]
    study["selection"] = study.pop("series", [])
    parts["model"]["device_uid"] = device_uid(old["model"]["bundle_sha256"])
    return {
        **fields,
        **parts,
        "schema_version": 2,
        "created": None,
        "probability": None if single is None else old["probabilities"].get(single),
        "windows": windows,
        "evidence": None,
        "labels": None,
        "software": None,
        "options": None,
    }


def _most_probable(old: Mapping[str, Any], labels: Sequence[str]) -> str:
    probabilities: Mapping[str, float] = old["probabilities"]
    return max(labels, key=lambda name: probabilities[name])


def _with_nulls(part: Mapping[str, Any] | None, keys: tuple[str, ...]) -> Any:
    return None if part is None else {**dict.fromkeys(keys), **part}
