"""An exported network's maps in the engine: every backend draws the same one, torch's, as far as backends agree."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.bundle.explaining import explaining
from mmcaf_engine.bundle.golden import read_cases
from mmcaf_engine.manifest import COTANGENT
from mmcaf_export.export import export_bundle

BACKENDS = ("onnxruntime", "openvino")
TOLERANCE = 1e-3
"""Of the largest value of a map."""


@pytest.mark.full
def test_backends_draw_the_same_map_which_is_torchs(density_checkpoint: Path, tmp_path: Path) -> None:
    bundle = load_bundle(export_bundle(density_checkpoint, tmp_path / "density.mmcaf").output)
    cases = read_cases(explaining(bundle), "fp32")
    draw = np.random.default_rng(4)
    given = {spec.name: cases[spec.name][:1] for spec in bundle.manifest.inputs}
    image = bundle.manifest.inputs[0].name
    other = {**given, image: draw.normal(size=given[image].shape).astype(np.float32)}
    found: dict[str, list[NDArray[Any]]] = {}
    for backend in BACKENDS:
        with open_session(bundle, backend=backend, threads=1) as session:
            found[backend] = [
                session.explain(inputs, sign * cases[COTANGENT][:1])["gradcam"]
                for inputs in (given, other)
                for sign in (1, -1)
            ]
    for first, second in zip(*found.values(), strict=True):
        assert np.abs(first - second).max() <= TOLERANCE * max(float(first.max()), float(second.max()))
    stored = cases["gradcam"][:1]
    assert np.abs(found["openvino"][0] - stored).max() <= TOLERANCE * stored.max() and stored.max() > 0
    assert max(float(drawn.max()) for drawn in found["openvino"][2:]) > 0
