"""What the documentation says is what the code does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.manifest import Manifest
from mmcaf_engine.profile.report import report_schema

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("name", "schema"),
    [("manifest.schema.json", Manifest.model_json_schema), ("profile.schema.json", report_schema)],
    ids=["manifest", "profile"],
)
def test_published_schema_is_current(name: str, schema: Callable[[], dict[str, Any]]) -> None:
    published = json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))
    assert published == schema(), "write it again: make schema"
