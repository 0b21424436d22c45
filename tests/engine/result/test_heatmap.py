"""The heat map: each weight lies over the part of the slices that it is about, and nothing else is in the picture."""

import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.write_mr import write_mr_series
from mmcaf_engine.errors import StrictError, UsageError
from mmcaf_engine.evaluation.synthetic import LiverCase
from mmcaf_engine.inputs.prepare import Prepared, PreparedImage, PreparedSeries
from mmcaf_engine.inputs.windows import Windows
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.pipeline import infer
from mmcaf_engine.result import drawing, heatmap
from mmcaf_engine.result.drawing import OPACITY, width_of
from mmcaf_engine.result.explain import attention_maps
from mmcaf_engine.result.heatmap import (
    BOTTOM,
    CAPTION,
    GAP,
    MARGIN,
    NO_PLACE,
    TOP,
    check_heatmap,
    draw_heatmap,
    excess,
    write_png,
)
from mmcaf_engine.volume import PatientHeader, StudyFacts
from refusals import refused
from tiny_image import tiny_image_manifest
from tiny_liver import make_tiny_liver, tiny_liver_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
TALL, WIDE = 128 + CAPTION + GAP, 128 + GAP
"""From one slice of 128 pixels to the next."""
EVEN = np.full((1, 16), 1 / 16, np.float32)
SEED = 5


def manifest_of(size: tuple[int, int, int] = (16, 16, 8)) -> Manifest:
    fields = tiny_liver_manifest()
    fields["preprocessing"]["steps"][0]["size"] = list(size)
    for entry in fields["inputs"]:
        entry["shape"] = ["N", 1, *size]
    return Manifest.model_validate({**fields, "files": FILES})


MANIFEST = manifest_of()


def drawn(
    manifest: Manifest,
    prepared: Prepared,
    outputs: dict[str, NDArray[np.float32]],
    window: int = 0,
    *,
    over: str | None = None,
) -> NDArray[np.uint8]:
    """The attention of a network that put this out."""
    return draw_heatmap(prepared, attention_maps(manifest, outputs, window), over=over)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return LiverCase(SEED).load(MANIFEST)


def one(at: int) -> NDArray[np.float32]:
    """All weight on one part."""
    weights = np.full((1, 16), 0.01, np.float32)
    weights[0, at] = 0.85
    return weights


def colourful(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.ptp(picture.astype(int), axis=2) > 20


@pytest.mark.parametrize("part", [0, 3, 6, 12, 15])
def test_only_the_part_that_weighs_most_is_coloured(prepared: Prepared, part: int) -> None:
    picture = drawn(MANIFEST, prepared, {"alpha": one(part), "upper": EVEN})
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    left, right = np.split(colourful(picture), 2, axis=1)
    assert not right[:-BOTTOM].any()
    rows, columns = np.nonzero(left[:-BOTTOM])
    first = (rows < rows.min() + 33) & (columns < columns.min() + 33)
    assert np.ptp(rows[first]) == np.ptp(columns[first]) == 31  # 32 of the tile's 128 pixels: one part of 4
    # LAS: rows of the grid run to the left, which is right in the picture; its columns to the front, which is up.
    tile_x, tile_y = columns.min() - MARGIN, rows.min() - TOP
    assert (tile_x // 32, tile_y // 32) == (part // 4, 3 - part % 4)


def test_attention_that_covers_some_slices_is_drawn_over_those(prepared: Prepared) -> None:
    picture = drawn(MANIFEST, prepared, {"alpha": EVEN, "upper": one(5)})
    left, right = np.split(picture, 2, axis=1)
    assert not colourful(left)[:-BOTTOM].any()
    assert [bool(colourful(tile).any()) for tile in tiles(right)] == [False] * 4 + [True] * 4


def tiles(panel: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The eight slices of a panel, three in a line."""
    return [panel[TOP + TALL * (at // 3) :][:128, MARGIN + WIDE * (at % 3) :][:, :128] for at in range(8)]


def test_the_last_slice_of_a_range_is_the_one_before_its_end(prepared: Prepared) -> None:
    fields = MANIFEST.model_dump(mode="json")
    fields["attention"][1]["slices"] = [2, 5]
    picture = drawn(Manifest.model_validate(fields), prepared, {"alpha": EVEN, "upper": one(5)})
    _, right = np.split(picture, 2, axis=1)
    assert [at for at, tile in enumerate(tiles(right)) if colourful(tile).any()] == [2, 3, 4]


def captions(panel: NDArray[np.uint8], across: int, count: int) -> list[NDArray[np.uint8]]:
    """What stands below each slice."""
    return [
        panel[TOP + TALL * (at // across) + 128 :][:CAPTION, MARGIN + WIDE * (at % across) :][:, :128]
        for at in range(count)
    ]


def said_below(prepared: Prepared, monkeypatch: pytest.MonkeyPatch, window: int = 0) -> list[str]:
    """The texts below the slices of the first branch, in order."""
    texts: list[tuple[tuple[int, int], str]] = []
    real = heatmap.write

    def noting(draw: Any, place: tuple[int, int], text: str, *rest: Any, **options: Any) -> None:
        texts.append((place, text))
        real(draw, place, text, *rest, **options)

    monkeypatch.setattr(heatmap, "write", noting)
    count = len(prepared.starts)
    drawn(MANIFEST, prepared, {name: np.concatenate([EVEN] * count) for name in ("alpha", "upper")}, window)
    below = [text for place, text in texts if place[1] > TOP and text not in NO_PLACE.values()]
    return below[: len(below) // 2]


def test_below_each_slice_stand_the_sides_of_the_patient_and_its_own_number(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 24 slices, resized to eight: the one in whose middle each lies."""
    said = said_below(prepared, monkeypatch)
    assert said == [word for at in range(8) for word in ("R", f"{3 * at + 2} of 24", "L")]
    left, _ = np.split(drawn(MANIFEST, prepared, {"alpha": EVEN, "upper": EVEN}), 2, axis=1)
    for caption in captions(left, 3, 8):
        inked = np.flatnonzero((caption > 100).all(axis=2).any(axis=0))
        assert inked.min() < 10 and inked.max() > 118


def test_slices_of_a_window_have_their_numbers_in_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = StudyFacts("MR", {}, PatientHeader(), 58, (1.0, 1.0, 1.0))
    series = Prepared((PreparedSeries("t2", facts, Windows(np.zeros((58, 16, 16), np.float32), 20, (0, 20, 38))),))
    assert said_below(series, monkeypatch, window=2)[1::3][::15] == ["39 of 58", "58 of 58"]
    facts = StudyFacts("MR", {}, PatientHeader(), 19, (1.0, 1.0, 1.0))
    series = Prepared((PreparedSeries("t2", facts, Windows(np.zeros((20, 16, 16), np.float32), 20, (0,))),))
    assert said_below(series, monkeypatch)[1::3][-2:] == ["19 of 19", "padding"]


def test_nothing_but_colour_lies_over_a_slice(prepared: Prepared) -> None:
    """Without attention on one part more than on another, tiles are the slices alone."""
    left, _ = np.split(drawn(MANIFEST, prepared, {"alpha": EVEN, "upper": EVEN}), 2, axis=1)
    slices = prepared.series[0].windows.slices
    low, high = np.percentile(slices, (1, 99))
    for plane, tile in zip(slices, tiles(left), strict=True):
        expected = (np.clip((plane - low) / (high - low), 0, 1) * 255).repeat(8, axis=0).repeat(8, axis=1)
        np.testing.assert_allclose(tile, np.repeat(expected[..., np.newaxis], 3, axis=2), atol=0.51)


def test_the_slices_are_seen_through_the_colour(prepared: Prepared) -> None:
    plain, _ = np.split(drawn(MANIFEST, prepared, {"alpha": EVEN, "upper": EVEN}), 2, axis=1)
    marked, _ = np.split(drawn(MANIFEST, prepared, {"alpha": one(5), "upper": EVEN}), 2, axis=1)
    inside = (slice(66, 94), slice(34, 62))  # within the outline of the part
    for bare, over in zip(tiles(plain), tiles(marked), strict=True):
        blue = bare[inside][..., 2].astype(float)
        np.testing.assert_allclose(over[inside][..., 2], (1 - OPACITY) * blue, atol=0.75)


def test_what_weighs_more_than_half_of_the_largest_is_outlined(prepared: Prepared) -> None:
    weights = np.full((1, 16), 0.02, np.float32)
    weights[0, 0], weights[0, 15] = 0.6, 0.15
    left, _ = np.split(drawn(MANIFEST, prepared, {"alpha": weights, "upper": EVEN}), 2, axis=1)
    red = (tiles(left)[0] == (235, 0, 0)).all(axis=2)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (96, 126 + 1, 0, 31)
    assert not red[98:126, 2:29].any()


def test_of_many_slices_of_a_later_window_some_are_shown_evenly_spread() -> None:
    slices = np.zeros((60, 16, 16), np.float32)
    slices[40:] = np.arange(1, 21, dtype=np.float32)[:, np.newaxis, np.newaxis]  # its own number, in the third window
    facts = StudyFacts("MR", {}, PatientHeader(), 60, (1.0, 1.0, 1.0))
    series = Prepared((PreparedSeries("t2", facts, Windows(slices, 20, (0, 20, 40))),))
    outputs = {name: np.concatenate([EVEN] * 3) for name in ("alpha", "upper")}
    left, _ = np.split(drawn(MANIFEST, series, outputs, window=2), 2, axis=1)
    shown = [left[TOP + TALL * (at // 4) + 60, MARGIN + WIDE * (at % 4) + 60, 0] for at in range(16)]
    numbers = np.interp(shown, [0, 255], np.percentile(slices[40:], (1, 99)))
    np.testing.assert_allclose(numbers, np.linspace(1, 20, 16).round(), atol=0.25)


def test_what_weighs_most_is_red_and_what_weighs_less_yellow(prepared: Prepared) -> None:
    weights = np.full((1, 16), 0.02, np.float32)
    weights[0, 0], weights[0, 15] = 0.6, 0.15
    left, _ = np.split(drawn(MANIFEST, prepared, {"alpha": weights, "upper": EVEN}).astype(int), 2, axis=1)
    tile = tiles(left)[0]
    most, less = tile[100, 16], tile[16, 100]  # their parts lie in the corners below on the left and above on the right
    assert most[0] - most[1] == pytest.approx(OPACITY * 235, abs=2)
    assert less[0] - less[1] < less[1] - less[2]


def test_the_lesion_lies_under_a_weight_at_its_place() -> None:
    manifest = manifest_of((64, 64, 16))
    study = liver_study(SEED)
    z, y, x = study.lesion_index
    prepared = LiverCase(SEED).load(manifest)
    part = int(x / 128 * 4) * 4 + int((127 - y) / 128 * 4)
    picture = drawn(manifest, prepared, {"alpha": one(part), "upper": EVEN}, over="dwi").astype(int)
    marked, plain = np.split(picture, 2, axis=1)
    at = int(z / 24 * 16)
    tile = (
        slice(TOP + TALL * (at // 4), TOP + TALL * (at // 4) + 128),
        slice(MARGIN + WIDE * (at % 4), MARGIN + WIDE * (at % 4) + 128),
    )
    inside = np.zeros((128, 128), bool)
    inside[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = True
    assert colourful(marked[tile].astype(np.uint8))[inside].mean() > 0.4
    body = plain[tile][..., 0]
    assert body[inside].mean() > 1.5 * body[40:90, 40:90].mean()  # bright on DWI: the lesion of this seed


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.25, 0.25, 0.25, 0.25], [0, 0, 0, 0]),
        ([0.1, 0.1, 0.1, 0.7], [0, 0, 0, 1]),
        ([0.0, 0.25, 0.25, 0.5], [0, 0, 0, 1]),
        ([0.1, 0.3, 0.2, 0.4], [0, 1 / 3, 0, 1]),
    ],
)
def test_colour_begins_at_an_even_share(weights: list[float], expected: list[float]) -> None:
    values = np.array(weights, np.float32)
    np.testing.assert_allclose(excess(values, float(values.mean())), expected, atol=1e-6)


def test_the_chosen_input_is_drawn(prepared: Prepared) -> None:
    outputs = {"alpha": EVEN, "upper": EVEN}
    pictures = {name: drawn(MANIFEST, prepared, outputs, over=name) for name in ("t2", "c_a")}
    assert (drawn(MANIFEST, prepared, outputs) == pictures["t2"]).all()
    assert (pictures["t2"] != pictures["c_a"]).any()


def test_an_output_is_drawn_over_the_input_that_it_weighs(prepared: Prepared) -> None:
    fields = MANIFEST.model_dump(mode="json")
    fields["attention"][1]["input"] = "c_a"
    outputs = {"alpha": EVEN, "upper": EVEN}
    found = drawn(Manifest.model_validate(fields), prepared, outputs)
    over = {name: drawn(MANIFEST, prepared, outputs, over=name) for name in ("t2", "c_a")}
    half = found.shape[1] // 2
    assert (found[:, :half] == over["t2"][:, :half]).all() and (found[:, half:] == over["c_a"][:, half:]).all()


@pytest.mark.parametrize("part", [0, 1, 3, 5])
def test_attention_over_an_image(part: int) -> None:
    fields = tiny_image_manifest()
    fields["outputs"].append({"name": "alpha", "kind": "attention", "shape": ["N", 6]})
    fields["attention"] = [{"output": "alpha", "title": "parts", "grid": [2, 3], "input": "image"}]
    manifest = Manifest.model_validate({**fields, "files": FILES})
    values = np.random.default_rng(0).normal(size=(1, 3, 12, 16)).astype(np.float32)
    facts = StudyFacts("DX", {}, PatientHeader(), 1, (0.0, 1.0, 1.0))
    radiograph = Prepared((), image=PreparedImage("image", facts, values))
    weights = np.full((1, 6), 0.02, np.float32)
    weights[0, part] = 0.9
    picture = drawn(manifest, radiograph, {"alpha": weights})
    assert (picture == drawn(manifest, radiograph, {"alpha": weights}, over="image")).all()
    rows, columns = np.nonzero(colourful(picture[:-BOTTOM]))
    factor = 11  # of 12 x 16 pixels, so that the shorter side has 128 at least
    assert (rows.min() - TOP, columns.min() - MARGIN) == (part // 3 * 6 * factor, (part % 3 * 16 + 2) // 3 * factor)
    assert rows.max() - rows.min() + 1 == 6 * factor
    with refused(UsageError, "'table'", "image", option="heatmap_over", value="image"):
        check_heatmap(manifest, "table")


@pytest.mark.parametrize("title", ["T1", "M" * 40, "a title\u00e9 of forty letters, to be written."])
def test_a_title_stays_within_its_branch(prepared: Prepared, title: str) -> None:
    fields = MANIFEST.model_dump(mode="json")
    fields["attention"][0]["title"] = title[:40]
    picture = drawn(Manifest.model_validate(fields), prepared, {"alpha": EVEN, "upper": EVEN})
    left, _ = np.split(picture, 2, axis=1)
    head = (left[:TOP] != 16).any(axis=2)
    assert head.any() and not head[:, :MARGIN].any() and not head[:, -MARGIN:].any()


def test_texts_are_made_smaller_and_then_cut() -> None:
    pair = [drawing.blank(120, 40) for _ in range(2)]
    for sheet, size in zip(pair, (18, 12), strict=True):
        drawing.write(drawing.draw_on(sheet), (0, 0), "smaller", size, within=width_of("smaller", 12))
    assert (drawing.pixels_of(pair[0]) == drawing.pixels_of(pair[1])).all()
    sheet = drawing.blank(60, 40)
    drawing.write(drawing.draw_on(sheet), (0, 0), "W" * 40, 18, within=50)
    assert width_of("W" * 40, drawing.LEAST) > 50
    inked = np.flatnonzero((drawing.pixels_of(sheet) != 16).any(axis=(0, 2)))
    assert 30 < inked.max() < 51


# From a study to a file


def test_a_heat_map_of_a_study(tmp_path: Path) -> None:
    bundle = make_tiny_liver(tmp_path / "liver.mmcaf")
    study = liver_study(SEED, slices=16, size=16)
    write_mr_series(study, tmp_path / "dicom")
    files = [tmp_path / f"{name}.png" for name in ("first", "again", "other")]
    options: list[dict[str, Any]] = [{}, {}, {"heatmap_over": "dwi"}]
    for file, option in zip(files, options, strict=True):
        infer(tmp_path / "dicom", bundle=bundle, backend="onnxruntime", heatmap=file, **option)
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    picture = imagecodecs.png_decode(files[0].read_bytes())
    assert picture.ndim == 3 and colourful(picture).any()
    assert b"LIVER" not in files[0].read_bytes() and not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("named", "why"),
    [("dicom", "directory"), ("record.json", "input"), ("absent/map.png", "No such file or directory")],
)
def test_where_nothing_may_be_written_is_told_before_anything_is_read(tmp_path: Path, named: str, why: str) -> None:
    bundle = make_tiny_liver(tmp_path / "liver.mmcaf")
    (tmp_path / "dicom").mkdir()
    (tmp_path / "record.json").write_text("precious")
    with refused(UsageError, str(tmp_path / named), why, option="heatmap"):
        infer(tmp_path / "dicom", tmp_path / "record.json", bundle=bundle, heatmap=tmp_path / named)
    assert (tmp_path / "record.json").read_text() == "precious"


@pytest.mark.parametrize("series", ["IN", ["dwi=IN"], {"dwi": "IN"}, None])
def test_the_series_and_the_bundle_are_inputs_too(tmp_path: Path, series: Any) -> None:
    """What stands in the map's place is replaced, in Python without being asked."""
    bundle = make_tiny_liver(tmp_path / "liver.mmcaf")
    file = tmp_path / "dwi.nii.gz" if series is not None else bundle / "model.onnx"
    before = b"precious" if series is not None else file.read_bytes()
    file.write_bytes(before)
    named = json.loads(json.dumps(series).replace("IN", str(file)))
    (tmp_path / "dicom").mkdir()
    with refused(UsageError, str(file), "input", option="heatmap"):
        infer(tmp_path / "dicom", bundle=bundle, heatmap=file, series=named)
    assert file.read_bytes() == before


def test_nothing_is_drawn_where_nothing_is_answered(tmp_path: Path) -> None:
    bundle = make_tiny_liver(tmp_path / "liver.mmcaf")
    series = write_mr_series(liver_study(SEED, slices=16, size=16), tmp_path / "dicom")
    (series[0] / "extra.dcm").write_bytes(b"not DICOM")
    with pytest.raises(StrictError):
        infer(tmp_path / "dicom", bundle=bundle, heatmap=tmp_path / "map.png", strict=True, backend="onnxruntime")
    assert not (tmp_path / "map.png").exists()


def test_an_input_that_is_none_of_the_networks() -> None:
    with refused(UsageError, "'c_v'", "t2", "dwi", "c_a", option="heatmap_over", value="t2"):
        check_heatmap(MANIFEST, "c_v")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with refused(UsageError, "map.png", "No such file or directory", option="heatmap"):
        write_png(tmp_path / "nowhere" / "map.png", np.zeros((4, 4, 3), np.uint8))
