"""Forms of checkpoints through the command line: what is asked for, what is said, and what the bundle keeps of it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from command import Command
from export.checkpoint_forms import FORMS, network, weights
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import ExportError
from mmcaf_export.checkpoint import load_checkpoint

QUICK = ("--no-explain",)


@pytest.fixture
def state(density_checkpoint: Path) -> dict[str, Tensor]:
    return load_file(density_checkpoint)


def save(document: object, folder: Path) -> Path:
    torch.save(document, folder / "run.ckpt")
    return folder / "run.ckpt"


def under(prefix: str, state: dict[str, Tensor], shift: float = 0.0) -> dict[str, Tensor]:
    return {prefix + name: value + shift if value.is_floating_point() else value for name, value in state.items()}


def test_what_was_done_is_said_and_kept(state: dict[str, Tensor], tmp_path: Path, run: Command) -> None:
    state["conv.weight"] = state["conv.weight"].half()
    document = {
        "state_dict": under("model.", state) | {"loss.weight": torch.ones(2), "model.aux.weight": torch.ones(2)},
        "ema": {"state_dict": under("model.", state, 1.0)},
    }
    path, bundle = save(document, tmp_path), tmp_path / "b.mmcaf"
    options = ("--weights", "raw", "--allow-extra", "aux.*")
    outcome = run("mmcaf", "export", path, "-o", bundle, *options, *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    kept = {
        "stripped": ["model."],
        "left_out": ["ema.state_dict", "loss.weight", "aux.weight"],
        "converted": {"float16": 1},
    }
    assert json.loads(outcome.out)["weights"] == kept
    manifest = load_bundle(bundle).manifest
    assert manifest.provenance.model_dump(mode="json")["weights"] == kept
    assert manifest.provenance.checkpoint_format == "training checkpoint"
    shown = run("mmcaf", "inspect", bundle).out
    for said in ("removed from names: model.", "left out: ema.state_dict", "1 tensors of float16 became float32"):
        assert f"  checkpoint    {said}" in shown


def test_which_weights_they_are(state: dict[str, Tensor], tmp_path: Path, run: Command) -> None:
    document = {"model": state, "model_ema": under("module.", state, 1.0)}
    path, bundle = save(document, tmp_path), tmp_path / "b.mmcaf"
    outcome = run("mmcaf", "export", path, "-o", bundle, *QUICK)
    assert outcome.code == 5 and "--weights=ema" in outcome.error() and "--weights=raw" in outcome.error()
    assert not bundle.exists()


@pytest.mark.full
def test_averaged_weights_that_were_asked_for(state: dict[str, Tensor], tmp_path: Path, run: Command) -> None:
    document = {"model": state, "model_ema": under("module.", state, 1.0)}
    path, bundle = save(document, tmp_path), tmp_path / "b.mmcaf"
    outcome = run("mmcaf", "export", path, "-o", bundle, "--weights", "ema", *QUICK)
    assert outcome.code == 0 and "averaged weights (EMA or SWA)" in outcome.out
    provenance = load_bundle(bundle).manifest.provenance
    assert provenance.weights is not None and provenance.weights.averaged
    assert provenance.weights.taken == "model_ema" and provenance.weights.left_out == ("model",)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--weights", "best"), 2, "best"),
        (("--prefix", "."), 2, "--prefix=model."),
        (("--key", "a..b"), 2, "--key=ema.model"),
        (("--key", "absent"), 5, "--key"),
        (("--prefix", "absent"), 5, "--prefix"),
        (("--weights", "ema"), 5, "--weights"),
        (("--allow-extra", "aux*"), 5, "--allow-extra"),
        (("--set", "threshold=0.5"), 5, "--allow-extra='aux.*'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_options(
    options: tuple[str, str], code: int, said: str, state: dict[str, Tensor], tmp_path: Path, run: Command
) -> None:
    extra = {"aux.weight": torch.ones(1)} if options[0] == "--set" else {}
    path, bundle = save({"model": state | extra}, tmp_path), tmp_path / "b.mmcaf"
    outcome = run("mmcaf", "export", path, "-o", bundle, *options, *QUICK)
    assert outcome.code == code and said in outcome.err
    assert not bundle.exists()


@pytest.mark.full
def test_a_checkpoint_as_it_is_leaves_no_trace(density_checkpoint: Path, tmp_path: Path, run: Command) -> None:
    outcome = run("mmcaf", "export", density_checkpoint, "-o", tmp_path / "b.mmcaf", *QUICK, "--json")
    assert outcome.code == 0 and "weights" not in json.loads(outcome.out)
    assert '"weights"' not in (tmp_path / "b.mmcaf" / "manifest.json").read_text(encoding="utf-8")


@pytest.mark.full
def test_members_of_an_ensemble_keep_what_was_done_to_each(
    state: dict[str, Tensor], tmp_path: Path, run: Command
) -> None:
    torch.save({"state_dict": under("model.", state)}, tmp_path / "one.ckpt")
    torch.save({"net": under("", state, 0.5)}, tmp_path / "two.pth")
    bundle = tmp_path / "b.mmcaf"
    outcome = run("mmcaf", "export", tmp_path / "one.ckpt", tmp_path / "two.pth", "-o", bundle, *QUICK)
    assert outcome.code == 0, outcome.err
    assert "one.ckpt: removed from names: model." in outcome.out and "two.pth: weights taken from net" in outcome.out
    manifest = load_bundle(bundle).manifest
    assert manifest.ensemble is not None and manifest.provenance.weights is None
    first, second = (member.weights for member in manifest.ensemble.members)
    assert first is not None and first.stripped == ("model.",) and second is not None and second.taken == "net"


@pytest.mark.full
def test_the_command_that_puts_a_distributed_checkpoint_together(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        load_checkpoint(FORMS["dcp"].make(tmp_path))
    (remedy,) = caught.value.remedies
    python, *words = shlex.split(remedy.command or "")
    assert python == "python"
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
    found = load_checkpoint(tmp_path / "step_10.pth")
    assert found.taken == "model" and all(torch.equal(found.state[key], value) for key, value in weights().items())


@pytest.mark.full
def test_the_command_that_converts_a_program(tmp_path: Path) -> None:
    program = torch.export.export(network(), (torch.ones(1, 1, 5, 5),))
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(ExportError, match="pt2") as caught:
        load_checkpoint(tmp_path / "model.pt2")
    _, *words = shlex.split(caught.value.remedy.partition("trusted: ")[2])
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
    found = load_checkpoint(tmp_path / "model.plain.pth")
    assert all(torch.equal(found.state[key], value) for key, value in weights().items())
