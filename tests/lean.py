"""Runs pytest with its arguments where some packages and what they need are all that can be imported.

python tests/lean.py torch,triton,numpy,pytest -m gpu tests/kernels
"""

import re
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError, packages_distributions, requires
from types import ModuleType

import pytest

CONTEXT = DistributionFinder.Context()
OURS = ("mmcaf_cli", "mmcaf_engine", "mmcaf_export")


class Only(DistributionFinder):
    """Hides every other installed package, and those of this project but the kernels and what is named."""

    def __init__(self, packages: Sequence[str], finders: Sequence[MetaPathFinder]) -> None:
        kept = needed(packages)
        self._finders = finders
        self._hidden = {
            *(module for module in OURS if module not in packages),
            *(module for module, owners in packages_distributions().items() if kept.isdisjoint(map(canonical, owners))),
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the other finders, which is nothing for what is hidden, whether it is imported or asked for."""
        if fullname.partition(".")[0] in self._hidden:
            return None
        found = (finder.find_spec(fullname, path, target) for finder in self._finders)
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, context: DistributionFinder.Context = CONTEXT) -> Iterator[Distribution]:
        """As the other finders, those of hidden packages included."""
        for finder in self._finders:
            if hasattr(finder, "find_distributions"):
                yield from finder.find_distributions(context)

    def invalidate_caches(self) -> None:
        """Of the other finders."""
        for finder in self._finders:
            if hasattr(finder, "invalidate_caches"):
                finder.invalidate_caches()


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
    sys.meta_path[:] = [Only(sys.argv[1].split(","), [*sys.meta_path])]  # type: ignore[list-item]
    sys.exit(pytest.main(sys.argv[2:]))
