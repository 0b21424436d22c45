"""`mmcaf new-network`: names that cannot be, places that are not written to, and packages that work as written."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import Command
from entry_points import add_package
from mmcaf_engine.errors import UsageError
from mmcaf_engine.manifest import Manifest
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.registry import BUILT_IN, GROUP
from mmcaf_export.new_network import write
from mmcaf_export.new_network.name import NetworkName, check_name
from mmcaf_export.new_network.write import KINDS, Kind, render, write_network
from own_environment import OwnEnvironment
from refusals import refused

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-network.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
STEPS = re.compile(r"^ +(?:- )?run: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", re.MULTILINE)


def steps(workflow: str) -> list[str]:
    """What the steps of a workflow run, each as lines of a shell."""
    return [re.sub("^ +", "", block, flags=re.MULTILINE).strip() or line for block, line in STEPS.findall(workflow)]


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        *[(name, "lower-case letters") for name in ("", "Lung", "a_b", "7lungs", "-x", "x-", "a--b", "ä", "a.b")],
        *[(name, "lower-case letters") for name in ("../up", "/tmp/x", "a b", "a\n", "a\x1b[31m", "%X%", "x" * 41)],
        *[(name, "keyword") for name in ("class", "lambda", "import", "yield")],
        *[(name, "Python itself") for name in ("json", "email", "token")],
        *[(name, "installed already") for name in ("test", "torch", "numpy", "mmcaf-engine", "mmcaf-infer", "pip")],
        *[(entry.name, "mmcaf-infer") for entry in BUILT_IN],
        *[("con", "Windows"), ("tests", "every such package"), ("make-checkpoint", "every such package")],
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, fact: str, tmp_path: Path) -> None:
    with refused(UsageError, fact):
        write_network(name, folder=tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_suggested() -> None:
    with pytest.raises(UsageError, match="For example: lung-airway-2"):
        check_name("Lung_Airway 2")


@pytest.mark.parametrize("name", ["match", "a", "lung-airway", "x9-y", "x" * 40])
def test_a_name_that_can_be(name: str) -> None:
    assert check_name(name).module.isidentifier()


def test_the_name_of_another_packages_network_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "from mmcaf_export.networks.mmcaf.entry import MmcafEntry\nclass Entry(MmcafEntry): name = 'airway'\n"
    add_package(monkeypatch, tmp_path, "acme-net", code, GROUP, "airway", "Entry")
    with refused(UsageError, "airway", "acme-net 2.1"):
        check_name("airway")


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "airway"
    written = write_network("airway", "table", folder)
    old = (folder / "README.md").stat().st_ino
    with refused(UsageError, "exists already", option="force"):
        write_network("airway", "table", folder)
    assert (folder / "README.md").stat().st_ino == old
    (folder / "README.md").write_text("changed")
    assert write_network("airway", "table", folder, force=True) == written
    assert "airway" in (folder / "README.md").read_text().casefold()
    (folder / "src" / "airway" / "notes.txt").write_text("mine")
    with refused(UsageError, "notes.txt", "never replaced"):
        write_network("airway", "table", folder, force=True)
    assert (folder / "src" / "airway" / "notes.txt").read_text() == "mine"


def test_a_link_or_a_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "file").write_text("mine")
    with refused(UsageError, "link", "never replaced"):
        write_network("airway", folder=tmp_path / "link", force=True)
    with refused(UsageError, "file", "exists already"):
        write_network("airway", folder=tmp_path / "file")
    assert list((tmp_path / "there").iterdir()) == [] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_holds_together(kind: Kind, tmp_path: Path) -> None:
    files = render(NetworkName("lung-airway"), kind, tmp_path)
    assert not [name for name, text in files.items() if re.search("%[A-Z]+%", name + text)]
    for name, text in files.items():
        if name.endswith(".py"):
            tree = ast.parse(text)
            assert ast.get_docstring(tree), name
    project = tomllib.loads(files["pyproject.toml"])
    target = project["project"]["entry-points"][GROUP]["lung-airway"]
    module, _, name = target.partition(":")
    entry = ast.parse(files[f"src/{module.replace('.', '/')}.py"])
    assert name in [node.name for node in entry.body if isinstance(node, ast.ClassDef)]
    assert all(f"`{file}`" in files["README.md"] for file in files if "/" in file and "__init__" not in file)
    for action in re.findall("uses: (.*)", files[".github/workflows/ci.yml"]):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_formatted(kind: Kind, tmp_path: Path) -> None:
    folder = write_network("lung-airway", kind, tmp_path / "package").folder
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--ignore", "I001,S101"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *command, "--no-cache", "--config", ROOT / "pyproject.toml", folder], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_template_is_of_the_repository_and_is_used() -> None:
    """What the wheel takes of a package is what git knows of it."""
    folder = Path(write.__file__).parent / "templates"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed = subprocess.run(["git", "ls-files", "."], cwd=folder, capture_output=True, text=True)
    if listed.returncode == 0:
        assert there == set(listed.stdout.split())
    assert len(there) == 7 + 2 * len(KINDS)


def test_the_command_says_how_to_go_on(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("mmcaf", "new-network", "lung-airway")
    (block,) = CONSOLE
    assert ["mmcaf new-network lung-airway", *map(str.strip, outcome.out.splitlines()[1:])] == block.splitlines()
    run("mmcaf", "new-network", "lung-airway").refused(2, "lung-airway", "--force")
    document = json.loads(run("mmcaf", "new-network", "lung-airway", "--force", "--json").out)
    assert document["files"] and all((tmp_path / document["folder"] / file).is_file() for file in document["files"])
    run("mmcaf", "new-network", "import").refused(2, "keyword")
    run("mmcaf", "new-network", "other", "-o", "-").refused(2, "--output -")


@pytest.fixture
def table_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of kind table, as pip would have left it on the path."""
    folder = write_network("lab-values", "table", tmp_path / "package").folder
    add_package(monkeypatch, tmp_path / "site", "lab-values", "", GROUP, "lab-values", "")
    (tmp_path / "site" / "lab_values.py").unlink()
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in points.items()), ""]
    (tmp_path / "site" / "lab_values-2.1.dist-info" / "entry_points.txt").write_text("\n".join(lines))
    for place in (folder, folder / "src"):
        monkeypatch.syspath_prepend(place)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("lab_values", "make_checkpoint")]:
        del sys.modules[name]


def test_what_is_written_exports(table_network: Path, tmp_path: Path) -> None:
    from make_checkpoint import make_checkpoint

    make_checkpoint(tmp_path / "tiny.safetensors")
    report = export_bundle(tmp_path / "tiny.safetensors", tmp_path / "tiny.mmcaf")
    assert report.network == "lab-values"
    assert all(done.max_abs_error <= 1e-4 for done in report.verifications)
    manifest = Manifest.model_validate_json((tmp_path / "tiny.mmcaf" / "manifest.json").read_text())
    assert manifest.demonstration and manifest.labels == ("no finding", "finding")
    with refused(UsageError, "lab-values", 2.1):
        write_network("lab-values", folder=tmp_path / "other")
    kept = table_network / "__pycache__" / "make_checkpoint.cpython-311.pyc"
    kept.parent.mkdir(exist_ok=True)
    kept.touch()
    with refused(UsageError, "exists already", option="force"):  # Its own folder may have the name.
        write_network("lab-values", folder=table_network)
    (table_network / "notes.txt").touch()
    with refused(UsageError, "notes.txt", "not ours"):
        write_network("lab-values", folder=table_network, force=True)
    (table_network / "notes.txt").unlink()
    assert write_network("lab-values", "table", folder=table_network, force=True).files and not kept.exists()


@pytest.mark.full
def test_the_page_works_by_copy_and_paste(tmp_path: Path) -> None:
    environment = OwnEnvironment(tmp_path / "environment")
    folder = tmp_path / "empty"
    folder.mkdir()
    (block,) = CONSOLE
    outputs = {command: environment.run(command, folder) for command in block.splitlines()}
    assert len(outputs) == 8
    (answer,) = [text for command, text in outputs.items() if command.startswith("mmcaf-infer")]
    assert answer.startswith(("finding", "no finding")) and "Lung airway" in answer
    assert "3 passed" in list(outputs.values())[-1]


@pytest.mark.full
def test_a_package_passes_its_own_workflow(tmp_path: Path) -> None:
    """All but the step that installs mmcaf-infer, which is there."""
    environment = OwnEnvironment(tmp_path / "environment")
    folder = write_network("lung-airway", "image", tmp_path / "repository").folder
    commands = steps((folder / ".github" / "workflows" / "ci.yml").read_text())
    assert len(commands) == 5
    (installing,) = [command for command in commands if "MMCAF_INFER" in command]
    commands.remove(installing)
    outputs = [environment.run(command, folder) for command in commands]
    assert "3 passed" in outputs[-2] and "golden cases" in outputs[-1]
