"""The session on a lent GPU, with stand-ins of its steps and a clock of its own: order, time, kills, what is said."""

import importlib.util
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
ORDER = {
    "1": ["machine", "cubin", "cuda", "kernels", "graph", "memcheck", "racecheck"],
    "2": ["rows", "network", "ncu"],
}
TOOLS = ("compute-sanitizer", "ncu")


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of the benchmarks, as the module that others of them import."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """benchmarks/gpu_session.py, where both tools are installed and something was prepared."""
    for name in ("rows", "gpu_session_plan"):
        load(name, monkeypatch)
    (tmp_path / "carry").mkdir()
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return load("gpu_session", monkeypatch)


class Machine:
    """A machine on which each step takes so many seconds (1 if it is not named) and ends with a status of 0, or so."""

    def __init__(self, taking: Mapping[str, float], ending: Mapping[str, int] | None = None) -> None:
        self.taking, self.ending = taking, ending or {}
        self.now = 1000.0
        self.done: list[str] = []
        self.environments: list[Mapping[str, str]] = []

    def execute(self, command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str]) -> int | None:
        self.done.append(log.stem)
        self.environments.append(environment)
        taken = self.taking.get(log.stem, 1.0)
        log.write_text(f"{' '.join(command)}\nlast words of {log.stem}\n", encoding="utf-8")
        self.now += min(taken, seconds)
        return None if taken > seconds else self.ending.get(log.stem, 0)

    def clock(self) -> float:
        return self.now


def play(session: ModuleType, part: str, machine: Machine, folder: Path, *more: str) -> tuple[int, list[list[str]]]:
    """A part's exit status, and the kinds and names in its summary."""
    given = [part, "--carry", str(folder / "carry"), "--out", str(folder / "out"), *more]
    status = session.main(given, machine.execute, machine.clock)
    text = (folder / "out" / f"summary-{part}.txt").read_text(encoding="utf-8")
    return status, [[line[:9].strip(), line[9:23].strip(), line[33:].strip()] for line in text.splitlines()]


@pytest.mark.parametrize("part", ["1", "2"])
def test_every_step_in_order_with_a_log_and_a_line(session: ModuleType, part: str, tmp_path: Path) -> None:
    machine = Machine({})
    status, lines = play(session, part, machine, tmp_path)
    assert status == 0 and machine.done == ORDER[part]
    assert lines == [["passed", name, f"last words of {name}"] for name in ORDER[part]]
    logs = [f"{name}.log" for name in ORDER[part]]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted([*logs, f"summary-{part}.txt"])


@pytest.mark.parametrize("part", ["1", "2"])
def test_what_hangs_is_killed_and_the_rest_goes_on_within_the_parts_time(
    session: ModuleType, part: str, tmp_path: Path
) -> None:
    machine = Machine(dict.fromkeys(ORDER[part], 1e9))
    status, lines = play(session, part, machine, tmp_path)
    assert status == 1 and machine.done == ORDER[part]
    assert [line[:2] for line in lines] == [["killed", name] for name in ORDER[part]]
    assert f"last words of {ORDER[part][0]}" in lines[0][2] and lines[0][2].startswith("after ")
    assert machine.now - 1000 <= {"1": 420, "2": 300}[part]


def test_what_no_longer_fits_is_left_out_and_what_is_shorter_still_done(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({"cubin": 29, "cuda": 1e9, "graph": 40})
    status, lines = play(session, "1", machine, tmp_path, "--seconds", "131")
    assert status == 1 and machine.done == ["machine", "cubin", "cuda", "graph"]
    assert [line[:2] for line in lines[:3]] == [["passed", "machine"], ["passed", "cubin"], ["killed", "cuda"]]
    assert lines[3:] == [
        ["left out", "kernels", "it may take 140 s, and 61 s are left"],
        ["passed", "graph", "last words of graph"],
        ["left out", "memcheck", "it may take 60 s, and 21 s are left"],
        ["left out", "racecheck", "it may take 60 s, and 21 s are left"],
    ]
    assert not (tmp_path / "out" / "kernels.log").exists()


def test_a_step_that_fails_is_said_and_the_next_is_done(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({}, {"network": 3})
    status, lines = play(session, "2", machine, tmp_path)
    assert status == 1 and machine.done == ORDER["2"]
    assert lines[1] == ["failed", "network", "exit status 3: last words of network"]


def test_a_tool_that_is_absent_is_passed_over(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for part, absent in (("1", ORDER["1"][-2:]), ("2", ["ncu"])):
        machine = Machine({})
        status, lines = play(session, part, machine, tmp_path)
        assert status == 0 and machine.done == [name for name in ORDER[part] if name not in absent]
        said = [line for line in lines if line[0] == "absent"]
        assert [line[1] for line in said] == absent and all(line[2].endswith("is not installed") for line in said)


def test_a_line_is_written_when_its_step_ends(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({})
    summary = tmp_path / "out" / "summary-1.txt"

    def execute(command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str]) -> int | None:
        written = summary.read_text(encoding="utf-8").count("\n") if summary.exists() else 0
        assert written == len(machine.done)
        if log.stem == "kernels":
            raise KeyboardInterrupt
        return machine.execute(command, log, seconds, environment)

    given = ["1", "--carry", str(tmp_path / "carry"), "--out", str(tmp_path / "out")]
    with pytest.raises(KeyboardInterrupt):
        session.main(given, execute, machine.clock)
    assert summary.read_text(encoding="utf-8").count("\n") == 3


def test_the_plan_fits_its_parts_and_names_what_exists(session: ModuleType, tmp_path: Path) -> None:
    """All may hang, and each has its turn; nothing is compiled for the machine at hand."""
    for part, (seconds, steps) in sys.modules["gpu_session_plan"].PARTS.items():
        planned = steps(tmp_path / "carry", tmp_path / "out", sys.executable)
        assert seconds <= {"1": 420, "2": 300}[part]
        assert sum(step.seconds for step in planned) <= seconds
        for step in planned:
            assert "native" not in " ".join(step.command) and "nvcc" not in step.command[0]
            for word in step.command:
                if word.endswith(".py"):
                    assert (ROOT / word).is_file(), word


def test_no_step_compiles_what_should_have_been_carried(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({})
    play(session, "1", machine, tmp_path)
    for environment in machine.environments:
        assert environment["MMCAF_ON_GPU"] == "1"
        assert environment["MMCAF_MSDC_FATBIN"] == str(tmp_path / "carry" / "msdc.fatbin")
        assert environment["MMCAF_CUBINS"] == str(tmp_path / "carry" / "cubin")
        assert environment["PYTHONPATH"].split(os.pathsep)[:3] == [
            str(ROOT / name) for name in ("kernels", "engine", "export")
        ]


def test_only_packages_that_are_missing_are_unpacked(session: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "carry" / "wheels").mkdir()
    for name in ("numpy", "a_package_that_nobody_has"):
        with zipfile.ZipFile(tmp_path / "carry" / "wheels" / f"{name}-9.9-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
    site = session.unpacked(tmp_path / "carry", tmp_path / "site")
    assert [file.name for file in site.iterdir()] == ["a_package_that_nobody_has.py"]


def test_what_a_step_started_is_killed_with_it(session: ModuleType, tmp_path: Path) -> None:
    """The grandchild holds a pipe, which ends when it does; a step that ends by itself leaves none behind either."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    code = (
        "import subprocess, sys, time; print('begun', flush=True)\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], pass_fds=({writing},))\n"
        "time.sleep(600)\n"
    )
    popen = subprocess.Popen
    holding = lambda *given, **more: popen(*given, **more, pass_fds=(writing,))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.subprocess, "Popen", holding)
        begun = time.monotonic()
        status = session.run_limited([sys.executable, "-c", code], tmp_path / "log", 1.0, os.environ)
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert status is None and time.monotonic() - begun < 60
    assert session.last_line(tmp_path / "log") == "begun"
    assert session.run_limited([sys.executable, "-c", "raise SystemExit(7)"], tmp_path / "log", 60.0, os.environ) == 7


def test_where_nothing_was_prepared_it_says_so(tmp_path: Path) -> None:
    script = BENCHMARKS / "gpu_session.sh"
    given = [str(script), "1", "--carry", str(tmp_path / "none"), "--out", str(tmp_path)]
    done = subprocess.run(
        given, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable}, check=False
    )
    assert done.returncode == 2 and "gpu_session.sh prepare" in done.stderr


@pytest.fixture
def preparing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu_session_prepare.py with makers that write a file of 1000 bytes each."""
    module = load("gpu_session_prepare", monkeypatch)

    def writes(*given: Any) -> None:
        next(part for part in given if "carry" in part.parts).write_bytes(bytes(1000))

    for name in ("compile_cubins", "compile_fatbin", "export_networks"):
        monkeypatch.setattr(module, name, writes)
    monkeypatch.setattr(module, "fetch_wheels", lambda folder, python: writes(folder))
    monkeypatch.setattr(module, "size_of_repository", lambda root: 5000)
    return module


def test_what_is_carried_must_fit(preparing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", largest=9000) == 0
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", largest=8999) == 1
    assert "MiB carried" in capsys.readouterr().err


def test_what_cannot_be_made_is_said_and_the_rest_made(
    preparing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*given: object) -> None:
        raise FileNotFoundError("nvcc is not installed")

    monkeypatch.setattr(preparing, "compile_fatbin", missing)
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12") == 1
    told = capsys.readouterr()
    assert "fatbin: nvcc is not installed" in told.err and "network: made" in told.out


def test_the_wheels_are_those_that_are_installed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("gpu_session_prepare", monkeypatch)
    asked: list[list[str]] = []
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(module.subprocess, "run", lambda command, **more: asked.append([str(word) for word in command]))
    monkeypatch.setattr(module, "version", lambda name: "1.2.3")
    module.fetch_wheels(tmp_path, "3.12")
    module.compile_fatbin(tmp_path / "msdc.cu", tmp_path / "msdc.fatbin")
    assert asked[0][:2] == ["/bin/pip", "download"] and "pydantic-core==1.2.3" in asked[0]
    assert asked[0][asked[0].index("--python-version") + 1] == "3.12"
    assert "arch=compute_90,code=sm_90" in asked[1] and "native" not in " ".join(asked[1])


# The whole network in variants, and single calls: on the processor.


def tiny_networks(folder: Path, files: ModuleType) -> None:
    """A convolution that is large enough to be drawn anew, twice the same, and a mean, as both files."""
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).normal(0.01, 0.02, (32, 32, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], pads=[1] * 6),
        helper.make_node("Conv", ["a", "second"], ["b"], pads=[1] * 6),
        helper.make_node("Add", ["b", "small"], ["c"]),
        helper.make_node("ReduceMean", ["c", "axes"], ["logit"], keepdims=0),
    ]
    constants = {
        "first": weight,
        "second": weight,
        "small": np.ones(1, np.float32),
        "axes": np.array([1, 2, 3, 4]),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 32, 2, 6, 6])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    whole = folder / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), whole)
    for word in ("on", "off"):
        files.hollow(whole, folder / f"few_slices-{word}.onnx")
    np.savez(folder / "inputs.npz", image=np.random.default_rng(2).normal(size=(1, 32, 2, 6, 6)).astype(np.float32))


def test_large_weights_are_drawn_anew_and_small_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    files = load("network_files", monkeypatch)
    tiny_networks(tmp_path, files)
    assert (tmp_path / "few_slices-on.onnx").stat().st_size < (tmp_path / "whole.onnx").stat().st_size / 50
    made = []
    for turn in range(2):
        files.fill(tmp_path / "few_slices-on.onnx", tmp_path / f"{turn}.onnx")
        stored = onnx.load(tmp_path / f"{turn}.onnx").graph.initializer
        made.append({tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored})
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])
    first = made[0]["first"]
    assert np.array_equal(first, made[0]["second"]) and first.shape == (32, 32, 3, 3, 3)
    assert abs(first.mean() - 0.01) < 1e-3 and abs(first.std() - 0.02) < 1e-3
    assert made[0]["small"].tolist() == [1] and made[0]["axes"].tolist() == [1, 2, 3, 4]


@pytest.fixture
def variants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for package in ("torch", "onnx", "mmcaf_export", "ml_dtypes", "onnx_ir"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    for name in ("rows", "card", "gpu_timing", "network_files"):
        load(name, monkeypatch)
    return load("network_variants", monkeypatch)


def measured(variants: ModuleType, folder: Path, budget: Any, profile: Callable[[Any], Any]) -> tuple[int, list[str]]:
    """The exit status, and the rows' variants."""
    rows = sys.modules["rows"]
    times = sys.modules["gpu_timing"].Times([10.0, 12.0], [4.0, 4.0], 0, {"power_w": "310"})
    timer = SimpleNamespace(launches=lambda launch, runs: launch() and times)
    tables = rows.RowFile(folder / "network.csv"), rows.RowFile(folder / "kernels.csv")
    status = variants.run(folder, tables, 2, {"gpu": "H200"}, timer, profile, budget, "cpu")
    return status, (folder / "network.csv").read_text(encoding="utf-8").splitlines()


def test_the_usual_variant_is_first_then_those_with_one_change(variants: ModuleType) -> None:
    assert [variant.changes() for variant in variants.VARIANTS] == [0, 1, 1, 1, 2, 2, 2, 3]
    assert variants.VARIANTS[0].row() == {"few_slices": "on", "innermost": "on", "benchmark": "off"}


def test_every_variant_has_a_row_and_a_table_of_kernels(variants: ModuleType, tmp_path: Path) -> None:
    tiny_networks(tmp_path, sys.modules["network_files"])
    budget = sys.modules["rows"].Budget(None)
    status, lines = measured(variants, tmp_path, budget, lambda program: {"conv": (2, 30.0), "add": (1, 40.0)})
    assert status == 0 and len(lines) == 1 + len(variants.VARIANTS)
    assert lines[0].startswith("few_slices,innermost,benchmark,execution,runs,p50_us")
    assert lines[1].startswith("on,on,off,") and ",11.0," in lines[1] and lines[1].endswith(",310,H200")
    table = (tmp_path / "kernels.csv").read_text(encoding="utf-8").splitlines()
    assert table[1:3] == ["on,on,off,add,1,40.00", "on,on,off,conv,2,30.00"]
    assert len(table) == 1 + 2 * len(variants.VARIANTS)


def test_a_variant_that_is_wrong_or_too_late_is_left_out(
    variants: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_networks(tmp_path, sys.modules["network_files"])
    monkeypatch.setattr(variants, "TOLERANCE", -1.0)
    rows = sys.modules["rows"]
    budget = rows.Budget(3, iter(range(100)).__next__)
    rows.append(tmp_path / "network.csv", "", first=True)
    status, lines = measured(variants, tmp_path, budget, lambda program: {})
    told = capsys.readouterr().err
    assert status == 1 and lines == []
    assert told.count("ArithmeticError: the logit is") == 2 and told.count("not measured, the time is over") == 6


@pytest.mark.parametrize("asked", [[], ["--kernel", "kan", "fusion_head"]], ids=["all", "two"])
def test_each_kernel_is_called_once(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    cases = load("kernel_cases", monkeypatch)
    monkeypatch.setattr(cases, "DEVICE", "cpu")
    calls = load("single_calls", monkeypatch)
    assert calls.main(["--small", *asked]) == 0
    called = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    known = ["msdc", "groupnorm_act", "msca_attention", "upsample_dw", "kan", "fusion_head", "cross_attention"]
    assert called == ([name for name in known if name in asked] if asked else known)


def test_no_kernel_of_this_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(load("kernel_cases", monkeypatch), "DEVICE", "cpu")
    assert load("single_calls", monkeypatch).main(["--small", "--kernel", "none"]) == 1


def test_what_was_not_prepared_here_is_left_alone(preparing: ModuleType, tmp_path: Path) -> None:
    thesis = tmp_path / "work" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(thesis.parent)
    for carry in (thesis.parent, thesis, link):
        assert preparing.prepare(ROOT, carry, "3.12") == 2
    assert thesis.read_text() == "precious"
    (tmp_path / "carry").mkdir()
    for _ in range(2):
        assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", largest=10**9) == 0
