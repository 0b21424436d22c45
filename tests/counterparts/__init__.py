"""Programs of others that tests compare with; `tests/counterparts/install` brings them, tests never do."""

import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_FOLDER = Path(__file__).parents[2] / "build" / "counterparts"
_PROGRAMS = ("venv/bin", "cuda/nvidia/cu13/bin")


def find(*names: str) -> str | None:
    """Path of the first of these programs that is installed."""
    places = [*(str(_FOLDER / folder) for folder in _PROGRAMS), None]
    return next(filter(None, (shutil.which(name, path=place) for name in names for place in places)), None)


def need(*names: str) -> str:
    """Path of the first of these programs that is installed; without any, the test is skipped."""
    return find(*names) or _skip(names[0])


def need_npm(package: str) -> Path:
    """The folder in which Node.js finds a package; without it, the test is skipped."""
    need("node")
    folder = _FOLDER / "npm"
    return folder if (folder / "node_modules" / package).is_dir() else _skip(package)


def need_package(name: str) -> Path:
    """The folder from which Python imports a package that is no part of the environment; without it, a skip."""
    folder = _FOLDER / name
    return folder if (folder / name).is_dir() else _skip(name)


def need_folder(*path: str) -> Path:
    """A folder of files that are no package; without it, a skip."""
    folder = _FOLDER.joinpath(*path)
    return folder if folder.is_dir() else _skip(path[0])


def _skip(name: str) -> NoReturn:
    pytest.skip(f"{name} is not installed; tests/counterparts/install brings it")
