"""Forms of checkpoints as people keep them, each with its outcome; docs/checkpoints.md has them as a table.

python tests/export/checkpoint_forms.py     prints that table
"""

import argparse
import collections
import datetime
import json
import pathlib
import pickle
import shlex
import sys
import types
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mmcaf_export.checkpoint import Reading

Make = Callable[[Path], Path]
Document = Callable[[], object]


class TinyNet(nn.Module):
    """A network of three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(image)).mean((2, 3)))  # type: ignore[no-any-return]


def network(seed: int = 0) -> TinyNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyNet().eval()


def weights(seed: int = 0, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: value.clone() for name, value in network(seed).state_dict().items()}


LEFT_OPEN = Reading()
LAST, MEAN = 0, 1
"""Seeds of the weights of the last step and of the averaged ones."""


@dataclass(frozen=True)
class Taken:
    """Read; words: all that is said to have been done. seed: whose weights they are."""

    words: tuple[str, ...] = ()
    seed: int = LAST
    exact: bool = True
    tied: tuple[str, str] | None = None
    """Of which the first is the second."""

    def row(self) -> str:
        return "; ".join(["read", *self.words])


@dataclass(frozen=True)
class Refused:
    """Not read; because: for the table; facts, option, value, command: as of `refusals.refused`."""

    because: str
    facts: tuple[str | int | float, ...] = ()
    option: str | None = None
    value: str | None = None
    command: str | None = None
    convert: bool = False
    """Whether the command that converts it is printed; it is run, and what it writes is read."""
    then: Reading = LEFT_OPEN
    """How what it writes is read."""

    def row(self) -> str:
        cures = [f"`--{self.option.replace('_', '-')}{f' {self.value}' if self.value else ''}`"] if self.option else []
        cures += [f"`{self.command}`"] if self.command else []
        cures += ["the message has the command that converts it"] if self.convert else []
        return "; ".join([f"refused: {self.because}", *cures])


@dataclass(frozen=True)
class Form:
    """One form: title for the table; make: writes it into a folder; reading: the options it is read with."""

    title: str
    make: Make
    outcome: Taken | Refused
    reading: Reading = LEFT_OPEN

    def options(self) -> str:
        given = [("key", self.reading.key), ("prefix", self.reading.prefix), ("weights", self.reading.weights)]
        words = [f"--{name} {value}" for name, value in given if value]
        words += [f"--allow-extra '{pattern}'" for pattern in self.reading.allow_extra]
        return f"`{' '.join(words)}`" if words else ""


def saved(document: Document, name: str = "weights.pth", **options: Any) -> Make:
    def make(folder: Path) -> Path:
        torch.save(document(), folder / name, **options)
        return folder / name

    return make


def written(content: bytes, name: str = "weights.pth") -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def with_tensors(change: Callable[[Tensor], Tensor], only: str = "") -> dict[str, Tensor]:
    return {k: change(v) if v.is_floating_point() and only in k else v for k, v in weights().items()}


class Lightning:
    """Classes that pickles of PyTorch Lightning name, in modules that are there while one is written."""

    def __enter__(self) -> type:
        module = types.ModuleType("lightning.fabric.utilities.data")
        attribute_dict = type("AttributeDict", (dict,), {"__module__": module.__name__})
        module.AttributeDict = attribute_dict  # type: ignore[attr-defined]
        names = module.__name__.split(".")
        self.added = [".".join(names[:count]) for count in range(1, len(names) + 1)]
        self.added = [name for name in self.added if name not in sys.modules]
        for name in self.added:
            sys.modules[name] = module if name == module.__name__ else types.ModuleType(name)
        return attribute_dict

    def __exit__(self, *_: object) -> None:
        for name in self.added:
            del sys.modules[name]


def lightning(state: Document, **more: object) -> Make:
    """As Trainer.save_checkpoint lays it out."""

    def make(folder: Path) -> Path:
        module = network()
        document = {
            "epoch": 9,
            "global_step": 1000,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": state(),
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 10}}}},
            "callbacks": {
                "ModelCheckpoint{'monitor': 'val_auc', 'mode': 'max'}": {
                    "best_model_score": torch.tensor(0.9),
                    "best_k_models": {"/data/epoch=9.ckpt": torch.tensor(0.9)},
                    "dirpath": "/data",
                }
            },
            "optimizer_states": [torch.optim.Adam(module.parameters()).state_dict()],
            "lr_schedulers": [{"last_epoch": 9, "_last_lr": [0.1]}],
            "hparams_name": "kwargs",
        } | more
        with Lightning() as attribute_dict:
            document["hyper_parameters"] = attribute_dict(lr=1e-3, root=pathlib.Path("/data"))
            torch.save(document, folder / "epoch=9.ckpt")
        return folder / "epoch=9.ckpt"

    return make


def averaged(updates: int = 1) -> AveragedModel:
    """torch's own averaged model, whose average is that of the seed MEAN."""
    model = AveragedModel(network(MEAN))
    for _ in range(updates):
        model.update_parameters(network(MEAN))
    return model


def adam() -> dict[str, Any]:
    module = network()
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 1, 5, 5)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def shards(change: Callable[[dict[str, Any], Path], None] = lambda index, folder: None, pickled: bool = False) -> Make:
    """Two shards and their index, as Hugging Face's libraries write them; `change` may spoil them."""

    def make(folder: Path) -> Path:
        state, (ending, name) = weights(), ("bin", "pytorch_model") if pickled else ("safetensors", "model")
        names = list(state)
        placed = {key: f"{name}-0000{1 + (names.index(key) > 3)}-of-00002.{ending}" for key in names}
        for shard in sorted(set(placed.values())):
            own = {key: state[key] for key in names if placed[key] == shard}
            torch.save(own, folder / shard) if pickled else save_file(own, folder / shard, {"format": "pt"})
        index = {"metadata": {"total_size": 1}, "weight_map": placed}
        change(index, folder)
        (folder / f"{name}.{ending}.index.json").write_text(json.dumps(index))
        return folder / f"{name}.{ending}.index.json"

    return make


def _twice(index: dict[str, Any], folder: Path) -> None:
    first = folder / "model-00001-of-00002.safetensors"
    save_file({k: v for k, v in weights().items() if list(weights()).index(k) <= 4}, first)


def _unlisted(index: dict[str, Any], folder: Path) -> None:
    del index["weight_map"]["conv.bias"]


def _not_there(index: dict[str, Any], folder: Path) -> None:
    index["weight_map"]["extra"] = "model-00001-of-00002.safetensors"


def _outside(index: dict[str, Any], folder: Path) -> None:
    index["weight_map"]["conv.weight"] = "../model-00001-of-00002.safetensors"


def _missing(index: dict[str, Any], folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()


def _folder_of_shards(folder: Path) -> Path:
    return shards()(folder).parent


def _one_shard(folder: Path) -> Path:
    return shards()(folder).with_name("model-00001-of-00002.safetensors")


def safetensors(state: Mapping[str, Tensor], name: str = "weights.safetensors") -> Make:
    def make(folder: Path) -> Path:
        save_file(dict(state), folder / name)
        return folder / name

    return make


def _name_twice(folder: Path) -> Path:
    path = safetensors(weights())(folder)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip()[:-1]
    entry = json.loads(content[8 : 8 + length])["head.bias"]
    header += b',"head.bias":' + json.dumps(entry).encode() + b"}"
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    return path


def _tied(folder: Path) -> Path:
    module = network()
    module.norm.bias = module.conv.bias
    save_model(module, str(folder / "tied.safetensors"))
    return folder / "tied.safetensors"


def _script(folder: Path) -> Path:
    torch.jit.script(network()).save(str(folder / "model.pt"))
    return folder / "model.pt"


def deepspeed(**more: object) -> dict[str, Any]:
    """As DeepSpeed's mp_rank_00_model_states.pt."""
    return {
        "module": weights(),
        "buffer_names": ["norm.running_mean"],
        "optimizer": None,
        "param_shapes": [collections.OrderedDict((k, v.shape) for k, v in weights().items())],
        "frozen_param_shapes": None,
        "lr_scheduler": None,
        "global_steps": 10,
        "dp_world_size": 1,
        "mp_world_size": 1,
        "ds_config": {"train_batch_size": 4},
        "ds_version": "0.16.0",
    } | more


def _zero_3() -> dict[str, Any]:
    return deepspeed(module={k: torch.empty(0) for k in weights()})


def _two_ranks(folder: Path) -> Path:
    torch.save(deepspeed(), folder / "mp_rank_01_model_states.pt")
    return saved(deepspeed, "mp_rank_00_model_states.pt")(folder)


def _distributed(folder: Path) -> Path:
    from torch.distributed import checkpoint

    checkpoint.save({"model": weights()}, checkpoint_id=str(folder / "step_10"), no_dist=True)
    return folder / "step_10"


def _part_of_distributed(folder: Path) -> Path:
    return next(_distributed(folder).glob("*.distcp"))


def _packed_again(folder: Path) -> Path:
    source = saved(weights, "stored.pth")(folder)
    with zipfile.ZipFile(source) as stored, zipfile.ZipFile(folder / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    return folder / "w.pth"


def _archive(folder: Path) -> Path:
    saved(weights, "best.pth")(folder)
    with zipfile.ZipFile(folder / "run.zip", "w") as archive:
        archive.write(folder / "best.pth", "run/best.pth")
    return folder / "run.zip"


def _cut(make: Make) -> Make:
    def half(folder: Path) -> Path:
        path = make(folder)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return half


def _beside() -> dict[str, Any]:
    return {
        "model": weights(),
        "best_f1": np.float64(0.8),
        "confusion": np.eye(2),
        "labels": np.array(["a", "b"]),
        "root": pathlib.PurePosixPath("/data"),
        "saved": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "took": datetime.timedelta(hours=1),
        "history": collections.defaultdict(list, {"loss": [1.0, 0.5]}),
        "last": collections.deque([1, 2], maxlen=2),
        "counts": collections.Counter("aab"),
        "args": argparse.Namespace(lr=1e-3, device=torch.device("cpu")),
        "shape": torch.Size([1, 2]),
        "dtype": torch.float32,
        "seen": frozenset({1, 2}),
        "random": np.random.RandomState(0).get_state(),
        "generator": np.random.default_rng(0),
        "optimizer": adam(),
        "scheduler": {"last_epoch": 3},
        "rng": torch.get_rng_state(),
    }


class Custom:
    """A class of the training code's own."""


def _view(tensor: Tensor) -> Tensor:
    return torch.stack([tensor, tensor], -1)[..., 0]


def _lit_ema() -> dict[str, Tensor]:
    raw = weights(LAST, "model.")
    shadow = {f"model_ema.{name.replace('.', '')}": value for name, value in network(MEAN).named_parameters()}
    return raw | shadow | {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(5)}


def _weight_averaging(folder: Path) -> Path:
    state = averaged().state_dict()
    mean = {name.removeprefix("module."): value for name, value in state.items() if name.startswith("module.")}
    more = {"current_model_state": weights(), "averaging_state": {"n_averaged": state["n_averaged"]}}
    return lightning(lambda: mean, **more)(folder)


STRIP_MODEL = ("weights taken from state_dict", "removed from names: model.")
BOTH = "holds averaged weights and those of the last step"
MODULE_OBJECT = "holds a whole pickled module, which is code"
EMA_WORDS = "averaged weights (EMA or SWA)"

FORMS: dict[str, Form] = {
    # Where the weights lie
    "bare": Form("state_dict", saved(weights), Taken()),
    **{
        f"under {key}": Form(
            f"dict with the state_dict under `{key}`",
            saved(lambda key=key: {key: weights(), "epoch": 3}),
            Taken((f"weights taken from {key}",)),
        )
        for key in ("model_state", "state_dict", "model", "net", "weights", "params", "network", "module", "anything")
    },
    "nested": Form(
        "nested: `checkpoint.model.state_dict`",
        saved(lambda: {"checkpoint": {"model": {"state_dict": weights()}, "epoch": 3}}),
        Taken(("weights taken from checkpoint.model.state_dict",)),
    ),
    "list": Form("list of one state_dict", saved(lambda: [weights()]), Taken(("weights taken from 0",))),
    "same twice": Form(
        "the same weights under two names",
        saved(lambda: {"model": weights(), "state_dict": weights()}),
        Taken(("weights taken from model", "left out: state_dict")),
    ),
    "two": Form(
        "two sets of weights of equal rank",
        saved(lambda: {"model": weights(), "net": weights(2)}),
        Refused("two sets of weights may be meant", ("model", "net", 2), "key", "net"),
    ),
    "two, key": Form(
        "the same",
        saved(lambda: {"model": weights(2), "net": weights()}),
        Taken(("weights taken from net",)),
        Reading(key="net"),
    ),
    "twin": Form(
        "`model` and, of the same names and shapes, `best`",
        saved(lambda: {"model": weights(), "best": weights(2)}),
        Refused("two sets of weights may be meant", ("model", "best"), "key", "best"),
    ),
    "folds": Form(
        "list of the weights of several folds",
        saved(lambda: {"folds": [weights(), weights(2)]}),
        Refused("two sets of weights may be meant", ("folds.0", "folds.1"), "key", "folds.1"),
    ),
    "folds, key": Form(
        "the same",
        saved(lambda: {"folds": [weights(2), weights()]}),
        Taken(("weights taken from folds.1",)),
        Reading(key="folds.1"),
    ),
    "criterion": Form(
        "`model` beside a `criterion` with weights of its own",
        saved(lambda: {"model": weights(), "criterion": {"weight": torch.ones(2)}}),
        Taken(("weights taken from model", "left out: criterion")),
    ),
    "wrong key": Form(
        "a path that the file has not",
        saved(lambda: {"model": weights()}),
        Refused("no such path; the message lists what is there", ("'modle'", "model"), "key"),
        Reading(key="modle"),
    ),
    # Averaged weights
    "ema": Form(
        "timm: `state_dict` and `state_dict_ema`",
        saved(lambda: {"state_dict": weights(), "state_dict_ema": weights(MEAN)}),
        Refused(BOTH, ("state_dict_ema", "state_dict"), "weights", "ema"),
    ),
    "ema, ema": Form(
        "the same",
        saved(lambda: {"state_dict": weights(), "state_dict_ema": weights(MEAN)}),
        Taken(("weights taken from state_dict_ema", EMA_WORDS, "left out: state_dict"), MEAN),
        Reading(weights="ema"),
    ),
    "ema, raw": Form(
        "the same",
        saved(lambda: {"state_dict": weights(), "state_dict_ema": weights(MEAN)}),
        Taken(("weights taken from state_dict", "left out: state_dict_ema")),
        Reading(weights="raw"),
    ),
    "model_ema": Form(
        "`model` and `model_ema`",
        saved(lambda: {"model": weights(), "model_ema": weights(MEAN)}),
        Refused(BOTH, ("model_ema",), "weights", "raw"),
    ),
    "ema with state": Form(
        "`model` and `ema.state_dict` with its decay",
        saved(lambda: {"model": weights(), "ema": {"decay": 0.99, "state_dict": weights(MEAN)}}),
        Taken(("weights taken from ema.state_dict", EMA_WORDS), MEAN),
        Reading(key="ema.state_dict"),
    ),
    "swa": Form(
        "torch's AveragedModel (`n_averaged`), alone",
        saved(lambda: averaged().state_dict()),
        Taken((EMA_WORDS, "removed from names: module.", "left out: n_averaged"), MEAN),
    ),
    "swa, raw": Form(
        "the same",
        saved(lambda: averaged().state_dict()),
        Refused("no other weights are there", ("averaged",), "weights"),
        Reading(weights="raw"),
    ),
    "swa both": Form(
        "AveragedModel beside the model",
        saved(lambda: {"model": weights(), "swa_model": averaged().state_dict()}),
        Refused(BOTH, ("swa_model",), "weights", "ema"),
    ),
    "swa empty": Form(
        "AveragedModel that was never updated (`n_averaged` 0)",
        saved(lambda: averaged(0).state_dict()),
        Refused("its weights are no average", ("n_averaged", 0)),
    ),
    "ema prefix": Form(
        "one state_dict with `online_model.` and `ema_model.`",
        saved(lambda: weights(LAST, "online_model.") | weights(MEAN, "ema_model.") | {"step": torch.tensor(5)}),
        Refused(BOTH, ("ema_model.",), "weights", "ema"),
    ),
    "ema prefix, ema": Form(
        "the same",
        saved(lambda: weights(LAST, "online_model.") | weights(MEAN, "ema_model.") | {"step": torch.tensor(5)}),
        Taken((EMA_WORDS, "removed from names: ema_model.", "left out: the other names"), MEAN),
        Reading(weights="ema"),
    ),
    "ema prefix, raw": Form(
        "the same",
        saved(lambda: weights(LAST, "online_model.") | weights(MEAN, "ema_model.") | {"step": torch.tensor(5)}),
        Taken(("removed from names: online_model.", "left out: ema_model., step")),
        Reading(weights="raw"),
    ),
    "ema prefix, prefix": Form(
        "the same",
        saved(lambda: weights(LAST, "online_model.") | weights(MEAN, "ema_model.")),
        Taken((EMA_WORDS, "removed from names: ema_model.", "left out: 9 of online_model.*"), MEAN),
        Reading(prefix="ema_model.", weights="ema"),
    ),
    "ema prefix, against": Form(
        "the same",
        saved(lambda: weights(LAST, "online_model.") | weights(MEAN, "ema_model.")),
        Refused("what lies below it is averaged", ("averaged",), "weights"),
        Reading(prefix="ema_model.", weights="raw"),
    ),
    "averaged metrics": Form(
        "averages that are no weights beside the model",
        saved(lambda: {"model": weights(), "avg_metrics": {"auc": torch.tensor([0.8, 0.9])}}),
        Taken(("weights taken from model", "left out: avg_metrics")),
    ),
    "ema alone": Form(
        "one state_dict with `ema_model.` alone",
        saved(lambda: weights(MEAN, "ema_model.")),
        Taken((EMA_WORDS, "removed from names: ema_model."), MEAN),
    ),
    "ema without dots": Form(
        "Lightning: `model.` and `model_ema.` whose names lost their dots",
        lightning(_lit_ema),
        Taken(
            (
                "weights taken from state_dict",
                EMA_WORDS,
                "removed from names: model_ema.",
                "left out: the other names of state_dict",
            ),
            MEAN,
        ),
        Reading(weights="ema"),
    ),
    "weight averaging": Form(
        "Lightning's WeightAveraging: `state_dict` is averaged, `current_model_state` is not",
        _weight_averaging,
        Refused(BOTH, ("state_dict", "current_model_state"), "weights", "raw"),
    ),
    "ema list": Form(
        "torch-ema: `shadow_params`, a list without names, beside the model",
        saved(lambda: {"model": weights(), "ema": {"decay": 0.9, "shadow_params": list(weights(MEAN).values())}}),
        Refused(BOTH, ("ema.shadow_params",), "weights", "raw"),
    ),
    "ema list, ema": Form(
        "the same",
        saved(lambda: {"model": weights(), "ema": {"decay": 0.9, "shadow_params": list(weights(MEAN).values())}}),
        Refused("a list without names fills no network", ("ema.shadow_params", "names")),
        Reading(weights="ema"),
    ),
    # Names
    "module": Form(
        "`module.` before every name (DataParallel)",
        saved(lambda: weights(prefix="module.")),
        Taken(("removed from names: module.",)),
    ),
    "compiled": Form(
        "`_orig_mod.` before every name (torch.compile)",
        saved(lambda: weights(prefix="_orig_mod.")),
        Taken(("removed from names: _orig_mod.",)),
    ),
    "partial module": Form(
        "`module.` before some names",
        saved(lambda: {("module." if "conv" in k or "norm" in k else "") + k: v for k, v in weights().items()}),
        Taken(("removed from names: module.",)),
    ),
    "inner module": Form(
        "`module.` within names (a part was in DataParallel)",
        saved(lambda: {k.replace("norm.", "norm.module."): v for k, v in weights().items()}),
        Taken(("removed from names: module.",)),
    ),
    "lightning": Form(
        "PyTorch Lightning, network under `model.`",
        lightning(lambda: weights(prefix="model.")),
        Taken(STRIP_MODEL),
    ),
    "lightning net": Form(
        "PyTorch Lightning, network under `net.`, compiled",
        lightning(lambda: weights(prefix="net._orig_mod.")),
        Taken(("weights taken from state_dict", "removed from names: _orig_mod., net.")),
    ),
    "lightning loss": Form(
        "PyTorch Lightning with the loss's weights and a metric's counters",
        lightning(
            lambda: weights(prefix="model.") | {"loss.weight": torch.ones(2), "val_auroc.total": torch.tensor(3)}
        ),
        Taken((*STRIP_MODEL, "left out: loss.weight, val_auroc.total")),
    ),
    "beside prefix": Form(
        "a network under `model.`, and weights beside it",
        lightning(lambda: weights(prefix="model.") | {"projector.weight": torch.ones(2, 2)}),
        Refused("they may belong to the network", ("model.", "projector.weight"), "prefix", "model."),
    ),
    "beside prefix, prefix": Form(
        "the same",
        lightning(lambda: weights(prefix="model.") | {"projector.weight": torch.ones(2, 2)}),
        Taken((*STRIP_MODEL, "left out: projector.weight")),
        Reading(prefix="model."),
    ),
    "student": Form(
        "one state_dict with `student.` and `teacher.`",
        saved(lambda: weights(prefix="student.") | weights(2, "teacher.")),
        Refused("a network fits below each", ("student.", "teacher."), "prefix", "student."),
    ),
    "student, prefix": Form(
        "the same",
        saved(lambda: weights(prefix="student.") | weights(2, "teacher.")),
        Taken(("removed from names: student.", "left out: 9 of teacher.*")),
        Reading(prefix="student."),
    ),
    "deep prefix": Form(
        "a prefix of three components",
        saved(lambda: weights(prefix="trainer.model.net.")),
        Taken(("removed from names: trainer.model.net.",)),
    ),
    "extra head": Form(
        "a further head that the network has not",
        saved(lambda: weights() | {"aux_head.weight": torch.ones(2, 2), "aux_head.bias": torch.ones(2)}),
        Refused("an entry that the network has no use for", ("aux_head.weight",), "allow_extra", "aux_head.*"),
    ),
    "extra head, allowed": Form(
        "the same",
        saved(lambda: weights() | {"aux_head.weight": torch.ones(2, 2), "aux_head.bias": torch.ones(2)}),
        Taken(("left out: aux_head.weight, aux_head.bias",)),
        Reading(allow_extra=("aux_head.*",)),
    ),
    "allowed, not there": Form(
        "a state_dict without further entries",
        saved(weights),
        Refused("the pattern fits no entry", ("'aux*'",), "allow_extra"),
        Reading(allow_extra=("aux*",)),
    ),
    # What lies beside the weights
    "beside": Form(
        "numpy values, paths, dates, defaultdict, deque, Counter, Namespace, generators, optimizer beside the weights",
        saved(_beside),
        Taken(("weights taken from model",)),
    ),
    "f1": Form(
        "LCA-DB's trainer: `best_f1` as a numpy number",
        saved(lambda: {"epoch": 7, "model": weights(), "best_f1": np.float32(0.7)}),
        Taken(("weights taken from model",)),
    ),
    "custom": Form(
        "an object of the training code's own beside the weights",
        saved(lambda: {"model": weights(), "config": Custom()}),
        Refused("holds a class that is not known to be data", ("Custom",), convert=True),
    ),
    "function": Form(
        "a function beside the weights",
        saved(lambda: {"model": weights(), "seed": shlex.quote}),
        Refused("holds a function, which is code", ("shlex.quote",), convert=True),
    ),
    # What is no plain state_dict
    "object": Form("a whole pickled module", saved(network), Refused(MODULE_OBJECT, ("TinyNet",), convert=True)),
    "objects": Form(
        "YOLO: whole modules under `model` and `ema`",
        saved(lambda: {"model": network(), "ema": network(MEAN)}),
        Refused(
            f"{MODULE_OBJECT}; converted, it asks for `--weights`",
            ("TinyNet",),
            convert=True,
            then=Reading(weights="raw"),
        ),
    ),
    "protocol": Form(
        "torch.save with pickle protocol 4",
        saved(weights, pickle_protocol=4),
        Refused("a pickle of a newer protocol", (2,), convert=True),
    ),
    "legacy": Form("torch.save before 1.6 (no zip)", saved(weights, _use_new_zipfile_serialization=False), Taken()),
    "pickle": Form(
        "pickle.dump of a state_dict",
        lambda folder: written(pickle.dumps(weights()), "weights.pkl")(folder),
        Refused("a pickle that torch.save did not write", ("torch.save",), convert=True),
    ),
    "numpy": Form(
        "dict of numpy arrays in torch.save",
        saved(lambda: {name: value.numpy() for name, value in weights().items()}),
        Refused("numpy arrays, no tensors", ("numpy", "conv.weight"), convert=True),
    ),
    "script": Form(
        "TorchScript", _script, Refused("a program; code of a file is not run", ("TorchScript",), convert=True)
    ),
    "optimizer": Form(
        "an optimizer's state alone",
        saved(adam),
        Refused("no weights of a network", ("optimizer",)),
    ),
    "optimizer in dict": Form(
        "a dict with an optimizer alone",
        saved(lambda: {"optimizer": adam(), "epoch": 3}),
        Refused("no weights of a network", ("optimizer",)),
    ),
    "empty": Form("empty state_dict", saved(lambda: {"model": {}}), Refused("no tensors", ("no tensors",))),
    "half": Form(
        "half precision",
        saved(lambda: with_tensors(Tensor.half)),
        Taken(("8 tensors of float16 became float32",), exact=False),
    ),
    "bfloat16": Form(
        "bfloat16, in part",
        saved(lambda: with_tensors(Tensor.bfloat16, "conv")),
        Taken(("2 tensors of bfloat16 became float32",), exact=False),
    ),
    "double": Form(
        "double precision", saved(lambda: with_tensors(Tensor.double)), Taken(("8 tensors of float64 became float32",))
    ),
    "float8": Form(
        "float8, whose scales lie elsewhere",
        saved(lambda: with_tensors(lambda v: v.to(torch.float8_e4m3fn), "conv.weight")),
        Refused("quantized", ("conv.weight", "torch.float8_e4m3fn")),
    ),
    "quantized": Form(
        "quantized tensors",
        saved(lambda: with_tensors(lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "head.weight")),
        Refused("quantized", ("head.weight", "torch.qint8")),
    ),
    "sparse": Form(
        "sparse tensors",
        saved(lambda: with_tensors(Tensor.to_sparse, "head.weight")),
        Refused("not dense", ("head.weight", "torch.sparse_coo")),
    ),
    "complex": Form(
        "complex tensors",
        saved(lambda: with_tensors(lambda v: v.to(torch.complex64), "head.weight")),
        Refused("complex", ("head.weight", "torch.complex64")),
    ),
    "meta": Form(
        "tensors on the device meta",
        saved(lambda: with_tensors(lambda v: v.to("meta"))),
        Refused("no values are there", ("head.weight", "meta")),
    ),
    "not finite": Form(
        "NaN or infinite weights",
        saved(lambda: with_tensors(lambda v: v / 0, "head.bias")),
        Refused("not finite", ("head.bias", 1)),
    ),
    "view": Form("views with strides", saved(lambda: with_tensors(_view)), Taken()),
    "tied": Form(
        "tied tensors in torch.save",
        saved(lambda: (lambda s: s | {"norm.running_mean": s["norm.bias"]})(weights())),
        Taken(tied=("norm.running_mean", "norm.bias")),
    ),
    "no counters": Form(
        "BatchNorm without `num_batches_tracked`",
        saved(lambda: {k: v for k, v in weights().items() if "tracked" not in k}),
        Taken(exact=False),
    ),
    "inflated": Form(
        "tensors that repeat a few values to a size that no file of it has",
        saved(lambda: {"conv.weight": torch.ones(1).expand(2**36)}),
        Refused("larger than the file", ("274,877,906,944",)),
    ),
    "tied safetensors": Form(
        "tied tensors in safetensors (`save_model`)", _tied, Taken(tied=("norm.bias", "conv.bias"))
    ),
    # Files
    "safetensors": Form("safetensors", safetensors(weights()), Taken()),
    "safetensors ckpt": Form("safetensors called .ckpt", safetensors(weights(), "model.ckpt"), Taken()),
    "torch as safetensors": Form("torch.save called .safetensors", saved(weights, "model.safetensors"), Taken()),
    "safetensors twice": Form(
        "safetensors whose header has a name twice", _name_twice, Refused("damaged", ("head.bias",))
    ),
    "numbers as names": Form(
        "tensors under numbers", saved(lambda: dict(enumerate(weights().values()))), Refused("no names", (9,))
    ),
    "safetensors ema": Form(
        "safetensors with `model.` and `ema.`",
        safetensors(weights(prefix="model.") | weights(MEAN, "ema.")),
        Refused(BOTH, ("ema.",), "weights", "ema"),
    ),
    "safetensors key": Form(
        "safetensors and a path within it",
        safetensors(weights(prefix="model.")),
        Refused("its names are no paths", ("'model'",), "prefix", "model."),
        Reading(key="model"),
    ),
    "shards": Form("shards of safetensors, by their index", shards(), Taken(("weights put together from 2 shards",))),
    "folder of shards": Form(
        "the folder that they lie in", _folder_of_shards, Taken(("weights put together from 2 shards",))
    ),
    "pickled shards": Form(
        "shards of torch.save (`pytorch_model.bin.index.json`)",
        shards(pickled=True),
        Taken(("weights put together from 2 shards",)),
    ),
    "one shard": Form("one shard of two", _one_shard, Refused("not the whole weights", (1, 2))),
    "missing shard": Form(
        "a missing shard", shards(_missing), Refused("names it", (1, 2, "model-00002-of-00002.safetensors"))
    ),
    "in two shards": Form("a name in two shards", shards(_twice), Refused("names it", ("norm.running_mean",))),
    "unlisted": Form("a name in a shard that the index lacks", shards(_unlisted), Refused("names it", ("conv.bias",))),
    "not in shard": Form(
        "a name in the index that its shard lacks", shards(_not_there), Refused("names it", ("extra",))
    ),
    "outside": Form(
        "an index that names a file outside its folder",
        shards(_outside),
        Refused("not opened", ("conv.weight", "beside")),
    ),
    "deepspeed": Form(
        "DeepSpeed's `mp_rank_00_model_states.pt`",
        saved(deepspeed, "mp_rank_00_model_states.pt"),
        Taken(("weights taken from module",)),
    ),
    "zero": Form(
        "DeepSpeed ZeRO-3, one rank's part",
        saved(_zero_3, "zero_pp_rank_0_mp_rank_00_model_states.pt"),
        Refused("a part", ("ZeRO",), command="python zero_to_fp32.py . weights --safe_serialization"),
    ),
    "zero renamed": Form(
        "the same under another name",
        saved(_zero_3, "renamed.pt"),
        Refused("a part", ("ZeRO",), command="python zero_to_fp32.py . weights --safe_serialization"),
    ),
    "tensor parallel": Form(
        "DeepSpeed, one of two tensor-parallel parts", _two_ranks, Refused("a part", ("tensor-parallel",))
    ),
    "fsdp": Form(
        "FSDP, full state_dict with wrappers' names",
        saved(
            lambda: {
                f"_fsdp_wrapped_module.{k.replace('norm', 'norm._checkpoint_wrapped_module')}": v
                for k, v in weights().items()
            }
        ),
        Taken(("removed from names: _fsdp_wrapped_module., _checkpoint_wrapped_module.",)),
    ),
    "fsdp flat": Form(
        "FSDP, one rank's flattened parameters",
        saved(lambda: {"_fsdp_wrapped_module._flat_param": torch.ones(9)}),
        Refused("a part", ("flat_param",)),
    ),
    "dcp": Form(
        "folder of torch.distributed.checkpoint",
        _distributed,
        Refused("in parts", ("DCP",), command="python -m torch.distributed.checkpoint.format_utils dcp_to_torch"),
    ),
    "distcp": Form(
        "a file of such a folder",
        _part_of_distributed,
        Refused("in parts", ("DCP",), command="python -m torch.distributed.checkpoint.format_utils dcp_to_torch"),
    ),
    "packed again": Form(
        "a PyTorch file packed again with compression",
        _packed_again,
        Refused("it says how large it would be", ("compression",), convert=True),
    ),
    "archive": Form("a zip with a checkpoint in it", _archive, Refused("names what is in it", ("run/best.pth",))),
    "cut zip": Form("a PyTorch file that was cut off", _cut(saved(weights)), Refused("damaged", ("cut off",))),
    "cut safetensors": Form(
        "a safetensors file that was cut off", _cut(safetensors(weights())), Refused("damaged", ("safetensors",))
    ),
    "cut legacy": Form(
        "the same of torch.save before 1.6",
        _cut(saved(weights, _use_new_zipfile_serialization=False)),
        Refused("damaged", ("PyTorch",)),
    ),
    "lfs": Form(
        "a pointer of Git LFS",
        written(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        Refused("fetch the file itself", ("Git LFS",)),
    ),
    "hdf5": Form("HDF5, GGUF, numpy, gzip, a web page", written(b"\x89HDF\r\n\x1a\n"), Refused("named", ("HDF5",))),
}


def table() -> str:
    """The rows of docs/checkpoints.md."""
    rows = [f"| {form.title} | {form.options()} | {form.outcome.row()} |" for form in FORMS.values()]
    return "\n".join(["| form | options | outcome |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201
