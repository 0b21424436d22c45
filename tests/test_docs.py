"""What the documentation says is what the code does."""

import json
from pathlib import Path

from mmcaf_engine.manifest import Manifest

ROOT = Path(__file__).parent.parent


def test_published_manifest_schema_is_current() -> None:
    published = json.loads((ROOT / "docs" / "manifest.schema.json").read_text(encoding="utf-8"))
    assert published == Manifest.model_json_schema(), "write it again: make schema"
