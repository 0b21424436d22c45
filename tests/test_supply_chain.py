"""Whose software an installation runs: the page that says so is current, and the bill of materials is valid."""

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import demo_bundle

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "docs" / "supply_chain"


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    names = ("packages", "third_party", "sbom")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield {name: import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name)


def listed(page: str) -> dict[tuple[str, str, str], str]:
    """Heading, name and version -> licence, of every row."""
    parts = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    row = re.compile(r"^\| ([\w.-]+) \| ([\w.+-]+) \| ([^|]+) \|", re.MULTILINE)
    return {(head, name, version): held for head, text in parts.items() for name, version, held in row.findall(text)}


def test_the_page_is_current(scripts: dict[str, ModuleType]) -> None:
    """As far as it is ours: packages that we require are listed; others, and versions, come and go without us."""
    kept, now = (listed(text) for text in ((ROOT / "THIRD_PARTY.md").read_text(), scripts["third_party"].page()))
    required = {canonicalize_name(Requirement(line).name) for line in distribution("mmcaf-infer").requires or []}
    wanted = {(head, name) for head, name, _ in now if name in required}
    assert len(wanted) > 15 and wanted <= {(head, name) for head, name, _ in kept}, "write it again: make third-party"
    assert {row: kept[row] for row in now.keys() & kept.keys()} == {row: now[row] for row in now.keys() & kept.keys()}


def test_every_extra_has_its_table(scripts: dict[str, ModuleType]) -> None:
    extras = set(distribution("mmcaf-infer").metadata.get_all("Provides-Extra") or ()) - {"dev"}
    assert set(scripts["third_party"].EXTRAS) == extras


def test_the_base_brings_what_it_requires_and_no_licence_is_unknown(scripts: dict[str, ModuleType]) -> None:
    found = scripts["packages"].installed()
    required = {Requirement(line) for line in distribution("mmcaf-infer").requires or []}
    base = {one.name for one in required if one.marker is None or one.marker.evaluate({"extra": ""})}
    assert base <= found.keys() and "rich" in found and "torch" not in found
    assert "tokenizers" not in found and "huggingface-hub" in scripts["packages"].installed(("text",))
    assert not {name for name, package in found.items() if package.licence == "not said"}


def test_the_bill_is_valid_and_names_the_bundle(scripts: dict[str, ModuleType]) -> None:
    bundle = load_bundle(demo_bundle())
    owner = {"supplier": "A hospital", "end-of-support": "2031-12-31"}
    document = json.loads(scripts["sbom"].bill((), bundle, owner))
    root = document["metadata"]["component"]
    assert root["supplier"] == {"name": "A hospital"} and document["specVersion"] == "1.6"
    assert root["properties"] == [{"name": "mmcaf:end-of-support", "value": "2031-12-31"}]
    (model,) = [one for one in document["components"] if one["type"] == "machine-learning-model"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": bundle.sha256}]
    assert {one["name"]: one["hashes"][0]["content"] for one in model["components"]} == {
        name: entry.sha256 for name, entry in bundle.manifest.files.items()
    }
    (edges,) = [one["dependsOn"] for one in document["dependencies"] if one["ref"] == "mmcaf-infer"]
    assert {"numpy", "onnxruntime", model["bom-ref"]} <= set(edges)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-o", "/dev/full", "--force"], 2, "a device"),
        (["-o", "there.json"], 2, "exists already"),
        (["-o", "new.json", "--extra", "no_such_extra", "--bundle", "none.mmcaf"], 5, "none.mmcaf"),
        (["-o", "new.json", "--end-of-support", "soon"], 2, "invalid"),
    ],
    ids=["device", "exists", "bundle", "date"],
)
def test_wrong_use_is_said(
    scripts: dict[str, ModuleType],
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.json").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        scripts["sbom"].main(arguments)
    assert ended.value.code == code and said in capsys.readouterr().err
    assert Path("there.json").read_text() == "{}" and not Path("new.json").exists()
