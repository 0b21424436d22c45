"""Scoring a cohort and comparing precisions: hand-computed agreement, bounds, refusals."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mmcaf_engine.bundle.accuracy import Runtime
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import BackendError, MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.evaluation.cases import Cohort
from mmcaf_engine.evaluation.compare import Remark, StudyScores, agreement, evaluate, score_cohort
from mmcaf_engine.evaluation.synthetic import as_volume
from mmcaf_engine.inputs.prepare import Prepared, PreparedSeries
from mmcaf_engine.inputs.windows import preprocess
from mmcaf_engine.manifest import AccuracyBound, Manifest
from mmcaf_engine.record.clinical import Clinical
from mmcaf_engine.record.record import read_record
from mmcaf_engine.record.tokenizer import Tokenizer
from mmcaf_engine.result.aggregate import sigmoid
from mmcaf_engine.result.decisions import BinaryDecision
from mmcaf_engine.session.session import open_session
from mmcaf_engine.volume import PatientHeader, Study
from refusals import refused
from several_precisions import add_precisions
from tiny_bundle import PLACES, SLICES, expected_logits

LOOSE = AccuracyBound(probability_difference=1, flips=1, auroc_loss=1)
REFERENCE = [0.1, 0.4, 0.45, 0.6, 0.8, 0.9]
LABELS = [0, 0, 1, 0, 1, 1]
RULE = BinaryDecision(("quiet", "loud"), 0.5)
TOO_FEW = StudyError("too few slices.", "Send all.")


def scores(probabilities: list[float]) -> StudyScores:
    values = np.array(probabilities)
    return StudyScores(Runtime(backend="none", version="1", device="CPU"), values, np.log(values / (1 - values)))


@dataclass(frozen=True)
class Flat:
    """A study of eight equal slices, in HU."""

    id: str
    hu: int
    label: int | None = None
    age: float = 55
    remarks: tuple[str, ...] = ()
    """Of its record."""

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        assert manifest.table is not None
        record = read_record({"sex": "M", "age": self.age}, manifest.table)
        volume = as_volume(np.full((2 * SLICES, 16, 16), self.hu, np.int16), (2.5, 1.0, 1.0))
        study = Study(volume, "CT", {}, PatientHeader(), warnings=("odd",) if self.hu < 0 else ())
        series = PreparedSeries("image", study, preprocess(volume, manifest.preprocessing))
        return Prepared((series,), Clinical(record, None, (*record.warnings, *self.remarks)))

    def probability(self) -> float:
        """What the tiny network says of it."""
        window = np.full((1, *PLACES.shape), np.clip((self.hu + 100) / 1000, 0, 1))
        table = np.array([[1.0, (self.age - 20) / 70]])
        return sigmoid(float(expected_logits({"image": window, "table": table})[0, 0]))


@dataclass(frozen=True)
class Broken(Flat):
    """A study that raises."""

    failure: Exception = TOO_FEW

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        raise self.failure


COHORT = Cohort(
    "made up",
    (Flat("dark", -80, 0), Flat("grey", 0, 0, 90, ("old",)), Flat("bright", 200, 1), Flat("odd", 50, None)),
)


@pytest.fixture(scope="module")
def bundle_path(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("several") / "several.mmcaf"
    return add_precisions(tiny_bundle_source, output, {"int8": -0.09}, threshold=0.6)


def test_agreement_by_hand() -> None:
    other = [0.1, 0.55, 0.4, 0.3, 0.8, 0.95]
    found = agreement(scores(REFERENCE), scores(other), LABELS, RULE, LOOSE)
    assert found.max_probability_difference == pytest.approx(0.3)
    assert found.mean_probability_difference == pytest.approx((0.15 + 0.05 + 0.3 + 0.05) / 6)
    logits = [np.log(p / (1 - p)) for p in (0.6, 0.3)]
    assert found.max_logit_difference == pytest.approx(logits[0] - logits[1])
    assert (found.flips.to_label_0, found.flips.to_label_1) == (1, 1)
    assert found.flips.fraction == pytest.approx(2 / 6)
    # Of the nine pairs, FP32 has 0.45 < 0.6 in the wrong order, the other 0.4 < 0.55.
    assert found.performance.auroc is not None and found.performance.auroc.value == pytest.approx(8 / 9)
    assert found.auroc_difference is not None and found.auroc_difference.value == 0
    assert found.auroc_difference.low < 0 < found.auroc_difference.high
    decisions = found.performance.decisions
    assert decisions is not None and decisions.accuracy == pytest.approx(4 / 6)
    assert found.passed and found.reasons == () and found.auroc_note is None


def test_a_probability_at_the_threshold_is_label_1() -> None:
    found = agreement(scores([0.5, 0.2]), scores([0.4999, 0.2]), [1, 0], RULE, LOOSE)
    assert (found.flips.to_label_0, found.flips.to_label_1) == (1, 0)


def test_identical_scores_cost_exactly_nothing() -> None:
    found = agreement(
        scores(REFERENCE),
        scores(REFERENCE),
        LABELS,
        RULE,
        AccuracyBound(probability_difference=0, flips=0, auroc_loss=0),
    )
    assert found.passed and found.max_logit_difference == found.max_probability_difference == 0
    assert found.auroc_difference is not None
    assert found.auroc_difference.model_dump() == {"value": 0, "low": 0, "high": 0}


@pytest.mark.parametrize(
    ("other", "bound", "reasons"),
    [
        ([0.1, 0.4, 0.45, 0.6, 0.8, 0.7], {"probability_difference": 0.19}, ["probability differs by 0.2000"]),
        ([0.1, 0.4, 0.45, 0.6, 0.8, 0.7], {"probability_difference": 0.21}, []),
        ([0.1, 0.4, 0.45, 0.45, 0.8, 0.9], {"flips": 0.16}, ["1 label(s) change, 16.67%"]),
        ([0.1, 0.4, 0.45, 0.45, 0.8, 0.9], {"flips": 1 / 6}, []),
        ([0.1, 0.4, 0.3, 0.6, 0.8, 0.9], {"auroc_loss": 0.11}, ["AUROC falls by 0.1111"]),
        ([0.1, 0.4, 0.3, 0.6, 0.8, 0.9], {"auroc_loss": 0.12}, []),
        ([0.1, 0.4, 0.65, 0.6, 0.8, 0.9], {"auroc_loss": 0.0}, []),
        (
            [0.9, 0.9, 0.1, 0.9, 0.1, 0.1],
            {"probability_difference": 0.1, "flips": 0.1, "auroc_loss": 0.1},
            ["probability differs", "4 label(s)", "AUROC falls by 0.8889"],
        ),
    ],
    ids=["probability over", "probability", "flips over", "flips at", "AUROC over", "AUROC", "AUROC gain", "all"],
)
def test_bounds(other: list[float], bound: dict[str, float], reasons: list[str]) -> None:
    applied = LOOSE.model_copy(update=bound)
    found = agreement(scores(REFERENCE), scores(other), LABELS, RULE, applied)
    assert found.passed == (not reasons) and found.bound == applied
    assert len(found.reasons) == len(reasons)
    assert all(part in reason for part, reason in zip(reasons, found.reasons, strict=True))


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ([None] * 6, "the cohort has no labels"),
        ([1, None, 1, None, None, None], "all 2 labelled studies are of label 1"),
    ],
    ids=["unlabelled", "one label"],
)
def test_auroc_is_not_measured_without_both_labels(labels: list[int | None], note: str) -> None:
    found = agreement(scores(REFERENCE), scores(REFERENCE[::-1]), labels, RULE, LOOSE)
    assert found.auroc_difference is None and found.performance.auroc is None
    assert found.auroc_note is not None and note in found.auroc_note
    assert (found.performance.decisions is None) == (set(labels) == {None})
    assert found.flips.to_label_0 + found.flips.to_label_1 == 6


def test_why_labels_that_are_there_do_not_count() -> None:
    found = agreement(scores(REFERENCE), scores(REFERENCE), [None] * 6, RULE, LOOSE, without_labels="other people")
    assert found.auroc_note == "AUROC was not measured: other people."


def test_auroc_is_over_the_labelled_studies() -> None:
    partly = [0, None, 1, None, 1, None]
    found = agreement(scores(REFERENCE), scores(REFERENCE), partly, RULE, LOOSE)
    assert found.performance.auroc is not None and found.performance.auroc.value == 1
    assert found.performance.decisions is not None and found.performance.decisions.false_negatives == 1


@pytest.mark.parametrize(("first", "second", "labels"), [(6, 5, 6), (6, 6, 5), (0, 0, 0)])
def test_unequal_numbers_of_studies(first: int, second: int, labels: int) -> None:
    with refused(UsageError, first, second, labels, "studies", "labels"):
        agreement(scores(REFERENCE[:first]), scores(REFERENCE[:second]), LABELS[:labels], RULE, LOOSE)


def test_scores_are_the_studies_answers(bundle_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with open_session(load_bundle(bundle_path), backend="onnxruntime") as session:
        found = score_cohort(COHORT, {"fp32": session}, progress=lambda *step: seen.append(step))
    assert found.ids == ("dark", "grey", "bright", "odd") and found.labels == (0, 0, 1, None)
    expected = [case.probability() for case in COHORT.cases if isinstance(case, Flat)]
    np.testing.assert_allclose(found.scores["fp32"].probabilities, expected, rtol=1e-5)
    assert found.scores["fp32"].runtime.backend == "onnxruntime"
    assert found.warnings == (Remark("dark", "odd"), Remark("grey", "old")) and found.refused == ()
    assert seen == [("studies", done, 4) for done in (1, 2, 3, 4)]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_evaluate(bundle_path: Path, backend: str) -> None:
    bundle = load_bundle(bundle_path)
    with (
        open_session(bundle, backend=backend) as fp32,
        open_session(bundle, backend=backend, precision="int8") as int8,
    ):
        accuracy, outcome = evaluate(COHORT, {"fp32": fp32, "int8": int8})
    assert accuracy.cohort.model_dump() == {
        "source": "made up",
        "studies": 4,
        "refused": 0,
        "labelled": 3,
        "positives": 1,
    }
    assert accuracy.threshold == 0.6 and accuracy.reference.backend == backend
    assert set(accuracy.precisions) == {"int8"}
    assert accuracy.precisions["int8"].max_logit_difference == pytest.approx(0.09, abs=1e-5)
    assert accuracy.precisions["int8"].bound == bundle.manifest.accuracy_bounds["int8"]
    expected = np.array([case.probability() for case in COHORT.cases if isinstance(case, Flat)])
    flips = int(((expected >= 0.6) & (outcome.scores["int8"].probabilities < 0.6)).sum())
    assert accuracy.precisions["int8"].flips.to_label_0 == flips


@pytest.mark.parametrize("failure", [TOO_FEW, RecordError("no age.")], ids=["study", "record"])
def test_a_refused_case_is_left_out_of_all(bundle_path: Path, failure: MmcafError) -> None:
    cases = (COHORT.cases[0], Broken("bad", 0, 1, failure=failure), *COHORT.cases[1:])
    with open_session(load_bundle(bundle_path)) as fp32:
        accuracy, outcome = evaluate(Cohort("made up", cases), {"fp32": fp32})
    assert outcome.refused == (Remark("bad", str(failure)),)
    assert outcome.ids == ("dark", "grey", "bright", "odd")
    assert len(outcome.scores["fp32"].probabilities) == len(outcome.labels) == 4
    assert (accuracy.cohort.studies, accuracy.cohort.refused) == (4, 1)


@pytest.mark.parametrize("failure", [UsageError("no such stride."), KeyError("bug")], ids=["usage", "bug"])
def test_other_errors_end_the_run(bundle_path: Path, failure: Exception) -> None:
    cohort = Cohort("made up", (*COHORT.cases, Broken("bad", 0, failure=failure)))
    with open_session(load_bundle(bundle_path)) as fp32, pytest.raises(type(failure)):
        evaluate(cohort, {"fp32": fp32})


def test_a_number_that_is_not_finite_ends_the_run(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_session(load_bundle(bundle_path)) as fp32:
        monkeypatch.setattr(fp32, "run", lambda inputs, **options: {"logit": np.full((1, 1), np.nan, np.float32)})
        with refused(BackendError, "slice 0", "nan", option="precision", value="fp32"):
            evaluate(COHORT, {"fp32": fp32})


def test_all_refused(bundle_path: Path) -> None:
    cohort = Cohort("made up", (Broken("first", 0), Broken("second", 0)))
    with open_session(load_bundle(bundle_path)) as fp32:
        with refused(StudyError, "made up", 2, "studies", "first", "too few slices"):
            evaluate(cohort, {"fp32": fp32})
        with refused(UsageError, "FP32"):
            evaluate(cohort, {"int8": fp32})
        with refused(UsageError, "session"):
            score_cohort(cohort, {})


def test_one_study_is_loaded_at_a_time_and_once(bundle_path: Path) -> None:
    loads: list[str] = []

    @dataclass(frozen=True)
    class Counted(Flat):
        def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
            loads.append(self.id)
            return super().load(manifest, tokenizer)

    cases = tuple(Counted(f"case {at}", at) for at in range(3))
    bundle = load_bundle(bundle_path)
    with open_session(bundle) as fp32, open_session(bundle, precision="int8") as int8:
        evaluate(replace(COHORT, cases=cases), {"fp32": fp32, "int8": int8})
    assert loads == ["case 0", "case 1", "case 2"]
