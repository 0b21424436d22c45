"""Checkpoint to bundle: what is written, that it repeats bit for bit, and that a wrong one is not written."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.torch import save_file

from backends_here import BUILT_IN
from export import cmasg_networks, mmcaf_networks
from export.conftest import Slim
from export.mmcaf_networks import SLIM, SLIM_SETTINGS, Exported, import_path
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.bundle.sealed import SIGNATURE_NAME, is_signed
from mmcaf_engine.checkup.raw_case import check_raw_case
from mmcaf_engine.errors import ExportError, UsageError
from mmcaf_engine.session.session import open_session
from mmcaf_export import export
from mmcaf_export.checkpoint import load_checkpoint
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.mmcaf import MmcafNet
from mmcaf_export.networks.mmcaf.rewrites import REWRITES
from mmcaf_export.networks.registry import Networks
from mmcaf_export.onnx_export import export_onnx
from refusals import Fact, refused
from shared import Shared
from signed_bundles import OF_A_STRANGER

TOLERANCE = 1e-4  # |d logit| of an FP32 export, on every backend
Fake = Callable[..., tuple[Path, ...]]


@pytest.fixture(scope="module")
def density_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ONNX file of the example package's network is kept, whose weights are always the same."""
    return tmp_path_factory.mktemp("density") / "model.onnx"


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch, density_model: Path) -> Callable[[float], None]:
    """Spoil the ONNX step: the model that it writes answers by so much more."""

    def shift(amount: float) -> None:
        def write(network: Any, example: Any, path: Path, **options: Any) -> tuple[Path, ...]:
            if not density_model.exists():
                export_onnx(network, example, density_model, **options)
            written = (Path(shutil.copy(density_model, path)),)
            model = onnx.load(path)
            bias = next(tensor for tensor in model.graph.initializer if tensor.name == "head.bias")
            moved = numpy_helper.to_array(bias) + np.float32(amount)
            bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
            onnx.save(model, path)
            return written

        monkeypatch.setattr(export, "export_onnx", write)

    return shift


@pytest.mark.full
def test_bundle_holds_what_it_should(slim_export: Exported) -> None:
    bundle = load_bundle(slim_export.report.output)
    assert sorted(path.name for path in bundle.folder.iterdir()) == ["golden.npz", "manifest.json", "model.onnx"]
    assert [path.name for path in bundle.folder.parent.iterdir()] == ["slim.mmcaf"]
    manifest = bundle.manifest
    assert manifest.network.name == "mmcaf"
    assert manifest.network.config == {"slices": 12, "size": 96, "width": 0.09375, "fusion": "tokens"}
    assert manifest.network.parameters == 904_328
    assert manifest.models == {"fp32": "model.onnx"}
    assert manifest.provenance.checkpoint_sha256 == file_sha256(slim_export.checkpoint)
    assert manifest.provenance.checkpoint_format == "training checkpoint"
    assert manifest.provenance.dead_keys_ignored == 22
    origin = manifest.provenance
    assert [entry.name for entry in origin.rewrites] == [rewrite.name for rewrite in REWRITES]
    assert origin.flops is not None
    saved = sum(entry.flops_saved for entry in origin.rewrites)
    assert saved > 0.4 * (origin.flops + saved)
    assert manifest.labels == ("adenocarcinoma", "squamous-cell carcinoma")
    assert manifest.threshold == 0.4
    assert manifest.table is not None
    assert [field.name for field in manifest.table.fields] == [
        "sex",
        "age",
        "weight",
        "t_stage",
        "n_stage",
        "m_stage",
        "smoking_history",
    ]
    assert manifest.table.fields[1].model_dump()["upper"] == 85
    assert [step.step for step in manifest.preprocessing.steps] == ["resize", "clip_scale", "subtract"]
    assert (bundle.folder / "golden.npz").stat().st_size < 1_000_000


def test_a_bundle_has_the_files_that_it_needs_and_nothing_is_beside_it(slim: Slim) -> None:
    bundle = load_bundle(slim.report.output)
    assert sorted(path.name for path in bundle.folder.iterdir()) == ["golden.npz", "manifest.json", "model.onnx"]
    beside = {bundle.folder, slim.checkpoint} if slim.checkpoint.parent == bundle.folder.parent else {bundle.folder}
    assert set(bundle.folder.parent.iterdir()) == beside
    origin = bundle.manifest.provenance
    assert origin.checkpoint_sha256 == file_sha256(slim.checkpoint)
    assert [entry.name for entry in origin.rewrites] == [done.rewrite.name for done in slim.report.rewrites]
    assert origin.flops is not None and sum(entry.flops_saved for entry in origin.rewrites) > 0


def test_report(slim: Slim) -> None:
    report = slim.report
    assert report.sha256 == load_bundle(report.output).sha256
    assert [done.backend for done in report.verifications] == ["onnxruntime", "openvino"]
    assert all(done.max_abs_error <= TOLERANCE and done.batches == (1, 3) for done in report.verifications)
    document = report.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
    assert document["bundle_sha256"] == report.sha256 and document["network"] == report.network
    assert [one["backend"] for one in document["verifications"]] == ["onnxruntime", "openvino"]
    assert [one["flops_after"] for one in document["rewrites"]] == [done.after.flops for done in report.rewrites]
    assert "exact rewrites: " in report.summary() and "GFLOP per window became" in report.summary()


@pytest.mark.full
def test_what_the_report_of_mmcaf_says(slim_export: Exported) -> None:
    text = slim_export.report.summary()
    assert "mmcaf (slices 12, size 96, width 0.09375, fusion tokens), 904,328 parameters" in text
    assert "22 checkpoint entries do not affect the answer" in text
    assert "exact rewrites: " in text and "GFLOP per window became" in text
    assert "--set preprocessing.intensity=stored" in text
    assert "table.fields.weight.lower" in text
    assert "age was scaled from 20-90 years" in text  # its upper end was given, its lower end still is assumed
    assert "12 x 96 x 96, which the authors' code refuses" in text
    assert "a probability of 0.5" not in text  # the threshold was given
    assert len(slim_export.progress) == 4


def test_golden_cases_are_the_source_networks_answers(slim: Slim) -> None:
    drawn = slim.drawn(2, seed=0)
    with np.load(slim.report.output / "golden.npz") as cases:
        stored = {name: cases[name] for name in cases.files if not name.startswith("raw.")}
    inputs = {name: torch.from_numpy(stored[name]) for name in drawn}
    expected = slim.expected(inputs)
    assert stored.keys() == {*inputs, *expected}
    assert {name: tensor.shape for name, tensor in inputs.items()} == {name: one.shape for name, one in drawn.items()}
    assert {array.dtype for array in stored.values()} == {np.dtype(np.float32)}
    for name, tensor in expected.items():
        assert np.abs(stored[name] - tensor.numpy()).max() <= 1e-5
    first, second = stored[next(iter(expected))]
    assert np.abs(first - second).max() > 0.01


def test_the_raw_case_is_the_source_networks_answer(slim: Slim) -> None:
    bundle = load_bundle(slim.report.output)
    raw = check_raw_case(bundle)
    assert raw is not None and (raw.windows, raw.features) == (0.0, 0.0)

    def source(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        expected = slim.expected({spec.name: torch.from_numpy(arrays[spec.name]) for spec in bundle.manifest.inputs})
        return {name: tensor.numpy() for name, tensor in expected.items()}

    assert raw.answer_error(source, "fp32") <= 1e-6
    assert bundle.manifest.format_version == 2


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backends_answer_as_the_source(backend: str, slim: Slim) -> None:
    assert backend in BUILT_IN
    with open_session(load_bundle(slim.report.output), backend=backend) as session:
        for batch in (1, 3):
            given = slim.drawn(batch, seed=7)
            found = session.run({name: tensor.numpy() for name, tensor in given.items()})
            for name, expected in slim.expected(given).items():
                assert np.abs(found[name] - expected.numpy()).max() <= TOLERANCE


@pytest.mark.full
@pytest.mark.parametrize("network", ["cmasg", "mmcaf"])
def test_another_process_writes_the_same_bytes_of_a_published_network(
    network: str, shared: Shared, tmp_path: Path
) -> None:
    if network == "mmcaf":
        slim = mmcaf_networks.slim_export(shared)
        first, checkpoint, settings = slim.report.output, slim.checkpoint, SLIM_SETTINGS
    else:
        first = cmasg_networks.slim_export(shared).output
        checkpoint, settings = first.parent / "weights.safetensors", cmasg_networks.save_slim(tmp_path)
    again = exported_elsewhere(checkpoint, settings, tmp_path, explain=False)  # as the shared exports are
    assert again.keys() == {file.name for file in first.iterdir()}
    assert [name for name, content in again.items() if content != (first / name).read_bytes()] == []


@pytest.mark.full
def test_another_process_writes_the_same_bytes(density_checkpoint: Path, tmp_path: Path) -> None:
    first = export_bundle(density_checkpoint, tmp_path / "first.mmcaf").output
    again = exported_elsewhere(density_checkpoint, {}, tmp_path, str(density_checkpoint.parent))
    assert {"model.onnx", "explain.onnx", "golden.npz", "manifest.json"} == again.keys()
    assert [name for name, content in again.items() if content != (first / name).read_bytes()] == []


def exported_elsewhere(
    checkpoint: Path, settings: Mapping[str, str], folder: Path, *import_from: str, explain: bool = True
) -> dict[str, bytes]:
    """The bundle's files as another process writes them: other hash seed, other threads, other folder and name."""
    code = (
        "import sys, json; from mmcaf_export.export import export_bundle; "
        f"export_bundle(sys.argv[1], sys.argv[2], settings=json.loads(sys.argv[3]), explain={explain})"
    )
    subprocess.run(
        [sys.executable, "-c", code, shutil.copy(checkpoint, folder / f"elsewhere{checkpoint.suffix}"), "again.mmcaf"]
        + [json.dumps(settings)],
        cwd=folder,
        env=os.environ
        | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([import_path(), *import_from])},
        check=True,
    )
    return {file.name: file.read_bytes() for file in (folder / "again.mmcaf").iterdir()}


@pytest.mark.parametrize("shift", [2e-4, -2e-4, np.nan, np.inf], ids=str)
def test_a_wrong_model_is_refused_and_leaves_nothing(
    shift: float, shifted: Callable[[float], None], density_checkpoint: Path, tmp_path: Path
) -> None:
    shifted(shift)
    with refused(ExportError, "onnxruntime", 0.0001):
        export_bundle(density_checkpoint, tmp_path / "wrong.mmcaf", explain=False)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_spares_what_it_would_have_replaced(
    shifted: Callable[[float], None], density_checkpoint: Path, tiny_bundle: Path
) -> None:
    shifted(1.0)
    before = load_bundle(tiny_bundle).sha256
    with refused(ExportError, "onnxruntime", 0.0001):
        export_bundle(density_checkpoint, tiny_bundle, force=True, explain=False)
    assert load_bundle(tiny_bundle).sha256 == before


def test_existing_output_is_replaced_only_by_force(density_checkpoint: Path, tiny_bundle: Path) -> None:
    before = load_bundle(tiny_bundle).sha256
    (tiny_bundle / SIGNATURE_NAME).write_bytes(OF_A_STRANGER)
    with refused(UsageError, str(tiny_bundle), option="force"):
        export_bundle(density_checkpoint, tiny_bundle)
    assert load_bundle(tiny_bundle).sha256 == before and is_signed(tiny_bundle)
    report = export_bundle(density_checkpoint, tiny_bundle, force=True, explain=False)
    assert load_bundle(tiny_bundle).manifest.network.name == "density" and not is_signed(tiny_bundle)
    assert any(f"mmcaf sign {tiny_bundle} --key FILE" in note for note in report.notes)


def test_zipped_bundle_in_a_new_folder(density_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "density.zip"
    report = export_bundle(density_checkpoint, output, explain=False)
    assert [path.name for path in output.parent.iterdir()] == ["density.zip"]
    assert load_bundle(output).sha256 == report.sha256


def test_sizes_come_from_safetensors_metadata(slim_network: MmcafNet, tmp_path: Path) -> None:
    source = tmp_path / "slim.safetensors"
    state = {key: value.contiguous() for key, value in slim_network.state_dict().items()}
    save_file(state, source, {"network": "mmcaf", "slices": "12", "size": "96", "fusion": "tokens"})
    checkpoint = load_checkpoint(source)
    assert checkpoint.kind == "safetensors"
    name, config = Networks().recognise(checkpoint.state, checkpoint.metadata, None)
    assert (name, config) == ("mmcaf", SLIM)


def test_a_runtime_that_is_missing_is_reported_and_onnxruntime_is_required(
    density_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = classmethod(lambda _cls: Availability(False, "not installed"))
    monkeypatch.setattr(OpenVinoBackend, "availability", missing)
    report = export_bundle(density_checkpoint, tmp_path / "one.mmcaf", explain=False)
    assert [done.backend for done in report.verifications] == ["onnxruntime"]
    assert "openvino was not tried: not installed" in report.notes
    monkeypatch.setattr(OnnxRuntimeBackend, "availability", missing)
    with refused(ExportError, "not installed"):
        export_bundle(density_checkpoint, tmp_path / "none.mmcaf")
    assert [path.name for path in tmp_path.iterdir()] == ["one.mmcaf"]


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"threshold": "2"}, ("manifest", "threshold", 1)),
        ({"threshold": "high"}, ("manifest", "threshold", "number")),
        ({"table.fields.age.upper": "NaN"}, ("manifest", "table.fields.1.number.upper")),
        ({"preprocessing.windows.slices": "24"}, ("manifest", "preprocessing.windows.slices")),
        ({"table": "null"}, ("manifest", "inputs", "table")),
        ({"tresold": "0.4"}, ("'tresold'", "name", "threshold")),
        ({"network.config.depth": "3"}, ("'depth'", "network.config", "slices", "size")),
        ({"network.config.fusion": "mean"}, ("fin_cls.weight", "1x48", "1x24")),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_before_the_long_work(
    settings: dict[str, str],
    facts: tuple[Fact, ...],
    slim_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "export_onnx", lambda *_args, **_options: pytest.fail("exported"))
    with refused(ExportError, *facts):
        export_bundle(slim_checkpoint, tmp_path / "slim.mmcaf", settings=settings)
    assert list(tmp_path.iterdir()) == []
