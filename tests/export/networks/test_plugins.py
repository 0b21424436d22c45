"""Networks of other packages: a real one, installed apart, exports and answers; a broken one harms nobody."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from export.test_export import import_path
from mmcaf_engine.demo import make_phantom
from mmcaf_engine.demo.write_dicom import write_multiframe
from mmcaf_engine.errors import ExportError
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
    ],
    ids=["import", "exit", "syntax", "attribute", "class", "value", "name", "signature", "taken"],
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
