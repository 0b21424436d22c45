"""A MONAI bundle's files: a folder or a zip of one; configuration and weights are read, nothing is run."""

import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mmcaf_engine.errors import BackendError, ExportError, Remedy, printable
from mmcaf_engine.files import read_bounded, reading
from mmcaf_engine.machine.installation import install_packages
from mmcaf_engine.outputs import temporary_folder
from mmcaf_engine.strict_json import MAX_DEPTH, MAX_JSON_BYTES, parse_json

METADATA = "configs/metadata.json"
_INFERENCE = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
_WEIGHTS = ("models/model.pt", "models/model.pth", "models/model.safetensors")
_SCRIPTED = "models/model.ts"


@dataclass(frozen=True)
class MonaiFiles:
    """What a bundle says, and where its weights lie.

    path: as it was named. metadata, inference: the documents, nothing in them evaluated. inference_name: of the file.
    """

    path: Path
    metadata: Mapping[str, Any]
    inference: Mapping[str, Any]
    inference_name: str
    weights: Path


def is_monai_bundle(path: str | Path) -> bool:
    """Whether it is a folder with configs/metadata.json, or a zip of one; what cannot be read is none."""
    path = Path(path)
    try:
        if path.is_dir():
            return (path / METADATA).is_file()
        if not path.is_file() or not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return _root(archive) is not None
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


@contextmanager
def opened(path: str | Path) -> Iterator[MonaiFiles]:
    """A bundle's documents, and its weights as a file that is there within the block.

    Raises:
        ExportError: a file is missing, damaged, or no document.
        BackendError: its configuration is YAML, and PyYAML is not installed.
    """
    path = Path(path)
    if path.is_dir():
        names = {name for name in (METADATA, *_INFERENCE, *_WEIGHTS, _SCRIPTED) if (path / name).is_file()}
        weights = path / _weights(path, names)
        yield _documents(path, names, lambda name: _read(path / name), weights)
        return
    with reading(path, ExportError), zipfile.ZipFile(path) as archive:
        root = _root(archive)
        if root is None:
            raise ExportError(f"{path}: no MONAI bundle; {METADATA} is missing.", "Check the path.")
        names = {name.removeprefix(root) for name in archive.namelist() if name.startswith(root)}
        member = _weights(path, names)
        with temporary_folder() as folder:
            weights = folder / PurePosixPath(member).name
            try:
                with archive.open(root + member) as source, weights.open("xb") as target:
                    shutil.copyfileobj(source, target)
                found = _documents(path, names, lambda name: _member(archive, root + name, path), weights)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as failure:
                raise ExportError(f"{path}: damaged: {printable(str(failure), 200)}.", "Copy the file again.") from None
            yield found


def _root(archive: zipfile.ZipFile) -> str | None:
    """The folder within an archive that holds the bundle: "" or "NAME/"."""
    for name in archive.namelist():
        root = name.removesuffix(METADATA)
        if root != name and root.count("/") <= 1 and (not root or root.endswith("/")):
            return root
    return None


def _weights(path: Path, names: set[str]) -> str:
    for name in _WEIGHTS:
        if name in names:
            return name
    if _SCRIPTED in names:
        raise ExportError(
            f"{path}: holds its network as TorchScript alone ({_SCRIPTED}), which is code, and is not run.",
            "Put its weights beside it where it is trusted: torch.save(torch.jit.load('models/model.ts').state_dict(), "
            "'models/model.pt')",
        )
    raise ExportError(f"{path}: holds no weights; expected {_WEIGHTS[0]}.", "Copy the bundle again, with its models.")


def _documents(path: Path, names: set[str], read: Callable[[str], bytes], weights: Path) -> MonaiFiles:
    inference = [name for name in _INFERENCE if name in names]
    if not inference:
        raise ExportError(
            f"{path}: holds no configuration of inference; expected {_INFERENCE[0]} or {_INFERENCE[1]}.",
            "Copy the bundle again, with its configs.",
        )
    if len(inference) > 1:
        raise ExportError(
            f"{path}: holds {' and '.join(inference)}, of which it does not say which counts.", "Remove one of them."
        )
    documents = []
    for name in (METADATA, inference[0]):
        content = read(name)
        told = f"{path}: {name}"
        parsed = (
            parse_json(content, name=told, error=ExportError) if name.endswith(".json") else _parse_yaml(content, told)
        )
        if not isinstance(parsed, dict) or not all(isinstance(key, str) for key in parsed):
            raise ExportError(f"{told}: a mapping of names was expected.", "Copy the bundle again.")
        documents.append(parsed)
    return MonaiFiles(path, documents[0], documents[1], inference[0], weights)


def _read(path: Path) -> bytes:
    with reading(path, ExportError):
        return read_bounded(path, error=ExportError, max_bytes=MAX_JSON_BYTES)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    with archive.open(name) as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ExportError(f"{path}: {name} is longer than {MAX_JSON_BYTES} bytes.")
    return content


def _parse_yaml(content: bytes, name: str) -> Any:
    """YAML as plain values: tags that make objects are refused, and so are aliases, which can grow without end."""
    try:
        import yaml
    except ImportError:
        raise BackendError(
            f"{name}: reading it needs PyYAML, which is not installed.",
            Remedy("Install it", command=install_packages("pyyaml")),
        ) from None
    try:
        depth = 0
        for event in yaml.parse(content, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ExportError(f"{name}: holds a YAML alias (*name); write the values out.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ExportError(f"{name}: YAML that is nested deeper than {MAX_DEPTH} levels.")
        return yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as failure:
        raise ExportError(f"{name}: not YAML of plain values: {printable(str(failure), 200)}.") from None
