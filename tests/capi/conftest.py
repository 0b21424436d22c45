"""A tiny network for the C library."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from libmmcaf import (
    Network,
    libmmcaf,
    opened,
)
from shared import Shared
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(shared: Shared) -> Path:
    libmmcaf()
    return shared("tiny-for-c", lambda folder: make_tiny_bundle(folder / "tiny.mmcaf"))


@pytest.fixture(scope="module")
def network(bundle: Path) -> Iterator[Network]:
    with opened(bundle, cache="") as network:
        yield network
