"""Networks cut in two where the report ends: together the parts are the network, in every precision."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from safetensors.torch import save_file

from all_precisions import write_precision
from backends_here import BUILT_IN, SPLIT
from export import cmasg_networks, medfusionnet_networks
from export.networks.test_medfusionnet_export import written
from mmcaf_engine.backends.split import SplitNetwork
from mmcaf_engine.bundle.bundle import Bundle, load_bundle, write_bundle
from mmcaf_engine.bundle.golden import read_cases
from mmcaf_engine.errors import BundleError, ExportError
from mmcaf_engine.manifest import Manifest, Precision, TensorSpec
from mmcaf_engine.session.self_test import TOLERANCE
from mmcaf_engine.session.session import open_session
from mmcaf_export import onnx_files
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.medfusionnet.entry import MedFusionEntry
from mmcaf_export.precision import layers, quantize, self_tests, typed
from mmcaf_export.precision.quantize import quantize_bundle
from mmcaf_export.report import ExportReport
from mmcaf_export.text_parts import write_parts
from refusals import refused
from shared import Shared

NETWORKS: dict[str, dict[str, Any]] = {
    "cmasg": {"config": cmasg_networks.SLIM, "width": 24},
    "cmasg, projections": {"config": cmasg_networks.variant(attention_projections=True), "width": 24},
    "medfusionnet": {"config": medfusionnet_networks.CONFIGS["text"], "width": 16},
}
FULL = {"cmasg, projections"}
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
ABSOLUTE = 1e-5  # between the parts and the whole; runtimes may fuse other operators at the cut
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """A network in every precision, whole and in parts, in one folder; and some of its inputs."""

    name: str
    folder: Path
    bundle: Bundle
    """As it was exported; read it, do not change it."""

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    def model(self, precision: str) -> onnx.ModelProto:
        return onnx.load(self.folder / f"{_stem(precision)}.onnx")

    def part(self, precision: str, part: str) -> onnx.ModelProto:
        return onnx.load(self.folder / f"{_stem(precision)}.{part}.onnx")

    def given(self, length: int) -> dict[str, NDArray[Any]]:
        config = NETWORKS[self.name]["config"]
        entry: Any = CmasgEntry() if self.name.startswith("cmasg") else MedFusionEntry()
        arrays = {name: tensor.numpy() for name, tensor in entry.example_inputs(config, 3, 5).items()}
        rng = np.random.default_rng(length)
        mask = (np.arange(length) < np.array([[length], [1], [(length + 1) // 2]])).astype(np.int64)
        return arrays | {"input_ids": rng.integers(0, 40, (3, length)) * mask, "attention_mask": mask}


def _stem(precision: str) -> str:
    return "model" if precision == "fp32" else f"model.{precision}"


def exported(name: str, shared: Shared) -> Bundle:
    """The bundle of a slim network; read it, do not change it."""
    if name == "cmasg":
        return load_bundle(cmasg_networks.slim_export(shared).output)
    if name == "medfusionnet":
        return load_bundle(shared("medfusionnet-text", lambda folder: written("text", folder)).output)
    return load_bundle(shared("cmasg-projections", projections).output)


def projections(folder: Path) -> ExportReport:
    settings = cmasg_networks.save_slim(folder)
    config = NETWORKS["cmasg, projections"]["config"]
    state = cmasg_networks.filled(config).state_dict()
    save_file(state, folder / "weights.safetensors", cmasg_networks.metadata(config))
    return export_bundle(folder / "weights.safetensors", folder / "b.mmcaf", settings=settings, explain=False)


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.full if name in FULL else []) for name in NETWORKS]
)
def cut(request: pytest.FixtureRequest, shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Cut:
    bundle = exported(request.param, shared)
    folder = Path(shutil.copytree(bundle.folder, tmp_path_factory.mktemp("cut") / "all"))
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((layers, "PRODUCT_FLOPS"), (typed, "PRODUCT_FLOPS"), (typed, "MAP_ELEMENTS")):
            patch.setattr(module, name, 1)  # so that products of a slim text take part
        for precision in PRECISIONS[1:]:
            write_precision(folder / "model.onnx", folder / f"model.{precision}.onnx", precision)
    models = {precision: folder / f"{_stem(precision)}.onnx" for precision in PRECISIONS}
    before = {file: (folder / file).read_bytes() for file in ("model.text.onnx", "model.rest.onnx")}
    parts = write_parts(models, bundle.manifest.inputs)
    assert parts is not None and list(parts.models) == list(PRECISIONS)
    assert parts.words == bundle.manifest.parts.words  # type: ignore[union-attr]
    assert {file: (folder / file).read_bytes() for file in before} == before
    return Cut(request.param, folder, bundle)


def test_what_the_manifest_says(cut: Cut) -> None:
    parts = cut.manifest.parts
    assert parts is not None and list(parts.models) == ["fp32"]
    assert parts.words == TensorSpec(name="words", kind="words", shape=("N", "L", NETWORKS[cut.name]["width"]))
    files = parts.models["fp32"]
    assert (files.text, files.rest) == ("model.text.onnx", "model.rest.onnx")
    assert {files.text, files.rest} <= set(cut.manifest.files)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_parts_are_the_nodes_and_weights_of_the_network(cut: Cut, precision: str) -> None:
    whole, text, rest = cut.model(precision), cut.part(precision, "text"), cut.part(precision, "rest")
    names = [spec.name for spec in cut.manifest.inputs]
    assert [value.name for value in text.graph.input] == ["input_ids", "attention_mask"]
    assert [value.name for value in rest.graph.input] == ["words" if name == "input_ids" else name for name in names]
    assert [value.name for value in text.graph.output] == ["words"]
    assert [value.name for value in rest.graph.output] == [value.name for value in whole.graph.output]
    for graph, value in ((text.graph, text.graph.output[0]), (rest.graph, rest.graph.input[names.index("input_ids")])):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
        onnx.checker.check_model(onnx.helper.make_model(graph, opset_imports=whole.opset_import, ir_version=10))
    nodes = {node.name: node for node in whole.graph.node}
    held = {tensor.name: tensor for tensor in whole.graph.initializer}
    parts = {node.name: node for node in (*text.graph.node, *rest.graph.node)}
    added = {name for name in parts if name not in nodes}
    assert added <= {"words", "words/Cast"} and not set(nodes) - set(parts)
    assert {parts[name].op_type for name in added} <= {"Cast"}
    for name, node in nodes.items():
        assert node.op_type == parts[name].op_type and node.attribute == parts[name].attribute
        assert len(node.input) == len(parts[name].input)
    for tensor in (*text.graph.initializer, *rest.graph.initializer):
        assert tensor == held.pop(tensor.name, None) or tensor.name not in held
    assert not held  # every weight is in one of the parts
    encoders = {node.name.split(".")[0] for node in rest.graph.node if node.op_type in ("MatMul", "Gather", "Gemm")}
    assert "text_encoder" not in encoders and "text_projection" not in {name.split("/")[0] for name in encoders}
    assert not any(node.name.startswith("image_encoder") for node in text.graph.node)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_quantised_values_stay_where_they_are(cut: Cut, precision: str) -> None:
    def count(network: onnx.ModelProto, *operators: str) -> int:
        return sum(node.op_type in operators for node in network.graph.node)

    parts = [cut.part(precision, part) for part in ("text", "rest")]
    of_parts = [count(part, "QuantizeLinear", "DequantizeLinear") for part in parts]
    assert sum(of_parts) == count(cut.model(precision), "QuantizeLinear", "DequantizeLinear")
    assert (min(of_parts) > 0) is (precision == "int8")


def test_a_value_in_fp16_is_float32_between_the_parts(cut: Cut) -> None:
    added = [
        {node.name: node.op_type for node in cut.part("fp16", part).graph.node if node.name.startswith("words")}
        for part in ("text", "rest")
    ]
    assert added == [{"words": "Cast"}, {"words/Cast": "Cast"}]


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        *((backend, precision) for backend in SPLIT for precision in ("fp32", "int8")),
        ("openvino", "fp16"),  # computed in FP32, as on a processor without such units
        ("openvino", "bf16"),
    ],
)
def test_the_parts_answer_as_the_network(cut: Cut, backend: str, precision: str) -> None:
    manifest, kind = cut.manifest, BUILT_IN[backend]
    assert manifest.text is not None and manifest.parts is not None
    model = cut.folder / f"{_stem(precision)}.onnx"
    fixed: Any = (model, manifest.inputs, manifest.outputs, 1, "int8" if precision == "int8" else "fp32")
    lengths = manifest.text.buckets
    files = {
        "text_part": model.with_name(f"{model.stem}.text.onnx"),
        "image_part": model.with_name(f"{model.stem}.rest.onnx"),
    }
    words = manifest.parts.words
    with (
        kind(*fixed, lengths=lengths) as whole,
        SplitNetwork(kind, *fixed, lengths=lengths, embeddings=words, **files) as parts,
    ):
        for length in (1, 7, lengths[-1]):
            given = cut.given(length)
            expected, found = whole.infer(given), parts.infer(given)
            error = max(float(np.abs(found[name] - expected[name]).max()) for name in expected)
            log.info("%s, %s %s, %d word pieces: %.1e", cut.name, backend, precision, length, error)
            assert error <= ABSOLUTE
            assert all(np.array_equal(found[name], again) for name, again in parts.infer(given).items())


def test_writing_again_gives_the_same_bytes(cut: Cut) -> None:
    files = sorted(cut.folder.glob("*.onnx"))
    before = [file.read_bytes() for file in files]
    assert len(files) == 12
    write_parts({precision: cut.folder / f"{_stem(precision)}.onnx" for precision in PRECISIONS}, cut.manifest.inputs)
    assert [file.read_bytes() for file in files] == before


def test_large_weights_lie_once(cut: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 0)
    model = tmp_path / "model.onnx"
    onnx_files.save_model(onnx_files.load_model(cut.folder / "model.onnx"), model)
    write_parts({"fp32": model}, cut.manifest.inputs)
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert set(sizes) == {"model.onnx", "model.onnx.data", "model.text.onnx", "model.rest.onnx"}
    weights = (cut.folder / "model.onnx").stat().st_size - sizes["model.onnx"]
    assert sizes["model.onnx.data"] == pytest.approx(weights, rel=0.1)
    assert sizes["model.text.onnx"] + sizes["model.rest.onnx"] < 1.3 * sizes["model.onnx"]
    for part in ("text", "rest"):
        loaded, inside = onnx.load(tmp_path / f"model.{part}.onnx"), cut.part("fp32", part)
        held = {tensor.name: numpy_helper.to_array(tensor) for tensor in inside.graph.initializer}
        assert {tensor.name for tensor in loaded.graph.initializer} == set(held)
        for tensor in loaded.graph.initializer:
            assert np.array_equal(numpy_helper.to_array(tensor), held[tensor.name])


def test_a_bundle_whose_weights_lie_beside_the_model(cut: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 0)
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    draft = tmp_path / "draft"
    draft.mkdir()
    for name in ("golden.npz", "vocabulary.txt"):
        shutil.copy(cut.folder / name, draft)
    onnx_files.save_model(onnx_files.load_model(cut.folder / "model.onnx"), draft / "model.onnx")
    write_parts({"fp32": draft / "model.onnx"}, cut.manifest.inputs)
    bundle = write_bundle(draft, cut.manifest.model_dump(mode="json", exclude={"files"}), tmp_path / "b.mmcaf")
    for hit in (False, True):
        with open_session(load_bundle(bundle.folder), backend="openvino", reports=2) as session:
            assert session.describe()["cache_hit"] is hit
    weights = bytearray((bundle.folder / "model.onnx.data").read_bytes())
    weights[-1] ^= 1
    (bundle.folder / "model.onnx.data").write_bytes(weights)
    for backend in SPLIT:
        monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / f"cache-{backend}"))
        with refused(BundleError, "model.onnx.data", "SHA-256"):
            open_session(load_bundle(bundle.folder), backend=backend, reports=2)


one_network = pytest.mark.parametrize("cut", ["medfusionnet"], indirect=True)
"""Of what is no matter of the network."""


def without_parts(cut: Cut, folder: Path) -> Path:
    """The bundle as a version wrote it that knew of no parts."""
    draft = folder / "draft"
    draft.mkdir()
    for name in ("model.onnx", "golden.npz", "vocabulary.txt"):
        shutil.copy(cut.folder / name, draft)
    document = cut.manifest.model_dump(mode="json", exclude={"files"})
    document["text"]["parts"] = None
    return write_bundle(draft, document, folder / "before.mmcaf").folder


def test_a_bundle_without_parts_gets_them_with_another_precision(cut: Cut, tmp_path: Path) -> None:
    before = without_parts(cut, tmp_path)
    quantize_bundle(before, precisions=["fp16"], calibration="demo:50000-50001")
    bundle = load_bundle(before)
    parts = bundle.manifest.parts
    assert parts is not None and list(parts.models) == ["fp32", "fp16"]
    assert parts.models["fp16"].rest == "model.fp16.rest.onnx"
    assert (bundle.folder / "model.text.onnx").read_bytes() == (cut.folder / "model.text.onnx").read_bytes()


def parts_answer_wrong(monkeypatch: pytest.MonkeyPatch, by: float = 1.0) -> None:
    infer = SplitNetwork._infer

    def off(network: SplitNetwork, window: Any) -> Any:
        return {name: value + by for name, value in infer(network, window).items()}

    monkeypatch.setattr(SplitNetwork, "_infer", off)


@one_network
def test_parts_that_would_never_answer_are_found(cut: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that keeps reports would refuse them, whatever the network as a whole answers."""
    monkeypatch.setitem(TOLERANCE, "int8", 1e6)
    models = {precision: cut.folder / f"{_stem(precision)}.onnx" for precision in PRECISIONS}
    parts = write_parts(models, cut.manifest.inputs)
    cases: Any = read_cases(cut.bundle, "fp32")
    tested = (cut.manifest, "int8", models["int8"], cases, [BUILT_IN["onnxruntime"]])
    assert self_tests.here(*tested, parts) == {}  # type: ignore[arg-type]
    parts_answer_wrong(monkeypatch, 1e7)
    assert self_tests.here(*tested) == {}  # type: ignore[arg-type]
    [[reason]] = self_tests.here(*tested, parts).values()  # type: ignore[arg-type]
    assert "in onnxruntime, in two parts, it fails the self-test" in reason


@one_network
@pytest.mark.full
def test_parts_that_fp32_would_not_pass_in_are_left_out(
    cut: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(without_parts(cut, tmp_path))
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "work"))
    parts_answer_wrong(monkeypatch)
    told: list[str] = []
    cases: Any = read_cases(bundle, "fp32")
    assert self_tests.tested_parts(bundle.manifest, {"fp32": folder / "model.onnx"}, cases, told.append) is None
    assert "in one part" in told[0] and "in two parts, it fails the self-test" in told[0]
    assert {file.name for file in folder.iterdir()} == {file.name for file in bundle.folder.iterdir()}


@pytest.mark.full
@one_network
def test_a_precision_whose_parts_would_never_answer_is_not_sealed(
    cut: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = without_parts(cut, tmp_path)
    content = {file.name: file.read_bytes() for file in before.iterdir()}
    judged = quantize.tested_parts

    def then_wrong(*given: Any) -> Any:
        parts = judged(*given)
        parts_answer_wrong(monkeypatch)
        return parts

    monkeypatch.setattr(quantize, "tested_parts", then_wrong)
    with refused(ExportError, "int8", "onnxruntime, in two parts", "self-test", option="calibration"):
        quantize_bundle(before, precisions=["int8"], calibration="demo:50000-50000", method="minmax")
    assert {file.name: file.read_bytes() for file in before.iterdir()} == content
