"""What was prepared for a session on a lent GPU: a list of its files, and all that is wrong with them on this machine.

gpu_session_prepare.py writes the list, gpu_session.py asks before its first step.
"""

import hashlib
import json
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from network_files import FILES

LIST = "made-by-gpu-session.json"
"""In the folder that is carried: path within it -> size in bytes and SHA-256; empty until all is made."""
WHEELS = (
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-extensions",
    "typing-inspection",
    "pydicom",
    "nibabel",
    "onnx",
    "onnx-ir",
    "ml-dtypes",
    "protobuf",
    "cuda-bindings",
    "cuda-pathfinder",
    "pytest-xdist",
    "execnet",
)
"""What the steps, and an answer from a study, import beyond torch, Triton, NumPy, pytest and what these need; in the
versions installed where it was prepared."""
FATBIN, CUBINS, COMMIT = "msdc.fatbin", "cubin", "commit"
NEEDED = (FATBIN, COMMIT, f"{CUBINS}/kernels.json", *(f"network/{name}" for name in FILES))
_FATBIN_MAGIC, _ELF = 0xBA55ED50, 2


def write_list(folder: Path) -> None:
    """List all that lies in the folder."""
    listed = {name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for name, file in _files(folder).items()}
    (folder / LIST).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def wheels(folder: Path) -> list[Path]:
    """The carried packages."""
    return sorted((folder / "wheels").glob("*.whl"))


def faults(folder: Path, capability: tuple[int, int] | None) -> list[str]:
    """What is missing, damaged or not for this machine, each in words; none where all is as it was prepared.

    capability: the GPU's, such as (9, 0); None where there is none, and then nothing is said of what was compiled.
    """
    try:
        listed: dict[str, dict[str, Any]] = json.loads((folder / LIST).read_text(encoding="utf-8"))
        expected = {name: (facts["bytes"], facts["sha256"]) for name, facts in listed.items()}
    except FileNotFoundError:
        return [f"{LIST}: missing; nothing was prepared there"]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return [f"{LIST}: damaged, or the preparation did not end"]
    there = _files(folder)
    found = [
        *(f"{name}: missing" for name in NEEDED if name not in listed),
        *(f"wheels/{name}: missing" for name in WHEELS if name not in {_package(other) for other in listed}),
        *(f"{name}: not of what was prepared" for name in there if name not in expected),
        *(f"{name}: {why}" for name, facts in expected.items() if (why := _wrong(folder / name, *facts))),
    ]
    damaged = {line.partition(": ")[0] for line in found}
    found += _of_another_python(folder, damaged)
    if capability is not None:
        found += _of_another_gpu(folder, damaged, capability)
    return found


def fatbin_targets(file: Path) -> list[int]:
    """For which targets a fatbin holds compiled code: 90 for sm_90.

    Raises:
        ValueError: it is no fatbin.
    """
    data = file.read_bytes()
    try:
        magic, _, at, size = struct.unpack_from("<IHHQ", data)
        if magic != _FATBIN_MAGIC or at + size != len(data):
            raise ValueError("no fatbin")
        found = []
        while at < len(data):
            kind, _, header, size = struct.unpack_from("<HHIQ", data, at)
            if kind == _ELF:
                found.append(struct.unpack_from("<I", data, at + 28)[0])
            at += header + size
    except struct.error:
        raise ValueError("no fatbin") from None
    return found


def _files(folder: Path) -> dict[str, Path]:
    """Path within the folder -> path, of all but folders and the list."""
    found = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if not file.is_dir()}
    return {name: file for name, file in found.items() if name != LIST}


def _package(name: str) -> str | None:
    """Of a listed path, which package it is a wheel of, as PyPI spells it."""
    within, _, file = name.partition("/")
    return file.split("-")[0].replace("_", "-").lower() if within == "wheels" and file.endswith(".whl") else None


def _wrong(file: Path, size: int, digest: str) -> str | None:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            return "not a file"
        if found.st_size != size:
            return f"damaged, {found.st_size} bytes instead of {size}"
        return None if _sha256(file) == digest else "damaged, its bytes are others than those that were prepared"
    except FileNotFoundError:
        return "missing"
    except OSError as failure:
        return f"cannot be read, {failure.strerror}"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _of_another_python(folder: Path, damaged: set[str]) -> Iterator[str]:
    from packaging.tags import sys_tags  # pytest brings it
    from packaging.utils import parse_wheel_filename

    ours = set(sys_tags())
    for wheel in wheels(folder):
        name = f"wheels/{wheel.name}"
        if name not in damaged and ours.isdisjoint(parse_wheel_filename(wheel.name)[3]):
            yield f"{name}: not for this Python, {sys.version_info[0]}.{sys.version_info[1]}, or this system"


def _of_another_gpu(folder: Path, damaged: set[str], capability: tuple[int, int]) -> Iterator[str]:
    from mmcaf_kernels.cubin import read_kernels

    needed = "this GPU, of compute capability {}.{}".format(*capability)
    if FATBIN not in damaged:
        try:
            targets = fatbin_targets(folder / FATBIN)
        except ValueError:
            yield f"{FATBIN}: not a fatbin"
        else:
            if not any(fits(target, capability) for target in targets):
                yield f"{FATBIN}: compiled for {_listed(targets)}; not for {needed}"
    if f"{CUBINS}/kernels.json" not in damaged:
        try:
            entries = read_kernels(folder / CUBINS)
        except ValueError as failure:
            yield f"{CUBINS}/kernels.json: {failure}"
            return
        targets = sorted({int(entry.target.removeprefix("sm_")) for entry in entries})
        if not any(fits(target, capability) for target in targets):
            yield f"{CUBINS}: compiled for {_listed(targets)}; not for {needed}"


def fits(target: int, capability: tuple[int, int]) -> bool:
    """Compiled code runs on GPUs of its major version that are not older."""
    return target // 10 == capability[0] and target % 10 <= capability[1]


def _listed(targets: list[int]) -> str:
    return ", ".join(f"sm_{target}" for target in targets) or "no target"
