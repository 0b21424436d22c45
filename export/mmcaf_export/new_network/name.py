"""The name of a new network: one that Python, pip and the exporter all take, and that nothing else here has."""

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from mmcaf_engine.errors import UsageError, printable

from ..networks.registry import Networks

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
_RESERVED = {
    **dict.fromkeys(("con", "prn", "aux", "nul"), "a device of Windows"),
    **dict.fromkeys(("tests", "src", "docs", "make-checkpoint"), "a part of every such package"),
}


@dataclass(frozen=True)
class NetworkName:
    """One name in its four spellings.

    name: of network and distribution, `lung-airway`; module: as Python imports it, `lung_airway`; class_name: how its
    classes begin, `LungAirway`; title: as people call it, `Lung airway`.
    """

    name: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def class_name(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def title(self) -> str:
        return self.name.replace("-", " ").capitalize()


def check_name(text: str, folder: Path | None = None) -> NetworkName:
    """A name that a network may have.

    Args:
        folder: of the package that it is for: what was installed from there may have the name already.

    Raises:
        UsageError: it cannot be one, or a network, a module or an installed package has it.
    """
    if not _NAME.fullmatch(text) or len(text) > _LONGEST:
        raise UsageError(
            f"{printable(text)!r} cannot be a network's name: expected lower-case letters and digits, in words with "
            f"single hyphens between them, that begin with a letter; at most {_LONGEST} characters.",
            _suggestion(text),
        )
    name = NetworkName(text)
    if text in _RESERVED:
        raise UsageError(f"{text!r} cannot be a network's name: it is {_RESERVED[text]}.", _ANOTHER)
    if keyword.iskeyword(name.module):
        raise UsageError(f"{text!r} cannot be a network's name: it is a keyword of Python.", _ANOTHER)
    if name.module in sys.stdlib_module_names:
        raise UsageError(f"{text!r} cannot be a network's name: Python itself has a module so called.", _ANOTHER)
    if folder is None or not _is_installed_from(name.module, folder):
        _refuse_taken(name)
    return name


_ANOTHER = "Choose another name."


def _refuse_taken(name: NetworkName) -> None:
    networks = Networks()
    if name.name in networks.entries:
        raise UsageError(f"A network called {name.name!r} exists already: of {networks.origins[name.name]}.", _ANOTHER)
    if find_spec(name.module) is not None:
        raise UsageError(f"A module called {name.module!r} is installed already, which this one would hide.", _ANOTHER)
    try:
        found = distribution(name.name)
    except PackageNotFoundError:
        return
    raise UsageError(f"A package called {name.name!r} is installed already, in version {found.version}.", _ANOTHER)


def _is_installed_from(module: str, folder: Path) -> bool:
    """Whether Python imports it from within a folder, as after `pip install --editable`."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None and Path(spec.origin).is_relative_to(folder.resolve())


def _suggestion(text: str) -> str:
    found = re.sub(r"[^a-z0-9]+", "-", text.casefold()).lstrip("-0123456789")[:_LONGEST].strip("-")
    return f"For example: {found}." if _NAME.fullmatch(found) else "For example: lung-airway."
