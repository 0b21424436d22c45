"""Files that are no checkpoint to read: what they are, and what to do."""

import tarfile
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipInfo

from mmcaf_engine.errors import ExportError, Remedy

from .convert import convert

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file that it stands for",
        "Fetch the file itself with git lfs pull.",
    ),
    (b"\x89HDF", "an HDF5 file, as Keras and MATLAB write them", "Save the weights of the PyTorch network."),
    (b"GGUF", "a GGUF file, whose weights are quantized", "Export the checkpoint that it was made from."),
    (b"\x93NUMPY", "one numpy array", "Save the weights with torch.save(network.state_dict(), 'weights.pth')."),
    (b"\x1f\x8b", "compressed with gzip", "Decompress it with gunzip, and export what is in it."),
    (b"BZh", "compressed with bzip2", "Decompress it, and export what is in it."),
    (b"\xfd7zXZ", "compressed with xz", "Decompress it, and export what is in it."),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "Decompress it, and export what is in it."),
    (b"<!DOCTYPE", "a web page, as of a download that failed", "Download the file again."),
    (b"<!doctype", "a web page, as of a download that failed", "Download the file again."),
    (b"<html", "a web page, as of a download that failed", "Download the file again."),
)


def refuse_other(path: Path, start: bytes) -> ExportError:
    """The refusal of a file that is neither a zip, safetensors, an index, nor what torch.save once wrote."""
    for magic, what, cure in _MAGIC:
        if start.startswith(magic):
            return ExportError(f"{path}: not a checkpoint but {what}.", cure)
    if start[257:262] == b"ustar" or (start[:1].isalnum() and _is_tar(path)):
        return _tar(path)
    if start[:1] == b"\x80":
        return ExportError(
            f"{path}: a pickle that torch.save did not write, which can only be read by running it.",
            convert(path, "pickle"),
        )
    return ExportError(
        f"{path}: not a checkpoint; it begins with {start[:16]!r}, a PyTorch zip (.pth, .pt) or a .safetensors "
        "file was expected.",
        "Check the path.",
    )


def refuse_other_zip(path: Path, entries: Sequence[ZipInfo]) -> None:
    """Refuse a zip that is no checkpoint of torch.save; nothing in it is run.

    Raises:
        ExportError: it is another.
    """
    names = [entry.filename for entry in entries]
    tails = {name.partition("/")[2] for name in names}
    if "constants.pkl" in tails or any(tail.startswith("code/") for tail in tails):
        raise ExportError(
            f"{path}: a TorchScript program, not a checkpoint: it holds code, and code of a file is not run.",
            convert(path, "script"),
        )
    if any(tail.startswith("models/") or "exported_program" in tail for tail in (*tails, *names)):
        raise ExportError(
            f"{path}: a program of torch.export (.pt2), not a checkpoint: code of a file is not run.",
            convert(path, "program"),
        )
    if "data.pkl" in tails:
        return
    inside = [name for name in names if name.endswith((".pth", ".pt", ".safetensors", ".ckpt", ".tar", ".bin"))]
    if inside:
        raise ExportError(f"{path}: an archive with {', '.join(inside[:4])} in it.", "Unpack it, and export that file.")
    raise ExportError(
        f"{path}: cannot be read as a PyTorch checkpoint: a zip of other files ({', '.join(names[:4]) or 'none'}).",
        Remedy("Check the path"),
    )


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except OSError:
        return False


def _tar(path: Path) -> ExportError:
    try:
        with tarfile.open(path, "r:") as archive:
            names = archive.getnames()[:64]
    except (tarfile.TarError, OSError, ValueError):
        names = []
    if {"storages", "tensors", "pickle"} <= set(names):
        return ExportError(
            f"{path}: a tar in the format of PyTorch before 0.1.10, which can only be read by running it.",
            convert(path),
        )
    return ExportError(
        f"{path}: a tar archive ({', '.join(names[:4])}), not a checkpoint.", "Unpack it, and export a file of it."
    )
