"""Faulty backends and output decisions of other packages: refused by name, whatever they do wrong, and no harm else."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from command import Command, Outcome
from entry_points import add_package
from mmcaf_engine.backends.plugins import GROUP as BACKENDS
from mmcaf_engine.bundle.bundle import MANIFEST_NAME, load_bundle, write_bundle
from mmcaf_engine.demo import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest.activation import GROUP as DECISIONS
from mmcaf_engine.manifest.activation import announce, withdraw
from mmcaf_engine.result.decisions import decision_for
from tiny_bundle import SLICES

NAMED = "of the package faulty-pack 2.1"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small study, of one window, and its record."""
    folder = tmp_path_factory.mktemp("study")
    phantom = make_phantom(1, size=64)
    write_series(phantom, folder / "series")
    for file in sorted((folder / "series").iterdir())[SLICES:]:
        file.unlink()
    record = folder / "record.json"
    record.write_text(json.dumps({"sex": phantom.patient.sex, "age": phantom.patient.age}))
    return folder / "series", record


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle_source: Path) -> None:
    """No self-test that a sound backend has passed is remembered; the tiny bundle is the default one."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle_source))
    for other in ("_packages", "_decoders", "_gpus"):  # Slow, and of no backend.
        monkeypatch.setattr(f"mmcaf_engine.checkup.doctor.{other}", list)


def refused(outcome: Outcome, said: str, *codes: int) -> None:
    """One paragraph of error that names the package and says what it did; no trace, no control character."""
    assert outcome.code in codes, (outcome.code, outcome.out, outcome.err)
    assert "of faulty-pack 2.1" in outcome.err or NAMED in outcome.out + outcome.err
    assert said in outcome.out + outcome.err
    clean(outcome)


def clean(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.err and "internal error" not in outcome.err
    assert not set(map(chr, range(32))) - {"\n"} & set(outcome.out + outcome.err)


MODULE_FAULTS = {
    "import raises": ("raise RuntimeError('boom\\x1b[31m\\nmore')", "RuntimeError: boom [31m"),
    "import exits": ("import sys; sys.exit('bye\\x1b[31m')", "SystemExit: bye [31m"),
    "import raises a base exception": ("class Own(BaseException): pass\nraise Own('base')", "Own: base"),
    "no class": ("Faulty = 3", "subclass of"),
    "nothing": ("", "has no attribute 'Faulty'"),
}


# Backends

SOUND = """
import sys

import numpy as np
import onnxruntime

from mmcaf_engine.backends.base import Availability, Backend, Detail
from mmcaf_engine.errors import BackendError, BundleError, StudyError


class Own(BaseException):
    def __str__(self):
        raise RuntimeError


class Refusal(BackendError):
    def __init__(self):
        pass


class Sound(Backend):
    name = "faulty"

    @classmethod
    def availability(cls):
        return Availability(True, "it runs")

    @classmethod
    def build(cls):
        return "1"

    def _open(self):
        self._session = onnxruntime.InferenceSession(str(self.model))

    def _infer(self, window):
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, dict(window))))

    def _close(self):
        self._session = None


class Faulty(Sound):
    pass
"""


@dataclass(frozen=True)
class Fault:
    """What a package does wrong.

    code: of its class. said: in every message about it. doctor: shows it. verify: refuses it. refused: it cannot
    answer.
    """

    code: str
    said: str
    doctor: bool = True
    verify: bool = True
    refused: bool = True


def of_class(name: str, body: str) -> str:
    return f"    @classmethod\n    def {name}(cls, *given):\n        {body}\n"


def method(name: str, body: str) -> str:
    return f"    def {name}(self, *given, **more):\n        {body}\n"


def prop(name: str, body: str) -> str:
    return f"    @property\n    def {name}(self):\n        {body}\n"


BACKEND_FAULTS = {
    # What the class says
    "availability raises": Fault(of_class("availability", "raise RuntimeError('no\\x1b[31m')"), "RuntimeError: no "),
    "availability exits": Fault(of_class("availability", "sys.exit(3)"), "SystemExit: 3"),
    "availability raises a base exception": Fault(of_class("availability", "raise Own"), "asked: Own"),
    "availability is a bool": Fault(of_class("availability", "return True"), "expected an Availability, got bool"),
    "availability is a value": Fault("    availability = True\n", "TypeError: 'bool' object is not callable"),
    "availability with no reason": Fault(
        of_class("availability", "return Availability(False, None)"), "reason: expected str, got NoneType"
    ),
    "availability with control characters": Fault(
        of_class("availability", "return Availability(False, 'a\\x1b[31m')"), "reason: expected text without control"
    ),
    "availability with no remedies": Fault(
        of_class("availability", "return Availability(False, 'no', None)"), "remedies: expected tuple, got NoneType"
    ),
    "availability with a text as remedy": Fault(
        of_class("availability", "return Availability(False, 'no', ('x',))"), "remedies[0]: expected a Remedy, got str"
    ),
    "can_run is none": Fault(of_class("_can_run", "pass"), "expected an Availability, got NoneType"),
    "can_run of the instance": Fault("    def can_run(self, precision): pass\n", "TypeError: "),
    "runtime is none": Fault(
        "    availability = classmethod(Backend.availability.__func__)\n"
        "    build = classmethod(Backend.build.__func__)\n" + of_class("runtime", "pass"),
        "'NoneType' object has no attribute '__version__'",
    ),
    "details are numbers": Fault(
        of_class("details", "return [3]"),
        "details: [0]: expected a Detail, got int",
        verify=False,
        refused=False,
    ),
    "details are none": Fault(
        of_class("details", "pass"), "expected a Sequence, got NoneType", verify=False, refused=False
    ),
    "details raise": Fault(of_class("details", "raise Own"), "in details: Own", verify=False, refused=False),
    "details without a text": Fault(
        of_class("details", "return [Detail('x', True, None)]"),
        "[0].text: expected str, got NoneType",
        verify=False,
        refused=False,
    ),
    "title raises": Fault(
        of_class("title", "raise RuntimeError('t')") + method("_infer", "return {}"), "in title", doctor=False
    ),
    "version raises": Fault(
        of_class("version", "raise RuntimeError('v')") + method("_infer", "raise Own"), "Own", doctor=False
    ),
    "build raises": Fault(
        of_class("build", "raise RuntimeError('b')"), "in build: RuntimeError: b", doctor=False, verify=False
    ),
    "build is a number": Fault(of_class("build", "return 3"), "in build: expected str", doctor=False, verify=False),
    # Attributes
    "no window in a call": Fault("    windows_per_call = 0\n", "windows_per_call: expected a number of at least 1"),
    "fewer windows than none": Fault("    windows_per_call = -1\n", "expected a number of at least 1, got -1"),
    "windows in a call as a text": Fault("    windows_per_call = 'x'\n", "windows_per_call: expected int, got str"),
    "packages as a text": Fault("    packages = 'abc'\n", "packages: expected tuple, got str"),
    "the device is none": Fault("    device = None\n", "device: expected str, got NoneType"),
    "the device raises": Fault(prop("device", "raise RuntimeError('d')"), "in device: RuntimeError: d"),
    "the device is lost": Fault(method("_open", "super()._open(); self.device = 3"), "device: expected str, got int"),
    "degraded raises": Fault(prop("degraded", "raise Own"), "in degraded: Own", doctor=False, verify=False),
    "degraded is a number": Fault(
        prop("degraded", "return 3"), "expected str or NoneType, got int", doctor=False, verify=False
    ),
    "keeps engines and does not": Fault(
        "    keeps_engines = True\n" + method("_export", "raise RuntimeError('e')"),
        "in _export: RuntimeError: e",
        doctor=False,
        verify=False,
        refused=False,
    ),
    "a configuration that JSON cannot hold": Fault(
        "    keeps_engines = True\n" + method("_configuration", "return {'x': {1}}"),
        "what JSON can hold",
        doctor=False,
        verify=False,
    ),
    # Being made
    "init without super": Fault(method("__init__", "pass"), "kind is not set, as of a Backend whose own __init__ was"),
    "init with other arguments": Fault("    def __init__(self, *given): pass\n", "in __init__: TypeError: "),
    "init exits": Fault(method("__init__", "sys.exit(0)"), "in __init__: SystemExit: 0"),
    "new makes something else": Fault("    def __new__(cls, *given, **more): return 3\n", "being set up: "),
    # An open network
    "open raises": Fault(method("_open", "raise RuntimeError('o\\x1b[31m')"), "in _open: RuntimeError: o [31m"),
    "open exits": Fault(method("_open", "sys.exit(5)"), "in _open: SystemExit: 5"),
    "open blames the study": Fault(method("_open", "raise StudyError('s')"), "in _open: StudyError: s"),
    "open blames the bundle": Fault(method("_open", "raise BundleError('s')"), "in _open: BundleError: s"),
    "open raises an error of its own": Fault(method("_open", "raise Refusal"), "in _open: Refusal"),
    "public open is none": Fault(method("open", "pass"), "in open: expected a Backend, got NoneType"),
    "open refuses": Fault(method("_open", "raise BackendError('no\\x1b[31m licence')"), "2.1: no\\u001b[31m licence"),
    "infer raises": Fault(method("_infer", "raise RuntimeError('i')"), "in _infer: RuntimeError: i", doctor=False),
    "infer raises a base exception": Fault(method("_infer", "raise Own"), "in _infer: Own", doctor=False),
    "infer exits": Fault(method("_infer", "sys.exit(0)"), "in _infer: SystemExit: 0", doctor=False),
    "infer lacks memory": Fault(method("_infer", "raise MemoryError"), "MemoryError. Close other", doctor=False),
    "infer gives none": Fault(method("_infer", "pass"), "in _infer: expected a Mapping, got", doctor=False),
    "infer gives nothing": Fault(method("_infer", "return {}"), "got nothing", doctor=False),
    "infer gives lists": Fault(method("_infer", "return {'logit': [[0.0]]}"), "got list", doctor=False),
    "too few windows": Fault(method("_infer_all", "return []"), "of 2 windows, got 0", doctor=False),
    "close raises": Fault(method("_close", "raise RuntimeError('c')"), "in _close: RuntimeError: c"),
    "public close raises": Fault(method("close", "raise Own"), "in close: Own"),
    "describes nothing": Fault(
        method("describe", "return {}"), "expected the keys backend, ", doctor=False, verify=False
    ),
    "describes a version that steers": Fault(
        method("describe", "return {**super().describe(), 'version': 'a\\x1b[31m'}"),
        "three texts",
        doctor=False,
        verify=False,
    ),
    "forget raises": Fault(method("forget", "raise Own"), "in forget: Own", doctor=False, verify=False),
}


@pytest.mark.parametrize("fault", BACKEND_FAULTS)
def test_a_faulty_backend(
    fault: str,
    run: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_bundle_source: Path,
    study: tuple[Path, Path],
) -> None:
    found = BACKEND_FAULTS[fault]
    add_package(monkeypatch, tmp_path, "faulty-pack", SOUND + found.code, BACKENDS, "faulty", "Faulty")
    shown = run("mmcaf", "doctor", "--json")
    clean(shown)
    rows = [row for row in json.loads(shown.out)["findings"] if row["subject"].split()[0] == "faulty"]
    assert shown.code == 0 and rows and any("faulty-pack 2.1" in row["detail"] for row in rows)
    assert any(found.said in row["detail"] and row["status"] == "note" for row in rows) == found.doctor
    verified = run("mmcaf", "verify", tiny_bundle_source, "--backend", "faulty")
    answered = run("mmcaf-infer", *study, "--bundle", tiny_bundle_source, "--backend", "faulty")
    for outcome in (verified, answered):
        clean(outcome)
    if found.refused:
        refused(answered, found.said, 6)
        assert answered.out == ""
    else:
        assert answered.code == 0
    if found.verify:
        refused(verified, found.said, 6)
    else:
        assert verified.code == 0


@pytest.mark.parametrize("fault", MODULE_FAULTS)
def test_a_backend_that_cannot_be_loaded(
    fault: str, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle_source: Path
) -> None:
    code, said = MODULE_FAULTS[fault]
    add_package(monkeypatch, tmp_path, "faulty-pack", code, BACKENDS, "faulty", "Faulty")
    shown = run("mmcaf", "doctor", "--json")
    clean(shown)
    (row,) = [row for row in json.loads(shown.out)["findings"] if row["subject"] == "faulty"]
    assert shown.code == 0 and row["status"] == "note" and NAMED in f" {row['detail']}" and said in row["detail"]
    refused(run("mmcaf", "verify", tiny_bundle_source, "--backend", "faulty"), said, 6)
    assert run("mmcaf", "verify", tiny_bundle_source, "--backend", "onnxruntime").code == 0


def test_a_backend_whose_place_in_the_order_of_auto_is_none(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle_source: Path, study: tuple[Path, Path]
) -> None:
    code = SOUND + of_class("auto_rank", "return 'first'")
    add_package(monkeypatch, tmp_path, "faulty-pack", code, BACKENDS, "faulty", "Faulty")
    answered = run("mmcaf-infer", *study, "--bundle", tiny_bundle_source)
    refused(answered, "failed in auto_rank: expected int or NoneType, got str", 0)
    assert answered.out and answered.err.startswith("warning: ")


def test_the_user_may_interrupt_a_backend(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle_source: Path
) -> None:
    """A KeyboardInterrupt is no fault of the package in whose code it comes."""
    code = SOUND + method("_infer", "raise KeyboardInterrupt")
    add_package(monkeypatch, tmp_path, "faulty-pack", code, BACKENDS, "faulty", "Faulty")
    outcome = run("mmcaf", "verify", tiny_bundle_source, "--backend", "faulty")
    assert outcome.code == 130 and "faulty" not in outcome.err


# Output decisions

BINARY = """
import sys
from dataclasses import replace

import numpy as np

from mmcaf_engine.result.decisions import Decision
from mmcaf_engine.result.decisions.binary import BinaryDecision
from mmcaf_engine.result.result import Wording


class Own(BaseException):
    def __str__(self):
        raise RuntimeError


class Faulty(BinaryDecision):
    names = ("faulty",)

"""


@pytest.fixture(scope="module")
def decided(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with the package's decision."""
    folder = tmp_path_factory.mktemp("decided")
    draft = Path(shutil.copytree(tiny_bundle_source, folder / "draft"))
    document = json.loads((draft / MANIFEST_NAME).read_text(encoding="utf-8"))
    (draft / MANIFEST_NAME).unlink()
    del document["files"]
    announce("faulty")
    try:
        return write_bundle(draft, {**document, "activation": "faulty"}, folder / "decided.mmcaf").folder
    finally:
        withdraw("faulty")


@pytest.fixture(scope="module")
def cohort(study: tuple[Path, Path]) -> Path:
    """Two labelled studies."""
    table = study[0].parent / "cohort.csv"
    rows = [f"{at},series,record.json,{label}" for at, label in enumerate(("quiet", "loud"))]
    table.write_text("\n".join(["id,study,record,label", *rows]))
    return table


def scored(changes: str) -> str:
    return method("_aggregate", f"return replace(super()._aggregate(*given), {changes})")


ANSWERING = {
    "of raises": (of_class("of", "raise RuntimeError('o')"), "in of: RuntimeError: o"),
    "of exits": (of_class("of", "sys.exit(0)"), "in of: SystemExit: 0"),
    "of gives none": (of_class("of", "pass"), "in of: expected a Decision, got NoneType"),
    "labels are none": ("    labels = None\n" + method("__init__", "pass"), "labels: expected tuple, got NoneType"),
    "no labels": (
        "    labels = property(lambda self: 1 / 0, lambda self, value: None)\n",
        "in labels: ZeroDivisionError: division by zero",
    ),
    "aggregate raises": (method("_aggregate", "raise RuntimeError('a')"), "in _aggregate: RuntimeError: a"),
    "aggregate raises a base exception": (method("_aggregate", "raise Own"), "in _aggregate: Own"),
    "aggregate exits": (method("_aggregate", "sys.exit(0)"), "in _aggregate: SystemExit: 0"),
    "aggregate gives none": (method("_aggregate", "pass"), "in _aggregate: expected a StudyScore"),
    "public aggregate gives none": (method("aggregate", "pass"), "in aggregate: expected a StudyScore, got"),
    "a probability that is no number": (scored("probability=float('nan')"), "probability: expected a finite number"),
    "a probability in single precision": (
        scored("probability=np.float32(0.5)"),
        "probability: expected float or NoneType, got fl",
    ),
    "a threshold that is infinite": (
        scored("positive=replace(super()._aggregate(*given).positive, threshold=float('inf'))"),
        "positive.threshold: expected a finite number, got inf",
    ),
    "an impossible probability": (scored("probabilities=(2.5, -1.5)"), "gave an impossible answer"),
    "a verdict with control characters": (scored("verdict='a\\x1b[31m'"), "verdict: expected text without control"),
    "one window too many": (scored("windows=super()._aggregate(*given).windows * 2"), "gave an impossible answer"),
    "wording raises": (method("wording", "raise RuntimeError('w')"), "in wording: RuntimeError: w"),
    "wording gives none": (method("wording", "pass"), "in wording: expected a Wording, got NoneType"),
    "wording without a headline": (method("wording", "return Wording(None, (), True)"), "headline: expected str"),
    "wording with rows of one": (method("wording", "return Wording('', (('a',),), True)"), "rows[0]: expected 2"),
}
"""Fault -> code of the class, and what mmcaf-infer says."""

JUDGING = {
    "questions raise": (method("questions", "raise Own"), "in questions: Own"),
    "questions give none": (method("questions", "pass"), "in questions: expected a Questions, got NoneType"),
    "questions about fewer": (
        method("questions", "return super().questions(given[0][:1], given[1])"),
        "in questions: ValueError: expected arrays of 2 studies",
    ),
    "arrays give none": (method("arrays", "pass"), "in arrays: expected tuple, got NoneType"),
    "arrays give one": (method("arrays", "return (np.zeros(2),)"), "in arrays: expected 2 values, got 1"),
    "arrays of fewer": (
        method("arrays", "return np.zeros(1), np.zeros(1)"),
        "in arrays: ValueError: expected 2 studies",
    ),
    "read_label raises": (method("read_label", "raise KeyError(3)"), "in read_label: KeyError: 3"),
    "read_label gives a text": (method("read_label", "return 'loud'"), "in read_label: expected "),
    "counted gives none": (method("counted", "pass"), "in counted: expected tuple, got NoneType"),
    "counted gives one": (method("counted", "return (2,)"), "failed while judging a cohort: IndexError"),
    "cohort_words gives none": (method("cohort_words", "pass"), "in cohort_words: expected tuple, got None"),
    "cutoff raises": (method("cutoff", "raise Own"), "in cutoff: Own"),
}
"""Fault -> code of the class, and what mmcaf evaluate says."""


@pytest.mark.parametrize("fault", ANSWERING)
def test_a_faulty_decision(
    fault: str, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decided: Path, study: tuple[Path, Path]
) -> None:
    code, said = ANSWERING[fault]
    add_package(monkeypatch, tmp_path, "faulty-pack", BINARY + code, DECISIONS, "faulty", "Faulty")
    answered = run("mmcaf-infer", *study, "--bundle", decided, "--backend", "onnxruntime")
    clean(answered)
    refused(answered, said, 6)
    assert answered.out == ""


@pytest.mark.parametrize("fault", JUDGING)
def test_a_decision_that_fails_at_a_cohort(
    fault: str, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decided: Path, cohort: Path
) -> None:
    code, said = JUDGING[fault]
    add_package(monkeypatch, tmp_path, "faulty-pack", BINARY + code, DECISIONS, "faulty", "Faulty")
    judged = run("mmcaf", "evaluate", cohort, "--bundle", decided, "--backend", "onnxruntime")
    clean(judged)
    refused(judged, said, 6)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise Own", "in decided: Own"),
        ("pass", "in decided: expected an array of int64, got NoneType"),
        ("return np.zeros(2)", "in decided: expected an array of int64, got an array of float64"),
    ],
)
def test_a_decision_that_fails_between_precisions(
    body: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decided: Path
) -> None:
    code = BINARY + method("decided", body)
    add_package(monkeypatch, tmp_path, "faulty-pack", code, DECISIONS, "faulty", "Faulty")
    decision = decision_for(load_bundle(decided).manifest)
    with pytest.raises(BackendError, match=NAMED) as caught:
        decision.flips(np.zeros(2), np.ones(2))
    assert said in caught.value.problem


def test_a_decision_whose_rule_fails(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decided: Path
) -> None:
    code = BINARY + method("rule", "return 3")
    add_package(monkeypatch, tmp_path, "faulty-pack", code, DECISIONS, "faulty", "Faulty")
    refused(run("mmcaf", "inspect", decided), "in rule: expected str, got int", 6)


def test_a_decision_says_why_it_does_not_fit(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decided: Path
) -> None:
    code = BINARY + of_class("of", "raise ValueError('it needs\\x1b[31m more')")
    add_package(monkeypatch, tmp_path, "faulty-pack", code, DECISIONS, "faulty", "Faulty")
    outcome = run("mmcaf", "inspect", decided)
    clean(outcome)
    assert outcome.code == 5 and "'faulty' needs: it needs [31m more" in outcome.err


@pytest.mark.parametrize("fault", [*MODULE_FAULTS, "abstract", "names"])
def test_a_decision_that_cannot_be_loaded(
    fault: str, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decided: Path
) -> None:
    code, said = (
        MODULE_FAULTS.get(fault)
        or {
            "abstract": (
                f"{BINARY}class Faulty(Decision):\n    names = ('faulty',)\n",
                "Faulty lacks _aggregate, decided",
            ),
            "names": (f"{BINARY}    names = 3\n", "names: expected tuple, got int"),
        }[fault]
    )
    add_package(monkeypatch, tmp_path, "faulty-pack", code, DECISIONS, "faulty", "Faulty")
    refused(run("mmcaf", "inspect", decided), said, 5)
