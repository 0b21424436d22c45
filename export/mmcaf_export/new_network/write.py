"""The files of a package with a network of its own, made from templates and written all at once."""

import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from mmcaf_engine.outputs import Output, check_writable, commit_folder, refused, scratch_beside

from .name import NetworkName, check_name

Kind = Literal["volume", "image", "table"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_SHARED = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/ci.yml",
    "make_checkpoint.py": "make_checkpoint.py",
    "__init__.py": "src/%MODULE%/__init__.py",
    "test.py": "tests/test_%MODULE%.py",
}
"""Template of every kind -> its place in the package."""
_OWN = {"network.py": "src/%MODULE%/network.py", "entry.py": "src/%MODULE%/entry.py"}
"""Templates that each kind has its own of."""

_DEMO = {
    "volume": ("mmcaf demo -o demo", "mmcaf-infer demo/study.dcm demo/record.json --bundle {bundle}"),
    "image": ("mmcaf demo --kind chest -o demo", "mmcaf-infer demo/study.dcm demo/record.json --bundle {bundle}"),
    "table": ("mmcaf demo -o demo", "mmcaf-infer demo/record.json --bundle {bundle}"),
}
"""Commands that try a bundle."""

_STUDY = {
    "volume": 'study = Volume(np.full((26, 64, 64), -800, np.int16), "hounsfield", spacing_mm=(2.5, 0.7, 0.7))\n'
    "    study.values[:, 16:48, 16:48] = 40",
    "image": 'study = tmp_path / "study.png"\n'
    "    Image.fromarray(np.arange(80 * 96, dtype=np.uint32).reshape(80, 96).astype(np.uint8)).save(study)",
    "table": "study = None",
}
"""How the package's test makes a study."""


@dataclass(frozen=True)
class NewNetwork:
    """A package that was written: its folder, its files as paths within that, and the commands to go on with."""

    name: NetworkName
    folder: Path
    files: tuple[str, ...]
    commands: tuple[str, ...]


def write_network(name: str, kind: Kind = "volume", folder: Path | None = None, *, force: bool = False) -> NewNetwork:
    """Write a package with a network that exports as it stands.

    Args:
        name: of the network and of the package, such as `lung-airway`.
        kind: what it reads: a CT volume and a record, a radiograph and a record, or a record alone.
        folder: where to; by default the name, in the current folder.
        force: replace the files of such a package, if the folder holds no others.

    Raises:
        UsageError: the name is none, or is taken; or nothing may be written there.
    """
    place = Output(
        "output",
        folder if folder is not None else Path(name),
        "whole",
        own=lambda there: {*rendered, *_left_by_tools(there)},
    )
    checked = check_name(name, place.path)
    rendered = render(checked, kind, place.path)
    check_writable([place], force=force)
    with scratch_beside(place) as scratch:
        staged = scratch / "package"
        with refused(place):
            for path, text in rendered.items():
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                (staged / path).write_text(text, encoding="utf-8")
            commit_folder(staged, place.path, replace=force)
    return NewNetwork(checked, place.path, tuple(rendered), commands(place.path, kind))


def _left_by_tools(folder: Path) -> set[str]:
    """Files of a package that Python, pip, pytest and ruff made of the others."""
    places = ("**/__pycache__", "*.egg-info", ".pytest_cache", ".ruff_cache")
    found = (file for place in places for made in folder.glob(place) for file in made.rglob("*"))
    return {file.relative_to(folder).as_posix() for file in found if file.is_file() and not file.is_symlink()}


def render(name: NetworkName, kind: Kind, folder: Path) -> dict[str, str]:
    """Path within the package -> text of the file."""
    words = {
        "%NAME%": name.name,
        "%MODULE%": name.module,
        "%CLASS%": name.class_name,
        "%TITLE%": name.title,
        "%DEMO%": "\n".join(_DEMO[kind]).format(bundle="tiny.mmcaf"),
        "%ENGINE%": ("Volume, " if kind == "volume" else "") + "infer, load_bundle, open_session",
        "%PICTURES%": "from PIL import Image\n" if kind == "image" else "",
        "%STUDY%": _STUDY[kind],
    }
    templates = files(__package__) / "templates"
    found = {}
    for group, places in (("common", _SHARED), (kind, _OWN)):
        for template, place in places.items():
            text = (templates / group / f"{template}.template").read_text(encoding="utf-8")
            found[_filled(place, words)] = _filled(text, words)
    return found


def commands(folder: Path, kind: Kind) -> tuple[str, ...]:
    """What to do with a package that stands in `folder`, in this order."""
    bundle = f"{folder.name}.mmcaf"
    checkpoint = f"{folder.name}.safetensors"
    return (
        _line("pip", "install", "--no-deps", "--editable", folder if folder.is_absolute() else f"./{folder}"),
        _line("python", folder / "make_checkpoint.py", checkpoint),
        _line("mmcaf", "export", checkpoint, "-o", bundle),
        _line("mmcaf", "verify", bundle),
        *(command.format(bundle=shlex.quote(bundle)) for command in _DEMO[kind]),
        _line("pytest", folder),
    )


def _line(*words: str | Path) -> str:
    return shlex.join(map(str, words))


def _filled(text: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text
