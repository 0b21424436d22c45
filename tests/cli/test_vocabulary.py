"""The options that mean the same everywhere: each command is asked whether it has them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from command import Command
from mmcaf_cli import infer, main
from mmcaf_engine import __version__

COMMON = {"-h", "--help", "--version", "-q", "--quiet", "-v", "--verbose"}
PRINTS_ONLY = {
    *("mmcaf trust", "mmcaf cache clear", "mmcaf version"),
    *(f"mmcaf serve {name}" for name in ("switch", "rollback", "restore", "purge")),
}
"""Commands that write no file that the caller names."""

ARTEFACTS = {
    "mmcaf export",
    "mmcaf new-network",
    "mmcaf quantize",
    "mmcaf place",
    "mmcaf build",
    "mmcaf demo",
    "mmcaf record-template",
    "mmcaf serve backup",
}
"""Commands whose --output is what they make; all others write to it the JSON that --json prints."""


def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The command and all below it."""
    yield name, command
    for own, one in getattr(command, "commands", {}).items():
        yield from walk(f"{name} {own}", one)


ALL = {
    name: command
    for program, app in (("mmcaf-infer", infer.app), ("mmcaf", main.app))
    for name, command in walk(program, typer.main.get_command(app))
}
GROUPS = {name for name, command in ALL.items() if getattr(command, "commands", None)}
LEAVES = [name for name in ALL if name not in GROUPS]


def options(name: str, *, hidden: bool = False) -> dict[str, Any]:
    """Spelling -> option of a command."""
    parameters = [one for one in ALL[name].params if one.param_type_name == "option"]
    return {spelling: one for one in parameters if hidden or not one.hidden for spelling in one.opts}


def test_all_commands_are_found() -> None:
    assert {"mmcaf", "mmcaf cache", "mmcaf serve"} == GROUPS and len(LEAVES) >= 17
    assert "mmcaf-infer" in LEAVES and "mmcaf cache list" in LEAVES


@pytest.mark.parametrize("name", ALL)
def test_every_command_takes_the_common_options(run: Command, name: str) -> None:
    shown = run(*name.split(), "-h")
    assert shown.code == 0 and shown.err == "" and shown.out == run(*name.split(), "--help").out
    listed = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown.out.partition("Options:")[2]))
    assert listed >= COMMON


@pytest.mark.parametrize("name", ALL)
def test_every_command_prints_the_version(run: Command, name: str) -> None:
    outcome = run(*name.split(), "--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"mmcaf-infer {__version__}\n", "")


@pytest.mark.parametrize("program", ["mmcaf", "mmcaf-infer"])
def test_both_programs_complete(run: Command, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # whatever has started the tests
    shown = run(program, "--help").out
    assert "--install-completion" in shown and "--show-completion" in shown
    script = run(program, "--show-completion").out
    assert f"_{program.replace('-', '_').upper()}_COMPLETE" in script and program in script


@pytest.mark.parametrize("name", LEAVES)
def test_json_is_a_flag(name: str) -> None:
    assert options(name)["--json"].is_flag


@pytest.mark.parametrize("name", LEAVES)
def test_what_writes_has_output_and_force(name: str) -> None:
    found = options(name)
    if name in PRINTS_ONLY:
        assert not {"-o", "--output"} & set(found)
        forces = {"mmcaf trust": "replaces what is in the cache", "mmcaf serve purge": "removes what has not arrived"}
        assert ("--force" in found) is (name in forces)
        return
    assert found["-o"] is found["--output"] and not found["-o"].is_flag
    assert found["--force"].is_flag
    assert name in ARTEFACTS or found["-o"].metavar == "FILE"


@pytest.mark.parametrize("name", LEAVES)
def test_old_names_are_hidden(name: str) -> None:
    assert "--out" not in options(name)
    assert ("--out" in options(name, hidden=True)) == (name in {"mmcaf-infer", "mmcaf evaluate"})


@pytest.mark.parametrize("name", LEAVES)
def test_a_person_can_read_what_an_option_takes(run: Command, name: str) -> None:
    assert not re.search(r"--[a-z-]+ (<(str|int|float|path)>|TEXT|INTEGER|FLOAT|PATH)", run(*name.split(), "-h").out)


@pytest.mark.parametrize("name", LEAVES)
def test_one_letter_means_one_thing(name: str) -> None:
    meanings = {"-o": "--output", "-q": "--quiet", "-v": "--verbose", "-h": "--help"}
    short = {spelling: one for spelling, one in options(name).items() if re.fullmatch("-[a-z]", spelling)}
    assert all(meanings[spelling] in one.opts for spelling, one in short.items())


@pytest.mark.parametrize("name", ALL)
def test_quiet_and_verbose_contradict_each_other(run: Command, name: str) -> None:
    if name in GROUPS:
        outcome = run(*name.split(), "-q", "-v", next(iter(ALL[name].commands)))
    else:
        arguments = ["x" for one in ALL[name].params if one.param_type_name == "argument" and one.required]
        needed = ["-o", "x"] if name in ("mmcaf export", "mmcaf demo", "mmcaf serve backup") else []
        needed += ["--config", "x"] if name.startswith("mmcaf serve ") else []
        outcome = run(*name.split(), "-q", "-v", *arguments, *needed)
    assert outcome.code == 2 and outcome.out == "" and "contradict each other" in outcome.err


def test_one_module_writes_to_the_streams() -> None:
    """So that -q, a full disk and a reader that has gone are the same for every command."""
    folder = Path(main.__file__).parent
    calls = {
        file.name: [node.lineno for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if prints(node)]
        for file in folder.glob("*.py")
    }
    assert calls.pop("console.py") and not {name: lines for name, lines in calls.items() if lines}


def prints(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
