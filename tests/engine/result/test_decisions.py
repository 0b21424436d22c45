"""Output decisions: aggregation by the formulas written plainly, labels, flips, and who provides which."""

import ast
import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from entry_points import add_package
from import_rules import ROOT
from mmcaf_engine.bundle.accuracy import Runtime
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import BackendError, BundleError
from mmcaf_engine.evaluation.compare import StudyScores, agreement
from mmcaf_engine.manifest import DEFAULT_ACCURACY_BOUNDS, Manifest
from mmcaf_engine.result.aggregate import StudyScore, WindowScore, refuse_impossible
from mmcaf_engine.result.decisions import (
    BinaryDecision,
    Decision,
    Label,
    Method,
    MulticlassDecision,
    MultilabelDecision,
    decision_for,
    register,
    unregister,
)
from mmcaf_engine.result.decisions.questions import Questions
from mmcaf_engine.result.parts import Positive
from mmcaf_engine.result.result import Wording
from refusals import Fact, refused
from tiny_bundle import make_tiny_bundle, tiny_manifest
from tiny_liver import tiny_liver_manifest
from tiny_report import report_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz", "vocabulary.txt")}
METHODS = st.sampled_from(["max", "mean"])
LOGITS = st.floats(-80, 80, width=32)
TINY = float(np.finfo(np.float64).tiny)

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Other tests may have the processor meanwhile."""


def windows_of(labels: st.SearchStrategy[int]) -> st.SearchStrategy[NDArray[np.float32]]:
    """Logits of one to five windows, float32 [N, K]."""
    shapes = st.tuples(st.integers(1, 5), labels)
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=LOGITS))


def named(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def starts_of(logits: NDArray[np.float32]) -> tuple[int, ...]:
    return tuple(range(0, 12 * len(logits), 12))


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def back(probability: float) -> float:
    return math.log(max(probability, TINY)) - math.log(max(1 - probability, TINY))


# One study


@BUSY
@given(windows_of(st.just(1)), METHODS, st.floats(0.01, 0.99))
def test_binary(logits: NDArray[np.float32], method: Method, threshold: float) -> None:
    score = BinaryDecision(("no", "yes"), threshold, method).aggregate(starts_of(logits), logits)
    column = [float(logit) for logit in logits[:, 0]]
    expected, logit = sigmoid(max(column)), max(column)
    if method == "mean":
        expected = math.fsum(map(sigmoid, column)) / len(column)
        logit = back(expected)
    assert score.positive == Positive("yes", expected, logit, threshold)
    assert score.probabilities == (1 - expected, expected) and score.logits == (logit,)
    assert score.label == int(expected >= threshold) and score.verdict == ("no", "yes")[score.label]
    assert score.probability == (expected if score.label else 1 - expected)
    assert column[score.deciding] == max(column) and column.index(max(column)) == score.deciding
    assert [(window.logit, window.probability) for window in score.windows] == [
        (value, sigmoid(value)) if score.label else (-value, 1 - sigmoid(value)) for value in column
    ]
    assert score.findings == ()


@BUSY
@given(windows_of(st.integers(2, 6)), METHODS)
def test_multiclass(logits: NDArray[np.float32], method: Method) -> None:
    score = MulticlassDecision(named(logits.shape[1]), method).aggregate(starts_of(logits), logits)
    exact = logits.astype(np.float64)
    powers = np.exp(exact - exact.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    surest = int(np.argmax(shares.max(axis=1)))
    expected = shares.mean(axis=0) if method == "mean" else shares[surest]
    label = int(np.argmax(expected))
    assert score.probabilities == tuple(expected.tolist()) and score.label == label
    assert score.probability == expected[label] and score.verdict == str(label)
    assert score.deciding == (int(np.argmax(shares[:, label])) if method == "mean" else surest)
    assert [window.probability for window in score.windows] == shares[:, label].tolist()
    assert [window.logit for window in score.windows] == exact[:, label].tolist()
    if method == "max":
        assert score.logits == tuple(exact[surest].tolist())
    assert score.positive is None and score.findings == ()


@BUSY
@given(windows_of(st.integers(1, 6)), METHODS, st.data())
def test_multilabel(logits: NDArray[np.float32], method: Method, data: st.DataObject) -> None:
    count = logits.shape[1]
    thresholds = tuple(data.draw(st.lists(st.floats(0.01, 0.99), min_size=count, max_size=count)))
    score = MultilabelDecision(named(count), thresholds, method).aggregate(starts_of(logits), logits)
    columns = [[float(logit) for logit in column] for column in logits.T]
    if method == "mean" and len(logits) > 1:
        expected = [math.fsum(map(sigmoid, column)) / len(column) for column in columns]
        of_study = [back(probability) for probability in expected]
    else:
        expected, of_study = [max(map(sigmoid, column)) for column in columns], [max(column) for column in columns]
    assert score.probabilities == tuple(expected) and score.logits == tuple(of_study)
    present = [p >= t for p, t in zip(expected, thresholds, strict=True)]
    assert [finding.present for finding in score.findings] == present
    names = [str(at) for at, there in enumerate(present) if there]
    assert score.verdict == (", ".join(names) or "none above its threshold")
    most = expected.index(max(p for p, there in zip(expected, present, strict=True) if there or not any(present)))
    assert score.positive is None and score.probabilities[score.label] == expected[most]
    assert score.probability == (expected[most] if sum(present) == 1 else None)
    most = score.label
    assert [window.logit for window in score.windows] == columns[most]
    assert columns[most][score.deciding] == max(columns[most])


KINDS = {
    "binary": BinaryDecision(("no", "yes"), 0.4),
    "multiclass": MulticlassDecision(("a", "b", "c")),
    "multilabel": MultilabelDecision(("a", "b", "c"), (0.5, 0.3, 0.8)),
}
WIDTHS = {"binary": 1, "multiclass": 3, "multilabel": 3}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_answer_from_what_is_no_number(kind: str, value: float) -> None:
    logits = np.zeros((2, WIDTHS[kind]), np.float32)
    logits[1, -1] = value
    with refused(BackendError, "slice 12", str(value), option="precision", value="fp32"):
        KINDS[kind].aggregate((0, 12), logits)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_cohort_is_decided_as_is_what_a_study_is(kind: str) -> None:
    """The verdict of `aggregate` is that of `decided` on `arrays`; precisions are compared by these."""
    decision, rng = KINDS[kind], np.random.default_rng(3)
    scores = [decision.aggregate((0,), rng.normal(0, 2, (1, WIDTHS[kind])).astype(np.float32)) for _ in range(40)]
    probabilities, logits = decision.arrays(scores)
    assert len(probabilities) == len(logits) == 40 and probabilities.dtype == np.float64
    for score, said in zip(scores, decision.decided(probabilities), strict=True):
        assert _said(score) == (tuple(said.tolist()) if said.ndim else int(said))


def test_a_label_is_said_from_its_threshold_on() -> None:
    at, below = 0.4, np.nextafter(0.4, 0)
    assert KINDS["binary"].decided(np.array([at, below])).tolist() == [1, 0]
    assert KINDS["multilabel"].decided(np.array([[0.5, 0.3, 0.8], [0.0, 0.0, 0.0]])).tolist() == [[1, 1, 1], [0, 0, 0]]
    [question] = KINDS["binary"].questions([1, 0], np.array([at, below])).each
    assert question.said.tolist() == [True, False]
    each = KINDS["multilabel"].questions([()], np.array([[0.5, 0.3, 0.8]])).each
    assert [one.said.tolist() for one in each] == [[True]] * 3


def _said(score: StudyScore) -> int | tuple[int, ...]:
    return tuple(int(finding.present) for finding in score.findings) if score.findings else score.label


@BUSY
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_flips_are_counted_study_by_study(seed: int, studies: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.random((studies, 3)), rng.random((studies, 3))
    several = KINDS["multiclass"].flips(before, after)
    changed = sum(int(old.argmax() != new.argmax()) for old, new in zip(before, after, strict=True))
    assert (several.changed, several.fraction, several.count) == (changed, changed / studies, changed)
    each = KINDS["multilabel"].flips(before, after)
    cut = (0.5, 0.3, 0.8)
    changed = sum(
        any((old >= t) != (new >= t) for old, new, t in zip(*rows, cut, strict=True))
        for rows in zip(before, after, strict=True)
    )
    assert (each.changed, each.count) == (changed, changed)
    two = KINDS["binary"].flips(before[:, 0], after[:, 0])
    pairs = [(old >= 0.4, new >= 0.4) for old, new in zip(before[:, 0], after[:, 0], strict=True)]
    assert (two.to_label_0, two.to_label_1) == (pairs.count((True, False)), pairs.count((False, True)))
    assert two.changed is None and two.fraction == two.count / studies


@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_is_a_value(kind: str) -> None:
    again = pickle.loads(pickle.dumps(KINDS[kind]))
    assert again == KINDS[kind] and hash(again) == hash(KINDS[kind])


# Labels of studies


@pytest.mark.parametrize(
    ("kind", "cell", "label"),
    [
        ("binary", "YES", 1),
        ("binary", "0", 0),
        ("binary", "", None),
        ("multiclass", "c", 2),
        ("multiclass", None, None),
        ("multilabel", "c; A", (0, 2)),
        ("multilabel", "", ()),
        ("multilabel", "?", None),
        ("multilabel", None, None),
    ],
)
def test_labels_of_cells(kind: str, cell: str | None, label: Any) -> None:
    assert KINDS[kind].read_label(cell) == label


@pytest.mark.parametrize(
    ("kind", "cell", "said"),
    [
        ("binary", "maybe", r"'maybe' is not known \(accepted: no, yes, 0, 1\)"),
        ("binary", "2", "'2' is not known"),
        ("multiclass", "d", r"'d' is not known \(accepted: a, b, c, 0 to 2\)"),
        ("multiclass", "a;b", "'a;b'"),
        ("multilabel", "a;A", "twice.*'a;A'"),
        ("multilabel", "a;", "''"),
    ],
)
def test_cells_that_name_no_label(kind: str, cell: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KINDS[kind].read_label(cell)


def test_what_holds_of_a_study_becomes_its_label() -> None:
    one, each = KINDS["multiclass"], KINDS["multilabel"]
    assert one.label_of(["c"], "cba") == 2 and one.label_of(["c"], "abcd") is None and one.label_of([], "abc") is None
    assert each.label_of(["c", "a"], "abc") == (0, 2) and each.label_of([], "ab") == ()
    assert each.label_of(["d"], "abcd") is None


def test_counts() -> None:
    assert KINDS["multiclass"].counted([0, 2, 2]) == (1, 0, 2)
    assert KINDS["multilabel"].counted([(0, 1), (), (1,)]) == (1, 2, 0)
    assert KINDS["multilabel"].counted([]) == (0, 0, 0)


# Who provides which


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate({**tiny_manifest(), "files": FILES, **changes})


def test_the_manifest_says_which() -> None:
    assert decision_for(manifest(threshold=0.7)) == BinaryDecision(("quiet", "loud"), 0.7, "max")
    liver = Manifest.model_validate({**tiny_liver_manifest(), "files": FILES})
    assert type(decision_for(liver)) is MulticlassDecision and decision_for(liver).labels == liver.labels
    for name in ("multilabel", "independent"):
        report = Manifest.model_validate({**report_manifest(), "files": FILES, "activation": name})
        assert decision_for(report) == MultilabelDecision(report.labels, report.thresholds, "max")


class Always(Decision):
    """Says the first label, of whatever."""

    names = ("always",)

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels

    @classmethod
    def of(cls, manifest: Manifest) -> "Always":
        if manifest.threshold is not None:
            raise ValueError("it looks at no threshold")
        return cls(manifest.labels)

    def _aggregate(self, starts: Any, logits: Any) -> Any:
        raise NotImplementedError

    wording = rule = decided = questions = _aggregate


@pytest.fixture
def always() -> Iterator[None]:
    register(Always)
    yield
    unregister(Always)


def test_no_bundle_is_loaded_whose_decision_nothing_provides(tmp_path: Path) -> None:
    with refused(BundleError, "'always'", "activation", "sigmoid", "softmax", "independent"):
        make_tiny_bundle(tmp_path / "tiny.mmcaf", activation="always", threshold=None)
    register(Always)
    path = make_tiny_bundle(tmp_path / "again.mmcaf", activation="always", threshold=None)
    assert isinstance(decision_for(load_bundle(path).manifest), Always)
    unregister(Always)
    with refused(BundleError, "'always'", "activation", "sigmoid", "softmax", "independent"):
        load_bundle(path)


@pytest.mark.usefixtures("always")
def test_the_decision_checks_the_manifest_itself() -> None:
    with refused(BundleError, "tiny", "'always'", "threshold"):
        decision_for(manifest(activation="always"))


def test_the_first_format_knows_its_own_three_alone(always: None) -> None:
    with pytest.raises(ValueError, match=r"1 .*sigmoid, softmax, independent"):
        manifest(activation="always", threshold=None, format_version=1)
    assert manifest(activation="always", threshold=None).activation == "always"


@pytest.mark.parametrize("name", ["", "Always", "al ways", "1st", "a" * 61, "a\n", "../a"])
def test_names_that_no_decision_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="activation"):
        manifest(activation=name)


@pytest.mark.usefixtures("always")
def test_a_name_means_one_decision() -> None:
    register(Always)

    class Other(Always):
        pass

    class Sigmoid(Always):
        names = ("fine", "sigmoid")

    class Standard(Always):
        names = ("multilabel",)

    for kind, name in ((Other, "always"), (Sigmoid, "sigmoid"), (Standard, "multilabel")):
        with pytest.raises(ValueError, match=f"'{name}'"):
            register(kind)


WORKING = """
from mmcaf_engine.result.decisions import MulticlassDecision

class Shares(MulticlassDecision):
    pass
"""


def shares() -> Manifest:
    several = tiny_liver_manifest()
    return Manifest.model_validate({**several, "files": FILES, "activation": "shares"})


def test_a_package_provides_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'shares'"):
        shares()
    add_package(monkeypatch, tmp_path, "shares-package", WORKING, "mmcaf.decisions", "shares", "Shares")
    assert type(decision_for(shares())).__name__ == "Shares"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nonsense_that_is_not_there", "ModuleNotFoundError: No module named 'nonsense_that_is_not_there'"),
        ("raise SystemExit('go\\x1b[31m away')", "SystemExit: go [31m away"),
        ("def Shares(): ...", "Decision"),
        ("class Shares: ...", "Decision"),
        ("", "AttributeError"),
    ],
    ids=["import", "exit", "function", "class", "nothing"],
)
def test_a_broken_package_is_named(code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_package(monkeypatch, tmp_path, "broken-shares", code, "mmcaf.decisions", "shares", "Shares")
    found = shares()
    with refused(BundleError, "'shares'", "broken-shares", 2.1, reason):
        decision_for(found)


def test_two_packages_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first-shares", "second-shares"):
        add_package(monkeypatch, tmp_path / name, name, WORKING, "mmcaf.decisions", "shares", "Shares")
    with refused(BundleError, "'shares'", "first-shares", "second-shares", 2.1):
        decision_for(shares())


def test_no_package_takes_a_name_of_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_package(monkeypatch, tmp_path, "thief-of-names", "raise RuntimeError", "mmcaf.decisions", "sigmoid", "Thief")
    assert isinstance(decision_for(manifest()), BinaryDecision)


# Nobody else knows a kind

ASKED = {"activation", "threshold", "thresholds"}
KNOWS = ("engine/mmcaf_engine/result/decisions/", "engine/mmcaf_engine/manifest/")


def branches(source: str) -> list[int]:
    """Lines that ask which kind of decision there is: by `activation`, by a threshold's absence, or by class."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "activation":
            found.append(node.lineno)
        tests = [node.test] if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert) else []
        tests += node.values if isinstance(node, ast.BoolOp) else []
        tests += node.ifs if isinstance(node, ast.comprehension) else []
        tests += [node.operand] if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) else []
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            tests += [node.left, *node.comparators]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "type"):
            named = [part for argument in node.args for part in ast.walk(argument) if isinstance(part, ast.Name)]
            found += [part.lineno for part in named if part.id in {type(kind).__name__ for kind in KINDS.values()}]
        asked = ASKED | {"findings"}
        found += [test.lineno for test in tests if isinstance(test, ast.Attribute) and test.attr in asked]
    return sorted(set(found))


def test_no_other_module_asks_which_kind_of_decision_there_is() -> None:
    folders = [ROOT / name for name in ("engine", "cli", "export", "examples", "benchmarks")]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    assert len(files) > 200
    asking = {}
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        drawn = name.startswith("engine/mmcaf_engine/demo/")  # what is drawn into a synthetic patient
        if not name.startswith(KNOWS) and not drawn and (lines := branches(file.read_text(encoding="utf-8"))):
            asking[name] = lines
    assert not asking


@pytest.mark.parametrize(
    "source",
    [
        "if manifest.activation == 'softmax': ...",
        "several = manifest.threshold is None",
        "x = 1 if accuracy.thresholds else 2",
        "lines = [one for one in found if one.threshold]",
        "if result.windows and not result.findings: ...",
        "isinstance(decision, BinaryDecision | MulticlassDecision)",
    ],
)
def test_such_a_question_is_found(source: str) -> None:
    assert branches(source) == [1]
    assert branches("crossed = x - self.threshold >= 0\nf'{finding.threshold:g}'") == []


# A value instead of a label


class Months(Decision):
    """A bone's age in months, from 0 to 240; precisions are compared in shares of that."""

    names = ("months",)
    labels = ("bone age",)

    @classmethod
    def of(cls, manifest: Manifest) -> "Months":
        return cls()

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        value = float(logits.mean())
        windows = tuple(WindowScore(float(row[0]), float(row[0]) / 240) for row in logits)
        return StudyScore(0, f"{value:.1f} months", value / 240, (value / 240,), (value,), windows, deciding=0)

    def wording(self, score: StudyScore) -> Wording:
        return Wording(score.verdict, (), windows=False)

    def rule(self) -> str:
        return "mean over windows, in months"

    def read_label(self, cell: str | None) -> Label:
        return float(cell) if cell else None

    def decided(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        return (probabilities * 240).round().astype(np.int64)[:, 0]

    def questions(self, labels: Any, probabilities: NDArray[np.float64]) -> Questions:
        return Questions((), strata=np.zeros(len(labels), np.int64))

    def without_auroc(self, labels: Any) -> str:
        return "a value is told, not a label"


def test_a_predicted_value_is_compared_between_precisions() -> None:
    decision = Months()
    exact, other = (
        decision.arrays([decision.aggregate((0,), np.array([[value + off]], np.float32)) for value in (12, 96.5, 200)])
        for off in (0, 0.9)
    )
    runtime = Runtime(backend="none", version="1", device="CPU")
    labels = [decision.read_label(cell) for cell in ("13.5", "", "190")]
    found = agreement(
        StudyScores(runtime, *exact), StudyScores(runtime, *other), labels, decision, DEFAULT_ACCURACY_BOUNDS["int8"]
    )
    assert labels == [13.5, None, 190]
    assert found.max_probability_difference == pytest.approx(0.9 / 240, rel=1e-5)
    assert found.max_logit_difference == pytest.approx(0.9, rel=1e-5)
    assert (found.flips.count, found.auroc_difference, found.performance.decisions) == (3, None, None)
    assert found.auroc_note == "AUROC was not measured: a value is told, not a label."
    assert not found.passed and found.reasons == ("3 label(s) change, 100.00% of the studies; at most 1.00%",)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"probability": float("nan")}, ()),
        ({"probability": 0.7}, ("[0.2, 0.8]",)),
        ({"logits": (float("inf"),)}, ()),
        ({"label": 2}, ("2 labels",)),
        ({"label": -1}, ("2 labels",)),
        ({"probabilities": (2.5, -1.5)}, ("[2.5, -1.5]",)),
        ({"probabilities": (0.5,)}, ("[0.5]", "2 labels")),
        ({"verdict": "none\x1b[31m"}, ()),
        ({"deciding": 3}, ("window 4", 1)),
        ({"deciding": 1}, ("window 2", 1)),
        ({"deciding": -1}, ("window 0", 1)),
        ({"windows": (WindowScore(0.0, 0.5), WindowScore(0.0, 0.5))}, (2, 1)),
        ({"windows": (WindowScore(float("nan"), 0.5),)}, ()),
    ],
    ids=lambda changes: next(iter(changes), "") if isinstance(changes, dict) else "",
)
def test_an_impossible_answer_is_refused_whoever_made_it(changes: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    score = StudyScore(1, "loud", 0.8, (0.2, 0.8), (0.0,), (WindowScore(0.0, 0.8),), 0)
    for probability in (0.8, None):
        refuse_impossible(replace(score, probability=probability), 2, 1, "The output decision x")
    with refused(BackendError, "decision x", *facts):
        refuse_impossible(replace(score, **changes), 2, 1, "The output decision x")


class Short(Always):
    """A package's mistake: no probability of its second label."""

    names = ("short",)

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        return StudyScore(0, "a", 1.0, (1.0,), (0.0,), (WindowScore(0.0, 1.0),), 0)


def test_every_answer_is_looked_at_before_it_is_given() -> None:
    with refused(BackendError, "[1.0]", "2 labels"):
        Short(("a", "b")).aggregate((0,), np.zeros((1, 1), np.float32))


class Failing(Always):
    """A package's mistake."""

    names = ("failing",)

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        raise SystemExit(0)


def test_what_a_decision_raises_is_attributed_to_it() -> None:
    register(Failing)
    try:
        decision = Failing(("a", "b"))
        with refused(BackendError, "failing", "tests", "_aggregate", "SystemExit"):
            decision.aggregate((0,), np.zeros((1, 1), np.float32))
    finally:
        unregister(Failing)
