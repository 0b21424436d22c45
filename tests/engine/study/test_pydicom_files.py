"""pydicom's own test files, old, odd and broken: each gives a volume or a reason, never another exception."""

import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import data

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import list_series, read_study
from mmcaf_engine.volume import Intensity

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

FOLDER = Path(data.__file__).parent / "test_files"
"""What the wheel holds; pydicom's own look-up would download more."""
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
SECONDS = 10.0
"""Per file; the slowest takes well under one second."""

READ = {
    "CT_small.dcm": (1, 128, 128),
    "693_J2KI.dcm": (1, 512, 512),
    "MR_small.dcm": (1, 64, 64),
    "examples_overlay.dcm": (1, 300, 484),
}
"""Files that must be read, with the shape of their volume."""
SAME = ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded")
"""MR_small.dcm in other encodings."""


def outcome(path: Path, **options: str) -> str:
    started = time.perf_counter()
    try:
        study = read_study(path, intensity="stored", **options)
    except StudyError as failure:
        assert failure.problem and failure.remedy
        return failure.problem
    finally:
        assert time.perf_counter() - started < SECONDS
    assert np.isfinite(study.volume.values).all()
    assert study.volume.values.ndim == 3
    return ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_gives_an_answer_or_a_reason(path: Path) -> None:
    problem = outcome(path)
    if path.name in READ:
        assert problem == ""
        assert read_study(path, intensity="stored").volume.values.shape == READ[path.name]


@pytest.mark.parametrize("encoding", SAME)
def test_one_image_in_every_encoding(encoding: str) -> None:
    plain, other = (read_study(FOLDER / f"MR_small{end}.dcm", intensity="stored") for end in ("", f"_{encoding}"))
    assert np.array_equal(plain.volume.values, other.volume.values)


def test_there_are_files_to_test() -> None:
    assert len(FILES) >= 60


def test_all_of_them_in_one_folder_give_a_reason() -> None:
    """A folder of many patients is refused, whatever else is in it."""
    assert outcome(FOLDER)


@pytest.mark.parametrize("path", FILES[::4], ids=lambda path: str(path.relative_to(FOLDER)))
def test_lists_or_refuses(path: Path) -> None:
    try:
        found = list_series(path)
    except StudyError as failure:
        assert failure.remedy
        return
    assert (found.problem is None) == any(entry.chosen and entry.refused is None for entry in found.series)
    for entry in found.series:
        intensity: Intensity = "hounsfield" if entry.modality == "CT" else "rescaled"
        if entry.chosen and entry.refused is None:
            read_study(path, intensity=intensity)
        elif entry.chosen:
            with pytest.raises(StudyError) as caught:
                read_study(path, intensity=intensity)
            assert caught.value.problem == entry.refused == found.problem
