"""The house rules that hold by themselves: import directions, light starts, one version number."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import import_rules
from import_rules import PACKAGES, ROOT, Import

HEAVY = {
    "pydicom",
    "nibabel",
    "onnxruntime",
    "openvino",
    "torch",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "matplotlib",
    "PIL",
    "highdicom",
}
HEAVY |= {"sklearn", "tokenizers", "pynetdicom"}


@pytest.fixture(scope="module")
def found() -> list[Import]:
    """Every import between modules of this project."""
    return import_rules.imports(import_rules.modules())


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way_between_packages(package: str, found: list[Import]) -> None:
    wrong = [
        one
        for one in found
        if one.importer.split(".")[0] == package != one.imported.split(".")[0]
        if one.imported.split(".")[0] not in import_rules.MAY_IMPORT[package]
        or (one.eager and (package, one.imported.split(".")[0]) in import_rules.LAZY)
    ]
    assert not wrong


def test_imports_point_one_way_between_rooms(found: list[Import]) -> None:
    assert not import_rules.upward(found)


def test_no_file_imports_itself_by_way_of_others(found: list[Import]) -> None:
    """Lazy and type-only imports count."""
    assert not import_rules.circles({(one.importer, one.imported) for one in found})


def test_levels_of_rooms(found: list[Import]) -> None:
    assert import_rules.levels(import_rules.room_arrows(found)) <= 11


def test_only_the_ground_stands_at_the_root_of_the_engine() -> None:
    loose = {file.stem for file in PACKAGES["mmcaf_engine"].glob("*.py")}
    assert loose <= import_rules.LOOSE


def test_an_import_that_runs_upward_is_found(tmp_path: Path) -> None:
    """The checker's own check: a lazy relative import, and a type-only one."""
    (tmp_path / "session.py").write_text("if TYPE_CHECKING:\n    from ..pipeline import infer\n")
    (tmp_path / "run.py").write_text("def run():\n    from .. import profile\n")
    known = {
        "mmcaf_engine.session.session": tmp_path / "session.py",
        "mmcaf_engine.session.run": tmp_path / "run.py",
        "mmcaf_engine.pipeline": tmp_path / "none.py",
        "mmcaf_engine.profile": tmp_path / "none.py",
    }
    (tmp_path / "none.py").write_text("")
    found = import_rules.upward(import_rules.imports(known))
    assert {(one.imported, one.eager) for one in found} == {
        ("mmcaf_engine.pipeline", True),
        ("mmcaf_engine.profile", False),
    }
    assert import_rules.circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == [{"a", "b", "c"}]
    assert import_rules.levels({("a", "b"), ("b", "c"), ("a", "c")}) == 3
    assert import_rules.levels({("a", "b"), ("b", "a"), ("b", "c"), ("d", "a")}) == 3


def test_the_script_measures_this_checkout_or_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["import_rules.py"])
    import_rules.main()
    said = capsys.readouterr().out
    assert "circles between rooms: 0\ncircles between files: 0\nupward arrows: 0\n" in said
    other = tmp_path / "engine" / "mmcaf_engine"
    other.mkdir(parents=True)
    (other / "errors.py").write_text("from . import cancel\nfrom .old import name\n")
    (other / "cancel.py").write_text("def late():\n    from .errors import MmcafError\n")
    (other / "old.py").write_text("")
    monkeypatch.setattr(sys, "argv", ["import_rules.py", str(tmp_path)])
    import_rules.main()
    assert capsys.readouterr().out.splitlines() == [
        "rooms and loose modules: 3",
        "arrows between them: 3",
        "levels: 2",
        "circles between rooms: 1 ['cancel', 'errors']",
        "circles between files: 1 ['mmcaf_engine.cancel', 'mmcaf_engine.errors']",
        "upward arrows: 1",
        "  mmcaf_engine.errors:1 imports mmcaf_engine.cancel",
        "without a place in the table, so that nothing is upward of them: 1",
    ]
    monkeypatch.setattr(sys, "argv", ["import_rules.py", str(tmp_path / "absent")])
    with pytest.raises(SystemExit, match="no engine/mmcaf_engine in it"):
        import_rules.main()


def test_engine_never_imports_torch_at_module_level() -> None:
    for file in PACKAGES["mmcaf_engine"].rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {name.split(".")[0] for name in names} & {"torch", "onnx"}, file


def modules_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has imported after running `code`."""
    probe = f"{code}\nimport sys, json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


COMMANDS = [
    "",
    "export",
    "new-network",
    "inspect",
    "build",
    "trust",
    "sign",
    "verify",
    "tune",
    "profile",
    "studies",
    "record-template",
    "doctor",
    "serve",
    "demo",
    "version",
    "evaluate",
    "quantize",
    "place",
    "cache",
    "capi",
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
    code = 'from mmcaf_engine.backends.registry import backend_class; backend_class("onnxruntime").runtime()'
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_of_the_engine_resolves() -> None:
    import mmcaf_engine

    assert all(getattr(mmcaf_engine, name) is not None for name in mmcaf_engine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mmcaf_engine.nonsense
    assert callable(mmcaf_engine.infer)
    assert dir(mmcaf_engine) == sorted(mmcaf_engine.__all__)


def test_command_list_is_complete() -> None:
    from mmcaf_cli.main import app

    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {str(group.name) for group in app.registered_groups}
    assert names == set(COMMANDS) - {""}


def test_one_version_number() -> None:
    from mmcaf_engine import __version__

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_no_test_replaces_a_private_name() -> None:
    """But those that docs/add-a-backend.md tells the author of a backend to write."""
    hooks = set(re.findall(r"`(_[a-z]+)\(", (ROOT / "docs" / "add-a-backend.md").read_text(encoding="utf-8")))
    assert {"_open", "_infer", "_close", "_export", "_interrupt"} <= hooks
    patched = re.compile(r'(?:setattr|object)\([^"\n]*"(?:[\w.]+\.)?(_[a-z]\w*)"')
    texts = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py")}
    found = {f"{file}: {name}" for file, text in texts.items() for name in patched.findall(text) if name not in hooks}
    assert not found
