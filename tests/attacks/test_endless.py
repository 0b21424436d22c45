"""Networks that never answer: what opens them first can be ended, and so can what answers with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from command import Command
from dicom_factory import ct_series, hounsfield, save
from endless import make_endless_bundle
from mmcaf_engine import CancelToken, infer, load_bundle, open_session
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.cancel import are_left, opening_within
from mmcaf_engine.checkup.computed_types import computed_types
from mmcaf_engine.errors import BackendError, BundleError, CancelledError, UsageError
from mmcaf_engine.session import building, first_opening
from mmcaf_engine.session.build_ahead import build_ahead
from mmcaf_engine.session.first_opening import FirstOpening
from refusals import refused
from small_networks import make_convolution_bundle
from tiny_bundle import SIZE, make_draft, make_tiny_bundle, tiny_manifest

RECORD = {"sex": "F", "age": 63}
MORE = "export MMCAF_OPEN_TIMEOUT=300"
OPENING = "mmcaf_engine.session.opening_process"
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return save(ct_series(hounsfield(4, SIZE, SIZE)), tmp_path / "study")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has another line run in the process that opens first."""
    return lambda line: monkeypatch.setattr(first_opening, "FIRST_LINE", line)


def children(of: int) -> list[int]:
    """Processes of ours that another one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == of and OPENING.encode() in command:
            found.append(int(folder.name))
    return found


def alive(process_id: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return False


def until(what: Any, seconds: float = 30) -> Any:
    ends = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < ends:
        time.sleep(0.02)
    assert found
    return found


def answering(bundle: Path, study: Path, tmp_path: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    (tmp_path / "record.json").write_text('{"sex": "F", "age": 63}')
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    arguments = ["mmcaf-infer", str(study), str(tmp_path / "record.json"), "--bundle", str(bundle), *options]
    code = f"{hear}; import sys; sys.argv = {arguments!r}; from mmcaf_cli.infer import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


@linux
def test_a_loop_without_end_is_given_the_time_that_is_set(run: Command, study: Path, tmp_path: Path) -> None:
    bundle = make_endless_bundle(tmp_path / "endless.mmcaf")
    (tmp_path / "record.json").write_text('{"sex": "F", "age": 63}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCAF_OPEN_TIMEOUT", "1")
        outcome = run(*("mmcaf-infer", study, tmp_path / "record.json", "--bundle", bundle, "--backend", "onnxruntime"))
    outcome.refused(5, "endless.mmcaf", "tiny", "onnxruntime fp32", "1 s", "MMCAF_OPEN_TIMEOUT=300")
    assert not children(os.getpid()) and not are_left()


def test_what_passed_there_is_opened_here_with_what_it_kept(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf"))
    with open_session(bundle, backend="openvino", threads=1, open_timeout=60) as session:
        found = session.describe()
    assert found["cache_hit"] and found["self_test"]["remembered"] and found["self_test"]["passed"]


def test_what_is_remembered_starts_no_process(tmp_path: Path, stand_in: Any) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf"))
    stand_in("raise SystemExit(3)")
    for backend in ("openvino", "onnxruntime"):
        with refused(BackendError, "tiny", backend, "exit code 3"):
            open_session(bundle, backend=backend, threads=1, open_timeout=60)
        open_session(bundle, backend=backend, threads=1).close()
        open_session(bundle, backend=backend, threads=1, open_timeout=60).close()


def test_an_engine_that_no_pass_is_remembered_of_is_tried_first(tmp_path: Path, stand_in: Any) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf"))
    open_session(bundle, backend="openvino", threads=1).close()
    for stamp in (tmp_path / "cache" / "self-tests").iterdir():
        stamp.unlink()
    stand_in("raise SystemExit(3)")
    with refused(BackendError, "exit code 3"):
        open_session(bundle, backend="openvino", threads=1, open_timeout=60)


@pytest.mark.parametrize(
    ("line", "error", "facts"),
    [
        ("import time; time.sleep(60)", BundleError, ("tiny.mmcaf", "0.3 s")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", BackendError, ("signal 11", "crashed")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", BackendError, ("signal 9", "memory")),
        (
            'print(\'{"error": {"error": "BundleError", "problem": "It is damaged.", "remedies": []}}\')',
            BundleError,
            ("It is damaged.",),
        ),
    ],
    ids=["hangs", "crashes", "killed", "refuses"],
)
def test_how_that_process_may_end(
    tmp_path: Path, stand_in: Any, line: str, error: type[Exception], facts: tuple[str, ...]
) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf"))
    stand_in(line)
    command = MORE if "sleep" in line else None
    with refused(error, *facts, command=command):  # type: ignore[type-var]
        FirstOpening(bundle, "onnxruntime", "fp32", 1).run(0.3 if "sleep" in line else 30)
    assert not children(os.getpid())


def test_each_step_of_a_building_is_given_the_time_anew_and_is_told(tmp_path: Path, stand_in: Any) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf"))
    stand_in(
        'import time\nfor step in range(4): time.sleep(0.2); print(\'{"progress": ["building", %d, 4]}\' % step, '
        "flush=True)\nprint('{\"passed\": true}', flush=True); time.sleep(60)"
    )
    told: list[tuple[str, int, int]] = []
    FirstOpening(bundle, "tensorrt", "fp32", 1).run(0.6, lambda *step: told.append(step))
    assert told == [("building", step, 4) for step in range(4)]


def test_it_is_ended_when_its_caller_cancels(tmp_path: Path, stand_in: Any) -> None:
    bundle, token = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf")), CancelToken()
    stand_in("import time; time.sleep(60)")
    token.cancel()
    with pytest.raises(CancelledError):
        open_session(bundle, backend="onnxruntime", open_timeout=60, cancel=token)
    assert not children(os.getpid())


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_no_number_of_seconds(seconds: float) -> None:
    with refused(UsageError, "open_timeout", "above 0"), opening_within(seconds):
        pass


def test_within_a_longer_limit_none_changes_nothing() -> None:
    with opening_within(5), opening_within(None):
        assert first_opening.cancel.open_timeout() == 5
    assert first_opening.cancel.open_timeout() is None


@linux
@pytest.mark.parametrize("ending", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.full)])
def test_it_ends_with_the_program(study: Path, tmp_path: Path, ending: signal.Signals) -> None:
    bundle = make_endless_bundle(tmp_path / "endless.mmcaf")
    with answering(
        bundle, study, tmp_path, "--backend", "onnxruntime", MMCAF_OPEN_TIMEOUT="60", MMCAF_CACHE=str(tmp_path / "c")
    ) as program:
        try:
            [child] = until(lambda: children(program.pid))
            program.send_signal(ending)
            said = program.communicate(timeout=20)[1]
        finally:
            program.kill()
    assert program.returncode == (130 if ending == signal.SIGINT else -ending), said
    until(lambda: not alive(child), seconds=10)


@pytest.mark.full
@linux
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("ending", ["Ctrl-C", "deadline"])
def test_a_loop_that_one_study_makes_endless(backend: str, ending: str, tmp_path: Path) -> None:
    """It passes the self-test, and must not keep the program from ending once it answers."""
    bundle = make_endless_bundle(tmp_path / "some.mmcaf", above=0.6)
    bright = save(ct_series(hounsfield(4, SIZE, SIZE) // 10 + 800), tmp_path / "study")
    options = ["--backend", backend, *(["--deadline", "8"] if ending == "deadline" else ["-v"])]
    with answering(bundle, bright, tmp_path, *options) as program:
        try:
            if ending == "Ctrl-C":
                until(lambda: "self-test: within" in (program.stderr.readline() if program.stderr else ""))
                time.sleep(1)
                program.send_signal(signal.SIGINT)
            program.communicate(timeout=30)
        finally:
            program.kill()
    assert program.returncode == {"Ctrl-C": 130, "deadline": 124}[ending]


def test_a_program_that_was_frozen_says_that_it_opens_at_once(
    tmp_path: Path, stand_in: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf"))
    stand_in("raise SystemExit(3)")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    open_session(bundle, backend="onnxruntime", open_timeout=60).close()
    assert "tiny in onnxruntime fp32 is opened in this process" in caplog.text


def test_where_no_process_can_be_started_it_says_that_it_opens_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a user who may not run the Python that root has installed, or has no processes left."""
    bundle = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "tiny.mmcaf" / "manifest.json"))
    open_session(bundle, backend="onnxruntime", open_timeout=60).close()
    assert "tiny in onnxruntime fp32 is opened in this process" in caplog.text and "Permission denied" in caplog.text


def test_infer_takes_it_too(study: Path, tmp_path: Path, stand_in: Any) -> None:
    stand_in("raise SystemExit(3)")
    with refused(BackendError, "exit code 3"):
        infer(study, RECORD, bundle=make_tiny_bundle(tmp_path / "tiny.mmcaf"), open_timeout=60)


@pytest.mark.parametrize(
    "command",
    [
        *("verify", "build", "inspect"),
        *(pytest.param(one, marks=pytest.mark.full) for one in ("tune", "evaluate", "profile")),
    ],
)
def test_commands_that_open_networks(
    run: Command, tmp_path: Path, stand_in: Any, monkeypatch: pytest.MonkeyPatch, study: Path, command: str
) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.mmcaf")
    monkeypatch.setenv("MMCAF_OPEN_TIMEOUT", "60")
    (tmp_path / "record.json").write_text('{"sex": "F", "age": 63}')
    (tmp_path / "cohort.csv").write_text("study,record\nstudy,record.json\n")
    stand_in("raise SystemExit(3)")
    if command in ("build", "inspect"):
        pytest.importorskip("tensorrt_rtx")
    arguments: dict[str, list[object]] = {
        "build": [bundle, "--target", "sm_86"],
        "inspect": [bundle, "--engine"],
        "evaluate": [tmp_path / "cohort.csv", "--bundle", bundle],
        "verify": [bundle],
        "tune": [bundle, "--runs", "1"],
        "profile": [bundle, "--runs", "1", "--backend", "onnxruntime"],
    }
    outcome = run("mmcaf", command, *arguments[command])
    assert "exit code 3" in outcome.out + outcome.err


@pytest.mark.full
@linux
def test_a_lower_precision_that_a_bundle_brings_is_tried_before_it_is_judged(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from mmcaf_export.precision.quantize import quantize_bundle

    endless = make_endless_bundle(tmp_path / "endless.mmcaf")
    draft = make_draft(tmp_path / "draft")
    (draft / "model.int8.onnx").write_bytes((endless / "model.onnx").read_bytes())
    models = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    bundle = write_bundle(draft, {**tiny_manifest(), "models": models}, tmp_path / "tiny.mmcaf")
    with opening_within(4), refused(BundleError, "tiny", "int8", "not open and self-tested", "4 s", command=MORE):
        quantize_bundle(bundle.folder, precisions=["fp16"], calibration="demo:1-1")
    assert not children(os.getpid()) and not are_left()


def test_what_another_process_builds_is_what_this_one_would(
    tmp_path: Path, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is built for another machine, and what is read of the network."""
    pytest.importorskip("tensorrt_rtx")
    bundle = load_bundle(make_convolution_bundle(tmp_path / "tiny.mmcaf"))
    here, types = build_ahead(bundle, "fp32", ["sm_86"]), computed_types(bundle)
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(building, "build_engine", lambda *_, **__: pytest.fail("built in this process"))
    with opening_within(60):
        there = build_ahead(bundle, "fp32", ["sm_86"], progress=lambda *step: told.append(step))
        assert computed_types(bundle) == types
    changing = {"build_seconds", "bytes"}
    expected = {name: value for name, value in here.to_dict().items() if name not in changing}
    assert {name: value for name, value in there.to_dict().items() if name not in changing} == expected
    assert there.engine.products == here.engine.products != () and told and there.engine.plan
    assert (there.kept[0] / "engine.bin").read_bytes() == there.engine.plan
    assert [path.name for path in there.kept[0].parent.iterdir()] == [there.kept[0].name]
    stand_in("import time; time.sleep(60)")
    with (
        opening_within(0.3),
        refused(BundleError, "tiny.mmcaf", "tensorrt_rtx fp32", "not built", "0.3 s", command=MORE),
    ):
        build_ahead(bundle, "fp32", ["sm_89"])
    assert len(list(there.kept[0].parent.iterdir())) == 1


def test_quantize_tries_first_whatever_runs_what_a_bundle_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from mmcaf_export.precision import gate

    draft = make_draft(tmp_path / "draft")
    (draft / "model.int8.onnx").write_bytes((draft / "model.onnx").read_bytes())
    models = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    bundle = write_bundle(draft, {**tiny_manifest(), "models": models}, tmp_path / "tiny.mmcaf")
    tried: list[tuple[str, str]] = []
    monkeypatch.setattr(gate, "first_of", lambda _, backend, **__: lambda: tried.append((backend.name, "fp32")))
    monkeypatch.setattr(gate, "done_apart", lambda _, __, given, **___: tried.append(tuple(given.values())))
    gate.try_first(bundle, OpenVinoBackend)
    assert sorted(tried) == [
        (name, precision) for name in ("onnxruntime", "openvino") for precision in ("fp32", "int8")
    ]
