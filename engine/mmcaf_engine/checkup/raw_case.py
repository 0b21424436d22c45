"""A bundle's raw case: whether study and record still become the inputs and the answer that they were at export.

The golden cases of the self-test begin at the network's inputs, so that no edit of a preprocessing constant fails them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.golden import MOST_VALUES, RawCase, RawStudy, read_raw_case, sample
from ..errors import BackendError, BundleError, RecordError, Remedy, StudyError, UsageError
from ..image.candidate import Plane
from ..inputs.image import image_input
from ..inputs.prepare import Prepared, PreparedImage, prepare
from ..inputs.windows import lay_out
from ..manifest import Manifest, Precision, PreprocessingSpec
from ..record.clinical import read_clinical
from ..record.tokenizer import Tokenizer, open_tokenizer
from ..result.decisions import decision_for
from ..session.self_test import TOLERANCE
from ..volume import Arrays, PatientHeader, StudyFacts

PREPARED_TOLERANCE = 1e-6
"""Largest |difference| of a window's value or a feature from the stored one."""

Infer = Callable[[Mapping[str, NDArray[Any]]], Arrays]
"""A batch of network inputs to its outputs, as sessions and backends have it."""


@dataclass(frozen=True)
class RawCheck:
    """A raw case whose windows and features came out as they were stored; the largest |difference| of each."""

    windows: float
    features: float
    case: RawCase
    manifest: Manifest
    _prepared: Prepared

    def in_words(self) -> str:
        """How near windows and features came."""
        return (
            f"windows within {self.windows:.1e}, features within {self.features:.1e} (at most {PREPARED_TOLERANCE:g})"
        )

    def probabilities(self, infer: Infer) -> NDArray[np.float64]:
        """Of each label, by a network."""
        return probabilities(infer(all_windows(self._prepared, self.manifest)), self._prepared, self.manifest)

    def answer_error(self, infer: Infer, precision: Precision) -> float:
        """Largest |difference| of a probability from the stored one.

        Raises:
            BackendError: it is more than the precision's tolerance, or no number.
        """
        found, expected = self.probabilities(infer), self.case.expected(precision)
        difference = np.abs(found - expected) if found.shape == expected.shape else np.array([np.inf])
        worst = float(difference.max()) if np.isfinite(difference).all() else np.inf
        if worst > (tolerance := TOLERANCE[precision]):
            raise BackendError(
                f"The raw case of {self.manifest.name} is answered wrongly in {precision}: its probability is off by "
                f"{worst:.2g}; at most {tolerance:g} is allowed.",
                Remedy("Use another one", option="backend"),
                Remedy("Or another one", option="precision"),
            )
        return worst


def check_raw_case(bundle: Bundle) -> RawCheck | None:
    """Prepare a bundle's raw case as any study is prepared, and compare with what was stored at export.

    Returns:
        None for a bundle without one, as those of version 1.

    Raises:
        BundleError: the case is damaged, or a step does not give what it did: the message names the step.
    """
    case, manifest = read_raw_case(bundle), bundle.manifest
    if case is None:
        return None
    try:
        prepared = prepare_raw(case.study, manifest, open_tokenizer(bundle))
    except (StudyError, RecordError, UsageError) as failure:
        what = "record" if isinstance(failure, RecordError) else "preprocessing"
        raise _changed(bundle, what, f"it is refused ({failure.problem.removesuffix('.')})") from None
    arrays = all_windows(prepared, manifest)
    windows = max((_of_windows(bundle, case, name, arrays[name]) for name in case.windows), default=0.0)
    if (starts := longer_starts(manifest, case.study)) != case.starts:
        raise _changed(bundle, "windows", f"they start at slices {_listed(starts)}, not {_listed(case.starts)}")
    features = max((_of_features(bundle, case, name, arrays[name]) for name in case.features), default=0.0)
    return RawCheck(windows, features, case, manifest, prepared)


def prepare_raw(study: RawStudy, manifest: Manifest, tokenizer: Tokenizer | None) -> Prepared:
    """What a bundle makes of a raw case's study and record.

    Raises:
        StudyError, RecordError, UsageError: as for a caller's own.
    """
    record = study.record
    if study.report is not None and manifest.text is not None:
        record = {**(record or {}), manifest.text.fields[0]: study.report}
    if study.plane is None or manifest.image is None:
        return prepare(study.volumes or None, record, manifest, tokenizer=tokenizer, allow_id_mismatch=True)
    clinical = read_clinical(record, None, manifest, tokenizer, PatientHeader())
    plane: Plane = study.plane.astype(np.float32)
    facts = StudyFacts(manifest.image.modality[0], {}, PatientHeader(), 1, (0.0, 0.0, 0.0))
    image = PreparedImage(manifest.input("image").name, facts, image_input(plane, manifest.image))
    return Prepared((), clinical, image)


def describe_raw(
    study: RawStudy, prepared: Prepared, outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest
) -> RawCase:
    """The raw case of a study, as it is stored.

    Args:
        prepared: by `prepare_raw`. outputs: the source network's, of all its windows.
    """
    arrays = all_windows(prepared, manifest)
    seen = [entry.input for entry in prepared.studied]
    return RawCase(
        study=study,
        windows={name: sample(arrays[name], MOST_VALUES // len(seen)) for name in seen},
        starts=longer_starts(manifest, study),
        features={name: array[:1] for name, array in arrays.items() if name not in seen},
        probabilities=probabilities(outputs, prepared, manifest),
    )


def all_windows(prepared: Prepared, manifest: Manifest) -> Arrays:
    """Every input for every window: name -> array [N, ...]."""
    windows = [prepared.inputs(at, manifest) for at in range(len(prepared))]
    return {spec.name: np.concatenate([window[spec.name] for window in windows]) for spec in manifest.inputs}


def probabilities(
    outputs: Mapping[str, NDArray[np.float32]], prepared: Prepared, manifest: Manifest
) -> NDArray[np.float64]:
    """Of each label, from the outputs of all windows."""
    score = decision_for(manifest).aggregate(prepared.starts, outputs[manifest.score.name])
    return np.array(score.probabilities, np.float64)


def longer_starts(manifest: Manifest, study: RawStudy) -> tuple[int, ...]:
    """Where the windows of a longer series of the same matrix would start: it has three windows and a slice more.

    The case itself is one window, and so says nothing of the stride. None of networks without windows.
    """
    spec = manifest.preprocessing
    if spec is None or spec.windows is None:
        return ()
    rows, columns = next(iter(study.volumes.values())).values.shape[1:]
    return lay_out((3 * spec.windows.slices + 1, rows, columns), spec).starts


def _of_windows(bundle: Bundle, case: RawCase, name: str, found: NDArray[np.float32]) -> float:
    stored = case.windows[name]
    if found.shape != stored.shape:
        raise _changed(bundle, "windows", f"{name} is {list(found.shape)}; {list(stored.shape)} was stored")
    worst = float(np.abs(stored.of(found).astype(np.float64) - stored.values).max())
    if not worst <= PREPARED_TOLERANCE:
        steps = _steps(bundle.manifest.preprocessing)
        raise _changed(bundle, "windows", f"{name} ({steps}) is off by {_limited(worst)}")
    return worst


def _of_features(bundle: Bundle, case: RawCase, name: str, found: NDArray[Any]) -> float:
    stored, manifest = case.features[name], bundle.manifest
    if found.shape != stored.shape:
        raise _changed(bundle, "features", f"{name} is {list(found.shape)}; {list(stored.shape)} was stored")
    difference = np.abs(found.astype(np.float64) - stored)[0]
    if not difference.max() <= PREPARED_TOLERANCE:
        at = int(difference.argmax())
        what = f"column {at + 1} of {name}, {_column(manifest, at)}," if found.dtype == np.float32 else name
        raise _changed(bundle, "features", f"{what} is off by {_limited(float(difference[at]))}")
    return float(difference.max())


def _column(manifest: Manifest, at: int) -> str:
    table = manifest.table
    if table is None:
        return ""
    names = [field.name for field in table.fields]
    return [*names, *(field.cut.condition(field.name) for field in table.cuts if field.cut is not None)][at]


def _steps(spec: PreprocessingSpec | None) -> str:
    return ", ".join(step.step for step in spec.steps) if spec is not None else "resize, normalise"


def _limited(error: float) -> str:
    return f"{error:.2g}, at most {PREPARED_TOLERANCE:g} is allowed"


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _changed(bundle: Bundle, step: str, what: str) -> BundleError:
    return BundleError(
        f"{bundle.manifest.name} fails its raw case, step {step}: {what}. Either the manifest was changed since the "
        "network was exported with it, or this engine computes otherwise.",
        Remedy("Copy the bundle again from its source, or export it again."),
    )
