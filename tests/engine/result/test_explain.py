"""Heat maps as values: where their axes lie, which slices they cover, and what counts as nothing."""

from typing import Any

import numpy as np
import pytest

from mmcaf_engine.demo import LIVER_LABELS
from mmcaf_engine.manifest import AttentionSpec, Manifest
from mmcaf_engine.orientation import oriented
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.result.explain import attention_maps, weight_map
from tiny_bundle import tiny_manifest
from tiny_liver import tiny_liver_manifest
from tiny_report import report_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz", "vocabulary.txt")}


@pytest.mark.parametrize("axes", ["LAS", "RAS", "LPS", "SPL", "PSL", "IRA"])
def test_a_weight_lies_where_its_part_of_the_input_does(axes: str) -> None:
    """A volume whose values are its parts' numbers, in the network's axes, against the map over a slice."""
    spec = AttentionSpec(output="alpha", title="parts", grid=(2, 3))
    at = next(at for at, letter in enumerate(axes) if letter in "SI")
    parts = np.expand_dims(np.arange(6, dtype=np.float32).reshape(2, 3), at)
    found = weight_map(spec, np.arange(6, dtype=np.float32), axes)
    assert oriented(found[np.newaxis], axes).tobytes() == np.ascontiguousarray(parts).tobytes()


def test_attention_is_of_the_window_that_was_asked_for_and_of_the_slices_that_it_weighs() -> None:
    manifest = Manifest.model_validate({**tiny_liver_manifest(), "files": FILES})
    outputs = {spec.name: np.random.default_rng(1).random((3, 16), np.float32) for spec in manifest.outputs[1:]}
    maps = attention_maps(manifest, outputs, 2)
    assert len(maps) == len(manifest.attention) == 2
    for found, spec in zip(maps, manifest.attention, strict=True):
        weights = outputs[spec.output][2]
        assert found.values.shape == (1, 4, 4) and sorted(found.values.flat) == sorted(weights)
        assert found.floor == pytest.approx(weights.mean()) and (found.method, found.label) == ("attention", None)
        assert found.input == manifest.weighed(spec).name and found.window == 2 and not found.localises
        depth = manifest.weighed(spec).shape[2 + manifest.of_volumes.slice_axis]
        assert found.slices == (spec.slices or (0, depth))


def test_slices_of_an_input_that_runs_to_the_feet_are_counted_from_there() -> None:
    fields = tiny_liver_manifest()
    fields["preprocessing"]["axes"] = "LAI"
    manifest = Manifest.model_validate({**fields, "files": FILES})
    fields["attention"][1]["slices"] = [1, 3]
    lower = Manifest.model_validate({**fields, "files": FILES})
    outputs = {spec.name: np.full((1, 16), 1 / 16, np.float32) for spec in manifest.outputs[1:]}
    assert [found.slices for found in attention_maps(manifest, outputs, 0)] == [(0, 8), (0, 4)]
    assert attention_maps(lower, outputs, 0)[1].slices == (5, 7)


def test_a_network_without_attention_has_none() -> None:
    assert attention_maps(Manifest.model_validate({**tiny_manifest(), "files": FILES}), {}, 0) == ()


@pytest.mark.parametrize(
    ("fields", "label", "expected"),
    [
        (tiny_manifest(), 1, [1]),
        (tiny_manifest(), 0, [-1]),
        (tiny_liver_manifest(), 1, [0, 1, *[0] * (len(LIVER_LABELS) - 2)]),
        (report_manifest(), 0, [1, 0, 0]),
    ],
    ids=["label-1", "label-0", "softmax", "independent"],
)
def test_a_labels_own_score(fields: dict[str, Any], label: int, expected: list[int]) -> None:
    manifest = Manifest.model_validate({**fields, "files": FILES})
    found = decision_for(manifest).cotangent(label)
    assert found.dtype == np.float32 and found.tolist() == expected
    assert found.shape == manifest.score.shape[1:]
