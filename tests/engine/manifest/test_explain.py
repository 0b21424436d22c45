"""The manifest's heat maps: what they lie over, and when they may be called a localisation."""

from typing import Any

import pytest

from mmcaf_engine.manifest import Manifest, PointingStudy
from tiny_bundle import tiny_manifest
from tiny_image import tiny_image_manifest

ENTRY = {"sha256": "0" * 64, "size": 1}
FILES = dict.fromkeys(("model.onnx", "golden.npz", "explain.onnx"), ENTRY)
VOLUME = {"output": "map", "title": "Grad-CAM", "module": "encoder.last", "input": "image", "grid": [2, 2, 2]}
IMAGE = {**VOLUME, "grid": [2, 2]}


def manifest(*maps: dict[str, Any], base: dict[str, Any] | None = None, **explain: Any) -> Manifest:
    fields = {**(tiny_manifest() if base is None else base), "format_version": 2, "files": FILES}
    return Manifest.model_validate({**fields, "explain": {"maps": maps or [VOLUME], **explain}})


def test_a_map_over_a_volume_and_over_an_image() -> None:
    found = manifest().explain
    assert found is not None and found.file == "explain.onnx" and found.maps[0].grid == (2, 2, 2)
    [flat] = manifest(IMAGE, base=tiny_image_manifest()).explain.maps  # type: ignore[union-attr]
    assert flat.grid == (2, 2)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"input": "table"}, "no volume and no image"),
        ({"input": "other"}, "no volume and no image"),
        ({"grid": [2, 2]}, "no parts of image"),
        ({"grid": [99, 2, 2]}, "no parts of image"),
        ({"grid": [0, 2, 2]}, "grid"),
        ({"output": "image"}, "two of its inputs and maps"),
        ({"output": "cotangent"}, "two of its inputs and maps"),
        ({"output": "logit"}, "or of an output"),
        ({"module": "../weights"}, "module"),
        ({"title": ""}, "title"),
    ],
)
def test_a_map_that_lies_nowhere_is_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        manifest({**VOLUME, **changed})


def test_the_graph_is_a_listed_file_of_its_own() -> None:
    for file, named in (("other.onnx", "does not list other.onnx"), ("model.onnx", "a file of its own")):
        with pytest.raises(ValueError, match=named):
            manifest(file=file)
    with pytest.raises(ValueError, match="two of its inputs and maps"):
        manifest(VOLUME, VOLUME)
    with pytest.raises(ValueError, match="maps"):
        Manifest.model_validate({**tiny_manifest(), "files": FILES, "explain": {"maps": []}})


def test_the_first_version_has_none() -> None:
    fields = {**tiny_manifest(), "files": FILES, "explain": {"maps": [VOLUME]}}
    with pytest.raises(ValueError, match="format version 2 added explain"):
        Manifest.model_validate({**fields, "format_version": 1})


def study(hits: int, low: float, high: float, chance: float, *randomised: float) -> PointingStudy:
    return PointingStudy.model_validate(
        {"data": "phantoms", "cases": 200, "hits": hits, "interval": [low, high], "chance": chance}
        | {"randomised": randomised}
    )


def test_a_localisation_is_above_chance_and_above_randomised_weights() -> None:
    assert study(150, 0.68, 0.80, 0.07, 0.05, 0.15).localises
    assert not study(150, 0.68, 0.80, 0.70, 0.05, 0.15).localises
    assert not study(150, 0.68, 0.80, 0.07, 0.60, 0.68).localises
    assert not study(19, 0.06, 0.15, 0.01, 0.00, 0.03).localises, "nine of ten maps point elsewhere"


@pytest.mark.parametrize(
    "figures", [(201, 0.9, 1.0, 0.1, 0.0, 0.1), (150, 0.8, 0.9, 0.1, 0.0, 0.1), (150, 0.7, 0.8, 0.1, 0.2, 0.1)]
)
def test_figures_that_contradict_each_other_are_refused(figures: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"hits|interval"):
        study(*figures)
