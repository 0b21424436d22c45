"""The answer as one picture: every word within its place, and the slices that it says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.inputs.prepare import Prepared, PreparedImage, PreparedSeries
from mmcaf_engine.inputs.windows import Windows
from mmcaf_engine.result import card, drawing
from mmcaf_engine.result.card import HEIGHT, MARGIN, WIDTH, WORDS, draw_card
from mmcaf_engine.result.explain import ExplanationMap
from mmcaf_engine.result.key_slices import key_slices
from mmcaf_engine.result.result import Result, Wording
from mmcaf_engine.volume import PatientHeader, StudyFacts
from tiny_result import tiny_result


def facts(slices: int) -> StudyFacts:
    return StudyFacts("CT", {}, PatientHeader(), slices, (1.0, 1.0, 1.0))


def volume(slices: int, starts: tuple[int, ...], depth: int, of: int | None = None) -> PreparedSeries:
    """Slices that are bright from the row of their number on."""
    values = np.zeros((slices, 16, 16), np.float32)
    for at in range(slices):
        values[at, at % 16 :] = 1
    resized = of if of is not None and of > slices else None
    return PreparedSeries("image", facts(of or slices), Windows(values, depth, starts, resized_from=resized))


def drawn(result: Result, prepared: Prepared, deciding: int) -> NDArray[np.uint8]:
    return draw_card(result, key_slices(prepared, deciding))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written, in order."""
    texts: list[str] = []
    real = card.write

    def noting(draw: Any, place: tuple[int, int], text: str, *rest: Any, **options: Any) -> None:
        texts.append(text)
        real(draw, place, text, *rest, **options)

    monkeypatch.setattr(card, "write", noting)
    return texts


def inked(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (picture != 16).any(axis=2)


def test_it_says_the_answer_and_what_it_is_not_for(said: list[str]) -> None:
    result = replace(tiny_result("a gap"), disclaimer="Not a medical device.")
    picture = drawn(result, Prepared((volume(8, (0, 4), 4),)), 1)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    words = " ".join(said)
    for text in (
        "RESEARCH",
        "loud",
        "Not a medical device.",
        "Warning: a gap",
        "bundle 000000000000",
        "Study 1.2.840.1",
    ):
        assert text in words
    assert "2026-11-30T09:08:48Z" in words and "fp32 on CPU" in words


def labelled(label: str) -> Result:
    return replace(
        tiny_result(), label=label, probabilities={label: 0.7}, wording=Wording(f"{label} 0.7", (), windows=False)
    )


def test_labels_in_letters_that_the_font_lacks_are_told_from_each_other(said: list[str]) -> None:
    """Not each letter as the same empty box."""
    prepared = Prepared((volume(4, (0,), 4),))
    malignant, benign = (drawn(labelled(label), prepared, 0) for label in ("悪性", "良性"))
    assert (malignant != benign).any()
    assert "\\u60aa\\u6027 0.7" in said and card.SPELLED_OUT.split(":")[0] in " ".join(said)
    said.clear()
    drawn(labelled("lésion ± 0"), prepared, 0)
    assert "lesion ± 0 0.7" in said and card.SPELLED_OUT.split(":")[0] not in " ".join(said)


def test_the_slices_are_those_of_the_deciding_window_by_their_numbers_in_the_study(said: list[str]) -> None:
    prepared = Prepared((volume(12, (0, 8), 4),))
    picture = drawn(tiny_result(), prepared, 1)
    assert [text for text in said if " of " in text] == [f"image, {number} of 12" for number in (9, 10, 11, 12)]
    first = drawing.scaled(drawing.grey_of(prepared.series[0].windows.slices[8]), 255)
    np.testing.assert_array_equal(picture[MARGIN:, 2 * MARGIN + WORDS :][:255, :255, 0], first)
    said.clear()
    drawn(tiny_result(), Prepared((volume(8, (0,), 8, of=24),)), 0)  # resized from 24
    assert [text for text in said if " of " in text] == [f"image, {number} of 24" for number in (5, 11, 17, 23)]


def test_what_a_short_study_was_padded_with_is_not_drawn(said: list[str]) -> None:
    drawn(tiny_result(), Prepared((volume(12, (0,), 12, of=3),)), 0)
    assert [text for text in said if " of " in text] == [f"image, {number} of 3" for number in (1, 2, 3)]


def test_of_several_series_the_middle_of_each(said: list[str]) -> None:
    series = tuple(replace(volume(8, (0,), 8), input=name) for name in ("a", "b", "c", "d", "e"))
    drawn(tiny_result(), Prepared(series), 0)
    assert [text for text in said if " of " in text] == [f"{name}, 5 of 8" for name in "abcd"]


def test_an_image_is_drawn_alone_and_without_sides(said: list[str]) -> None:
    values = np.zeros((1, 1, 20, 10), np.float32)
    values[..., 10:, :] = 1
    picture = drawn(tiny_result(), Prepared((), image=PreparedImage("image", facts(1), values)), 0)
    assert "R" not in said and "L" not in said
    bright = (picture[:, 2 * MARGIN + WORDS :] > 200).all(axis=2)[: HEIGHT - 40]
    rows, columns = np.nonzero(bright)
    assert np.ptp(columns) < 0.6 * np.ptp(rows) * 2  # its shape is kept: half as wide as high, of which half is bright


def test_nothing_leaves_its_place_however_much_there_is_to_say(said: list[str]) -> None:
    result = tiny_result(*(f"a warning of many words, number {at}, " * 4 for at in range(40)), "w" * 500)
    result = replace(result, wording=replace(result.wording, headline="H" * 200), disclaimer="Not a medical device.")
    picture = drawn(result, Prepared((volume(8, (0, 4), 4),)), 0)
    assert {"Not a medical device.", "Study 1.2.840.1", card.MORE} <= set(said)
    ink = inked(picture)
    assert not ink[:MARGIN].any() and not ink[HEIGHT - MARGIN + 8 :].any()
    assert not ink[:, : MARGIN - 1].any() and not ink[:, MARGIN + WORDS + 1 : 2 * MARGIN + WORDS].any()


def test_lines_are_broken_between_words() -> None:
    lines = drawing.lines_of("one two three four", 14, drawing.width_of("one two", 14))
    assert lines == ["one two", "three", "four"] and drawing.lines_of("", 14, 10) == []


def test_a_plane_keeps_its_shape() -> None:
    tile = drawing.scaled(np.full((10, 20), 255.0), 100)
    rows, columns = np.nonzero(tile > 128)
    assert tile.shape == (100, 100) and np.ptp(columns) == 99 and 47 <= np.ptp(rows) <= 51
    assert abs((rows.min() + rows.max()) / 2 - 49.5) <= 1


def test_the_same_answer_gives_the_same_picture() -> None:
    prepared = Prepared((volume(8, (0, 4), 4),))
    assert (drawn(tiny_result(), prepared, 0) == drawn(tiny_result(), prepared, 0)).all()
    assert (drawn(tiny_result(), prepared, 0) != drawn(tiny_result(), prepared, 1)).any()


def test_what_of_a_map_lies_over_a_key_slice() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    found = ExplanationMap("gradcam", "a map", "image", 0, "loud", values, (1, 7))
    keys = key_slices(Prepared((volume(8, (0,), 8),)), 0, [found])
    assert [key.at for key in keys] == [1, 3, 6, 7]  # 6, where it is largest, in place of 5
    parts = [None if key.part is None else key.part.tolist() for key in keys]
    assert parts == [values[0].tolist(), values[1].tolist(), values[2].tolist(), None]
    assert [key.highest for key in keys] == [3, 7, 11, float("-inf")]
    assert keys[3].strength.shape == (16, 16) and not keys[3].strength.any()
    assert keys[2].strength.max() == 1 and keys[2].strength[0, 0] == pytest.approx(8 / 11)
