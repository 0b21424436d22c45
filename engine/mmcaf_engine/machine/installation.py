"""The command that brings a missing package, for the way in which this project was installed.

A remedy never names this project's own package alone: an index that does not hold it would give whatever a stranger
registered there under that name.
"""

import json
import shlex
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DISTRIBUTION = "mmcaf-infer"

UPDATE = "Update it, from where this installation came from."
"""What to do where a file is newer than this program."""


def installed_version(package: str) -> str | None:
    """A package's version, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def install_command(extra: str) -> str:
    """The command that adds one of this project's extras.

    By direct_url.json (PEP 610): the source folder, file, URL or version control reference that the project came from,
    with the extra. Where it came from an index, or that folder or file is gone: what the extra requires. Where nothing
    is known of the installation: the source folder that this module lies in, or the current one.
    """
    installed = _installed()
    known = (_reference(installed, extra) or _requirements(installed, extra)) if installed is not None else ()
    return install_packages(*(known or (f"{_source_folder()}[{extra}]",)))


def install_package(name: str) -> str:
    """The command that brings a package that this project always needs, in the version that it needs."""
    from packaging.requirements import Requirement

    installed = _installed()
    needed = [Requirement(text) for text in (installed.requires if installed is not None else None) or ()]
    own = {str(one.specifier) for one in needed if one.name == name and "extra" not in str(one.marker or "")}
    return install_packages(name + ",".join(sorted(own)))


def install_packages(*arguments: str) -> str:
    """A command that installs what `arguments` say, to be pasted in a shell."""
    return shlex.join(["pip", "install", *arguments])


def _installed() -> Distribution | None:
    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None


def _source_folder() -> str:
    root = Path(__file__).resolve().parents[3]
    return str(root) if (root / "pyproject.toml").is_file() else "."


def _reference(installed: Distribution, extra: str) -> tuple[str, ...]:
    """pip's arguments for what the project was installed from; none where that is an index, or is gone."""
    from urllib.request import url2pathname  # only here: it loads what opens connections

    origin = _origin(installed)
    url = origin.get("url")
    if not isinstance(url, str):
        return ()
    try:
        address = urlsplit(url)
    except ValueError:
        return ()
    if address.scheme == "file" and "vcs_info" not in origin:
        path = Path(url2pathname(address.path))
        if not path.exists():
            return ()
        editable = _mapping(origin.get("dir_info")).get("editable") is True
        return (*(("-e",) if editable else ()), f"{path}[{extra}]")
    vcs = _mapping(origin.get("vcs_info"))
    if vcs:
        url = f"{vcs.get('vcs')}+{url}@{vcs.get('commit_id')}"
    folder = origin.get("subdirectory")
    return (f"{DISTRIBUTION}[{extra}] @ {url}{f'#subdirectory={folder}' if folder else ''}",)


def _origin(installed: Distribution) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(installed.read_text("direct_url.json") or "{}"))
    except ValueError:
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _requirements(installed: Distribution, extra: str) -> tuple[str, ...]:
    """What the extra requires on this machine, as requirements without markers."""
    from packaging.requirements import Requirement

    found = []
    for requirement in map(Requirement, installed.requires or ()):
        marker = requirement.marker
        if marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            found.append(f"{requirement.name}{requirement.specifier}")
    return tuple(found)
