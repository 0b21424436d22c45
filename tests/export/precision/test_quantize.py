"""A whole network quantised: which layers, what the bundle says of itself, and what Python callers are told."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export.mmcaf_networks import Exported
from mmcaf_engine.bundle.accuracy import parse_accuracy
from mmcaf_engine.bundle.bundle import load_bundle, write_bundle
from mmcaf_engine.checkup.raw_case import check_raw_case
from mmcaf_engine.errors import BundleError, ExportError, UsageError
from mmcaf_engine.session.judged import UnjudgedError
from mmcaf_engine.session.session import open_session
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision import effects, int8, quantize, self_tests, side_by_side
from mmcaf_export.precision.attempts import TypedAttempts
from mmcaf_export.precision.course import Course
from mmcaf_export.precision.int8 import Int8Plan
from mmcaf_export.precision.layers import candidates
from mmcaf_export.precision.quantize import quantize_bundle
from mmcaf_export.rewrites.group_norm import REWRITE as GROUP_NORM
from mmcaf_export.rewrites.rewrite import rewritten
from raw_cases import with_raw_case
from refusals import Fact, refused
from tiny_bundle import SIZE, SLICES, tiny_manifest

FASTER = {
    "small": ("first/Conv", "second/Conv"),
    "mmcaf": (
        "image_encoder.encoder.in_conv.0/Conv",
        "image_encoder.encoder.encoders.0.penet_blocks.0.conv1/Conv",
        "image_encoder.encoder.encoders.0.penet_blocks.1.conv3/Conv",
    ),
}
"""Layers that count as faster in INT8; of these, what moves the logit too far stays in FP32."""
BUDGET = {"small": 1e-3, "mmcaf": None}
"""Of the small network the first layer moves the logit by 2.6e-3, the second by 2.3e-4."""


class Small(nn.Module):
    """Three convolutions and a norm, of which the first is so loud that its rounding moves the logit."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.second, self.third = (nn.Conv3d(8, 8, 3, padding=1) for _ in range(2))
        self.head, self.table = nn.Linear(8, 1), nn.Linear(2, 1)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(image)))
        x = x + 0.05 * torch.relu(self.second(x)) + torch.relu(self.third(x))
        logit: Tensor = self.head(8 * x.mean(dim=(2, 3, 4))) + self.table(table)
        return logit


def small_bundle(folder: Path) -> Path:
    """A bundle of the small network, exported as all are, with golden cases and a raw case."""
    torch.manual_seed(0)
    network = Small().eval()
    draft = folder / "draft"
    draft.mkdir()
    image, table = torch.rand(2, 1, SLICES, SIZE, SIZE), torch.rand(2, 2)
    given = {"image": image[:1], "table": table[:1]}
    export_onnx(rewritten(network, (GROUP_NORM,), given), given, draft / "model.onnx")
    with torch.inference_mode():
        logit = network(image, table)
    np.savez(draft / "golden.npz", image=image.numpy(), table=table.numpy(), logit=logit.numpy())
    return with_raw_case(write_bundle(draft, tiny_manifest(), folder / "plain.mmcaf").folder, folder / "small.mmcaf")


@pytest.fixture
def bundle_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    """Gives a bundle that a test may change: of the small network, or of the narrow MMCAF-Net."""

    def made(name: str) -> Path:
        if name == "small":
            return small_bundle(tmp_path)
        slim: Exported = request.getfixturevalue("slim_export")
        return Path(shutil.copytree(slim.report.output, tmp_path / "slim.mmcaf"))

    return made


@pytest.fixture
def known_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers of FASTER gain by INT8, each as much as the others."""

    faster = {name for names in FASTER.values() for name in names}
    monkeypatch.setattr(
        int8, "worthwhile", lambda layers, _family: {layer.node: 1.0 for layer in layers if layer.node in faster}
    )
    monkeypatch.setattr(int8, "SENSITIVITY_WINDOWS", 2)
    monkeypatch.setattr(quantize, "WINDOWS_PER_STUDY", 1)


def test_without_a_limit_another_type_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("load_model", "lower_precision", "save_model"):
        monkeypatch.setattr(f"mmcaf_export.precision.attempts.{name}", lambda *given: None)
    windows: Any = lambda: pytest.fail("layers are tried")  # noqa: E731
    made = TypedAttempts(tmp_path, tmp_path, None, windows, "fp16", budget=math.inf, course=Course())  # type: ignore[arg-type]
    assert [made.write() for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("known_gains")
@pytest.mark.parametrize("name", ["small", pytest.param("mmcaf", marks=pytest.mark.full)])
def test_the_network(name: str, bundle_of: Callable[[str], Path]) -> None:
    path, faster = bundle_of(name), FASTER[name]
    every = {layer.node for layer in candidates(load_model(path / "model.onnx"))}
    report = quantize_bundle(path, calibration="demo:50000-50001", method="minmax", logit_budget=BUDGET[name])
    assert report.written == ("int8",) and report.refused == {}
    plan = report.plans["int8"]
    assert isinstance(plan, Int8Plan)
    layers, kept = plan.layers, plan.kept
    assert layers and set(layers) <= set(faster) and set(kept) == every - set(layers)
    for node, reason in kept.items():
        assert reason.startswith("moves the logit by" if node in faster else "INT8 saves too little time"), node
    if name == "small":
        assert layers == ("second/Conv",) and "first/Conv" in kept
    assert 0 < plan.method_errors["minmax"] < 0.2

    bundle = load_bundle(path)
    bundle.verify()
    assert bundle.sha256 == report.sha256
    raw = check_raw_case(bundle)
    assert raw is not None and "int8" in raw.case.own
    origin = bundle.manifest.provenance.int8
    assert origin is not None and origin.layers == len(layers) and origin.calibration == "demo:50000-50001"
    assert origin.kept == kept
    assert parse_accuracy((path / "accuracy.json").read_bytes()) == report.accuracy
    assert (report.accuracy.cohort.studies, report.accuracy.cohort.labelled) == (2, 0)

    graph = onnx.load(path / "model.int8.onnx").graph
    onnx.checker.check_model(path / "model.int8.onnx", full_check=True)
    quantised = {node.name for node in graph.node if node.op_type == "Conv" and ":dequantised" in node.input[0]}
    assert quantised == set(layers)
    assert any(node.op_type == "ReduceL2" for node in graph.node), "variances are still read twice"

    with np.load(path / "golden.npz") as golden:
        feed = {name: golden[name] for name in ("image", "table")}
        for backend in ("openvino", "onnxruntime"):
            with open_session(bundle, backend=backend, precision="int8") as session:
                found = session.run(feed)["logit"]
            np.testing.assert_allclose(found, golden["logit"], rtol=0, atol=0.1)


@pytest.mark.usefixtures("known_gains")
def test_a_network_none_of_whose_layers_may_be_in_int8(tmp_path: Path) -> None:
    report = quantize_bundle(
        small_bundle(tmp_path), calibration="demo:50000-50000", method="minmax", logit_budget=1e-12
    )
    plan = report.plans["int8"]
    assert plan is not None and plan.layers == () and len(plan.kept) == 3
    assert "int8: none of its 3 layers; all are left in FP32" in report.summary()


@pytest.mark.usefixtures("known_gains")
def test_int8_is_kept_for_the_backends_that_it_passes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that computes it otherwise does not take it from the one that judges; nor does that one let it through."""
    path = small_bundle(tmp_path)
    of_a_backend = self_tests._of

    def failing(name: str) -> Callable[..., tuple[str, ...]]:
        return lambda kind, *given: (f"in {name}, it fails",) if kind.name == name else of_a_backend(kind, *given)

    given: dict[str, Any] = {"precisions": ["int8"], "calibration": "demo:50000-50000", "method": "minmax"}
    monkeypatch.setattr(self_tests, "_of", failing("openvino"))
    with refused(ExportError, "int8", "in openvino, it fails", option="calibration"):
        quantize_bundle(path, **given)
    monkeypatch.setattr(self_tests, "_of", failing("onnxruntime"))
    report = quantize_bundle(path, **given)
    assert report.written == ("int8",) and report.refused == {}
    assert "int8 is not offered in onnxruntime: in onnxruntime, it fails" in report.summary()
    assert "the labels of calibration studies do not count; name labelled studies with --cohort" in report.summary()
    facts = report.accuracy.precisions["int8"]
    assert facts.passed and facts.excluded == {"onnxruntime": ("in onnxruntime, it fails",)}
    assert facts.judged and {one.configuration.backend for one in facts.judged} == {"openvino"}
    bundle = load_bundle(path)
    with open_session(bundle, backend="openvino", precision="int8") as session:
        assert session.precision == "int8"
    with refused(UnjudgedError, "onnxruntime", "did not pass there", "it fails", option="precision"):
        open_session(bundle, backend="onnxruntime", precision="int8")
    with open_session(bundle, backend="onnxruntime") as session:
        assert session.precision == "fp32"


@pytest.mark.usefixtures("known_gains")
def test_the_number_of_cores_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, found = small_bundle(tmp_path), []
    for cores in (1, 3):
        for module in (side_by_side, effects):
            monkeypatch.setattr(module, "usable_cores", lambda cores=cores: cores)
        made = tmp_path / f"{cores}.mmcaf"
        report = quantize_bundle(source, made, calibration="demo:50000-50001", logit_budget=1e-3)
        found.append((report.sha256, (made / "model.int8.onnx").read_bytes(), report.plans["int8"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"precisions": ()}, ("fp32",)),
        ({"precisions": ("int8", "fp32")}, ("fp32",)),
        ({"calibration": "nowhere.csv"}, ("nowhere.csv", "no such file")),
        ({"cohort": "demo:2-1"}, ("'demo:2-1'",)),
        ({"logit_budget": 0.0}, ("budget", 0)),
        ({"logit_budget": float("nan")}, ("budget", "nan")),
    ],
    ids=["no precision", "fp32", "calibration", "cohort", "no budget", "budget is no number"],
)
def test_wrong_use(tiny_bundle: Path, changes: dict[str, Any], says: tuple[Fact, ...]) -> None:
    before = {file: file.read_bytes() for file in tiny_bundle.iterdir()}
    with refused(UsageError, *says):
        quantize_bundle(tiny_bundle, **changes)
    assert {file: file.read_bytes() for file in tiny_bundle.iterdir()} == before


def test_no_bundle(tmp_path: Path) -> None:
    with refused(BundleError, "nowhere.mmcaf", "no such"):
        quantize_bundle(tmp_path / "nowhere.mmcaf")
