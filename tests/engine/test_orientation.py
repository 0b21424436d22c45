"""How axes lie in the patient: every one of the 48 ways, there and back."""

from itertools import permutations, product

import numpy as np
import pytest

from mmcaf_engine.orientation import canonical, oriented

EVERY = ["".join(letters) for axes in permutations(("SI", "PA", "LR")) for letters in product(*axes)]
VOLUME = np.arange(2 * 3 * 4).reshape(2, 3, 4)
"""Toward head, back and left."""
STEP = {"S": (0, 1), "I": (0, -1), "P": (1, 1), "A": (1, -1), "L": (2, 1), "R": (2, -1)}
"""Letter -> the volume's axis that an index along it moves on, and whither."""


def test_there_are_48() -> None:
    assert len(set(EVERY)) == 48


@pytest.mark.parametrize("axes", EVERY)
def test_an_index_rises_as_its_letter_says(axes: str) -> None:
    turned = oriented(VOLUME, axes)
    for index in np.ndindex(turned.shape):
        place = [0, 0, 0]
        for letter, at in zip(axes, index, strict=True):
            axis, way = STEP[letter]
            place[axis] = at if way == 1 else VOLUME.shape[axis] - 1 - at
        assert turned[index] == VOLUME[tuple(place)]


@pytest.mark.parametrize("axes", EVERY)
def test_the_way_back(axes: str) -> None:
    assert np.array_equal(canonical(oriented(VOLUME, axes), axes), VOLUME)


@pytest.mark.parametrize("turn", [oriented, canonical])
def test_nothing_is_copied(turn: object) -> None:
    assert np.shares_memory(turn(VOLUME, "LAI"), VOLUME)  # type: ignore[operator]
