"""MedFusionNet's bundles: what they declare, what backends answer, and engines; from slim weights and at full size."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from all_precisions import write_precision
from export.medfusionnet_networks import COLUMNS, CONFIGS, SELECTION, filled, recorded
from export.networks.test_medfusionnet import as_released
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import ExportError, RecordError
from mmcaf_engine.manifest import Manifest, Precision
from mmcaf_engine.record.record import read_record
from mmcaf_engine.session.session import open_session
from mmcaf_export.checkpoint import load_checkpoint
from mmcaf_export.export import export_bundle
from mmcaf_export.match import match_state
from mmcaf_export.networks.medfusionnet import MedFusionConfig
from mmcaf_export.networks.medfusionnet.columns import CERVICAL, CHEST
from mmcaf_export.networks.medfusionnet.entry import MedFusionEntry
from mmcaf_export.report import ExportReport
from refusals import Fact, refused
from shared import Shared

ABSOLUTE = 1e-4  # of every logit: what an export must hold
ENTRY = MedFusionEntry()
RECORDED = [
    "age",
    {"name": "height", "unit": "cm", "minimum": 50, "maximum": 250},
    "sex",
    {"name": "view_position", "codes": {"AP": 1, "PA": 0}},
    "weight",
    "follow_up_number",
]
"""What training recorded, as the file's metadata has it; the weights' selection reads 0, 2, 3 and 5."""
LABELS = ["Effusion", "Nodule", "Mass", "Edema", "Hernia"]
RISK = {"label": "Mass", "cuts": [0.2, 0.4], "names": ["low", "middle", "high"], "source": "made up"}
SIDE_CARS: dict[str, dict[str, Any]] = {
    "slim": {
        "labels": LABELS,
        "thresholds": [0.5, 0.25, 0.4, 0.6, 0.7],
        "columns": RECORDED,
        "threshold_labels": ["Mass", "Mass", "Edema", "Effusion"],
        "risk_levels": [RISK],
    },
    "text": {"labels": LABELS, "columns": RECORDED, "size": 64},
    "cervical": {},
    "release": {},
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """A bundle and what it was made from."""

    name: str
    report: ExportReport
    config: MedFusionConfig
    manifest: Manifest = field(repr=False)

    @property
    def bundle(self) -> Path:
        return self.report.output


@pytest.fixture(scope="module")
def export(shared: Shared) -> Callable[[str], Exported]:
    """The bundle of one of SIDE_CARS, made when it is first asked for; read it, do not change it."""

    def once(name: str) -> Exported:
        report = shared(f"medfusionnet-{name}", lambda folder: written(name, folder))
        return Exported(name, report, CONFIGS[name], load_bundle(report.output).manifest)

    return once


def written(name: str, folder: Path) -> ExportReport:
    """Export one of SIDE_CARS."""
    config = CONFIGS[name]
    state = dict(filled(config).state_dict())
    settings = {"text.vocabulary": str(vocabulary(folder, config))} if config.has("text") else {}
    if name == "release":  # as the independent repair's training script writes it, with its names
        path = folder / "best.pth"
        torch.save({"epoch": 9, "model_state_dict": as_released(state), "optimizer_state_dict": {}}, path)
    else:
        path = folder / "weights.safetensors"
        side_car = {key: json.dumps(value) for key, value in SIDE_CARS[name].items()}
        save_file(state, path, {**side_car, "normalisation": config.normalisation})
    return export_bundle(path, folder / "b.mmcaf", settings=settings, explain=False)


@pytest.fixture(params=SIDE_CARS)
def exported(request: pytest.FixtureRequest, export: Callable[[str], Exported]) -> Exported:
    return export(request.param)


def vocabulary(folder: Path, config: MedFusionConfig) -> Path:
    path = folder / "vocab.txt"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "no", "heart", "large", "effusion", "##s", "."]
    pieces += [f"word{number}" for number in range(config.text_vocabulary - len(pieces))]
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return path


def test_bundle(exported: Exported) -> None:
    config, manifest = exported.config, exported.manifest
    size = exported.report.config["size"]
    assert manifest.network.name == exported.report.network == "medfusionnet"
    assert manifest.activation == "independent" and len(manifest.thresholds) == len(manifest.labels) == config.labels
    weights: dict[str, tuple[str, tuple[int | str, ...]]] = {}
    if config.profile == "full":
        weights |= {"region_weights": ("image", ("N", config.grid**2))} if config.has("image") else {}
        weights["field_weights"] = ("metadata", ("N", config.features))
        weights |= {"word_weights": ("input_ids", ("N", "L"))} if config.has("text") else {}
    assert [(spec.name, spec.shape, spec.optional) for spec in manifest.outputs] == [
        ("logits", ("N", config.labels), False),
        *((name, shape, True) for name, (_, shape) in weights.items()),
    ]
    assert [(entry.output, entry.input) for entry in manifest.attention] == [
        (name, of) for name, (of, _) in weights.items()
    ]
    assert all("mean over" in entry.meaning for entry in manifest.attention)
    assert [spec.model_dump(mode="json") for spec in manifest.risk_levels] == (
        [RISK] if exported.name == "slim" else []
    )
    inputs = {spec.name: (spec.kind, spec.shape) for spec in manifest.inputs}
    wanted: dict[str, Any] = {}
    if config.has("image"):
        wanted["image"] = ("image", ("N", 1, size, size))
    wanted["metadata"] = ("table", ("N", config.table_values))
    if config.has("text"):
        wanted |= {"input_ids": ("tokens", ("N", "L")), "attention_mask": ("token_mask", ("N", "L"))}
    assert inputs == wanted and list(inputs) == list(wanted)
    assert (manifest.text is not None) == config.has("text")
    assert manifest.preprocessing is None and manifest.table is not None
    parameters = sum(tensor.numel() for tensor in filled(config).parameters())
    assert manifest.network.parameters == parameters
    with np.load(exported.bundle / "golden.npz") as golden:
        assert {name for name in golden.files if not name.startswith("raw.")} == {*inputs, "logits", *weights}
        assert float(np.abs(golden["logits"][0] - golden["logits"][1]).max()) > 1e-3


def test_what_the_slim_network_declares(export: Callable[[str], Exported]) -> None:
    manifest = export("slim").manifest
    assert manifest.labels == tuple(LABELS) and manifest.thresholds == (0.5, 0.25, 0.4, 0.6, 0.7)
    assert manifest.image is not None and manifest.table is not None
    assert (manifest.image.channels, manifest.image.mean, manifest.image.std) == (1, (0.449,), (0.226,))
    age, sex, view, follow_up = manifest.table.fields
    assert manifest.table.ignored == ("height", "weight")
    assert [one.name for one in manifest.table.fields] == ["age", "sex", "view_position", "follow_up_number"]
    assert age.kind == "number" and (age.mean, age.std, age.unit) == (46.5, 17.0, "years")
    assert age.missing.model_dump() == {"policy": "impute", "value": 49.0}
    assert sex.kind == "category" and sex.missing.model_dump() == {"policy": "impute", "value": "M"}
    cuts = [one.cut for one in (age, sex, view, follow_up)]
    assert [cut.direction for cut in cuts if cut] == ["above", "below", "above", "above"]
    assert [cut.label for cut in cuts if cut] == ["Mass", "Mass", "Edema", "Effusion"]
    assert age.cut is not None and age.cut.value == 54.5


def test_what_the_release_declares(export: Callable[[str], Exported]) -> None:
    exported = export("release")
    manifest = exported.manifest
    assert exported.report.config["profile"] == "release" and exported.report.config["normalisation"] == "half"
    assert manifest.provenance.checkpoint_format == "training checkpoint"
    assert manifest.image is not None and (manifest.image.mean, manifest.image.std) == ((0.5,), (0.5,))
    assert manifest.table is not None and manifest.table.cuts == ()
    assert [one.missing.policy for one in manifest.table.fields] == ["refuse"] * 3
    assert [one.name for one in manifest.table.fields] == ["column_0", "column_1", "column_2"]
    assert {"one_token", "grey_stem"} <= {done.name for done in manifest.provenance.rewrites}


def test_what_the_cervical_network_declares(export: Callable[[str], Exported]) -> None:
    exported = export("cervical")
    manifest = exported.manifest
    assert manifest.labels == CERVICAL.labels and manifest.image is None and manifest.thresholds == (0.5,) * 4
    assert manifest.table is not None
    names = [column.name for column in CERVICAL.columns]
    assert len(names) == 32
    assert [one.name for one in manifest.table.fields] == [names[int(at)] for at in SELECTION["feature_index"]]
    assert set(manifest.table.ignored) == set(names) - {one.name for one in manifest.table.fields}
    assert any(note.startswith("assumed that a network of 14 labels") for note in exported.report.notes)


def given(exported: Exported, batch: int, seed: int) -> dict[str, Tensor]:
    config = MedFusionConfig(**exported.report.config)  # type: ignore[arg-type]
    return ENTRY.example_inputs(config, batch, seed)


def source(exported: Exported) -> Any:
    return filled(MedFusionConfig(**exported.report.config))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backends_answer_as_the_source(backend: str, exported: Exported) -> None:
    network = source(exported)
    with open_session(load_bundle(exported.bundle), backend=backend) as session:
        for seed, length in ((11, None), (12, 1), (13, 7)):
            inputs = given(exported, 2, seed)
            if "input_ids" in inputs and length is not None:
                inputs |= {name: inputs[name][:, :length] for name in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                expected = network.answer_and_weights(network._named(*inputs.values()))
            feed = {name: tensor.numpy() for name, tensor in inputs.items()}
            found, alone = session.run(feed, optional=True), session.run(feed)
            assert list(alone) == ["logits"] and np.array_equal(alone["logits"], found["logits"])
            for (name, values), source_values in zip(found.items(), expected, strict=True):
                error = float(np.abs(values - source_values.numpy()).max())
                log.info("%s, %s, seed %d: error of %s %.1e", exported.name, backend, seed, name, error)
                assert values.shape == source_values.shape and error <= ABSOLUTE
            assert float(np.abs(alone["logits"][0] - alone["logits"][1]).max()) > 1e-3


def as_record(row: Tensor) -> dict[str, Any]:
    """One row of recorded values in the terms of a record; what is missing is left out, or null."""
    names = ["age", "height", "sex", "view_position", "weight", "follow_up_number"]
    words = {"sex": {1.0: "male", 0.0: "F"}, "view_position": {1.0: "AP", 0.0: "pa"}}
    record: dict[str, Any] = {}
    for name, value in zip(names, row.tolist(), strict=True):
        if value == value:  # no NaN
            record[name] = words[name][value] if name in words else value
        elif name == "age":
            record[name] = None
    return record


def test_a_record_reaches_the_network_as_training_fed_it(export: Callable[[str], Exported]) -> None:
    exported = export("slim")
    rows = recorded(24, seed=5)
    assert rows.shape[1] == COLUMNS and bool(torch.isnan(rows).any(dim=0).all())
    assert exported.manifest.table is not None
    read = [read_record(as_record(row), exported.manifest.table) for row in rows]
    network = filled(CONFIGS["slim"], served=False)
    table = np.concatenate([one.table() for one in read])
    np.testing.assert_allclose(table, network.metadata_selection(rows).numpy(), rtol=1e-6, atol=1e-6)
    for at in range(4, 8):
        assert set(np.unique(table[:, at])) == {0.0, 1.0}
    assert not [text for one in read for text in one.warnings if "mean nothing" in text]
    image = given(exported, 3, 5)["image"]
    with torch.inference_mode():
        expected = network(image, rows[:3]).numpy()
    with open_session(load_bundle(exported.bundle), backend="onnxruntime") as session:
        found = session.run({"image": image.numpy(), "metadata": table[:3]})["logits"]
    assert float(np.abs(found - expected).max()) <= ABSOLUTE


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        ({"age": 101}, ("age", "101 years", 0, 99)),
        ({"sex": "X"}, ("sex", "'X'", "M", "F")),
        ({"view_position": "lateral"}, ("view_position", "'lateral'", "AP", "PA")),
        ({"age": float("nan")}, ("age", "nan", 0, 99)),
    ],
    ids=["age", "sex", "view", "NaN"],
)
def test_refused_records(record: dict[str, Any], facts: tuple[Fact, ...], export: Callable[[str], Exported]) -> None:
    table = export("slim").manifest.table
    assert table is not None
    with refused(RecordError, *facts):
        read_record(record, table)


@pytest.mark.parametrize(
    ("name", "entries", "facts"),
    [
        ("slim", {"labels": '["one"]'}, ("1 labels", "5 scores")),
        ("slim", {"labels": "one"}, ("labels", "JSON list")),
        ("slim", {"labels": "[1, 2, 3, 4, 5]"}, ("labels", "JSON list", "texts")),
        ("slim", {"thresholds": '["a"]'}, ("thresholds", "JSON list", "numbers")),
        ("slim", {"thresholds": "[0.5]"}, ("1 thresholds", 5)),
        ("slim", {"columns": '["age", "sex"]'}, ("feature_index", "column 2", 2)),
        ("slim", {"columns": '["age", 3]'}, ("position 1", "name", "object")),
        ("slim", {"columns": '[{"name": "age", "colour": 1}]'}, ("position 0", "name", "object")),
        ("slim", {"columns": '[{"name": "sex", "codes": [1]}]'}, ("codes", "sex", "numbers")),
        ("slim", {"threshold_labels": '["a"]'}, ("1 threshold_labels", "4 columns")),
        ("slim", {"data_set": "other"}, ("data_set", "'other'", "chestxray14", "cervical")),
        ("slim", {"risk_levels": "{}"}, ("risk_levels", "JSON list")),
        ("slim", {"risk_levels": '[{"label": "x", "cuts": [0.5, 0.4], "names": ["a", "b", "c"]}]'}, ("ascend", "x")),
        ("slim", {"normalisation": "other"}, ("normalisation", "'other'", "imagenet", "half")),
        ("release", {"size": "many"}, ("size", "'many'")),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
def test_refused_side_cars(name: str, entries: dict[str, str], facts: tuple[Fact, ...], tmp_path: Path) -> None:
    save_file(dict(filled(CONFIGS[name]).state_dict()), tmp_path / "w.safetensors", entries)
    with refused(ExportError, *facts):
        export_bundle(tmp_path / "w.safetensors", tmp_path / "b.mmcaf")
    assert not (tmp_path / "b.mmcaf").exists()


def test_columns_are_whole_numbers(tmp_path: Path) -> None:
    state = dict(filled(CONFIGS["cervical"]).state_dict())
    state["metadata_selection.feature_index"] = state["metadata_selection.feature_index"].to(torch.int32)
    save_file(state, tmp_path / "w.safetensors")
    checkpoint = load_checkpoint(tmp_path / "w.safetensors")
    network = filled(CONFIGS["cervical"])
    matched = match_state(network.state_dict(), checkpoint, ENTRY.dead)
    assert matched.converted == () and matched.state["metadata_selection.feature_index"].tolist() == [0, 2, 3, 5]
    assert matched.state["metadata_selection.feature_index"].dtype == torch.int64
    state["metadata_selection.feature_index"] = torch.tensor([0.0, 2.0, 3.0, 5.5])
    save_file(state, tmp_path / "w.safetensors")
    with refused(ExportError, "feature_index", "torch.float32"):
        export_bundle(tmp_path / "w.safetensors", tmp_path / "b.mmcaf")


def test_labels_of_the_chest_data_set() -> None:
    config = MedFusionConfig(size=32, stem=4, growth=2, bottleneck=1, blocks="1-1-1-1")
    described = ENTRY.manifest(config)
    assert described["labels"] == sorted(CHEST.labels) and len(described["labels"]) == 14
    names = ["age", "sex", "view_position", "follow_up_number"]
    assert [entry["name"] for entry in described["table"]["fields"]] == names
    release = ENTRY.manifest(MedFusionConfig(**vars(config) | {"profile": "release", "features": 1}))
    assert [entry["name"] for entry in release["table"]["fields"]] == ["age"]


def test_settings_change_labels_thresholds_and_fields(tmp_path: Path) -> None:
    config = CONFIGS["cervical"]
    save_file(dict(filled(config).state_dict()), tmp_path / "w.safetensors")
    settings = {
        "thresholds": "[0.3, 0.4, 0.6, 0.7]",
        "labels": '["a", "b", "c", "d"]',
        "table.fields.age.maximum": "80",
        "table.fields.first_sexual_intercourse.name": "first",
    }
    report = export_bundle(tmp_path / "w.safetensors", tmp_path / "b.mmcaf", settings=settings)
    manifest = load_bundle(report.output).manifest
    assert manifest.thresholds == (0.3, 0.4, 0.6, 0.7) and manifest.labels == ("a", "b", "c", "d")
    assert manifest.table is not None and manifest.table.fields[0].model_dump()["maximum"] == 80
    assert manifest.table.fields[1].name == "first"
    assert not any("data set" in note and "labels" in note and "14" in note for note in report.notes)


def test_numpy_in_a_training_checkpoint_is_data(tmp_path: Path) -> None:
    state = as_released(dict(filled(CONFIGS["release"]).state_dict()))
    path = tmp_path / "best medfusionnet.pth"
    torch.save({"model_state_dict": state, "metrics": {"auc": np.float64(0.8), "per label": np.ones(3)}}, path)
    found = load_checkpoint(path)
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[key], value) for key, value in state.items())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["slim", "text"])
def test_engines(precision: Precision, name: str, export: Callable[[str], Exported], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from mmcaf_engine.backends.tensorrt.builder import build_engine
    from mmcaf_engine.backends.tensorrt.conv_precision import share_in
    from mmcaf_engine.backends.tensorrt.flavour import find_flavour
    from mmcaf_engine.machine.compute_capability import Target

    exported = export(name)
    manifest, model = exported.manifest, exported.bundle / "model.onnx"
    if precision != "fp32":
        write_precision(model, tmp_path / "model.onnx", precision)
        model = tmp_path / "model.onnx"
    targets = (Target(8, 9), Target(12, 0))
    engine = build_engine(
        find_flavour("tensorrt_rtx"),
        model,
        manifest.inputs,
        manifest.outputs,
        precision=precision,
        targets=targets,
        lengths=manifest.text.buckets if manifest.text is not None else (),
    )
    assert engine.targets == targets and len(engine.plan) > 0
    convolutions = [product for product in engine.products if product.operator == "convolution"]
    log.info("%s in %s: %.0f %% of the products", name, precision, 100 * share_in(engine.products, precision))
    assert convolutions
    if precision == "int8":
        assert {product.precision for product in convolutions} == {"INT8"}


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, MedFusionConfig]]:
    config = MedFusionConfig()
    folder = tmp_path_factory.mktemp("full")
    network = filled(config)
    network.metadata_selection.feature_index = torch.arange(4)
    save_file(dict(network.state_dict()), folder / "full.safetensors")
    report = export_bundle(folder / "full.safetensors", folder / "full.mmcaf")
    assert {done.backend for done in report.verifications} == {"onnxruntime", "openvino"}
    assert max(done.max_abs_error for done in report.verifications) <= ABSOLUTE
    yield report.output, config


@pytest.mark.full
def test_published_size(full_size: tuple[Path, MedFusionConfig]) -> None:
    bundle, config = load_bundle(full_size[0]), full_size[1]
    manifest = bundle.manifest
    assert manifest.network.config == {name: getattr(config, name) for name in manifest.network.config}
    assert manifest.network.parameters == 7_385_550 and manifest.labels == CHEST.labels
    assert manifest.provenance.flops is not None
    saved = sum(done.flops_saved for done in manifest.provenance.rewrites)
    log.info("published size: %.0f %% saved", 100 * saved / (saved + manifest.provenance.flops))
    assert saved >= 0.12 * (saved + manifest.provenance.flops)
    assert 31e6 < manifest.files["model.onnx"].size < 36e6
    assert (bundle.folder / "golden.npz").stat().st_size < 1_000_000
