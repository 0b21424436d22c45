"""Tuning: what is timed and what is not, the rule that chooses, and when kept times count. No test measures time."""

import dataclasses
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends_here import only
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.accuracy import ACCURACY_NAME, Accuracy, CohortSummary, Reference, Runtime, write_accuracy
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.checkup.kept import cached_items
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from mmcaf_engine.evaluation.compare import StudyScores, agreement
from mmcaf_engine.evaluation.performance import performance
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.cpu import Processor
from mmcaf_engine.machine.gpu import Gpu
from mmcaf_engine.manifest import DEFAULT_ACCURACY_BOUNDS
from mmcaf_engine.result.decisions import BinaryDecision
from mmcaf_engine.session.choice import choose
from mmcaf_engine.session.session import Session
from mmcaf_engine.session.timings import Timing, Tuning, read_tuning, tuned_for
from mmcaf_engine.session.tune import WARM_UP_RUNS, run_ms, tune
from refusals import Fact, check_facts, refused
from several_precisions import add_precisions

THREADS = 1
GPU = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * 2**30, "0000:01:00.0", "580.65.06", (13, 0))
RUNTIME = Runtime(backend="openvino", version="2026.1", device="CPU")
RULE = BinaryDecision(("quiet", "loud"), 0.5)

Times = dict[str, float]
SetTimes = Callable[[Times], list[str]]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    only(monkeypatch, "openvino", "onnxruntime")
    return tmp_path / "cache"


@pytest.fixture
def set_times(monkeypatch: pytest.MonkeyPatch) -> SetTimes:
    """Takes "backend precision" -> ms, and gives the list of what was timed, in order."""
    timed: list[str] = []

    def set_to(times: Times) -> list[str]:
        def fake(session: Session, inputs: dict[str, np.ndarray]) -> float:
            assert all(len(array) == 1 for array in inputs.values()) and session.run(inputs)
            timed.append(f"{session.backend} {session.precision}")
            return times[timed[-1]]

        monkeypatch.setattr("mmcaf_engine.session.tune.run_ms", fake)
        return timed

    return set_to


def with_int8(source: Path, output: Path, *, gate: str = "passed", offset: float = 0.05) -> Path:
    """A bundle with int8, whose accuracy.json says that it passed or failed its gate, or nothing of it ("silent")."""
    exact = scores(0.2, 0.7, 0.9)
    int8 = agreement(
        exact, scores(0.2, 0.7, 0.4 if gate == "failed" else 0.9), (0, 1, 1), RULE, DEFAULT_ACCURACY_BOUNDS["int8"]
    )
    accuracy = Accuracy(
        cohort=CohortSummary(source="cohort.csv", studies=3, refused=0, labelled=3, positives=2),
        threshold=0.5,
        reference=Reference(**RUNTIME.model_dump(), performance=performance((0, 1, 1), exact.probabilities, RULE)),
        precisions={} if gate == "silent" else {"int8": int8},
    )
    if gate != "none":
        write_accuracy(accuracy, source / ACCURACY_NAME)
    return add_precisions(source, output, {"int8": offset})


def scores(*probabilities: float) -> StudyScores:
    values = np.array(probabilities)
    return StudyScores(RUNTIME, values, np.log(values / (1 - values)))


@pytest.fixture
def several(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    return load_bundle(with_int8(tiny_bundle, tmp_path / "several.mmcaf"))


def answers(bundle: Bundle, **options: Any) -> tuple[str, str, bool]:
    """Backend and precision of a session, and whether it is tuned."""
    with open_session(bundle, **{"threads": THREADS, **options}) as session:
        facts = session.describe()
    return facts["backend"], facts["precision"], facts["tuned"]


ALL = {"openvino fp32": 10.0, "openvino int8": 4.0, "onnxruntime fp32": 8.0, "onnxruntime int8": 12.0}


def tuning(times: Times) -> Tuning:
    facts = {"bundle_sha256": "ab", "engine": "0", "processor": "p", "instructions": (), "runtimes": {}, "threads": 1}
    timings = [
        Timing(backend=name.split()[0], precision=name.split()[1], median_ms=median, p95_ms=median)
        for name, median in times.items()
    ]
    return Tuning.model_validate({"bundle": "b", "facts": facts, "runs": 1, "timings": timings})


@pytest.mark.parametrize(
    ("times", "asked", "picked"),
    [
        (ALL, ("auto", "auto"), "openvino int8"),
        (ALL, ("onnxruntime", "auto"), "onnxruntime fp32"),
        (ALL, ("openvino", "auto"), "openvino int8"),
        (ALL, ("auto", "fp32"), "onnxruntime fp32"),
        (ALL, ("auto", "int8"), "openvino int8"),
        (ALL, ("openvino", "fp32"), None),
        (ALL, ("auto", "bf16"), None),
        (ALL, ("tensorrt", "auto"), None),
        ({"a fp32": 100.0, "a int8": 95.0}, ("auto", "auto"), "a int8"),
        ({"a fp32": 100.0, "a int8": 95.1}, ("auto", "auto"), "a fp32"),
        ({"a fp32": 100.0, "b fp32": 99.9, "a int8": 95.0}, ("auto", "auto"), "b fp32"),
        ({"a int8": 9.0, "b int8": 8.9}, ("auto", "auto"), "b int8"),
        ({"a fp32": 0.0, "a int8": 1.0}, ("auto", "auto"), "a fp32"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_the_rule(times: Times, asked: tuple[str, str], picked: str | None) -> None:
    pick = tuning(times).pick(*asked)
    assert (pick and f"{pick.backend} {pick.precision}") == picked


def test_auto_uses_what_was_tuned_and_named_options_win(several: Bundle, set_times: SetTimes) -> None:
    assert answers(several, backend="auto")[1:] == ("fp32", False)
    set_times(ALL)
    tuned = tune(several, runs=3, threads=THREADS)
    assert {f"{one.backend} {one.precision}": one.median_ms for one in tuned.tuning.timings} == ALL
    assert answers(several) == ("openvino", "int8", True)
    assert answers(several, backend="onnxruntime") == ("onnxruntime", "fp32", True)
    assert answers(several, precision="fp32") == ("onnxruntime", "fp32", True)
    assert answers(several, backend="onnxruntime", precision="int8") == ("onnxruntime", "int8", False)
    set_times({**ALL, "onnxruntime fp32": 3.0})
    tune(several, runs=1, threads=THREADS)
    assert answers(several) == ("onnxruntime", "fp32", True)
    assert len(cached_items(("tuning",))) == 1


def test_what_was_tuned_is_what_will_run(several: Bundle, set_times: SetTimes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_BUNDLE", str(several.folder))
    for other in ("_packages", "_decoders", "_gpus"):  # Slow, and of no backend.
        monkeypatch.setattr(f"mmcaf_engine.checkup.doctor.{other}", list)
    set_times(ALL)
    tune(several, runs=1)
    assert answers(several, threads=None) == ("openvino", "int8", True)
    said = next(one for one in examine() if one.subject == "auto")
    assert (said.status, said.remedies) == ("ok", ())
    check_facts(said.detail, "openvino int8 on CPU", "tuned")


def test_as_a_dict(several: Bundle, set_times: SetTimes) -> None:
    set_times(ALL)
    tuned = tune(several, runs=2, threads=THREADS)
    document = tuned.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["choice"] == {"backend": "openvino", "precision": "int8"} and document["runs"] == 2
    assert document["model"] == several.summary.to_dict()
    assert {len(one) for one in document["candidates"]} == {6}


def test_candidates_take_turns(several: Bundle, set_times: SetTimes) -> None:
    timed = set_times(ALL)
    tune(several, runs=3, threads=THREADS)
    assert timed == ["openvino fp32", "openvino int8", "onnxruntime fp32", "onnxruntime int8"] * 3


def test_the_median_counts_and_the_warm_up_does_not(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    taken = {"openvino": iter([1.0, 90.0, 2.0]), "onnxruntime": iter([5.0, 5.0, 4.0])}
    monkeypatch.setattr("mmcaf_engine.session.tune.run_ms", lambda session, inputs: next(taken[session.backend]))
    original = Session.run
    monkeypatch.setattr(Session, "run", lambda self, given: (ran.append(self.backend), original(self, given))[1])
    first, second = tune(load_bundle(tiny_bundle), runs=3, threads=THREADS).tuning.timings
    assert (first.median_ms, second.median_ms) == (2.0, 5.0)
    assert first.p95_ms == pytest.approx(2.0 + 0.9 * 88.0)
    assert ran == ["openvino"] * WARM_UP_RUNS + ["onnxruntime"] * WARM_UP_RUNS


def test_a_run_is_timed_in_milliseconds(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 10.25])
    monkeypatch.setattr("mmcaf_engine.session.tune.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    bundle = load_bundle(tiny_bundle)
    with np.load(bundle.folder / "golden.npz") as golden, open_session(bundle, threads=THREADS) as session:
        assert run_ms(session, {name: golden[name] for name in ("image", "table")}) == 250.0


@pytest.mark.parametrize(
    ("gate", "offset", "reason"),
    [
        ("none", 0.0, "the bundle does not say what int8 costs"),
        ("silent", 0.0, "the bundle does not say what int8 costs"),
        ("failed", 0.0, "int8 did not pass the accuracy gate: a probability differs by 0.5000"),
        ("passed", 0.2, "in int8 fails the self-test of tiny"),
    ],
    ids=["no-report", "not-in-report", "failed-gate", "failed-self-test"],
)
def test_what_may_not_answer_is_left_out(
    tiny_bundle: Path, tmp_path: Path, set_times: SetTimes, gate: str, offset: float, reason: str
) -> None:
    bundle = load_bundle(with_int8(tiny_bundle, tmp_path / "several.mmcaf", gate=gate, offset=offset))
    timed = set_times({name: 1.0 if name.endswith("int8") else 9.0 for name in ALL})
    left_out = tune(bundle, runs=1, threads=THREADS).left_out
    assert [(one.backend, one.precision) for one in left_out] == [("openvino", "int8"), ("onnxruntime", "int8")]
    assert all(reason in one.reason for one in left_out)
    assert timed == ["openvino fp32", "onnxruntime fp32"] and answers(bundle)[1] == "fp32"


def unavailable(monkeypatch: pytest.MonkeyPatch, backend: type, *precisions: str) -> None:
    original = backend.can_run

    def can_run(cls: type, precision: str) -> Availability:
        return Availability(False, "units are gone") if precision in precisions else original(precision)

    monkeypatch.setattr(backend, "can_run", classmethod(can_run))


def test_what_cannot_run_is_left_out_with_the_reason(
    several: Bundle, set_times: SetTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable(monkeypatch, OpenVinoBackend, "fp32", "int8")
    timed = set_times(ALL)
    left_out = tune(several, runs=1, threads=THREADS).left_out
    assert [one.reason for one in left_out] == ["units are gone"] * 2 and set(timed) == {
        "onnxruntime fp32",
        "onnxruntime int8",
    }


def test_what_auto_leaves_aside_is_not_timed(
    several: Bundle, set_times: SetTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = "its kernels are for GPUs"
    monkeypatch.setattr(OnnxRuntimeBackend, "excluded_from_auto", classmethod(lambda cls: aside))
    timed = set_times(ALL)
    left_out = tune(several, runs=1, threads=THREADS).left_out
    assert [(one.backend, one.precision, one.reason) for one in left_out] == [
        ("onnxruntime", "fp32", aside),
        ("onnxruntime", "int8", aside),
    ]
    assert timed == ["openvino fp32", "openvino int8"]


def test_nothing_can_run(several: Bundle, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in (OpenVinoBackend, OnnxRuntimeBackend):
        unavailable(monkeypatch, backend, "fp32", "int8")
    with refused(BackendError, "tiny", "openvino fp32", "onnxruntime int8", "units are gone") as caught:
        tune(several, threads=THREADS)
    assert caught.value.exit_code == 6 and not list((own_cache / "tuning").iterdir())


@pytest.mark.parametrize(
    ("asked", "used", "said"),
    [
        (
            {},
            ("onnxruntime", "fp32"),
            "openvino int8, the fastest as measured here: Backend openvino does not run int8 here",
        ),
        ({"backend": "openvino"}, ("openvino", "fp32"), "openvino int8, the fastest as measured here"),
        ({"precision": "int8"}, ("onnxruntime", "int8"), "openvino int8, the fastest as measured here"),
    ],
    ids=["auto", "backend-named", "precision-named"],
)
def test_a_choice_that_can_no_longer_run(
    several: Bundle,
    set_times: SetTimes,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, str],
    used: tuple[str, str],
    said: str,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")  # Untuned, ONNX Runtime comes first.
    set_times(ALL)
    tune(several, runs=1, threads=THREADS)
    unavailable(monkeypatch, OpenVinoBackend, "int8")
    with open_session(several, threads=THREADS, **asked) as session:
        assert (session.backend, session.precision) == used
        assert session.fallback is not None and said in session.fallback and "units are gone" in session.fallback
        assert session.describe()["tuned"] is False


@pytest.mark.parametrize("change", ["bundle", "threads", "runtime", "processor", "gpu", "driver"])
def test_times_count_only_for_what_they_were_measured_with(
    several: Bundle, tiny_bundle: Path, set_times: SetTimes, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    set_times(ALL)
    monkeypatch.setattr("mmcaf_engine.session.timings.first_gpu", lambda: GPU)
    tune(several, runs=1, threads=THREADS)
    bundle, threads = several, THREADS
    assert read_tuning(bundle, threads) is not None
    match change:
        case "bundle":
            bundle = load_bundle(tiny_bundle)
        case "threads":
            threads = 2
        case "runtime":
            monkeypatch.setattr("mmcaf_engine.backends.registry.installed_version", lambda name: "99.0")
        case "processor":
            monkeypatch.setattr("mmcaf_engine.session.timings.processor", lambda: Processor("other", ("avx",)))
        case "gpu":
            monkeypatch.setattr("mmcaf_engine.session.timings.first_gpu", lambda: None)
        case "driver":
            newer = dataclasses.replace(GPU, driver="590.12")
            monkeypatch.setattr("mmcaf_engine.session.timings.first_gpu", lambda: newer)
    assert read_tuning(bundle, threads) is None
    assert answers(bundle, threads=threads)[1:] == ("fp32", False)


def spoil(document: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: b"",
        lambda document: b"{",
        lambda document: b"[" * 9999,
        lambda document: b"\xff\xfe",
        lambda document: b"[]",
        lambda document: spoil(document, timings=[]),
        lambda document: spoil(document, timings=[{**document["timings"][0], "median_ms": -1}]),
        lambda document: spoil(document, timings=[{**document["timings"][0], "precision": "fp7"}]),
        lambda document: spoil(document, format_version=2),
        lambda document: spoil(document, run="rm"),
        lambda document: spoil(document, facts={**document["facts"], "threads": 64}),
        lambda document: b" " * 300_000 + spoil(document),
    ],
    ids=[
        "empty",
        "cut-short",
        "deep",
        "not-text",
        "a-list",
        "no-times",
        "negative-time",
        "unknown-precision",
        "newer",
        "unknown-field",
        "made-for-something-else",
        "too-large",
    ],
)
def test_a_damaged_record_is_not_used_and_that_is_logged(
    several: Bundle,
    set_times: SetTimes,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[dict[str, Any]], bytes],
) -> None:
    set_times(ALL)
    file = tune(several, runs=1, threads=THREADS).file
    file.write_bytes(damage(json.loads(file.read_text())))
    with caplog.at_level(logging.WARNING):
        assert answers(several)[1:] == ("fp32", False)
    (record,) = caplog.records
    assert record.getMessage().startswith("The recorded tuning is not used; tune the bundle again.")
    assert tune(several, runs=1, threads=THREADS).file == file
    assert answers(several) == ("openvino", "int8", True)


def test_a_link_in_place_of_a_record(
    several: Bundle, set_times: SetTimes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    set_times(ALL)
    file = tune(several, runs=1, threads=THREADS).file
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    assert read_tuning(several, THREADS) is None and "The recorded tuning is not used" in caplog.text


def test_what_is_kept(several: Bundle, set_times: SetTimes, own_cache: Path) -> None:
    set_times(ALL)
    tuned = tune(several, runs=2, threads=THREADS)
    assert re.fullmatch(r"[0-9a-f]{64}\.json", tuned.file.name) and tuned.file.parent == own_cache / "tuning"
    assert list(tuned.file.parent.iterdir()) == [tuned.file]
    assert read_tuning(several, THREADS) == tuned.tuning and tuned.tuning.facts == tuned_for(several, THREADS)
    (item,) = cached_items(("tuning",))
    assert item.what == "tiny, 4 timed, 1 threads"


def test_a_record_that_is_read_counts_as_used_now(several: Bundle, set_times: SetTimes) -> None:
    set_times(ALL)
    file = tune(several, runs=1, threads=THREADS).file
    os.utime(file, (0, 0))
    assert read_tuning(several, THREADS + 1) is None and file.stat().st_mtime == 0
    assert read_tuning(several, THREADS) is not None
    assert time.time() - file.stat().st_mtime < 60


def test_a_session_makes_no_folder_for_a_bundle_that_was_never_tuned(several: Bundle, own_cache: Path) -> None:
    assert answers(several)[2] is False and not (own_cache / "tuning").exists()


def test_choose_without_times(several: Bundle) -> None:
    choice = choose(several, backend="onnxruntime", threads=THREADS)
    assert (choice.backend.name, choice.precision) == ("onnxruntime", "fp32")


@pytest.mark.parametrize(
    ("options", "facts"),
    [({"runs": 0}, ("0 runs", 1)), ({"runs": -3}, ("runs", -3, 1)), ({"threads": 0}, ("0 threads", 1))],
    ids=["no-runs", "negative-runs", "no-threads"],
)
def test_wrong_numbers(several: Bundle, options: dict[str, int], facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, *facts):
        tune(several, **options)
    assert not cached_items(("tuning",))


def test_a_damaged_model_is_refused(several: Bundle) -> None:
    model = several.folder / "model.int8.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with refused(BundleError, "model.int8.onnx", "SHA-256"):
        tune(several, runs=1, threads=THREADS)
