"""Every form of checkpoint has one outcome, and docs/checkpoints.md tells it."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.checkpoint_forms import FORMS, Form, Refused, Taken, TinyNet, network, table, weights
from mmcaf_engine.errors import ExportError
from mmcaf_export.checkpoint import Checkpoint, Reading, load_checkpoint
from mmcaf_export.checkpoint.convert import converted
from mmcaf_export.match import MatchReport, match_state
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.networks.registry import Networks
from mmcaf_export.spelling import spelled
from mmcaf_export.taken import in_words, weights_entries
from refusals import check_refusal

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"


class TinyEntry(NetworkEntry[None]):
    """What recognition needs of the network of `checkpoint_forms`."""

    name = "tiny"
    title = "a tiny network"
    signature = ("conv.weight", "head.weight")

    def configure(self, state: Any, metadata: Any) -> None: ...

    def build(self, config: None) -> nn.Module:
        return TinyNet()

    def tensors(self, config: None) -> Any:
        raise NotImplementedError

    def example_inputs(self, config: None, batch: int, seed: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def manifest(self, config: None) -> dict[str, Any]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def networks() -> Networks:
    found = Networks()
    found.entries, found.origins = {"tiny": TinyEntry()}, {"tiny": "mmcaf-infer"}
    return found


def read(path: Path, reading: Reading, networks: Networks) -> tuple[Checkpoint, MatchReport]:
    """As an export does."""
    checkpoint = load_checkpoint(path, reading)
    checkpoint = spelled(networks, checkpoint, None, reading)
    networks.identify(checkpoint.state, checkpoint.metadata)
    return checkpoint, match_state(network().state_dict(), checkpoint, (), reading.allow_extra)


def is_of(found: MatchReport, seed: int, exact: bool, tied: tuple[str, str] | None = None) -> bool:
    """Whether these are the weights of that seed; of tied ones, the first is the second."""
    expected = weights(seed)
    if tied is not None:
        expected[tied[0]] = expected[tied[1]]
    return found.state.keys() == expected.keys() and all(
        torch.equal(found.state[key], value) if exact else torch.allclose(found.state[key], value, atol=1e-2)
        for key, value in expected.items()
        if value.is_floating_point()
    )


@pytest.mark.parametrize("name", FORMS)
def test_form(name: str, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = FORMS[name]
    path = form.make(tmp_path)
    if isinstance(form.outcome, Taken):
        _is_taken(form, path, form.outcome, networks)
    else:
        _is_refused(form, path, form.outcome, networks, monkeypatch)


def _is_taken(form: Form, path: Path, outcome: Taken, networks: Networks) -> None:
    checkpoint, matched = read(path, form.reading, networks)
    (entry,) = weights_entries([checkpoint], [matched])
    said = in_words([checkpoint], [entry])
    assert said == outcome.words
    assert is_of(matched, outcome.seed, outcome.exact, outcome.tied)
    assert matched.state["conv.weight"].dtype == torch.float32
    usual = [line for line in said if not line.startswith("weights taken from")]
    assert (entry is None) == (not usual and checkpoint.taken in ("", "model_state", "state_dict", "model"))


def _is_refused(form: Form, path: Path, outcome: Refused, networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError) as caught:
        read(path, form.reading, networks)
    check_refusal(
        caught.value,
        ExportError,
        path.name,
        *outcome.facts,
        option=outcome.option,
        value=outcome.value,
        command=outcome.command,
    )
    assert caught.value.remedy
    command = caught.value.remedy.partition("trusted: ")[2]
    assert bool(command) == outcome.convert
    if outcome.convert:
        monkeypatch.chdir(path.parent)
        python, option, code = shlex.split(command)
        assert (python, option) == ("python", "-c") and "\n" not in code
        exec(compile(code, "<command>", "exec"), {})
        if outcome.then != Reading():
            with pytest.raises(ExportError):
                read(converted(path), Reading(), networks)
        assert is_of(read(converted(path), outcome.then, networks)[1], 0, exact=True)


def test_the_page_has_the_table() -> None:
    assert len(FORMS) >= 30
    assert table() in PAGE.read_text(encoding="utf-8")
