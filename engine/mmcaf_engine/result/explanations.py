"""The explanations of an answer: which are asked for, whether the network has them, and how they are made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..cancel import Progress
from ..errors import BackendError, Remedy, UsageError
from ..inputs.prepare import Prepared
from ..manifest import Manifest
from .aggregate import StudyScore
from .decisions.base import Decision, called
from .explain import ExplanationMap, Method, attention_maps, gradcam_maps
from .influence import RecordInfluence, RunAll
from .occlusion import Network, Occlusion
from .parts import Explanation, FieldInfluence

EXPLANATIONS: tuple[Explanation, ...] = get_args(Explanation)
MAPS: tuple[Method, ...] = get_args(Method)
USUAL = MAPS[:2]
"""What is drawn where nothing else is named: the first that the network has."""

Announce = Callable[[str], None]
"""Told in words how long what was asked for will take, before it begins."""


def asked_for(
    manifest: Manifest, explain: str | Sequence[str] | None, *, drawn: bool = False
) -> tuple[Explanation, ...]:
    """What is to be explained, each once and in one order, whatever order it was asked in.

    Args:
        explain: as of `AnswerOptions`.
        drawn: whether a map is to be drawn; where none is named it is the attention, else Grad-CAM.

    Raises:
        UsageError: a word that is no explanation, one that the network does not have, or none that can be drawn.
    """
    named = [explain] if isinstance(explain, str) else list(explain or ())
    if unknown := [word for word in named if word not in EXPLANATIONS]:
        raise UsageError(
            f"Unknown explanation {unknown[0]!r:.40}.", Remedy(f"Choose among {', '.join(EXPLANATIONS)}", "explain")
        )
    for method in EXPLANATIONS:
        if method in named and (fault := lacks(manifest, method)) is not None:
            raise UsageError(f"explain: {fault}", *_instead(manifest))
    if drawn and not any(draws_map(manifest, method) for method in MAPS if method in named):
        usual = [method for method in USUAL if draws_map(manifest, method)]
        if not usual:
            raise UsageError(
                f"{manifest.name} has neither attention over an image nor Grad-CAM that a heat map could show.",
                *_instead(manifest),
                Remedy("Or leave it out", option="heatmap"),
            )
        named.append(usual[0])
    return tuple(method for method in EXPLANATIONS if method in named)


def lacks(manifest: Manifest, method: Explanation) -> str | None:
    """Why a network has no such explanation, in words; None where it has."""
    kinds = {spec.kind for spec in manifest.inputs}
    match method:
        case "attention":
            return None if manifest.attention else f"{manifest.name} has no attention outputs."
        case "gradcam":
            return None if manifest.explain else f"{manifest.name} has no Grad-CAM; its bundle was exported without."
        case "occlusion":
            return None if kinds & {"volume", "image"} else f"{manifest.name} reads no image that could be hidden."
        case "record":
            return None if manifest.table else f"{manifest.name} reads no fields of a record."


def draws_map(manifest: Manifest, method: Method) -> bool:
    """Whether a network has a map by this method: attention may weigh words and fields alone."""
    return lacks(manifest, method) is None and (method != "attention" or bool(manifest.mapped))


def _instead(manifest: Manifest) -> list[Remedy]:
    """What any network with an image has; nothing without one."""
    if lacks(manifest, "occlusion") is not None:
        return []
    return [Remedy("Hide one part after the other, which takes many windows", option="explain", value="occlusion")]


@dataclass(frozen=True)
class Explainer:
    """Explains one study's answer.

    outputs: of all windows, with the optional ones where attention is asked for. score: what `decision` made of them.
    seconds: that a window took, from which is told how long others will. run_all: every window of a study like it.
    """

    session: Network
    prepared: Prepared
    outputs: Mapping[str, NDArray[np.float32]]
    score: StudyScore
    decision: Decision
    seconds: float
    run_all: RunAll
    progress: Progress | None = None
    announce: Announce | None = None

    def maps(self, asked: Sequence[Explanation]) -> tuple[ExplanationMap, ...]:
        """Those that are asked for, of the window that decided and the label that the windows were scored for.

        Raises:
            BackendError: the runtime failed, or another package's decision does not tell what a label's score is.
            CancelledError, DeadlineError: as `cancel.check`.
        """
        manifest = self.session.bundle.manifest
        made: list[ExplanationMap] = []
        if "attention" in asked:
            made += attention_maps(manifest, self.outputs, self.score.deciding)
        if "gradcam" in asked or "occlusion" in asked:
            label = manifest.labels[self.score.label]
            direction = score_direction(self.decision, self.score.label, manifest)
            made += self._gradcam(direction, label) if "gradcam" in asked else ()
            made += self._occlusion(direction, label) if "occlusion" in asked else ()
        return tuple(made)

    def influence(self, asked: Sequence[Explanation]) -> tuple[FieldInfluence, ...] | None:
        """How each field of the record moved the answer; None where that is not asked for.

        Raises:
            BackendError, CancelledError, DeadlineError: as of an answer.
        """
        if "record" not in asked:
            return None
        fields = RecordInfluence(self.session.bundle.manifest, self.prepared)
        self._foretell("record", len(fields))
        return fields.of(self.score, self.decision, self.run_all, self.progress)

    def _gradcam(self, direction: NDArray[np.float32], label: str) -> tuple[ExplanationMap, ...]:
        window, manifest = self.score.deciding, self.session.bundle.manifest
        found = self.session.explain(self.prepared.inputs(window, manifest), direction[np.newaxis], self.progress)
        return gradcam_maps(manifest, found, window, label)

    def _occlusion(self, direction: NDArray[np.float32], label: str) -> tuple[ExplanationMap, ...]:
        manifest = self.session.bundle.manifest
        hiding = Occlusion.of(manifest, self.score.deciding)
        self._foretell("occlusion", len(hiding))
        logits = self.outputs[manifest.score.name]
        return hiding.maps(self.session, self.prepared, logits, direction, label, self.progress)

    def _foretell(self, what: str, windows: int) -> None:
        if self.announce is not None:
            self.announce(f"{what}: {windows} more windows, about {in_words(windows * self.seconds)}.")


def in_words(seconds: float) -> str:
    """A time as precise as an estimate is."""
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0.1):.1f} s"


def score_direction(decision: Decision, label: int, manifest: Manifest) -> NDArray[np.float32]:
    """`Decision.cotangent`, which another package may have written; of an ensemble, that of the mean of its members.

    Raises:
        BackendError: it is not one finite number for each score, or none of them counts.
    """
    found = np.asarray(decision.cotangent(label), np.float32)
    expected = tuple(manifest.score.shape[-1:])
    if found.shape != expected or not np.isfinite(found).all() or not found.any():
        raise BackendError(
            f"{called(decision.names[0], decision.origin)} does not say what the score of {manifest.labels[label]} is: "
            f"expected {expected[0]} finite numbers that are not all 0, got {list(found.shape)}.",
            "Update or remove the package that the decision comes from, or explain nothing.",
        )
    if manifest.ensemble is None:
        return found
    members = len(manifest.ensemble.members)
    return np.tile(found / np.float32(members), (members, 1))
