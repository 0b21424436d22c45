"""What the documentation says is what the code does."""

import ast
import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import mmcaf_engine
from import_rules import room_table
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.profile.report import report_schema
from mmcaf_engine.result.schema import result_schema, result_table

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_python_examples_use_public_names_alone() -> None:
    """What a page imports from the engine itself is what `dir` shows of it."""
    public = set(dir(mmcaf_engine))
    used = set()
    for page in PAGES:
        for example in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for node in ast.walk(ast.parse(example)):
                if isinstance(node, ast.ImportFrom) and node.module == "mmcaf_engine":
                    used |= {alias.name for alias in node.names}
    assert used >= {"infer", "Answerer", "load_bundle", "open_session"}
    assert used <= public


def test_the_table_of_rooms_is_current() -> None:
    """Whoever adds a room, moves one or says something else of it writes the page again."""
    assert "\n".join(room_table()) in ARCHITECTURE, "write it again: python tests/import_rules.py --table"


@pytest.mark.parametrize("path", re.findall(r"`((?:engine|export|kernels|cli|tests)/[\w/.]+)`", ARCHITECTURE))
def test_what_the_page_on_the_layout_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("manifest.schema.json", Manifest.model_json_schema),
        ("profile.schema.json", report_schema),
        ("result.schema.json", result_schema),
    ],
    ids=["manifest", "profile", "result"],
)
def test_published_schema_is_current(name: str, schema: Callable[[], dict[str, Any]]) -> None:
    published = json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))
    assert published == schema(), "write it again: make schema"


def test_the_table_of_a_results_fields_is_current() -> None:
    page = (ROOT / "docs" / "result.md").read_text(encoding="utf-8")
    rows = result_table()
    assert page.endswith("\n".join(["", *rows, ""])), "write it again: make schema"
    assert not [row for row in rows[2:] if not all(cell.strip() for cell in row.strip("|").split(" | "))]


def functions_behind_commands() -> list[str]:
    """Dotted names of the table in docs/python.md."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    table = text.partition("| command | function |")[2].partition("## ")[0]
    return re.findall(r"`((?:\w+\.)+\w+)`", table)


@pytest.mark.parametrize("name", functions_behind_commands())
def test_functions_behind_the_commands_exist(name: str) -> None:
    module, _, function = name.rpartition(".")
    if module.startswith("mmcaf_export"):
        pytest.importorskip("torch")
    module = module if module.startswith("mmcaf_export") else f"mmcaf_engine.{module}"
    assert callable(getattr(import_module(module), function))


def test_the_table_of_functions_is_found() -> None:
    assert len(functions_behind_commands()) == 13
