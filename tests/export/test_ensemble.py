"""Several checkpoints of one network as one bundle: what it answers, what it says of itself, and what is refused."""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from command import Command
from export import cmasg_networks
from mmcaf_engine import infer, load_bundle, open_session
from mmcaf_engine.bundle.accuracy import read_accuracy
from mmcaf_engine.bundle.golden import read_cases, read_raw_case
from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import COTANGENT, TensorSpec
from mmcaf_engine.result.aggregate import sigmoid
from mmcaf_export.checkpoint import Checkpoint
from mmcaf_export.explain.gradcam import GradCam
from mmcaf_export.export import export_bundle
from mmcaf_export.members import described_alike
from mmcaf_export.networks.ensemble import Ensemble, EnsembleEntry
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.precision.quantize import quantize_bundle
from mmcaf_export.rewrites.rewrite import rewritten_with_costs
from refusals import refused

Make = Callable[..., list[Path]]


@pytest.fixture
def members(density_checkpoint: Path, tmp_path: Path) -> Make:
    """Checkpoints of the example's network, each with a last layer of its own."""

    def make(*scales: float) -> list[Path]:
        found = []
        for at, scale in enumerate(scales):
            state = load_file(density_checkpoint)
            state["head.weight"] = state["head.weight"] * scale
            found.append(tmp_path / f"fold{at}.safetensors")
            save_file(state, found[-1])
        return found

    return make


def density(path: Path) -> nn.Module:
    """The source network with a checkpoint's weights."""
    from density_network import DensityConfig, DensityNet

    network = DensityNet(DensityConfig())
    network.load_state_dict(load_file(path))
    return network.eval()


def test_an_ensemble_answers_with_the_mean_of_its_members(members: Make, tmp_path: Path, run: Command) -> None:
    """From the command to the answer, each member as its own source network has it, and the maps as their mean."""
    paths, output = members(1.0, -2.0, 5.0), tmp_path / "ens.mmcaf"
    done = run("mmcaf", "export", *map(str, paths), "-o", str(output), "--set", "ensemble.spread_bound=0.1")
    assert done.code == 0 and "3 of Density" in done.err
    bundle = load_bundle(output)
    spec, provenance = bundle.manifest.ensemble, bundle.manifest.provenance
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert spec is not None and spec.spread_bound == 0.1 and [one.checkpoint_sha256 for one in spec.members] == sums
    lines = "".join(f"{one}\n" for one in sums)
    assert provenance.checkpoint_sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert provenance.rewrites[0].parameters_saved > 0 and provenance.flops is not None
    assert bundle.manifest.score.shape == ("N", 3, 1)
    cases, networks = read_cases(bundle, "fp32"), [density(path) for path in paths]
    with torch.no_grad():
        own = [network(torch.from_numpy(cases["image"])).numpy() for network in networks]
    assert np.allclose(cases["logit"], np.stack(own, axis=1), atol=1e-6)
    raw = read_raw_case(bundle)
    assert raw is not None
    with torch.no_grad():
        window = torch.from_numpy(raw.windows["image"].values.reshape(raw.windows["image"].shape))
        each = [sigmoid(float(network(window))) for network in networks]
    assert raw.probabilities[1] == pytest.approx(np.mean(each), abs=1e-6)
    result = infer(next(iter(raw.study.volumes.values())), bundle=bundle, backend="openvino")
    assert result.ensemble is not None and result.ensemble.probabilities["dense"] == pytest.approx(each, abs=1e-5)
    assert result.probabilities["dense"] == pytest.approx(np.mean(each), abs=1e-5)
    assert any("disagree" in warning for warning in result.warnings)
    _maps_are_the_members_mean(bundle, networks)
    told = run("mmcaf", "inspect", str(output)).out
    assert "3 networks, the mean of their study scores; warns above a spread of 0.1" in told and sums[2][:16] in told


def _maps_are_the_members_mean(bundle: Any, networks: list[nn.Module]) -> None:
    from density_network import DensityConfig, DensityEntry

    image = read_cases(bundle, "fp32")["image"][:1]
    maps = DensityEntry().explained(DensityConfig())
    signed = [GradCam(one, maps).signed([torch.from_numpy(image)], torch.ones(1, 1))[0].numpy() for one in networks]
    expected = np.maximum(np.mean(signed, axis=0), 0)
    with open_session(bundle, backend="onnxruntime") as session:
        found = session.explain({"image": image}, np.full((1, 3, 1), 1 / 3, np.float32))["gradcam"]
        second = session.explain({"image": image}, np.eye(3, dtype=np.float32)[None, 1, :, None])["gradcam"]
    own = np.maximum(signed[1], 0)
    assert np.allclose(second, own, atol=1e-5 * np.abs(signed[1]).max())
    assert expected.max() > 0 and np.allclose(found, expected, atol=1e-5 * expected.max())
    assert read_cases(bundle, "fp32")["logit"].shape == (2, 3, 1) and COTANGENT == "cotangent"


def test_the_same_file_twice_is_refused(members: Make, tmp_path: Path) -> None:
    first, second = members(1.0, 2.0)
    copied = tmp_path / "copied.safetensors"
    copied.write_bytes(first.read_bytes())
    for again in (first, copied):
        with refused(ExportError, again.name, "fold0.safetensors", "same file"):
            export_bundle([first, second, again], tmp_path / "ens.mmcaf")
    assert not (tmp_path / "ens.mmcaf").exists()


def test_the_same_weights_in_another_file_are_refused(members: Make, tmp_path: Path) -> None:
    first, second = members(1.0, 2.0)
    torch.save(load_file(first), tmp_path / "first.pt")
    with refused(ExportError, "first.pt", "fold0.safetensors", "same weights"):
        export_bundle([first, second, tmp_path / "first.pt"], tmp_path / "ens.mmcaf")


def test_members_of_other_shapes_are_refused_by_what_differs(
    members: Make, tmp_path: Path, slim_checkpoint: Path
) -> None:
    (first,) = members(1.0)
    wide = {
        key: value.repeat(2, *[1] * (value.ndim - 1)) if value.ndim else value
        for key, value in load_file(first).items()
    }
    wide |= {"head.weight": torch.ones(1, 8), "head.bias": torch.ones(1)}
    save_file(wide, tmp_path / "wide.safetensors")
    with refused(ExportError, "wide.safetensors", "fold0.safetensors", "width", 8, 4):
        export_bundle([first, tmp_path / "wide.safetensors"], tmp_path / "ens.mmcaf")
    with refused(ExportError, slim_checkpoint.name, "fold0.safetensors", "mmcaf", "density"):
        export_bundle([first, slim_checkpoint], tmp_path / "ens.mmcaf")


def test_a_damaged_or_foreign_member_is_named(members: Make, tmp_path: Path) -> None:
    first, second = members(1.0, 2.0)
    second.write_bytes(second.read_bytes()[:-7])
    with refused(ExportError, second.name):
        export_bundle([first, second], tmp_path / "ens.mmcaf")
    save_file({"else": torch.ones(3)}, tmp_path / "else.safetensors")
    with refused(ExportError, "else.safetensors"):
        export_bundle([first, tmp_path / "else.safetensors"], tmp_path / "ens.mmcaf")
    state = load_file(first)
    state["head.bias"] = torch.full_like(state["head.bias"], torch.nan)
    save_file(state, tmp_path / "nan.safetensors")
    with refused(ExportError, "nan.safetensors", "head.bias", "NaN"):
        export_bundle([first, tmp_path / "nan.safetensors"], tmp_path / "ens.mmcaf")


@pytest.mark.parametrize("count", [0, 33])
def test_as_many_members_as_an_ensemble_has(count: int, members: Make, tmp_path: Path) -> None:
    (first,) = members(1.0)
    with refused(ExportError, count, 32):
        export_bundle([first] * count, tmp_path / "ens.mmcaf")


def test_a_single_network_has_no_spread(members: Make, tmp_path: Path) -> None:
    with refused(ExportError, "ensemble", option="set"):
        export_bundle(members(1.0), tmp_path / "one.mmcaf", settings={"ensemble.spread_bound": "0.1"})


@pytest.mark.parametrize("bound", ["0", "0.6", '"wide"'])
def test_a_bound_that_no_spread_can_have_is_refused(bound: str, members: Make, tmp_path: Path) -> None:
    with refused(ExportError, "spread_bound", option="set"):
        export_bundle(members(1.0, 2.0), tmp_path / "ens.mmcaf", settings={"ensemble.spread_bound": bound})


def test_members_that_say_other_things_of_themselves_are_refused(tmp_path: Path) -> None:
    class Says(MmcafEntry):
        def describe(self, config: Any, network: Any, metadata: Any) -> dict[str, Any]:
            own = [{"name": "age", "upper": int(metadata["upper"])}]
            return {"labels": metadata["labels"].split(), "table": {"fields": own}}

    network = Ensemble([nn.Identity(), nn.Identity()])

    def checkpoints(*metadata: dict[str, str]) -> list[Checkpoint]:
        return [Checkpoint(tmp_path / f"{at}.pt", "none", str(at), {}, own) for at, own in enumerate(metadata)]

    entry = EnsembleEntry(Says(), 2)
    alike = checkpoints({"labels": "a b", "upper": "9"}, {"labels": "a b", "upper": "9", "seed": "2"})
    assert described_alike(entry, None, alike, network, {})["labels"] == ["a", "b"]
    other = checkpoints({"labels": "a b", "upper": "9"}, {"labels": "a c", "upper": "8"})
    with refused(ExportError, "1.pt", "0.pt", "labels", "c", "table.fields.age.upper", 8, 9):
        described_alike(entry, None, other, network, {})
    said = {"labels": '["a", "b"]', "table.fields.age.upper": "9"}
    assert described_alike(entry, None, other, network, said)["labels"] == ["a", "b"], "a setting says it for all"


class ThreeOutputs(nn.Module):
    """image [N, 2] -> logits [N, 2], weights [N, 2] and a branch's logits [N, 2]."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return image * self.factor, torch.softmax(image * self.factor, dim=1), image - self.factor


def test_scores_are_of_every_member_and_attention_is_their_mean() -> None:
    members, image = [ThreeOutputs(1.0), ThreeOutputs(3.0)], torch.tensor([[0.5, -0.25], [1.0, 2.0]])
    score, weights, branch = Ensemble(members, ["score", "attention", "branch_score"])(image)
    assert score.shape == (2, 2, 2) and torch.equal(score[:, 1], members[1](image)[0])
    assert torch.allclose(weights, (members[0](image)[1] + members[1](image)[1]) / 2)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2))
    assert branch.shape == (2, 2, 2) and torch.equal(branch[:, 0], members[0](image)[2])


def test_diagnostics_are_the_members_mean_and_keep_their_shape(members: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from density_network import DensityConfig, DensityEntry

    entry = EnsembleEntry(DensityEntry(), 2)
    told = TensorSpec(name="share", kind="diagnostic", shape=("N", 2), optional=True)
    inputs, outputs = DensityEntry().tensors(DensityConfig())
    monkeypatch.setattr(DensityEntry, "tensors", lambda self, config: (inputs, (*outputs, told)))
    assert entry.tensors(DensityConfig())[1][-1] == told
    pair, image = [ThreeOutputs(1.0), ThreeOutputs(3.0)], torch.tensor([[0.5, -0.25]])
    _score, _weights, share = Ensemble(pair, ["score", "attention", "diagnostic"])(image)
    assert torch.equal(share, (pair[0](image)[2] + pair[1](image)[2]) / 2)


def test_every_member_is_rewritten(members: Make, density_checkpoint: Path) -> None:
    from density_network import DensityConfig, DensityEntry

    alone = DensityEntry()
    entry, paths = EnsembleEntry(alone, 3), members(1.0, 2.0, 3.0)
    source = Ensemble([density(path) for path in paths]).eval()
    inputs = alone.example_inputs(DensityConfig(), 2, seed=0)
    lean, applied = rewritten_with_costs(source, entry.rewrites, inputs)
    single, one = rewritten_with_costs(source.members[0], alone.rewrites, inputs)
    assert applied[0].after.parameters == 3 * one[0].after.parameters < applied[0].before.parameters
    assert not any(isinstance(module, nn.BatchNorm3d) for module in lean.modules())
    assert torch.allclose(lean(*inputs.values())[:, 0], single(*inputs.values()), atol=1e-6)


def test_an_ensembles_entry_has_an_answer_to_all_that_an_entry_is_asked() -> None:
    """What a later entry is asked must not fall back to the default of the class where the member says otherwise."""
    asked = {name for name, found in vars(NetworkEntry).items() if inspect.isfunction(found)}
    assert asked <= set(vars(EnsembleEntry)) | {"__init__"}
    member = MmcafEntry()
    entry = EnsembleEntry(member, 2)
    changed = {"title", "rewrites", "explained_rewrites", "module_titles"}
    for name in NetworkEntry.__annotations__.keys() - changed:
        assert getattr(entry, name) == getattr(member, name), name
    pattern, title = entry.module_titles[0]
    assert pattern.startswith(r"members\.\d+\.") and title == member.module_titles[0][1]


@pytest.mark.full
def test_an_ensemble_of_a_network_that_reads_reports(tmp_path: Path) -> None:
    """Its texts have a free length in every member; it is not cut in two, since each member encodes the report."""
    settings, paths = (
        cmasg_networks.save_slim(tmp_path),
        [tmp_path / "weights.safetensors", tmp_path / "other.safetensors"],
    )
    state = load_file(paths[0])
    state["classifier.weight"] = state["classifier.weight"] * -0.5
    save_file(state, paths[1], cmasg_networks.metadata(cmasg_networks.SLIM) | {"labels": '["clear", "not clear"]'})
    report = export_bundle(paths, tmp_path / "ens.mmcaf", settings=settings, explain=False)
    bundle = load_bundle(report.output)
    assert bundle.manifest.parts is None and bundle.manifest.ensemble is not None
    networks = [cmasg_networks.filled(), cmasg_networks.filled()]
    networks[1].load_state_dict(state)
    stored = read_cases(bundle, "fp32")
    given = {spec.name: stored[spec.name] for spec in bundle.manifest.inputs}
    with torch.no_grad():
        own = [network(*map(torch.from_numpy, given.values())) for network in networks]
    own = [answer[0] if isinstance(answer, tuple) else answer for answer in own]
    for backend in ("onnxruntime", "openvino"):
        with open_session(bundle, backend=backend) as session:
            found = session.run(given)[bundle.manifest.score.name]
        assert np.allclose(found, torch.stack(own, dim=1).numpy(), atol=1e-4), backend


@pytest.mark.full
def test_an_ensemble_is_quantized_behind_its_own_gate(members: Make, tmp_path: Path) -> None:
    output = tmp_path / "ens.mmcaf"
    export_bundle(members(1.0, 2.0), output, explain=False)
    report = quantize_bundle(output, precisions=["fp16", "int8"], calibration="demo:50000-50001", method="minmax")
    bundle, accuracy = load_bundle(output), read_accuracy(load_bundle(output))
    assert "fp16" in report.written and {*report.written, *report.refused} == {"fp16", "int8"} and accuracy is not None
    for precision in report.written:
        assert accuracy.precisions[precision].passed and accuracy.precisions[precision].flips.fraction == 0
        half = onnx.load(output / bundle.manifest.models[precision]).graph.output[0].type.tensor_type.shape
        assert [axis.dim_value for axis in half.dim[1:]] == [2, 1]


def test_each_member_is_written_as_it_would_be_alone(members: Make, tmp_path: Path) -> None:
    from density_network import DensityConfig, DensityEntry

    one, two = map(density, members(1.0, 2.0))
    given = {"image": torch.rand(1, *DensityEntry().tensors(DensityConfig())[0][0].shape[1:])}
    export_onnx(one, given, tmp_path / "one.onnx")
    export_onnx(Ensemble([one, two]).eval(), given, tmp_path / "both.onnx")
    alone, both = (onnx.load(tmp_path / name).graph for name in ("one.onnx", "both.onnx"))
    for at in (0, 1):
        own = [node for node in both.node if node.name.startswith(f"members.{at}.")]
        assert [node.name.removeprefix(f"members.{at}.") for node in own] == [node.name for node in alone.node]
        assert [list(node.attribute) for node in own] == [list(node.attribute) for node in alone.node]
    assert {node.op_type for node in both.node if not node.name.startswith("members.")} == {"Unsqueeze", "Concat"}
    assert [one.dim_value or one.dim_param for one in both.output[0].type.tensor_type.shape.dim] == ["N", 2, 1]
    assert len(both.input) == 1 and len({node.name for node in both.node}) == len(both.node)
