"""Safetensors files: a header in JSON, then bytes."""

from pathlib import Path

from torch import Tensor

from mmcaf_engine.errors import ExportError
from mmcaf_engine.files import reading
from mmcaf_engine.strict_json import parse_json

from .restricted import first_line

_MAX_HEADER = 100_000_000
"""The format's own limit, in bytes."""


def is_safetensors(start: bytes) -> bool:
    """Whether a file that begins so is one."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _MAX_HEADER


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata; of tensors that were tied, each under its own name, as the metadata tells it.

    Raises:
        ExportError: damaged.
    """
    from safetensors import SafetensorError, safe_open

    _refuse_twice(path)
    try:
        with safe_open(path, framework="pt") as archive:
            metadata = dict(archive.metadata() or {})
            state = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError, RuntimeError) as failure:
        raise ExportError(
            f"{path}: cannot be read as safetensors: {first_line(failure)}", "Copy the file again."
        ) from None
    tied = {name: state[kept] for name, kept in metadata.items() if name not in state and kept in state}
    return state | tied, {name: value for name, value in metadata.items() if name not in tied}


def _refuse_twice(path: Path) -> None:
    """Refuse a header that has a name twice, which the format forbids and its reader does not see.

    Raises:
        ExportError: it has, or is no JSON.
    """
    with reading(path, ExportError), path.open("rb") as stream:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
    parse_json(header, name=f"{path}: its header", error=ExportError, max_bytes=_MAX_HEADER)
