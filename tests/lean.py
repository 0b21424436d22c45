"""Runs pytest with its arguments where some packages and what they need are all that can be imported.

python tests/lean.py torch,triton,numpy,pytest -m gpu tests/kernels
"""

import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType

import pytest

OURS = ("mmcaf_cli", "mmcaf_engine", "mmcaf_export")


class Only(MetaPathFinder):
    """Hides every other installed package, and those of this project but the kernels."""

    def __init__(self, packages: Sequence[str]) -> None:
        kept = needed(packages)
        self._hidden = {
            *OURS,
            *(module for module, owners in packages_distributions().items() if kept.isdisjoint(map(canonical, owners))),
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, for others to find it; raises ModuleNotFoundError for what is hidden."""
        if fullname.partition(".")[0] in self._hidden:
            raise ModuleNotFoundError(f"{fullname} is not among the few packages", name=fullname)
        return None


def needed(packages: Sequence[str]) -> set[str]:
    """The distributions and all that they require without extras, as far as they are installed."""
    found: set[str] = set()
    left = list(packages)
    while left:
        name = canonical(left.pop())
        if name in found:
            continue
        try:
            required = requires(name) or []
        except PackageNotFoundError:
            continue
        found.add(name)
        left += [re.split(r"[^\w.-]", one)[0] for one in required if "extra ==" not in one]
    return found


def canonical(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.meta_path.insert(0, Only(sys.argv[1].split(",")))
    sys.exit(pytest.main(sys.argv[2:]))
