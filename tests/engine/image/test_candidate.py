"""How large an image may be."""

import pytest

from mmcaf_engine.errors import StudyError
from mmcaf_engine.image.candidate import MAX_PIXELS, MAX_SIDE, refuse_size


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (1, MAX_SIDE), (MAX_SIDE, 1), (MAX_SIDE, MAX_PIXELS // MAX_SIDE), (5792, 5792)]
)
def test_sizes_that_are_read(rows: int, columns: int) -> None:
    refuse_size(rows, columns, "image")


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        *((0, 1), (1, 0), (-1, 1), (1, MAX_SIDE + 1), (MAX_SIDE + 1, 1)),
        *((MAX_SIDE, MAX_PIXELS // MAX_SIDE + 1), (5793, 5793), (MAX_SIDE, MAX_SIDE)),
    ],
)
def test_sizes_that_are_refused(rows: int, columns: int) -> None:
    with pytest.raises(StudyError):
        refuse_size(rows, columns, "image")
