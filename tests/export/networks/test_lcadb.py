"""LCA-DB beyond the golden numbers: keys, recognition, refused inputs, training, and its bundle."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from export.lcadb_networks import SLIM, filled
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.demo import LIVER_LABELS
from mmcaf_engine.errors import ExportError
from mmcaf_engine.session.session import open_session
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.lcadb import LcadbConfig, LcadbNet
from mmcaf_export.networks.lcadb.entry import LcadbEntry
from mmcaf_export.networks.lcadb.network import OUTPUTS, PHASES
from mmcaf_export.networks.lcadb.resnet import BLOCKS
from mmcaf_export.networks.recorded import recorded
from mmcaf_export.networks.registry import Networks
from mmcaf_export.report import ExportReport
from refusals import Fact, refused
from shared import Shared

ABSOLUTE = 1e-4  # of every output: what an export must hold
PARAMETERS = {  # depth -> entries of the published state_dict, and how many weights they are
    10: (168, 34_068_757),
    18: (264, 71_677_717),
    34: (456, 132_296_981),
    50: (660, 98_880_149),
    101: (1_272, 176_972_437),
    152: (1_884, 241_289_877),
    200: (2_460, 259_689_109),
}
ENTRY = LcadbEntry()
log = logging.getLogger(__name__)


def shapes(config: LcadbConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return LcadbNet(config).state_dict()


@pytest.mark.parametrize("depth", BLOCKS)
def test_entries_and_weights_are_those_of_the_published_network(depth: int) -> None:
    with torch.device("meta"):
        network = LcadbNet(LcadbConfig(depth=depth))
    assert (len(network.state_dict()), sum(p.numel() for p in network.parameters())) == PARAMETERS[depth]


@pytest.mark.parametrize(
    "config",
    [*(LcadbConfig(depth=depth) for depth in BLOCKS), SLIM, LcadbConfig(depth=50, width=1 / 32, classes=2)],
    ids=str,
)
def test_recognition_by_shapes(config: LcadbConfig) -> None:
    metadata = {"slices": str(config.slices), "size": str(config.size)}
    assert Networks().recognise(shapes(config), metadata) == ("lcadb", config)


def test_a_published_checkpoint_says_nothing_of_its_size() -> None:
    assert Networks().recognise(shapes(LcadbConfig()), {}) == ("lcadb", LcadbConfig(slices=16, size=128))


@pytest.mark.parametrize(
    ("key", "shape", "facts"),
    [
        ("conv1_patch_com.weight", (64, 3, 3, 3, 3), ("conv1_patch_com.weight", "3 phases", 8)),
        ("layer1_patch_com.1.conv1.weight", (64, 64, 3, 3, 3), ("2, 1, 1, 1", "basic blocks")),
        ("layer1_patch_com.0.conv3.weight", (64, 64, 1, 1, 1), ("1, 1, 1, 1", "bottlenecks")),
        ("bag_classifier.bias", (1,), ("classes", 1, 2)),
    ],
    ids=["phases", "blocks", "bottlenecks", "classes"],
)
def test_recognition_refuses_other_layers(key: str, shape: tuple[int, ...], facts: tuple[Fact, ...]) -> None:
    state = {**shapes(LcadbConfig()), key: torch.empty(shape, device="meta")}
    with refused(ExportError, "LCA-DB", *facts):
        Networks().recognise(state, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 12}, "depth is 12; expected one of 10, 18"),
        ({"size": 100}, "size is 100; expected a multiple of 32"),
        ({"size": 0}, "size is 0"),
        ({"slices": 0}, "slices is 0"),
        ({"width": 0.1}, "width 0.1 gives 6.4 channels"),
        ({"classes": 1}, "classes is 1"),
    ],
    ids=str,
)
def test_impossible_configurations(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LcadbConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([(1, 1, 64, 64, 16)] * 7 + [(1, 1, 64, 64, 12)], r"c_v is \[1, 1, 64, 64, 12\]"),
        ([(1, 1, 16, 64, 64)] * 8, r"t2 is \[1, 1, 16, 64, 64\]; expected \[N, 1, 64, 64, 16\]"),
        ([(1, 64, 64, 16)] * 8, r"t2 is \[1, 64, 64, 16\]"),
    ],
    ids=["slices", "slices first", "no channel"],
)
def test_refused_volumes(volumes: list[tuple[int, ...]], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        LcadbNet(SLIM)(*(torch.empty(shape) for shape in volumes))


@pytest.mark.parametrize("depth", [10, 50])
def test_slim_network_trains(depth: int) -> None:
    torch.manual_seed(0)
    network = LcadbNet(LcadbConfig(depth=depth, slices=4, size=32, width=1 / 64)).train()
    logits, *_ = network(*torch.randn(8, 3, 1, 32, 32, 4))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6])).backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()}
    assert silent == set()


def test_swapping_two_phases_changes_the_answer() -> None:
    network, given = filled(SLIM), ENTRY.example_inputs(SLIM, 1, seed=4)
    swapped = {**given, "c_v": given["c_delay"], "c_delay": given["c_v"]}
    with torch.inference_mode():
        assert float((network(*given.values())[0] - network(*swapped.values())[0]).abs().max()) > 0.01


DEPTHS = [10, *(pytest.param(depth, marks=pytest.mark.full) for depth in (18, 34, 50))]


@pytest.fixture(scope="module", params=DEPTHS, ids=lambda depth: f"depth {depth}")
def exported(request: pytest.FixtureRequest, lcadb_export: ExportReport, shared: Shared) -> ExportReport:
    """Bundles of every depth, of reduced width and size."""
    if request.param == 10:
        return lcadb_export
    config = LcadbConfig(depth=request.param, size=32, width=1 / 32)

    def export(folder: Path) -> ExportReport:
        torch.save({"epoch": 7, "model": filled(config).state_dict()}, folder / "best.pth")
        settings = {"network.config.size": str(config.size)} | ({"repair": "patch_conv4"} if config.depth >= 50 else {})
        return export_bundle(folder / "best.pth", folder / "lcadb.mmcaf", settings=settings, explain=False)

    return shared(f"lcadb-{request.param}", export)


def test_bundle(exported: ExportReport) -> None:
    manifest = load_bundle(exported.output).manifest
    config = LcadbConfig(**manifest.network.config)  # type: ignore[arg-type]
    assert exported.network == "lcadb" and exported.config["depth"] == config.depth
    assert [spec.name for spec in manifest.inputs] == list(PHASES) == [entry.input for entry in manifest.series]
    assert [(spec.name, spec.kind) for spec in manifest.outputs] == [
        ("logits", "score"),
        ("alpha_image", "attention"),
        ("alpha_patch", "attention"),
    ]
    assert manifest.activation == "softmax" and manifest.threshold is None and manifest.table is None
    assert [step.step for step in manifest.preprocessing.steps] == ["resize_volume", "standardise"]
    assert [entry.grid for entry in manifest.attention] == [(config.grid, config.grid)] * 2
    assert manifest.provenance.checkpoint_format == "training checkpoint"
    if config.depth != 10:
        assert manifest.labels == tuple(f"lesion class {number}" for number in range(7))
        assert any(note.startswith("assumed that the lesion classes have no names") for note in exported.notes)
    repaired = ("patch_conv4",) if config.depth >= 50 else ()
    assert tuple(one.name for one in manifest.provenance.repairs) == repaired
    done = {entry.name for entry in manifest.provenance.rewrites}
    assert done >= {"batch_norm", "unread_slices", "padding_taps"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backends_answer_as_the_source(backend: str, exported: ExportReport) -> None:
    config = LcadbConfig(**exported.config)  # type: ignore[arg-type]
    given = ENTRY.example_inputs(config, 2, seed=11)
    with torch.inference_mode():
        expected = dict(zip(OUTPUTS, filled(config)(*given.values()), strict=True))
    with open_session(load_bundle(exported.output), backend=backend) as session:
        found = session.run({name: tensor.numpy() for name, tensor in given.items()})
    for name, tensor in expected.items():
        error = float(np.abs(found[name] - tensor.numpy()).max())
        log.info("depth %d, %s, %s: error %.1e", config.depth, backend, name, error)
        assert error <= ABSOLUTE
        assert float(np.abs(found[name][0] - found[name][1]).max()) > 1e-4 or found[name].shape[1] == 1


BRANCHED = replace(SLIM, branch_scores=True)


def test_branch_scores_are_what_each_branch_alone_is_scored() -> None:
    """The published code: out_R is linear1 of the image branch's feature, out_P linear2 of the patch branch's."""
    network, given = filled(BRANCHED), ENTRY.example_inputs(SLIM, 1, seed=6)
    with torch.inference_mode():
        traced, plain = network.trace(*given.values()), filled(SLIM)(*given.values())
        wanted = {
            "out_R": traced["image_feature"] @ network.linear1.weight.T + network.linear1.bias,
            "out_P": traced["patch_feature"] @ network.linear2.weight.T + network.linear2.bias,
        }
    for name, expected in wanted.items():
        assert float((traced[name] - expected).abs().max()) <= 1e-6
    assert all(torch.equal(traced[name], value) for name, value in zip(OUTPUTS, plain, strict=True))
    assert float((traced["out_R"] - traced["out_P"]).abs().max()) > 0.01


def test_a_network_without_branch_scores_is_written_as_before() -> None:
    assert "branch_scores" not in recorded(SLIM) and recorded(SLIM) == {
        key: value for key, value in asdict(SLIM).items() if key != "branch_scores"
    }
    assert recorded(BRANCHED)["branch_scores"] is True and LcadbConfig(**recorded(BRANCHED)) == BRANCHED
    assert [spec.name for spec in ENTRY.tensors(SLIM)[1]] == list(OUTPUTS)
    assert [(spec.name, spec.kind, spec.optional) for spec in ENTRY.tensors(BRANCHED)[1][3:]] == [
        ("out_R", "branch_score", True),
        ("out_P", "branch_score", True),
    ]
    assert ENTRY.manifest(SLIM)["branch_scores"] == []


@pytest.mark.full
def test_a_bundle_with_branch_scores(tmp_path: Path) -> None:
    config = replace(BRANCHED, size=32, width=1 / 64, slices=4)
    save_file(filled(config).state_dict(), tmp_path / "w.safetensors", {"slices": "4", "size": "32"})
    settings = {"network.config.branch_scores": "true"}
    bundle = load_bundle(export_bundle(tmp_path / "w.safetensors", tmp_path / "b.mmcaf", settings=settings).output)
    assert bundle.manifest.network.config["branch_scores"] is True
    assert [entry.title for entry in bundle.manifest.branch_scores] == ["image branch", "patch branch"]
    given = ENTRY.example_inputs(config, 2, seed=11)
    with torch.inference_mode():
        expected = dict(zip(config.outputs, filled(config)(*given.values()), strict=True))
    with open_session(bundle, backend="openvino") as session:
        arrays = {name: tensor.numpy() for name, tensor in given.items()}
        assert set(session.run(arrays)) == set(OUTPUTS)
        found = session.run(arrays, optional=True)
    assert all(np.abs(found[name] - tensor.numpy()).max() <= ABSOLUTE for name, tensor in expected.items())
    with np.load(bundle.folder / "golden.npz") as stored:
        assert {"out_R", "out_P"} <= set(stored.files)


def test_labels_can_be_named(lcadb_export: ExportReport, tmp_path: Path) -> None:
    assert load_bundle(lcadb_export.output).manifest.labels == LIVER_LABELS
    assert not any("lesion classes" in note for note in lcadb_export.notes)
    with refused(ExportError, "[N, 2]"):
        export_bundle(
            lcadb_export.output.with_name("best.pth"), tmp_path / "c.mmcaf", settings={"labels": '["cyst", "other"]'}
        )


@pytest.mark.full
def test_labels_of_another_number_of_classes(tmp_path: Path) -> None:
    config = LcadbConfig(slices=4, size=32, width=1 / 64, classes=3)
    save_file(filled(config).state_dict(), tmp_path / "w.safetensors", {"slices": "4", "size": "32"})
    report = export_bundle(
        tmp_path / "w.safetensors", tmp_path / "b.mmcaf", settings={"labels": '["cyst", "haemangioma", "metastasis"]'}
    )
    assert load_bundle(report.output).manifest.labels == ("cyst", "haemangioma", "metastasis")
    assert not any("lesion classes" in note for note in report.notes)
    with refused(ExportError, "[N, 2]"):
        export_bundle(tmp_path / "w.safetensors", tmp_path / "c.mmcaf", settings={"labels": '["cyst", "other"]'})
