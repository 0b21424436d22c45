"""Repairs: asked for by name, only where the checkpoint needs them, and said wherever the bundle answers."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from export.lcadb_networks import filled as filled_lcadb
from export.medfusionnet_networks import CONFIGS, as_the_authors, filled
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest.provenance import Provenance
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.lcadb import LcadbConfig
from mmcaf_export.networks.lcadb.entry import LcadbEntry
from mmcaf_export.networks.medfusionnet.entry import MedFusionEntry
from mmcaf_export.networks.repair import Repair
from mmcaf_export.repairs import chosen_repairs, in_provenance, notes
from refusals import Fact, refused

DEEP = LcadbConfig(depth=50, size=32, width=1 / 64)


class TwoFaults(CmasgEntry):
    """A network of which checkpoints need a repair for each entry that they hold."""

    title = "Two faults"
    repairs = (Repair("first", "it divides by 0", "it does not"), Repair("second", "it stops", "it goes on"))

    def needed_repairs(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        return tuple(state)


def held(*names: str) -> dict[str, Tensor]:
    return dict.fromkeys(names, torch.zeros(1))


@pytest.mark.parametrize(
    ("needed", "asked", "made"),
    [
        ((), None, []),
        (("second",), "second", ["second"]),
        (("first", "second"), " second ,first", ["first", "second"]),
    ],
    ids=["none", "one", "both"],
)
def test_what_is_needed_and_asked_for_is_made(needed: tuple[str, ...], asked: str | None, made: list[str]) -> None:
    found = chosen_repairs(TwoFaults(), held(*needed), asked)
    assert [repair.name for repair in found] == made
    assert [entry["name"] for entry in in_provenance(found).get("repairs", [])] == made
    assert len(notes(found)) == len(made) and in_provenance([]) == {}


@pytest.mark.parametrize(
    ("needed", "asked", "facts", "value"),
    [
        ((), "third", ("'third'", "first (it does not)", "second (it goes on)"), None),
        ((), "", ("''", "first"), None),
        ((), "first", ("does not need the repair first",), None),
        (("second",), "first", ("does not need the repair first",), None),
        (("second",), "second,first", ("does not need the repair first",), None),
        (("second",), None, ("it stops", "it goes on"), "repair=second"),
        (("first", "second"), "first", ("it stops",), "repair=first,second"),
    ],
)
def test_all_else_is_refused(
    needed: tuple[str, ...], asked: str | None, facts: tuple[Fact, ...], value: str | None
) -> None:
    with refused(ExportError, "Two faults", *facts, option="set", value=value):
        chosen_repairs(TwoFaults(), held(*needed), asked)


def test_a_network_without_repairs_says_so() -> None:
    with refused(ExportError, CmasgEntry.title, "'release'", "it has none", option="set"):
        chosen_repairs(CmasgEntry(), {}, "release")


def test_a_repair_that_is_not_declared_is_the_networks_fault() -> None:
    with pytest.raises(TypeError, match="needed_repairs names third"):
        chosen_repairs(TwoFaults(), held("third"), None)


def save(state: Mapping[str, Tensor], folder: Path) -> Path:
    torch.save({"model": dict(state)}, folder / "w.pth")
    return folder / "w.pth"


def test_deep_lcadb_is_not_exported_as_if_it_were_published(tmp_path: Path) -> None:
    path = save(filled_lcadb(DEEP).state_dict(), tmp_path)
    facts = ("LCA-DB", "depth 50", "linear2", "conv4", "patch branch")
    with refused(ExportError, *facts, option="set", value="repair=patch_conv4"):
        export_bundle(path, tmp_path / "b.mmcaf")
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.pth"]
    assert ExportError.exit_code == 5


@pytest.mark.parametrize("key", ["conv4.weight", "layer1_patch_com.0.conv3.weight"])
def test_either_trace_of_bottlenecks_is_seen(key: str) -> None:
    assert LcadbEntry().needed_repairs(held(key)) == ("patch_conv4",)
    assert LcadbEntry().needed_repairs(held("conv5.weight")) == ()


@pytest.mark.parametrize(("name", "levels"), [("release", 1), ("release of three levels", 3)])
def test_the_authors_medfusionnet_is_refused_with_the_reason(name: str, levels: int, tmp_path: Path) -> None:
    path = save(as_the_authors(filled(CONFIGS[name]).state_dict(), levels), tmp_path)
    facts = ("MedFusionNet", "abhishekdixitg/MedFusionNet", "fails on every input")
    with refused(ExportError, *facts, option="set", value="repair=release"):
        export_bundle(path, tmp_path / "b.mmcaf")


def test_a_part_of_the_authors_names_is_refused_as_theirs(tmp_path: Path) -> None:
    """Without the layers that tell sizes: what is wrong with the class comes before what is wrong with the file."""
    names = ("densenet.features.conv0", "fpn.fpn_layers.0", "self_attention.query", "fc_fusion", "fc1", "fc2")
    path = save(held(*(f"{name}.{kind}" for name in names for kind in ("weight", "bias"))), tmp_path)
    with refused(ExportError, "fails on every input", option="set", value="repair=release"):
        export_bundle(path, tmp_path / "b.mmcaf")


def test_a_repair_of_another_spelling_is_not_needed(tmp_path: Path) -> None:
    path = save(filled(CONFIGS["release"]).state_dict(), tmp_path)
    with refused(ExportError, "does not need the repair release", option="set"):
        export_bundle(path, tmp_path / "b.mmcaf", settings={"repair": "release"})


def test_the_authors_sizes_are_read_as_the_transitions_maps() -> None:
    """512, 256 and 128 channels from coarse to fine, of DenseNet-121, as the published class declares them."""
    config = replace(CONFIGS["release of three levels"], stem=64, growth=32, bottleneck=4, blocks="6-12-24", width=128)
    assert config.tapped_channels == (128, 256, 512)


@pytest.mark.parametrize(
    ("name", "levels"),
    [("release of three levels", 3), pytest.param("release", 1, marks=pytest.mark.full)],
)
def test_with_the_repair_the_bundle_answers_and_says_so(name: str, levels: int, tmp_path: Path) -> None:
    """Its two runtimes are held against the source at export; that is held against an independent calculation."""
    config = CONFIGS[name]
    path = save(as_the_authors(filled(config).state_dict(), levels), tmp_path)
    settings = {"repair": "release", "network.config.size": str(config.size)}
    report = export_bundle(path, tmp_path / "b.mmcaf", settings=settings, explain=False)
    manifest = load_bundle(report.output).manifest
    (entry,) = manifest.provenance.repairs
    assert entry.name == "release" and entry.description == MedFusionEntry.repairs[0].change
    assert any(entry.description in note for note in report.notes)
    assert manifest.network.config["fpn_taps"] == config.fpn_taps and manifest.network.config["profile"] == "release"
    assert any("mean and deviation" in note for note in report.notes)
    assert max(done.max_abs_error for done in report.verifications) <= 1e-4


def provenance(**more: Any) -> dict[str, Any]:
    facts = {"checkpoint_sha256": "0" * 64, "checkpoint_format": "x", "dead_keys_ignored": 0, "exporter": "x"}
    return {**facts, "framework": "x", "opset": 20, **more}


def test_every_answer_of_a_repaired_network_says_so() -> None:
    entry = {"name": "release", "description": "one token"}
    assert Provenance.model_validate(provenance(repairs=[entry])).remarks == (
        "The network is repaired (release): one token.",
    )


def test_a_manifest_without_repairs_is_written_as_before() -> None:
    plain = Provenance.model_validate(provenance())
    assert plain.remarks == () and "repairs" not in plain.model_dump(mode="json")
    assert "repairs" in json.loads(
        Provenance.model_validate(provenance(repairs=[{"name": "a", "description": "b"}])).model_dump_json()
    )
