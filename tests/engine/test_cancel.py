"""Ending an answer: by token and by deadline, at every stage and while a session opens; and no thread is left.

What is slow is made so; how long the end takes is measured from the moment when the work is to end to the return. The
machine's own pauses only ever lengthen it, so that the least of six counts.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import Answerer, CancelToken, files, infer, load_bundle, open_session
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.cancel import check, leave_behind, limited
from mmcaf_engine.errors import CancelledError, DeadlineError, MmcafError, UsageError
from mmcaf_engine.record.report import read_report
from refusals import Fact, refused
from tiny_bundle import SIZE, SLICES, make_tiny_bundle

RECORD = {"sex": "F", "age": 63}
WITHIN, ATTEMPTS = 0.3, 6
"""Seconds from the end of the caller's patience to the return."""
STARTED = 20.0
"""Seconds after which a stage that was not reached is a failure."""
posix = pytest.mark.skipif(os.name != "posix", reason="FIFOs of POSIX")
ONE_CALL = 1.2
"""Seconds that one call takes which nothing can stop: longer by far than `WITHIN`, and than any deadline here."""
ONE_STEP = 0.02
"""Seconds that a step of a slow stage takes: a file, a slice, a window."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, do not change it."""
    return save(ct_series(hounsfield(200, SIZE, SIZE)), tmp_path_factory.mktemp("series") / "study")


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    ends = time.monotonic() + STARTED
    while (left := set(threading.enumerate()) - before) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not left


class Slow:
    """Makes calls of a function take longer, and tells when the first has begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, seconds: float) -> None:
        self.reached = threading.Event()
        real = getattr(owner, name)

        def slowly(*arguments: Any, **options: Any) -> Any:
            self.reached.set()
            time.sleep(seconds)
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, slowly)


def read(monkeypatch: pytest.MonkeyPatch) -> Slow:
    from mmcaf_engine.study import scan

    return Slow(monkeypatch, scan, "read_instance", ONE_STEP)


def decode(monkeypatch: pytest.MonkeyPatch) -> Slow:
    from mmcaf_engine.study.dicom import pixels

    return Slow(monkeypatch, pixels, "intensities", 4 * ONE_STEP)


def preprocess(monkeypatch: pytest.MonkeyPatch) -> Slow:
    from mmcaf_engine.inputs.windows import Preprocessor

    return Slow(monkeypatch, Preprocessor, "put", 4 * ONE_STEP)


def opening(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """A runtime that builds an engine: one call, which nothing can stop."""
    return Slow(monkeypatch, OnnxRuntimeBackend, "_open", ONE_CALL)


def self_test(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch, OnnxRuntimeBackend, "_infer", 1.0)


def windows(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch, OnnxRuntimeBackend, "_infer", 4 * ONE_STEP)


def one_window(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """One call, which nothing can stop."""
    return Slow(monkeypatch, OnnxRuntimeBackend, "_infer", ONE_CALL)


def ends_soon(attempt: Callable[[], float], limit: float = WITHIN) -> None:
    """Holds that an attempt, which gives back how many seconds its end took, ends within the limit in one of six."""
    taken: list[float] = []
    while len(taken) < ATTEMPTS and not (taken and taken[-1] < limit):
        taken.append(attempt())
    assert taken[-1] < limit, taken


def until(error: type[MmcafError], reached: threading.Event, work: Callable[[CancelToken], object]) -> float:
    """Seconds from the moment at which work is cancelled, once `reached`, to its return."""
    token, moment = CancelToken(), [0.0]

    def cancel() -> None:
        if reached.wait(STARTED):
            time.sleep(0.05)
            moment[0] = time.monotonic()
            token.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(error):
        work(token)
    returned = time.monotonic()
    canceller.join()
    assert moment[0], "the stage was not reached"
    return returned - moment[0]


@pytest.mark.parametrize("stage", [read, decode, preprocess, opening], ids=lambda stage: stage.__name__)
def test_cancelled_at_each_stage_of_one_call(
    stage: Callable[[pytest.MonkeyPatch], Slow], study: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled() -> float:
        with monkeypatch.context() as patch:
            return until(
                CancelledError,
                stage(patch).reached,
                lambda token: infer(study, RECORD, bundle=tiny_bundle, backend="onnxruntime", cancel=token),
            )

    ends_soon(cancelled)


@posix
@pytest.mark.parametrize("given", ["record", "report"])
@pytest.mark.parametrize("begun", [False, True], ids=["no-writer", "slow-writer"])
def test_cancelled_while_a_record_or_a_report_is_waited_for(
    given: str, begun: bool, study: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR) if begun else None  # RDWR, so that opening it does not wait for the reader.
    if writer is not None:
        os.write(writer, b'{"sex": ')
    work: dict[str, Callable[[CancelToken], object]] = {
        "record": lambda token: infer(study, fifo, bundle=tiny_bundle, backend="onnxruntime", cancel=token),
        "report": lambda token: _limited(token, lambda: read_report(fifo)),
    }

    def cancelled() -> float:
        with monkeypatch.context() as patch:
            return until(CancelledError, Slow(patch, files, "read_stream", 0.0).reached, work[given])

    try:
        ends_soon(cancelled)
    finally:
        if writer is not None:
            os.close(writer)


def past_deadline(study: Path, record: Path | dict[str, object], bundle: Path) -> float:
    """Seconds from a deadline, before which nothing comes back, to the return."""
    ends = time.monotonic() + 0.4
    with refused(DeadlineError, "0.4 s") as caught:
        infer(study, record, bundle=bundle, backend="onnxruntime", deadline=0.4)
    assert caught.value.exit_code == 124
    late = time.monotonic() - ends
    assert late >= 0
    return late


def _limited(token: CancelToken, work: Callable[[], object]) -> object:
    with limited(token):
        return work()


@posix
def test_a_deadline_while_a_record_is_waited_for(study: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    ends_soon(lambda: past_deadline(study, tmp_path / "fifo", tiny_bundle))


@posix
def test_a_record_that_comes_late_and_in_pieces_is_read(study: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def write() -> None:
        time.sleep(4 * ONE_STEP)
        with fifo.open("wb", buffering=0) as stream:
            for piece in (b'{"sex": "F"', b', "age": ', b"63}"):
                stream.write(piece)
                time.sleep(4 * ONE_STEP)

    expected = infer(study, RECORD, bundle=tiny_bundle, backend="onnxruntime").positive
    writer = threading.Thread(target=write)
    writer.start()
    answered = infer(study, fifo, bundle=tiny_bundle, backend="onnxruntime", deadline=STARTED)
    writer.join()
    assert answered.positive == expected


@pytest.mark.parametrize("stage", [windows, one_window], ids=lambda stage: stage.__name__)
def test_cancelled_while_the_network_runs(
    stage: Callable[[pytest.MonkeyPatch], Slow], study: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as session:
        answerer = Answerer(session)
        expected = answerer.answer(study, RECORD).result.positive

        def cancelled() -> float:
            with monkeypatch.context() as patch:
                slow = stage(patch)
                taken = until(CancelledError, slow.reached, lambda token: answerer.answer(study, RECORD, cancel=token))
            assert answerer.answer(study, RECORD).result.positive == expected, "the session is of no use any more"
            return taken

        ends_soon(cancelled)


@pytest.mark.parametrize("stage", [opening, self_test], ids=lambda stage: stage.__name__)
def test_a_session_whose_opening_is_cancelled(
    stage: Callable[[pytest.MonkeyPatch], Slow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = iter(range(ATTEMPTS))

    def cancelled() -> float:
        name = f"{stage.__name__} {next(attempts)}"  # Of another name, for a self-test that passed is not done again.
        bundle = load_bundle(make_tiny_bundle(tmp_path / f"{name}.mmcaf", name=name))
        closed: list[object] = []
        with monkeypatch.context() as patch:
            patch.setattr(OnnxRuntimeBackend, "_close", lambda self: closed.append(self))
            taken = until(
                CancelledError,
                stage(patch).reached,
                lambda token: open_session(bundle, backend="onnxruntime", cancel=token),
            )
            ends = time.monotonic() + STARTED
            while not closed and time.monotonic() < ends:
                time.sleep(0.01)
        assert len(closed) == 1, "what was opened after the caller had left was not released"
        return taken

    ends_soon(cancelled)


@pytest.mark.parametrize("stage", [read, decode, opening], ids=lambda stage: stage.__name__)
def test_a_deadline(
    stage: Callable[[pytest.MonkeyPatch], Slow], study: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(monkeypatch)
    ends_soon(lambda: past_deadline(study, RECORD, tiny_bundle))


def test_waiting_for_another_caller_ends_too_and_the_other_is_left_alone(
    study: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as session:
        answerer, outcome = Answerer(session), []
        real, reached, released = OnnxRuntimeBackend._infer, threading.Event(), threading.Event()

        def held(backend: OnnxRuntimeBackend, window: Any) -> Any:
            reached.set()
            assert released.wait(STARTED)
            return real(backend, window)

        interrupted: list[object] = []
        monkeypatch.setattr(OnnxRuntimeBackend, "_infer", held)
        monkeypatch.setattr(OnnxRuntimeBackend, "_interrupt", lambda self: interrupted.append(self))
        other = threading.Thread(target=lambda: outcome.append(answerer.answer(study, RECORD)))
        other.start()
        try:
            assert reached.wait(STARTED)

            def waiting() -> float:
                started = time.monotonic()
                with pytest.raises(DeadlineError):
                    answerer.answer(study, RECORD, deadline=0.5)
                return time.monotonic() - started - 0.5

            ends_soon(waiting)
            assert interrupted == []
        finally:
            released.set()
            other.join()
        assert len(outcome) == 1 and len(outcome[0].outputs["logit"]) == 200 // SLICES


def test_a_token_cancelled_from_the_start(tiny_bundle: Path, tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    token.cancel()
    assert token.cancelled
    for work in (
        lambda: infer(tmp_path / "missing", RECORD, bundle=tmp_path / "missing", cancel=token),
        lambda: open_session(load_bundle(tiny_bundle), cancel=token),
    ):
        with pytest.raises(CancelledError) as caught:
            work()
        assert caught.value.exit_code == 130


@pytest.mark.parametrize(
    ("seconds", "facts"), [(0, ("seconds", 0)), (-1.0, ("seconds", 0, -1)), (float("nan"), ("finite",))]
)
def test_what_is_no_deadline(seconds: float, facts: tuple[Fact, ...], tiny_bundle: Path) -> None:
    with refused(UsageError, "deadline", *facts):
        infer("missing", RECORD, bundle=tiny_bundle, deadline=seconds)


def test_limits_around_limits() -> None:
    outer = CancelToken()
    with pytest.raises(CancelledError), limited(outer), limited(CancelToken(), 60):
        check()
        outer.cancel()
        check()
        pytest.fail("the outer token did not end the work")
    check()


def test_an_outcome_is_never_late() -> None:
    with pytest.raises(DeadlineError), limited(deadline=0.05):
        time.sleep(0.1)


def test_what_the_work_raises_is_raised() -> None:
    def fail() -> None:
        raise KeyError("of the work")

    with limited(CancelToken()), pytest.raises(KeyError, match="of the work"):
        leave_behind(fail, name="test")
    with pytest.raises(KeyError):
        leave_behind(fail, name="test")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_runtime_is_asked_to_stop(backend: str, tmp_path: Path) -> None:
    """A window of seconds, of many small layers: the session is free again long before it would be done."""
    side, layers = 384, 800

    folder = tmp_path / "slow"
    folder.mkdir()
    onnx.save(_chain(side, layers), folder / "model.onnx")
    from mmcaf_engine.backends.registry import backend_class
    from mmcaf_engine.manifest import TensorSpec

    inputs = (TensorSpec(name="square", kind="image", shape=("N", 1, side, side)),)
    outputs = (TensorSpec(name="logit", kind="score", shape=("N", 1)),)
    square = np.full((1, 1, side, side), 1 / side, np.float32)
    with backend_class(backend)(folder / "model.onnx", inputs, outputs, 1) as opened:
        started = time.monotonic()
        expected = opened.infer({"square": square})["logit"]
        whole = time.monotonic() - started
        free: list[float] = []

        def stopped() -> float:
            started = time.monotonic()
            with pytest.raises(DeadlineError), limited(deadline=0.1):
                opened.infer({"square": square})
            returned = time.monotonic()
            with opened._turns.lock:  # Whoever comes next gets it now.
                free.append(time.monotonic() - started - 0.1)
            assert opened.infer({"square": square})["logit"] == expected
            return returned - started - 0.1

        ends_soon(stopped)
        assert min(free) < WITHIN + whole / 2, free


def _chain(side: int, layers: int) -> onnx.ModelProto:
    """Products of a matrix with itself, one after the other, and the mean of the last."""
    nodes = [helper.make_node("MatMul", ["square", "square"], ["m0"], name="m0")]
    nodes += [
        helper.make_node("MatMul", [f"m{at}", "square"], [f"m{at + 1}"], name=f"m{at + 1}") for at in range(layers)
    ]
    nodes.append(helper.make_node("ReduceMean", [f"m{layers}", "axes"], ["logit"], keepdims=0, name="logit"))
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("square", TensorProto.FLOAT, ["N", 1, side, side])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
