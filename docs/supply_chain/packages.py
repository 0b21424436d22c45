"""The packages that an installation consists of, by what the installed wheels say of themselves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "mmcaf-infer"
NOTICE = re.compile(r"licen[cs]e|notice|copying|third.?party", re.IGNORECASE)
SHORT = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "OSI Approved :: Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "BSD License": "BSD",
}
"""What wheels call a licence -> its SPDX identifier; BSD where they do not say which."""


@dataclass(frozen=True)
class Package:
    """notices: how many files of the wheel are licences and notices, its own and those of what it holds."""

    name: str
    version: str
    licence: str
    home: str
    notices: int
    requires: tuple[str, ...]


def installed(extras: tuple[str, ...] = ()) -> dict[str, Package]:
    """Name -> package, of the project with these extras and all that they require here.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    found: dict[str, Package] = {}
    wanted = [(PROJECT, frozenset(extras))]
    looked_at = set()
    while wanted:
        name, of_extras = asked = wanted.pop()
        if asked in looked_at:
            continue
        looked_at.add(asked)
        whole = distribution(name)
        below = list(_required(whole, of_extras))
        before = found[name].requires if name in found else ()
        requires = tuple(sorted({*before, *(one for one, _ in below)}))
        found[name] = Package(name, whole.version, licence(whole), _home(whole), _notices(whole), requires)
        wanted += below
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """The SPDX expression of a wheel, or what it says instead; "not said" where it says nothing."""
    metadata = package.metadata
    classified = [name.split(" :: ")[-1] for name in metadata.get_all("Classifier") or [] if name.startswith("License")]
    free = (metadata.get("License") or "").strip()
    said = metadata.get("License-Expression") or (free if "\n" not in free and len(free) < 60 else "")
    said = said or " and ".join(classified) or "not said"
    return SHORT.get(said, said)


def _required(package: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for line in package.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _home(package: Distribution) -> str:
    named = dict(url.split(", ", 1) for url in package.metadata.get_all("Project-URL") or [] if ", " in url)
    by_name = {name.lower(): url for name, url in named.items()}
    likely = [by_name[name] for name in ("homepage", "home", "repository", "source", "source code") if name in by_name]
    return package.metadata.get("Home-page") or next(iter([*likely, *named.values()]), "")


def _notices(package: Distribution) -> int:
    return sum(bool(NOTICE.search(str(file))) for file in package.files or [])
