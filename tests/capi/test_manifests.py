"""What the C library takes for a manifest, the engine in Python takes: of each, every field is changed in turn."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.bundle.bundle import MANIFEST_NAME
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.bundle.parsing import parse_manifest
from mmcaf_engine.errors import BundleError
from testing_library import call, fresh_random

WRONG = (None, "x", "", -1, 0, 1.5, [], {}, ["x"], {"x": 1})
OTHERS = {"attention", "explain", "attention_agreement", "module_titles", "provenance", "config", "fhir", "series"}
"""Parts that the library knows by name and does not look into: people and the workshop read them."""


def paths(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, objects and lists too."""
    if path:
        yield path
    if path and path[-1] in OTHERS:
        return
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


def place(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def changed(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with a field left out, one more, or another value in its place."""
    for path in paths(document):
        *above, last = path
        found = place(document, path)
        for wrong in () if last in OTHERS else WRONG:
            other = copy.deepcopy(document)
            place(other, tuple(above))[last] = wrong
            yield f"{path} {wrong!r}", other
        if isinstance(last, str):
            other = copy.deepcopy(document)
            del place(other, tuple(above))[last]
            yield f"{path} left out", other
        if isinstance(found, dict) and last not in OTHERS:
            other = copy.deepcopy(document)
            place(other, path)["unexpected_field"] = 1
            yield f"{path} one more", other


def engine_takes(document: dict[str, Any]) -> bool:
    try:
        parse_manifest(json.dumps(document).encode(), shown=Path("bundle"))
    except BundleError:
        return False
    return True


def library_takes(document: dict[str, Any]) -> bool:
    return not call("mmcaf_testing_manifest", json.dumps(document)).startswith('{"error"')


@pytest.mark.parametrize("which", ["demonstration", "tiny"])
def test_every_change_of_a_manifest_is_judged_alike(which: str, tiny_bundle_source: Path) -> None:
    source = demo_bundle() if which == "demonstration" else tiny_bundle_source
    document = json.loads((source / MANIFEST_NAME).read_text(encoding="utf-8"))
    assert engine_takes(document) and library_takes(document)
    changes = list(changed(document))
    drawn = fresh_random().sample(changes, min(len(changes), 600))
    other = [name for name, one in drawn if engine_takes(one) != library_takes(one)]
    assert len(drawn) > 300 and not other
