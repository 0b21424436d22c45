"""The one list of what is kept: complete, safe to show, and blind to what is not ours."""

import ast
import json
import os
import typing
from pathlib import Path

import pytest
import typer

from command import Command
from import_rules import PACKAGES
from mmcaf_cli.main import app
from mmcaf_engine.cache import cache as cache_module
from mmcaf_engine.cache.cache import CacheKind, cache_folder
from mmcaf_engine.checkup.kept import KINDS, cached_items
from mmcaf_engine.outputs import is_staging, new_staging_folder
from mmcaf_engine.outputs.leftovers import let_go

NAME = {"engines": "0" * 64, "self-tests": f"{'0' * 32}.json", "tuning": f"{'0' * 64}.json"}
NAME |= {"kernels": f"{'0' * 64}.bin", "bundles": "0" * 64, "measurements": f"{'0' * 64}.jsonl"}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def calls(file: Path, name: str) -> list[ast.Call]:
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name]


def test_every_kind_that_a_room_defines_is_listed() -> None:
    defined = [call for file in PACKAGES["mmcaf_engine"].rglob("*.py") for call in calls(file, "CacheKind")]
    names = [ast.literal_eval(call.args[0]) for call in defined]
    assert sorted(names) == sorted(KINDS) == sorted(NAME)


def test_the_cache_knows_none_of_them() -> None:
    source = Path(cache_module.__file__ or "").read_text(encoding="utf-8")
    assert not [name for name in KINDS if name in source]


def test_the_command_line_offers_every_kind() -> None:
    (group,) = [group for group in app.registered_groups if group.name == "cache"]
    assert isinstance(group.typer_instance, typer.Typer)
    (clear,) = [command for command in group.typer_instance.registered_commands if command.name == "clear"]
    hints = typing.get_type_hints(clear.callback)
    offered = next(typing.get_args(part) for part in typing.get_args(hints["kind"]) if typing.get_args(part))
    assert list(offered) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_what_cannot_be_described_is_shown_and_what_is_not_ours_is_not(kind: CacheKind) -> None:
    (kind.folder() / NAME[kind.name]).write_text("[[]]")
    (kind.folder() / "notes.txt").write_text("mine")
    (kind.folder() / f"x{NAME[kind.name]}").write_text("mine")
    (item,) = kind.items()
    assert item.path.name == NAME[kind.name] and item.kind == kind.name and item.size == 4
    assert item.what == ("what TensorRT measured or compiled for a GPU" if kind.name == "kernels" else "not recognised")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_left_overs_are_listed_and_cleared(run: Command, kind: CacheKind) -> None:
    made = new_staging_folder(kind.folder())
    (made / "half").write_bytes(b"1234")
    let_go(made)  # as the end of its process does
    (item,) = cached_items()
    assert (item.what, item.size) == ("left behind by an interrupted process", 4) and is_staging(item.path.name)
    assert run("mmcaf", "cache", "clear", "--kind", kind.name).out.startswith(f"removed 1 {kind.noun};")
    assert list(kind.folder().iterdir()) == []


def test_control_characters_of_a_cached_file_do_not_reach_the_terminal(run: Command) -> None:
    stored = {"bundle": "lung\x1b[2J", "backend": "openvino", "precision": "fp32"}
    (cache_folder("self-tests") / NAME["self-tests"]).write_text(json.dumps(stored))
    outcome = run("mmcaf", "cache", "list")
    assert "lung?[2J, openvino fp32" in outcome.out and "\x1b" not in outcome.out


def test_nothing_is_made_by_looking(own_cache: Path) -> None:
    assert cached_items() == [] and not own_cache.exists()


def test_the_least_recently_used_comes_first() -> None:
    for at, kind in enumerate(KINDS.values()):
        (kind.folder() / NAME[kind.name]).write_text("{}")
        os.utime(kind.folder() / NAME[kind.name], (100 - at, 100 - at))
    assert [item.kind for item in cached_items()] == list(reversed(KINDS))


def test_what_a_process_left_behind_is_listed(tmp_path: Path) -> None:
    kind = CacheKind("things", "thing", "thing", str)
    new_staging_folder(tmp_path)
    (tmp_path / "thing").write_text("kept")
    os.utime(tmp_path / "thing", (100, 100))
    assert [item.what for item in kind.items(tmp_path)] == [
        str(tmp_path / "thing"),
        "left behind by an interrupted process",
    ]
