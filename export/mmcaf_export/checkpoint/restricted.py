"""Pickles through torch's restricted reader: what may stand beside the weights is data that is dropped."""

import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmcaf_engine.errors import ExportError, printable

from .convert import convert
from .parallel import UNCONSOLIDATED


class Opaque:
    """Stands in for a value of a class that is data but no concern of ours; whatever it was made of is dropped."""

    def __new__(cls, *_made_of: object) -> Any:
        return object.__new__(cls)

    def __setstate__(self, _state: object) -> None: ...


class _AsDict:
    """As the above, for a class that is filled like a dict."""

    def __new__(cls, *_made_of: object) -> Any:
        return OrderedDict()


class _AsList:
    """As the above, for a class that is filled like a list."""

    def __new__(cls, *_made_of: object) -> Any:
        return []


_SCALARS = (
    *("bool", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"),
    *("float64", "longdouble", "complex64", "complex128", "str_", "bytes_", "datetime64", "timedelta64"),
)
_DTYPES = ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32")
_NUMPY = (
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct", "_frombuffer")
    ),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *(
        "numpy.ndarray",
        "numpy.dtype",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.random._pickle.__generator_ctor",
    ),
    *("numpy.random._pickle.__bit_generator_ctor", "numpy.random._mt19937.MT19937", "numpy.random._pcg64.PCG64"),
    *(
        f"numpy.random.bit_generator.{name}"
        for name in ("SeedSequence", "SeedlessSeedSequence", "__pyx_unpickle_SeedSequence")
    ),
    *(f"numpy.{name}" for name in _SCALARS),
    *(
        f"numpy.dtypes.{name}DType"
        for name in (*_DTYPES, "Float64", "Complex64", "Complex128", "Str", "Bytes", "Object")
    ),
)
_STANDARD = (
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(
        f"{module}.{name}"
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    ),
    *("argparse.Namespace", "types.SimpleNamespace", "decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
    *(f"builtins.{name}" for name in ("int", "float", "bool", "str", "bytes", "dict", "list", "tuple", "frozenset")),
    *("builtins.slice", "builtins.range", "builtins.object", "typing.Any"),
)
_TORCH = (
    *("torch.torch_version.TorchVersion", "torch.serialization._get_dtype", "torch.memory_format"),
    *("torch.distributed.fsdp.api.StateDictType", "torch.distributed.fsdp.api.ShardingStrategy"),
)
_CONFIGURATIONS = (
    *(f"omegaconf.{name}" for name in ("dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata")),
    *("omegaconf.base.Metadata", "omegaconf.base.SCMode"),
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "Integer", "Float", "String", "Boolean", "Enum", "Path", "Bytes")
    ),
    *(
        f"{package}.callbacks.{module}"
        for package in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")
        for module in (
            *("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping", "lr_monitor.LearningRateMonitor"),
            *("progress.progress.ProgressBar", "timer.Timer"),
        )
    ),
)
_DICTS = (
    *("collections.defaultdict", "easydict.EasyDict", "yacs.config.CfgNode", "addict.addict.Dict", "munch.Munch"),
    *("box.box.Box", "ml_collections.config_dict.config_dict.ConfigDict", "mmengine.config.config.ConfigDict"),
    *(
        f"{module}.AttributeDict"
        for module in (
            *("pytorch_lightning.utilities.parsing", "lightning.pytorch.utilities.parsing"),
            *("lightning.fabric.utilities.data", "lightning_fabric.utilities.data"),
        )
    ),
)

STANDS_IN: dict[str, Callable[..., Any]] = {
    **{name: type(name, (Opaque,), {}) for name in (*_NUMPY, *_STANDARD, *_TORCH, *_CONFIGURATIONS)},
    **{name: type(name, (_AsDict,), {}) for name in _DICTS},
    "collections.deque": _AsList,
}
"""Name in a pickle -> what is called in its place; the class or function of that name is never looked up."""


def read_pickle(path: Path, *, mapped: bool) -> Any:
    """What torch.save wrote, of tensors, plain values, and stand-ins for values of `STANDS_IN`.

    Args:
        mapped: whether it is the zip of today, whose tensors stay in the file.

    Raises:
        ExportError: damaged, or it holds more than data. There is no second try.
    """
    allowed: Any = [(stands_in, name) for name, stands_in in STANDS_IN.items()]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not mapped or path.name.endswith(".safetensors"):  # By such a name, torch would read it as such a file.
                with path.open("rb") as stream:
                    return torch.load(stream, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as failure:
        raise _refusal(path, str(failure)) from None
    except MemoryError:
        raise ExportError(
            f"{path}: needs more memory to be read than there is.", "Check where it comes from."
        ) from None
    except Exception as failure:
        raise ExportError(
            f"{path}: cannot be read as a PyTorch checkpoint: {first_line(failure)}",
            "Copy the file again; if that does not help, save it anew on the training machine.",
        ) from None


def first_line(failure: Exception) -> str:
    """What a foreign exception says first."""
    lines = str(failure).strip().splitlines()
    return printable(lines[0], 200) if lines else type(failure).__name__


def type_name(value: object) -> str:
    """A value's class as the file names it."""
    return type(value).__name__


def _refusal(path: Path, said: str) -> ExportError:
    for hint, (what, cure) in UNCONSOLIDATED.items():
        if re.search(rf"GLOBAL {re.escape(hint)}|{re.escape(hint)}.{{0,20}} must be imported", said):
            return ExportError(f"{path}: {what}.", cure)
    operand = re.search(r"Unsupported operand (\d+)", said)
    if operand:
        return ExportError(
            f"{path}: a pickle with the operation {operand[1]}, of a newer protocol than the 2 that torch.save writes.",
            convert(path),
        )
    found = re.search(r"GLOBAL ([\w.]+)", said) or re.search(r"class[^\w]+([\w.]+)", said)
    culprit = found[1] if found else f"something unreadable ({printable(said, 200)})"
    return ExportError(
        f"{path}: holds {culprit}, which is not data. Tensors, numbers, text, lists and dicts were "
        "expected; to read more would run code from the file.",
        convert(path),
    )
