"""What the engine says, it says to every kind of caller: options and commands stand in remedies, not in sentences."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

from import_rules import PACKAGES, ROOT
from mmcaf_cli import infer as answering
from mmcaf_cli import main as workshop
from mmcaf_engine.pipeline import infer
from mmcaf_engine.session.session import open_session

ENGINE = PACKAGES["mmcaf_engine"]
EXEMPT = {"service"}
"""Rooms whose words are read by those who sit at the command line alone."""

FOR_THE_COMMAND_LINE = {"program", "install_packages"}
"""Functions whose arguments are a command line."""

STYLE_SHEETS = {"page/style.py", "profile/page/style.py", "result/page/style.py"}

COMMANDS = sorted(typer.main.get_command(workshop.app).commands)  # type: ignore[attr-defined]
PROGRAM = rf"\bmmcaf ({'|'.join(COMMANDS)})\b|mmcaf-infer [A-Z./-]|mmcaf-infer\["
FORBIDDEN = re.compile(rf"(?<![\w-])--[a-z]|{PROGRAM}|pip install|export [A-Z_]+=")


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in sorted(ENGINE.rglob("*.py")):
        parts = file.relative_to(ENGINE).with_suffix("").parts
        if file.relative_to(ENGINE).as_posix() not in STYLE_SHEETS:
            found.setdefault(parts[0], []).append(file)
    return {name: files for name, files in found.items() if name not in EXEMPT}


def spoken(tree: ast.AST) -> Iterator[ast.Constant]:
    """String constants, without bare ones such as docstrings and without those of a command line."""
    silent = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(id(node.value))
        elif isinstance(node, ast.Call) and called(node) in FOR_THE_COMMAND_LINE:
            silent |= {id(part) for argument in node.args for part in ast.walk(argument)}
        elif isinstance(node, ast.keyword) and node.arg == "command":
            silent |= {id(part) for part in ast.walk(node.value)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node


def called(call: ast.Call) -> str:
    return (
        call.func.id
        if isinstance(call.func, ast.Name)
        else call.func.attr
        if isinstance(call.func, ast.Attribute)
        else ""
    )


def literals(source: str) -> list[str]:
    """Options and commands that a file says outside remedies."""
    return [
        f"line {node.lineno}: {found[0]}"
        for node in spoken(ast.parse(source))
        if (found := FORBIDDEN.search(node.value))
    ]


@pytest.mark.parametrize("room", rooms())
def test_no_message_spells_an_option_or_a_command(room: str) -> None:
    found = {file.name: literals(file.read_text(encoding="utf-8")) for file in rooms()[room]}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize(
    "source",
    [
        'raise StudyError("3 missing.", "Accept them with --gaps=interpolate.")',
        'warning = f"{name}: read as asked (--series)."',
        'raise BackendError("Not here.", Remedy("See: mmcaf doctor"))',
        'raise BackendError("Not here.", "pip install torch")',
        '_log.warning("Run mmcaf-infer STUDY again.")',
        'raise UsageError("Full.", f"Raise it: export MMCAF_CACHE_LIMIT={size}")',
    ],
)
def test_a_message_that_spells_one_is_found(source: str) -> None:
    assert len(literals(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""What `mmcaf tune` measured; see --runs."""',
        'Remedy("Add it", command=program("quantize", "BUNDLE", "--precision", name))',
        'Remedy("Accept them", option="gaps", value="interpolate")',
        'text = f"{a} -- made by mmcaf-infer, version {version}"',
    ],
)
def test_remedies_and_docstrings_may(source: str) -> None:
    assert not literals(source)


def command_line_options() -> set[str]:
    """By their names in Python, of all commands."""
    found = set()
    groups: list[click.Command] = [typer.main.get_command(answering.app), typer.main.get_command(workshop.app)]
    while groups:
        command = groups.pop()
        groups += getattr(command, "commands", {}).values()
        spelled = [name for one in command.params for name in one.opts]
        found |= {name[2:].replace("-", "_") for name in spelled if name.startswith("--")}
    return found


def remedy_options() -> set[tuple[str, str]]:
    """(file and line, option) of every remedy of the engine and of those around it."""
    found = set()
    for folder in PACKAGES.values():
        for file in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and called(node) == "Remedy":
                    option = {one.arg: one.value for one in node.keywords}.get("option")
                    if option is not None:
                        where = f"{file.relative_to(ROOT)}:{node.lineno}"
                        values = [part.value for part in ast.walk(option) if isinstance(part, ast.Constant)]
                        found |= {(where, value) for value in values if isinstance(value, str)}
    return found


def test_every_option_of_a_remedy_is_one_that_a_caller_has() -> None:
    known = {*inspect.signature(infer).parameters, *inspect.signature(open_session).parameters, *command_line_options()}
    found = remedy_options()
    assert {"gaps", "tilt", "series"} <= {option for _, option in found}
    assert not {(where, option) for where, option in found if option not in known}
