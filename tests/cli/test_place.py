"""`mmcaf place`: what the new bundle holds, and what it refuses."""

import json
from pathlib import Path

import pytest

from command import Command
from mmcaf_engine.backends.openvino.operators import kernels_missing
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_export.placement import placements

NAME = "model.onnx.placement.npz"


@pytest.mark.skipif(kernels_missing() is not None, reason=f"no operators here: {kernels_missing()}")
def test_the_new_bundle_is_the_old_one_and_one_file_more(run: Command, tmp_path: Path) -> None:
    source, output = load_bundle(default_bundle().path), tmp_path / "placed.mmcaf"
    done = run("mmcaf", "place", source.folder, "-o", output, "--json")
    assert done.code == 0, done.err
    placed = load_bundle(output)
    told = json.loads(done.out)
    assert told["model"]["bundle_sha256"] == placed.sha256 and told["files"] == placements(placed)
    assert placed.manifest.files.keys() == source.manifest.files.keys() | {NAME}
    fields = placed.manifest.model_copy(update={"files": source.manifest.files})
    assert fields == source.manifest
    again = run("mmcaf", "place", source.folder, "-o", output)
    assert again.code == 2 and "--force" in again.err


def test_without_kernels_there_is_nothing_to_write(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_missing", lambda: "not built")
    done = run("mmcaf", "place", default_bundle().path, "-o", tmp_path / "placed.mmcaf")
    assert done.code == 6 and "kernels for OpenVINO are needed: not built" in done.err
    assert not (tmp_path / "placed.mmcaf").exists()
