"""The house rules that hold by themselves: import directions, light starts, one version number."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "mmcaf_cli": ROOT / "cli" / "mmcaf_cli",
    "mmcaf_engine": ROOT / "engine" / "mmcaf_engine",
    "mmcaf_export": ROOT / "export" / "mmcaf_export",
    "mmcaf_kernels": ROOT / "kernels" / "mmcaf_kernels",
}
MAY_IMPORT = {
    "mmcaf_cli": {"mmcaf_engine", "mmcaf_export"},
    "mmcaf_engine": {"mmcaf_kernels"},
    "mmcaf_export": {"mmcaf_engine", "mmcaf_kernels"},
    "mmcaf_kernels": set(),
}
MUST_BE_LAZY = {("mmcaf_cli", "mmcaf_export"), ("mmcaf_engine", "mmcaf_kernels")}
HEAVY = {"pydicom", "nibabel", "onnxruntime", "openvino", "torch", "tensorrt", "tensorrt_rtx", "cuda", "matplotlib"}
HEAVY |= {"sklearn", "tokenizers"}


def imports(package: str) -> list[tuple[Path, str, bool]]:
    """(file, imported top-level package, whether the import runs when the module is imported)."""
    found = []
    for file in sorted(PACKAGES[package].rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        lazy = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            found += [(file, name.split(".")[0], id(node) not in lazy) for name in names]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    for file, name, eager in imports(package):
        if name in PACKAGES and name != package:
            assert name in MAY_IMPORT[package], f"{file} imports {name}"
            assert not (eager and (package, name) in MUST_BE_LAZY), f"{file} imports {name} when it is imported"


def test_engine_never_imports_torch_at_module_level() -> None:
    assert not [file for file, name, eager in imports("mmcaf_engine") if eager and name in {"torch", "onnx"}]


def modules_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has imported after running `code`."""
    probe = f"{code}\nimport sys, json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


COMMANDS = [
    "",
    "export",
    "inspect",
    "build",
    "trust",
    "verify",
    "tune",
    "profile",
    "studies",
    "record-template",
    "doctor",
    "demo",
    "version",
    "evaluate",
    "quantize",
    "cache",
]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("mmcaf_cli.infer", ["--help"])]
    + [("mmcaf_cli.main", [name, "--help"] if name else ["--help"]) for name in COMMANDS],
    ids=["mmcaf-infer"] + [f"mmcaf {name}".strip() for name in COMMANDS],
)
def test_help_imports_nothing_heavy(module: str, arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["command", *{arguments!r}]
from {module} import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert not modules_after(code) & (HEAVY | {"numpy", "mmcaf_export"})


def test_importing_the_engine_is_light() -> None:
    assert not modules_after("import mmcaf_engine") & (HEAVY | {"numpy", "pydantic"})


def test_onnxruntime_is_started_without_its_telemetry(tmp_path: Path) -> None:
    """With it, its import alone leaves a session file in the temporary folder."""
    code = 'from mmcaf_engine.backends import backend_class; backend_class("onnxruntime").runtime()'
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_of_the_engine_resolves() -> None:
    import mmcaf_engine

    assert all(getattr(mmcaf_engine, name) is not None for name in mmcaf_engine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mmcaf_engine.nonsense
    assert callable(mmcaf_engine.infer)


def test_command_list_is_complete() -> None:
    from mmcaf_cli.main import app

    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {str(group.name) for group in app.registered_groups}
    assert names == set(COMMANDS) - {""}


def test_one_version_number() -> None:
    from mmcaf_engine import __version__

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__
