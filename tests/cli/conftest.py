"""A study and a record of one synthetic patient, small enough for the tiny bundles."""

from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.demo.phantom import Phantom, make_phantom
from mmcaf_engine.demo.write_dicom import write_series


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return make_phantom(3, size=64)


@pytest.fixture(scope="session")
def series(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of single-frame CT files; read it, do not change it."""
    folder = tmp_path_factory.mktemp("study") / "series"
    write_series(phantom, folder)
    return folder


@pytest.fixture
def record(phantom: Phantom) -> dict[str, Any]:
    return {"sex": phantom.patient.sex, "age": phantom.patient.age}
