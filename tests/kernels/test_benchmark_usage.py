"""What the benchmarks refuse, before any work and in one line; that they tell of themselves wherever they lie."""

import json
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

pytest.importorskip("pydicom", reason="pydicom is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from kernels.scripts import BENCHMARKS, load

ROOT = BENCHMARKS.parent
SCRIPTS = [path for path in BENCHMARKS.glob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
OF_ROWS = ("cmasg", "cpu", "dicom_read", "gpu", "heat_maps", "kernels", "kills", "network_variants", "spans", "study")
OF_A_GPU = ("gpu", "kernels", "network_variants", "single_calls")
EVERY_HELP = """
import contextlib, io, json, os, runpy, subprocess, sys

HEAVY = ("torch", "triton", "onnx", "pycuda", "safetensors", "tokenizers", "onnxscript", "onnxruntime")

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def refuse(*given, **more):
    raise AssertionError(f"{given} is started")

sys.meta_path.insert(0, Missing())
sys.path[0:1] = [sys.argv[1], sys.argv[2]]
subprocess.Popen.__init__ = refuse
found = {}
for file in sys.argv[3:]:
    sys.path[0] = os.path.dirname(file) or sys.path[0]
    sys.argv = [file, "--help"]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            (runpy.run_path if file.endswith(".py") else runpy.run_module)(file, run_name="__main__")
    except SystemExit as ended:
        found[file] = [ended.code, said.getvalue()]
    except BaseException as failure:
        found[file] = [repr(failure), said.getvalue()]
print(json.dumps(found))
"""


def of_the_examples() -> list[str]:
    """Every script of examples/, as it is run: those that share a folder with others are modules."""
    scripts = [path for path in (ROOT / "examples").rglob("*.py") if '"__main__"' in path.read_text(encoding="utf-8")]
    shared = [path for path in scripts if "from examples." in path.read_text(encoding="utf-8")]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in shared]
    return [*map(str, sorted({*scripts} - {*shared})), *sorted(modules)]


def test_every_script_tells_of_itself_without_what_it_works_with() -> None:
    """And starts no other program for it."""
    asked = [*map(str, SCRIPTS), *of_the_examples(), "mmcaf_kernels.aot"]
    command = [sys.executable, "-c", EVERY_HELP, str(BENCHMARKS), str(ROOT), *asked]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert len(asked) > 25 and found.keys() == set(asked)
    assert {file: code for file, (code, said) in found.items() if code != 0 or "usage: " not in said} == {}
    assert found["mmcaf_kernels.aot"][1].count("may be repeated; default: all") == 2


def test_every_script_is_ended_by_a_signal_with_what_it_started() -> None:
    """But for kills.py, whose children are forks that must be killed."""
    ends = {path.stem: path.read_text(encoding="utf-8").splitlines()[-1].strip() for path in SCRIPTS}
    assert {name for name, end in ends.items() if end != "usage.run(main)"} == {"kills"}
    child = "[sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(600)']"
    code = f"import subprocess, sys, usage; usage.run(lambda: subprocess.run({child}).returncode)"
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as started:
        assert started.stdout is not None
        started.stdout.readline()  # the child runs, and holds the pipe open while it does
        started.terminate()
        assert started.stdout.read() == b"" and started.wait(60) == 143


@pytest.mark.parametrize(
    ("work", "status", "words"),
    [
        ("print('a table')", 2, "the output: cannot be written: No space left on device\n"),
        ("open('/dev/full', 'w', buffering=1).write('a row\\n')", 2, "the output: cannot be written: No space left"),
        ("open('/nowhere')", 1, "FileNotFoundError"),
    ],
    ids=["stdout", "file", "another fault"],
)
def test_a_full_disk_is_said_in_one_line(work: str, status: int, words: str) -> None:
    """Another fault of the system has its traceback: it may be ours."""
    code = f"import usage; usage.run(lambda: {work} and None)"
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ran.returncode == status and words in ran.stderr, ran.stderr
    assert ("Traceback" in ran.stderr) == (status == 1) and (status == 1 or ran.stderr.count("\n") == 1)


def test_a_reader_that_has_gone_ends_a_script_as_others() -> None:
    code = "import usage; usage.run(lambda: [print('row ' * 1000) for _ in range(100)] and None)"
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as started:
        assert started.stdout is not None and started.stderr is not None
        started.stdout.close()
        assert started.stderr.read() == b"" and started.wait(60) == 141


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """A script's exit status and what it says, with these arguments, where no commit is asked for: no work begins."""

    def run(script: str, *given: object) -> tuple[int, str]:
        module = load(monkeypatch, "usage", "rows", script)
        work = Mock(side_effect=AssertionError("work begins"))
        monkeypatch.setattr(module, "environment", work, raising=False)
        monkeypatch.setattr(module, "import_all", work, raising=False)
        monkeypatch.setattr(module, "write_study", work, raising=False)
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, given)])
        try:
            status = module.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, capsys.readouterr().err

    return run


def needed(script: str, folder: Path) -> list[Path]:
    """What a script is given beside its options: the folder that network_files.py writes."""
    files = folder / "network"
    if script == "network_variants":
        files.mkdir(exist_ok=True)
        for name in ("few_slices-on.onnx", "few_slices-on.json", "few_slices-off.onnx", "few_slices-off.json"):
            (files / name).touch()
        (files / "inputs.npz").touch()
        return [files]
    return [Path("--bundle"), folder / "missing"] if script == "heat_maps" else []


def link(path: Path) -> None:
    path.with_name("elsewhere.csv").touch()
    path.symlink_to(path.with_name("elsewhere.csv"))


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "file": (Path.touch, "exists already. Choose another path, or replace it: --force"),
    "folder": (Path.mkdir, "a directory, which is never replaced"),
    "link": (link, "which is never replaced"),
    "pipe": (os.mkfifo, "which is never replaced"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("script", OF_ROWS)
def test_where_rows_must_not_be_written_no_work_begins(
    script: str, place: str, said: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    make, why = PLACES[place]
    make(tmp_path / "rows.csv")
    more = ["--table", tmp_path / "table.csv"] if script == "network_variants" else []
    force = [] if place == "file" else ["--force"]
    status, words = said(script, *needed(script, tmp_path), "--output", tmp_path / "rows.csv", *more, *force)
    assert status == 2 and words.count("\n") == 1 and words.startswith(f"{script}.py: {tmp_path / 'rows.csv'}: ")
    assert why in words
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("/dev/null", "which is never replaced"),
        ("/proc/rows.csv", "cannot be written"),
        ("/nowhere/rows.csv", "cannot be written"),
        ("", "expected a path, got ''"),
        ("-", "expected a path, got '-'"),
    ],
)
def test_a_place_that_is_none(output: str, why: str, said: Callable[..., tuple[int, str]]) -> None:
    status, words = said("kernels", "--output", output)
    assert status == 2 and words.count("\n") == 1 and why in words


def test_the_json_rows_beside_the_table_are_tried_too(said: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    assert said("gpu", "--output", tmp_path / "rows.csv")[1].startswith(f"gpu.py: {tmp_path / 'rows.jsonl'}: exists")
    assert "named twice" in said("gpu", "--output", tmp_path / "rows.jsonl", "--force")[1]


WRONG = {
    "kernels --kernel nope": "invalid choice: 'nope' (choose from 'msdc', 'groupnorm_act', 'msca_attention'",
    "kernels --runs 0": "--runs: expected a whole number of at least 1, got '0'",
    "kernels --runs -3": "got '-3'",
    "kernels --runs 1.5": "got '1.5'",
    "kernels --seconds 0": "--seconds: expected a finite number above 0, got '0'",
    "kernels --seconds nan": "got 'nan'",
    "kernels --seconds=-1": "got '-1'",
    "kernels --kernel network --precision fp32": "--kernel network is measured in fp16 alone",
    "kernels --kernel 'msdc (CUDA C++)'": "--kernel 'msdc (CUDA C++)' is read from the file that --fatbin names",
    "gpu --providers torch.compile --precision int8": "no case of torch.compile in int8: ours has fp32, fp16, int8; ",
    "kernels --fatbin nowhere": "--fatbin: expected a file, got 'nowhere'",
    "single_calls --fatbin .": "--fatbin: expected a file, got '.'",
    "gpu --runs 0": "--runs: expected",
    "gpu --prepare --folder new": "--prepare measures nothing",
    "gpu --seconds inf": "--seconds: expected",
    "single_calls --kernel none": "invalid choice: 'none' (choose from 'msdc'",
    "single_calls --kernel 'msdc (CUDA C++)'": "that --fatbin names",
    "network_variants --runs 0": "--runs: expected",
    "network_variants nowhere": "nowhere: not what network_files.py writes, without few_slices-on.onnx, few_slices-on",
    "cpu --runs 0": "--runs: expected",
    "kills --minutes 0": "--minutes: expected",
    "cmasg --threads 0": "--threads: expected",
}


@pytest.mark.parametrize("call", WRONG)
def test_what_selects_nothing_is_refused(call: str, said: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    script, *given = shlex.split(call)
    output = ["--output", tmp_path / "rows.csv"] if script != "single_calls" else []
    output += ["--table", tmp_path / "table.csv"] if script == "network_variants" else []
    status, words = said(script, *given, *output)
    assert status == 2 and words.count("\n") == 1 and WRONG[call] in words, words
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", OF_A_GPU)
def test_without_a_gpu_every_script_ends_alike(
    script: str, said: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(found=(), reason="nobody is here")
    monkeypatch.setattr(import_module("mmcaf_engine.machine.gpu"), "find_gpus", lambda: found)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="0", cuda=Mock(is_available=lambda: False)))
    given = needed(script, tmp_path)
    given += ["--output", tmp_path / "rows.csv"] if script != "single_calls" else []
    given += ["--table", tmp_path / "table.csv"] if script == "network_variants" else []
    status, words = said(script, *given)
    assert status == 6 and words.startswith("no GPU: ") and words.count("\n") == 1 and "mmcaf doctor" in words
    monkeypatch.setitem(sys.modules, "torch", None)
    status, words = said(script, *given)
    assert status == 6 and words.startswith("no GPU: ") and words.count("\n") == 1
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.parametrize("how", ["warns", "raises"])
def test_why_torch_finds_no_gpu_is_said_with_it(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked() -> bool:
        if how == "raises":
            raise RuntimeError("the driver is\n too old")
        warnings.warn("the driver is\n too old", stacklevel=1)
        return False

    cuda = SimpleNamespace(is_available=asked)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="0", cuda=cuda))
    said = load(monkeypatch, "usage").torch_missing()
    assert said == "torch 0 finds no NVIDIA GPU that it can use (the driver is too old)"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("rows", "left_out", "expected"), [(0, 0, 1), (3, 0, 0), (3, 1, 1)])
def test_a_run_without_a_row_is_no_success(
    rows: int, left_out: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load(monkeypatch, "usage", "rows", "kernels")
    for name in ("kernel_rows", "card", "gpu_timing"):
        monkeypatch.setitem(sys.modules, name, Mock())

    def measure(*given: object) -> int:
        for _ in range(rows):
            given[-2].add({"p50_us": "1"})  # type: ignore[attr-defined]
        return left_out

    sys.modules["kernel_rows"].opened.return_value = (None, 0)  # type: ignore[attr-defined]
    sys.modules["kernel_rows"].of_precision.return_value = []  # type: ignore[attr-defined]
    sys.modules["gpu_timing"].gpu.return_value = {}  # type: ignore[attr-defined]
    sys.modules["kernel_rows"].run = measure  # type: ignore[attr-defined]
    monkeypatch.setattr(script, "environment", lambda packages: {})
    monkeypatch.setattr(script.usage, "torch_missing", lambda: None)
    monkeypatch.setattr(sys, "argv", ["kernels.py", "--output", str(tmp_path / "rows.csv")])
    assert script.main() == expected


def test_the_model_needs_its_folder_and_tables_of_its_own(
    said: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, words = said("kernel_model", "--folder", "/nowhere")
    assert status == 2 and words.count("\n") == 1 and "/nowhere/kernel_instructions.csv: cannot be written" in words
    (tmp_path / "kernel_model.csv").write_text("a,b\n1,2\n")
    status, words = said("kernel_model", "--folder", tmp_path)
    assert status == 2 and words.count("\n") == 1 and "kernel_model.csv: not a table that this script wrote" in words
    assert (tmp_path / "kernel_model.csv").read_text() == "a,b\n1,2\n"


def test_where_a_compiler_is_missing_it_is_said(
    said: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert said("sass") == (6, "nvcc and nvdisasm are needed: install the CUDA toolkit.\n")


def test_the_networks_files_need_the_exporters_packages(
    said: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    status, words = said("network_files", tmp_path / "new")
    assert status == 6 and words.startswith("onnxscript: not installed; ") and words.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_networks_files_need_a_folder(said: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert said("network_files")[0] == 2
    (tmp_path / "precious").touch()
    status, words = said("network_files", tmp_path)
    assert status == 2 and "is not empty" in words and words.count("\n") == 1


def test_the_example_without_pycuda_names_extra_and_page() -> None:
    run = "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    code = f"import runpy, sys; sys.modules['pycuda'] = None; {run}"
    command = [sys.executable, "-c", code, str(ROOT / "examples" / "pycuda" / "answer.py"), "lung.mmcaf"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 6 and ran.stderr.count("\n") == 1
    assert "`pycuda`" in ran.stderr and "docs/tensorrt.md" in ran.stderr and "pip install" in ran.stderr
