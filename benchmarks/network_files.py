"""The published MMCAF-Net as ONNX files without its large weights, which are drawn anew where they are needed.

python benchmarks/network_files.py FOLDER

The weights are 380 MB of seeded noise, and a lent machine is brought less. Each large one is replaced by seed, mean and
spread; equal ones get equal seeds. Needs the export extra to write, and onnx to fill.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import usage

LARGE = 2**14
"""Values; what is smaller stays as it is."""
FEW_SLICES = {"on": True, "off": False}
NETWORK, INPUTS = "few_slices-{}", "inputs.npz"
FILES = (*(f"{NETWORK.format(word)}.{ending}" for word in FEW_SLICES for ending in ("onnx", "json")), INPUTS)
"""What is written."""


def main(given: Sequence[str] | None = None) -> int:
    """Write FOLDER/few_slices-on.onnx and -off.onnx with their weights' seeds, and inputs.npz."""
    asked = usage.parser(__doc__)
    asked.add_argument("folder", type=usage.path)
    asked.add_argument("--force", action="store_true", help="write to the folder also if it is not empty")
    chosen = asked.parse_args(given)
    usage.try_outputs(asked, [("FOLDER", chosen.folder)], kind="folder", force=chosen.force)
    if reason := usage.exporter_missing():
        return usage.missing(reason)
    from mmcaf_export.networks.mmcaf import MmcafConfig

    write(chosen.folder, MmcafConfig())
    return 0


def write(folder: Path, config: Any) -> None:
    """As `main`, of a network of this size."""
    import numpy as np
    import torch
    from full_size import set_random_weights

    from mmcaf_export.networks.mmcaf import MmcafNet
    from mmcaf_export.networks.registry import BUILT_IN
    from mmcaf_export.onnx_export import export_onnx
    from mmcaf_export.rewrites.rewrite import rewritten

    folder.mkdir(parents=True, exist_ok=True)
    entry = next(entry for entry in BUILT_IN if entry.name == "mmcaf")
    torch.manual_seed(0)
    network = MmcafNet(config).eval().requires_grad_(False)
    splines = {name: tensor.clone() for name, tensor in network.state_dict().items() if name.startswith("kan.")}
    set_random_weights(network)
    network.load_state_dict({**network.state_dict(), **splines})  # noise in their place would be no splines
    inputs = entry.example_inputs(config, 1, seed=0)
    np.savez(folder / INPUTS, **{name: tensor.numpy() for name, tensor in inputs.items()})
    for word, kept in FEW_SLICES.items():
        rewrites = [rewrite for rewrite in entry.rewrites if kept or rewrite.name != "few_slices"]
        with tempfile.TemporaryDirectory() as scratch:
            whole = Path(scratch, "whole.onnx")
            export_onnx(rewritten(network, rewrites, inputs), inputs, whole)
            hollow(whole, folder / f"{NETWORK.format(word)}.onnx")


def hollow(source: Path, target: Path) -> None:
    """Write a model without its large weights, and beside it as JSON what they are drawn from."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    drawn = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.size > LARGE and array.dtype == np.float32:
            seed = int.from_bytes(hashlib.sha256(array.tobytes()).digest()[:4], "little")
            drawn[tensor.name] = {"seed": seed, "mean": float(array.mean()), "spread": float(array.std())}
            tensor.raw_data = b""
    onnx.save(model, target)
    target.with_suffix(".json").write_text(json.dumps(drawn, indent=1) + "\n", encoding="utf-8")


def fill(source: Path, target: Path) -> None:
    """Write a model that `hollow` wrote with weights again, the same in every run."""
    import numpy as np
    import onnx

    model = onnx.load(source)
    drawn = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    for tensor in model.graph.initializer:
        facts = drawn.get(tensor.name)
        if facts is not None:
            draw = np.random.default_rng(facts["seed"])
            values = draw.standard_normal(tuple(tensor.dims), dtype=np.float32)
            tensor.raw_data = (values * np.float32(facts["spread"]) + np.float32(facts["mean"])).tobytes()
    onnx.save(model, target)


if __name__ == "__main__":
    usage.run(main)
