"""Shared fixtures: a private cache, and a tiny bundle that answers in microseconds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import Command
from tiny_bundle import make_tiny_bundle


@pytest.fixture(autouse=True, scope="session")
def private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache or configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCAF_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("MMCAF_BUNDLE", raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_bundle_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny valid bundle; read it, do not change it."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.mmcaf")


@pytest.fixture
def tiny_bundle(tiny_bundle_source: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle_source, tmp_path / "tiny.mmcaf"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Call it with a command's name and arguments."""
    return Command(monkeypatch, capsys)
