"""Checkpoints of every kind, and every way in which one can be wrong."""

import argparse
import hashlib
import json
import os
import shlex
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError
from mmcaf_export.checkpoint import SAFETENSORS, STATE_DICT, TRAINING, Checkpoint, load_checkpoint
from mmcaf_export.match import MatchReport, match_state
from mmcaf_export.networks.mmcaf import MmcafNet
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from refusals import Fact, refused

Save = Callable[[object], Path]
WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[key], expected[key]) for key in expected)


def test_training_checkpoint_of_the_published_saver(slim_checkpoint: Path, slim_network: MmcafNet) -> None:
    checkpoint = load_checkpoint(slim_checkpoint)
    assert checkpoint.kind == TRAINING
    assert checkpoint.metadata == {"model_name": "MMCAF_Net"}
    assert checkpoint.sha256 == hashlib.sha256(slim_checkpoint.read_bytes()).hexdigest()
    assert same(checkpoint.state, slim_network.state_dict())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("key", [None, "model_state", "state_dict", "model"])
def test_wrappers_and_prefixes(prefix: str, key: str | None, save: Save) -> None:
    state = {prefix + name: value for name, value in WEIGHTS.items()}
    checkpoint = load_checkpoint(save(state if key is None else {key: state, "epoch": 3}))
    assert checkpoint.kind == (STATE_DICT if key is None else TRAINING)
    assert same(checkpoint.state, WEIGHTS)


def test_a_prefix_that_only_some_names_have_belongs_to_the_network(save: Save) -> None:
    assert list(load_checkpoint(save({"module.a": torch.ones(1), "b": torch.ones(1)})).state) == ["module.a", "b"]


def test_options_in_a_namespace_are_data(save: Save) -> None:
    document = {"model_state": WEIGHTS, "model_args": argparse.Namespace(depth=50, name="x")}
    assert same(load_checkpoint(save(document)).state, WEIGHTS)


@pytest.mark.parametrize("metadata", [None, {"network": "mmcaf", "slices": "12"}], ids=["bare", "metadata"])
def test_safetensors(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"  # told by content, not by name
    save_file(WEIGHTS, path, metadata)
    checkpoint = load_checkpoint(path)
    assert checkpoint.kind == SAFETENSORS
    assert checkpoint.metadata == (metadata or {})
    assert checkpoint.state.keys() == WEIGHTS.keys()
    assert all(torch.equal(checkpoint.state[key], WEIGHTS[key]) for key in WEIGHTS)


def test_pickle_with_code_is_refused_and_not_run(save: Save, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    path = save({"model_state": WEIGHTS, "extra": Trap(target)})
    with refused(ExportError, "weights.pth", "posix.mkdir") as caught:
        load_checkpoint(path)
    assert not target.exists()
    assert "python -c" in caught.value.remedy
    assert "weights.plain.pth" in caught.value.remedy


def test_a_namespace_does_not_open_the_door(save: Save, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    with refused(ExportError, "weights.pth", "posix.mkdir"):
        load_checkpoint(save({"model_state": WEIGHTS, "model_args": argparse.Namespace(trap=Trap(target))}))
    assert not target.exists()


def test_whole_module_is_refused_with_the_command_that_converts_it(save: Save) -> None:
    with refused(ExportError, "weights.pth", "torch.nn.modules.linear.Linear"):
        load_checkpoint(save(nn.Linear(2, 2)))


def test_the_converting_command_works(tmp_path: Path) -> None:
    path = tmp_path / "it's weights.pth"
    torch.save({"model_state": WEIGHTS, "extra": nn.Linear(1, 1)}, path)
    with pytest.raises(ExportError) as caught:
        load_checkpoint(path)
    command = shlex.split(caught.value.remedy.partition("trusted: ")[2])
    assert command[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
    assert load_checkpoint(path.with_name("it's weights.plain.pth")).state.keys() == WEIGHTS.keys()


def test_the_old_format_is_read_by_the_same_rules(tmp_path: Path) -> None:
    path, target = tmp_path / "old.pth", tmp_path / "ran"
    torch.save({"model": WEIGHTS}, path, _use_new_zipfile_serialization=False)
    assert same(load_checkpoint(path).state, WEIGHTS)
    torch.save({"model": WEIGHTS, "extra": Trap(target)}, path, _use_new_zipfile_serialization=False)
    with refused(ExportError, "old.pth", "posix.mkdir"):
        load_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize("share", [0.5, 0.99], ids=["half", "almost whole"])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_truncated_file(kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{kind}"
    state = {"a": torch.zeros(1000)}
    if kind == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with refused(ExportError, path.name):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"epoch,loss\n1,0.5\n", b"\x00" * 64, b"{}", struct.pack("<Q", 2**40) + b"{}", b"\x89PNG\r\n\x1a\n"],
    ids=["empty", "text", "zeros", "json", "huge header", "image"],
)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with refused(ExportError, "weights.pth", "checkpoint"):
        load_checkpoint(path)


def test_other_zip(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with refused(ExportError, path.name, "PyTorch"):
        load_checkpoint(path)


def test_shards_that_differ_under_one_index_are_different_checkpoints(tmp_path: Path) -> None:
    sums = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        save_file({"a": torch.full((2,), float(number))}, folder / "model-00001-of-00001.safetensors")
        index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        sums.add(load_checkpoint(folder).sha256)
    assert len(sums) == 2


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with refused(ExportError, "none.pth", "no such file"):
        load_checkpoint(tmp_path / "none.pth")
    with refused(ExportError, str(tmp_path), "file", "directory"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        ([torch.ones(1)], ("list",)),
        (torch.ones(1), ("Tensor",)),
        ({}, ("no tensors",)),
        ({"model_state": {}}, ("no tensors",)),
        ({"epoch": 3, "a": torch.ones(1)}, (1, "epoch", "int")),
    ],
    ids=["list", "tensor", "empty", "empty state", "mixed"],
)
def test_data_that_is_no_state(document: object, facts: tuple[Fact, ...], save: Save) -> None:
    with refused(ExportError, "weights.pth", *facts):
        load_checkpoint(save(document))


def match(state: dict[str, Tensor], network: MmcafNet) -> MatchReport:
    checkpoint = Checkpoint(Path("weights.pth"), STATE_DICT, "0" * 64, state, {})
    return match_state(network.state_dict(), checkpoint, MmcafEntry.dead)


DEAD = [
    "image_encoder.encoder.asp_pool.conv1.weight",
    "image_encoder.encoder.decoders.1.lateral.norm.bias",
    "image_encoder.encoder.out_conv.weight",
    "image_encoder.fused_cls.0.weight",
    "multiscale_fusion.cross_attention2.q_proj.weight",
    "multiscale_fusion.cross_attention3.k_proj.bias",
    "tab_cls.weight",
    "img_cls.0.bias",
]


def test_entries_that_do_not_matter_may_be_extra_or_missing(
    slim_state: dict[str, Tensor], slim_network: MmcafNet
) -> None:
    counters = [key for key in slim_state if key.endswith("num_batches_tracked")]
    del slim_state[counters[0]]
    report = match(slim_state | {key: torch.full((2,), torch.nan) for key in DEAD}, slim_network)
    assert set(report.ignored) == {*DEAD, *counters[1:]}
    assert report.absent == (counters[0],)
    assert report.converted == ()
    assert set(report.state) == set(slim_network.state_dict())
    slim_network.load_state_dict(report.state, strict=True)


def test_one_error_lists_everything_that_does_not_fit(slim_state: dict[str, Tensor], slim_network: MmcafNet) -> None:
    del slim_state["kan.coef"], slim_state["fin_cls.bias"]
    slim_state["image_encoder.extra.weight"] = torch.ones(3)
    slim_state["multiscale_fusion.cross_attention1.v_proj2.weight"] = torch.ones(3)
    slim_state["kan.mask"] = torch.ones(24, 7)
    slim_state["kan.scale_sp"] = torch.ones(7, 24, dtype=torch.int32)
    slim_state["kan.scale_base"] = torch.eye(24)[:7].to_sparse()
    slim_state["fin_cls.weight"] = torch.ones(1, 48)
    slim_state["fin_cls.weight"][0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    with pytest.raises(ExportError) as caught:
        match(slim_state, slim_network)
    text = str(caught.value)
    assert "weights.pth: 8 of its entries do not fit" in text
    for line in [
        "missing: kan.coef (7x24x8), fin_cls.bias (1); ",
        "unexpected: image_encoder.extra.weight (3), multiscale_fusion.cross_attention1.v_proj2.weight (3); wrong: ",
        "kan.mask (24x7 came, 7x24 was expected)",
        "kan.scale_sp (stored as torch.int32",
        "kan.scale_base (stored as torch.float32, torch.sparse_coo",
        "fin_cls.weight (3 of 48 values are NaN or infinite)",
    ]:
        assert line in text, line


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_become_float32(
    dtype: torch.dtype, slim_state: dict[str, Tensor], slim_network: MmcafNet
) -> None:
    slim_state["kan.mask"] = slim_state["kan.mask"].to(dtype)
    report = match(slim_state, slim_network)
    assert report.converted == ("kan.mask",)
    assert report.state["kan.mask"].dtype == torch.float32


def test_a_value_beyond_float32_is_not_finite(slim_state: dict[str, Tensor], slim_network: MmcafNet) -> None:
    slim_state["fin_cls.bias"] = torch.tensor([1e300], dtype=torch.float64)
    with refused(ExportError, "fin_cls.bias", 1, "NaN"):
        match(slim_state, slim_network)
