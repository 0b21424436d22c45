"""Shared fixtures: a private cache, a tiny bundle that answers in microseconds, and what is made once in a run.

Nothing of the product is imported before a test asks for it: the kernels' tests run where torch and pytest are all.
"""

import gc
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared import Shared

if TYPE_CHECKING:
    from command import Command
    from mmcaf_export.report import ExportReport


pytest_plugins = ("strict_skips",)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays to the end, so that the garbage collector need not look at it again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes of a run must collect the same tests, so no name may hold an object's address."""
    if named := next((item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{6}", item.nodeid)), None):
        raise pytest.UsageError(f"{named}: a name with an address is another one in the next process; give it an id")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What torch draws in a test is the same in every run, whichever tests its process had before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache or configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCAF_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("MMCAF_OPEN_TIMEOUT", "0")  # A process for each network that is opened first takes half a second.
        for name in ("BUNDLE", "REQUIRE_SIGNATURE", "ALLOW_OLDER_RELEASE", "KERNELS"):
            patch.delenv(f"MMCAF_{name}", raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_bundle_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny valid bundle; read it, do not change it."""
    from tiny_bundle import make_tiny_bundle

    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.mmcaf")


@pytest.fixture
def tiny_bundle(tiny_bundle_source: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle_source, tmp_path / "tiny.mmcaf"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Makes a thing once in the whole run, also where several processes run it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return Shared(folder)


@pytest.fixture(scope="session")
def example(shared: Shared) -> "Callable[[str], ExportReport]":
    """Exports one of the examples, such as "liver", when it is asked for first; read the bundle, do not change it."""

    def exported(name: str) -> "ExportReport":
        from example_exports import export_example

        return shared(f"example-{name}", lambda folder: export_example(name, folder / f"{name}.mmcaf"))

    return exported


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Command":
    """Call it with a command's name and arguments."""
    from command import Command

    return Command(monkeypatch, capsys)
