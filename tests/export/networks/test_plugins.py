"""Networks of other packages: a real one, installed apart, exports and answers; a broken one harms nobody."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from export.mmcaf_networks import import_path
from mmcaf_cli.main import main
from mmcaf_engine import infer, load_bundle, open_session
from mmcaf_engine.demo import make_phantom
from mmcaf_engine.demo.write_dicom import write_multiframe
from mmcaf_engine.errors import ExportError
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.registry import BUILT_IN, Networks
from refusals import refused

EXAMPLE = Path(__file__).parents[2] / "data" / "example_network"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", folder / "site", source], check=True)
    return folder / "site"


@pytest.fixture
def add_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a package with one module and an entry point on the path, as pip would have left it."""
    monkeypatch.syspath_prepend(tmp_path)
    added: list[str] = []

    def add(name: str, code: str, target: str = "Entry") -> None:
        module = name.replace("-", "_")
        added.append(module)
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        metadata = tmp_path / f"{module}-2.1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.1\n", encoding="utf-8")
        points = f"[mmcaf_export.networks]\n{name} = {module}:{target}\n"
        (metadata / "entry_points.txt").write_text(points, encoding="utf-8")

    yield add
    for module in added:
        sys.modules.pop(module, None)


def entry(name: str = "other", signature: str = "('other.weight',)", more: str = "") -> str:
    """A module with a network that recognises itself and does nothing else."""
    return f"""
from mmcaf_export.networks.entry import NetworkEntry

class Entry(NetworkEntry):
    name, title, signature = {name!r}, "Other", {signature}

    def configure(self, state, metadata):
        {more or "return 7"}

    def build(self, config): ...
    def tensors(self, config): ...
    def example_inputs(self, config, batch, seed): ...
    def manifest(self, config): ...
"""


STATE = {"other.weight": torch.zeros(2)}


@pytest.mark.full
def test_the_example_package_exports_and_answers(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes of their own, as a user would call it."""
    monkeypatch.syspath_prepend(site)
    from density_network import DensityConfig, DensityNet

    torch.manual_seed(0)
    save_file(DensityNet(DensityConfig()).state_dict(), tmp_path / "weights.safetensors")
    write_multiframe(make_phantom(0), tmp_path / "study.dcm")
    mmcaf, mmcaf_infer = (f"from mmcaf_cli.{name} import main; main()" for name in ("main", "infer"))
    commands = [
        [mmcaf, "export", "weights.safetensors", "-o", "density.mmcaf"],
        [mmcaf_infer, "study.dcm", "--bundle", "density.mmcaf", "--json"],
    ]
    path = os.pathsep.join([str(site), import_path()])
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["label"] in ("airy", "dense")
    assert answer["model"]["name"] == "Density"


def test_the_example_package_is_found_beside_the_built_in_networks(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    networks = Networks()
    assert list(networks.entries) == [*(entry.name for entry in BUILT_IN), "density"]
    assert networks.origins["density"] == "density-network 1.0"
    assert networks.faulty == ()


def test_a_network_of_another_package_is_recognised(add_package: Callable[..., None]) -> None:
    add_package("acme-net", entry())
    assert Networks().recognise(STATE, {}) == ("other", 7)


@pytest.mark.parametrize(
    ("code", "target", "reason"),
    [
        ("import nothing_of_this_name", "Entry", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise SystemExit('bye')", "Entry", "SystemExit: bye"),
        ("1 +", "Entry", "SyntaxError: invalid syntax"),
        ("", "Entry", "AttributeError: module 'broken_net' has no attribute 'Entry'"),
        ("Entry = object", "Entry", "NetworkEntry"),
        ("Entry = 3", "Entry", "NetworkEntry"),
        (entry(name=""), "Entry", "TypeError: its name"),
        (entry(signature="()"), "Entry", "TypeError: its signature"),
        (entry(name="mmcaf"), "Entry", "'mmcaf'"),
        (entry() + "    batch = 2\n", "Entry", "TypeError: its batch is 2"),
    ],
    ids=["import", "exit", "syntax", "attribute", "class", "value", "name", "signature", "taken", "batch"],
)
def test_a_broken_package_is_named_and_harms_no_other(
    code: str, target: str, reason: str, add_package: Callable[..., None], slim_state: dict[str, Tensor]
) -> None:
    add_package("broken-net", code, target)
    add_package("acme-net", entry())
    networks = Networks()
    assert networks.recognise(STATE, {}) == ("other", 7)
    assert networks.recognise(slim_state, {})[0] == "mmcaf"
    for asked in (None, "unknown"):
        with refused(ExportError, "broken-net", 2.1, reason):
            networks.recognise({"layer.weight": torch.zeros(1)}, {}, asked)


def test_a_network_that_fails_on_a_checkpoint_is_named(add_package: Callable[..., None]) -> None:
    add_package("acme-net", entry(more="return state['gone']"))
    with refused(ExportError, "'other'", "acme-net", 2.1, "KeyError", "'gone'"):
        Networks().recognise(STATE, {})


WHOLE = """
import torch
from torch import nn
from mmcaf_engine.manifest import NumberField, TableSpec, TensorSpec
from mmcaf_export.networks.entry import NetworkEntry
from dataclasses import dataclass

@dataclass(frozen=True)
class Config:
    columns: int = 2

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(2, 1)

    def forward(self, table):
        FORWARD
        return self.other(table)

class Entry(NetworkEntry):
    name, title, signature = "other", "Other", ("other.weight",)

    def configure(self, state, metadata):
        CONFIGURE
        return Config()

    def build(self, config):
        BUILD
        return Net().eval()

    def tensors(self, config):
        TENSORS
        table = TensorSpec(name="table", kind="table", shape=("N", 2))
        return (table,), (TensorSpec(name="logit", kind="score", shape=("N", 1)),)

    def example_inputs(self, config, batch, seed):
        EXAMPLE
        return {"table": torch.rand(batch, 2, generator=torch.Generator().manual_seed(seed))}

    def manifest(self, config):
        MANIFEST
        fields = [NumberField(name=name, description="x", unit="1", minimum=0, maximum=1, lower=0, upper=1)
                  for name in ("a", "b")]
        return {"name": "Other", "description": "", "table": TableSpec(fields=fields).model_dump(mode="json"),
                "labels": ["n", "y"], "threshold": 0.5, "aggregation": {"method": "mean"}, "licence": "x",
                "intended_use": "x", "demonstration": True}
"""


def whole(**lines: str) -> str:
    """A module of a whole network, with a line of these put into its members."""
    code = WHOLE
    for member in ("FORWARD", "CONFIGURE", "BUILD", "TENSORS", "EXAMPLE", "MANIFEST"):
        code = code.replace(f"        {member}\n", f"        {lines.get(member.lower(), 'pass')}\n")
    return code


FAULTS = [
    ("configure", "state['gone']", "KeyError", "Entry.configure"),
    ("build", "nn.Linear(2, 'wide')", "TypeError", "Entry.build"),
    ("tensors", "1 / 0", "ZeroDivisionError", "Entry.tensors"),
    ("example", "torch.rand(2) @ torch.rand(3)", "inconsistent tensor size", "Entry.example_inputs"),
    ("manifest", "raise LookupError('first\\nsecond line')", "LookupError: first second line", "Entry.manifest"),
    ("forward", "table.view(7)", "shape '[7]' is invalid", "Net.forward"),
]


@pytest.mark.parametrize(("member", "line", "told", "function"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_an_error_within_a_network_shows_module_file_and_line(
    member: str, line: str, told: str, function: str, add_package: Callable[..., None], tmp_path: Path
) -> None:
    code = whole(**{member: line})
    add_package("acme-net", code)
    torch.save({"other.weight": torch.zeros(1, 2), "other.bias": torch.zeros(1)}, tmp_path / "weights.pth")
    number = code.splitlines().index(f"        {line}") + 1
    facts = ("acme-net", 2.1, told, f"acme_net.{function}", str(tmp_path / "acme_net.py"), f"line {number}")
    with refused(ExportError, *facts, command="export MMCAF_DEBUG=1") as caught:
        export_bundle(tmp_path / "weights.pth", tmp_path / "other.mmcaf")
    assert caught.value.__cause__ is not None  # what $MMCAF_DEBUG shows the trace of
    assert not (tmp_path / "other.mmcaf").exists()


@pytest.mark.parametrize(
    ("member", "line", "facts"),
    [
        ("build", "return 7", ("build", "expected a Module, got int", "acme_net.py")),
        ("tensors", "return ()", ("tensors", "two lists", "acme_net.py")),
        ("example", "return [1]", ("example_inputs", "expected a Mapping, got list", "acme_net.py")),
        ("manifest", "return None", ("manifest", "expected a Mapping, got NoneType", "acme_net.py")),
        ("forward", "return None", ("forward gives nothing", "logit")),
    ],
    ids=["build", "tensors", "example", "manifest", "forward"],
)
def test_what_a_member_must_give_is_named(
    member: str, line: str, facts: tuple[str, ...], add_package: Callable[..., None], tmp_path: Path
) -> None:
    add_package("acme-net", whole(**{member: line}))
    torch.save({"other.weight": torch.zeros(1, 2), "other.bias": torch.zeros(1)}, tmp_path / "weights.pth")
    with refused(ExportError, *facts):
        export_bundle(tmp_path / "weights.pth", tmp_path / "other.mmcaf")


def test_numbers_and_buffers_that_no_checkpoint_holds(add_package: Callable[..., None], tmp_path: Path) -> None:
    """A buffer that is not persistent, read off a tensor as timm reads its rates; exported, verified and asked."""
    buffer = "torch.tensor([rate.item() for rate in torch.linspace(1, 3, 2)])"
    build = f"net = Net().eval(); net.register_buffer('scale', {buffer}, persistent=False); return net"
    add_package("acme-net", whole(build=build, forward="table = table * self.scale"))
    weights = {"other.weight": torch.tensor([[2.0, -1.0]]), "other.bias": torch.tensor([0.25])}
    torch.save(weights, tmp_path / "weights.pth")
    report = export_bundle(tmp_path / "weights.pth", tmp_path / "other.mmcaf")
    assert [one.batches for one in report.verifications] == [(1, 3)] * 2
    assert all(one.max_abs_error <= 1e-6 for one in report.verifications)
    result = infer(None, {"a": 1.0, "b": 0.5}, bundle=report.output, backend="onnxruntime")
    assert result.positive is not None
    assert result.positive.logit == pytest.approx(2.0 * 1 - 1.0 * 0.5 * 3 + 0.25, abs=1e-6)


LOOP = """found = torch.zeros(table.shape[0], 1)
        for at, row in enumerate(table): found[at] = (row * self.other.weight[0]).sum()
        return found"""


@pytest.mark.full
def test_a_loop_over_the_batch_is_exported_for_one_case_where_that_is_declared(
    add_package: Callable[..., None], tmp_path: Path
) -> None:
    code = whole(forward=LOOP)
    add_package("acme-net", code)
    weights = {"other.weight": torch.tensor([[2.0, -1.0]]), "other.bias": torch.tensor([0.25])}
    torch.save(weights, tmp_path / "weights.pth")
    with refused(ExportError, "table", 2, "batch") as caught:
        export_bundle(tmp_path / "weights.pth", tmp_path / "other.mmcaf")
    assert "batch = 1" in str(caught.value)
    assert not (tmp_path / "other.mmcaf").exists()

    sys.modules.pop("acme_net")
    (tmp_path / "acme_net.py").write_text(code + "    batch = 1\n", encoding="utf-8")
    report = export_bundle(tmp_path / "weights.pth", tmp_path / "other.mmcaf")
    assert load_bundle(report.output).manifest.network.batch == 1
    assert [one.max_abs_error <= 1e-6 for one in report.verifications] == [True, True]
    for backend in ("onnxruntime", "openvino", "torch"):
        with open_session(load_bundle(report.output), backend=backend) as session:
            found = session.run({"table": np.array([[1, 2], [3, 4], [5, 7]], np.float32)})["logit"]
        np.testing.assert_allclose(found, [[0], [2], [3]], atol=1e-6)


def test_what_the_exporter_cannot_write_shows_its_line_and_reason(
    add_package: Callable[..., None], tmp_path: Path
) -> None:
    line = "table = table * torch.linalg.eigvalsh(table.T @ table)"
    code = whole(forward=line)
    add_package("acme-net", code)
    torch.save({"other.weight": torch.zeros(1, 2), "other.bias": torch.zeros(1)}, tmp_path / "weights.pth")
    number = code.splitlines().index(f"        {line}") + 1
    facts = ("acme_net.py", f"line {number}", "No ONNX function found", "aten._linalg_eigh.default")
    with refused(ExportError, *facts, command="export MMCAF_DEBUG=1") as caught:
        export_bundle(tmp_path / "weights.pth", tmp_path / "other.mmcaf")
    assert "\x1b" not in str(caught.value) and "This is step" not in str(caught.value)
    assert not any(remedy.option == "backend" for remedy in caught.value.remedies)


def test_the_whole_trace_is_shown_where_it_is_asked_for(
    add_package: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_package("acme-net", whole(build="nn.Linear(2, 'wide')"))
    torch.save({"other.weight": torch.zeros(1, 2), "other.bias": torch.zeros(1)}, tmp_path / "weights.pth")
    monkeypatch.setattr(
        sys, "argv", ["mmcaf", "export", str(tmp_path / "weights.pth"), "-o", str(tmp_path / "o.mmcaf")]
    )
    shown = []
    for debug in ("", "1"):
        monkeypatch.setenv("MMCAF_DEBUG", debug)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == ExportError.exit_code
        shown.append(capsys.readouterr().err)
    assert "Traceback" not in shown[0] and "MMCAF_DEBUG=1" in shown[0]
    assert "Traceback" in shown[1] and "torch/nn/modules/linear.py" in shown[1]


def test_a_network_that_refuses_a_checkpoint_says_why(add_package: Callable[..., None]) -> None:
    add_package("acme-net", entry(more="raise ValueError('its width is 3')"))
    with refused(ExportError, "Other", "its width is 3"):
        Networks().recognise(STATE, {})


def test_a_checkpoint_that_fits_two_networks_needs_a_choice(add_package: Callable[..., None]) -> None:
    add_package("acme-net", entry())
    add_package("bolt-net", entry(name="same"))
    with refused(ExportError, "other", "acme-net", "same", "bolt-net", 2.1):
        Networks().recognise(STATE, {})
    assert Networks().recognise(STATE, {}, "same") == ("same", 7)
    assert Networks().recognise(STATE, {"network": "other"}) == ("other", 7)


def test_two_packages_with_one_name(add_package: Callable[..., None]) -> None:
    add_package("acme-net", entry())
    add_package("bolt-net", entry())
    networks = Networks()
    assert networks.origins["other"] == "acme-net 2.1"
    assert [faulty.origin for faulty in networks.faulty] == ["bolt-net 2.1"]
    assert "taken by acme-net 2.1" in networks.faulty[0].reason
