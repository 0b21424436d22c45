"""How often the largest value of a heat map lies in the lesion: the pointing game (Zhang et al., IJCV 2018, 4.2).

    python benchmarks/pointing.py --checkpoint CHECKPOINT --output benchmarks/results/pointing.csv

CHECKPOINT is examples/demo_model/demo.safetensors. Its network draws Grad-CAM of the answer's label over the window
that decided, for phantoms that it was never trained on and whose nodule's place is known. A hit is a map whose
largest part touches the nodule; a map of zeros alone is none. `chance` is the mean share of a map's parts that touch
it, 0 where the window misses it. The control is the same network before any training (Adebayo et al., NeurIPS 2018),
which answers and draws over the same phantoms. `at_lesion` is the same over the window whose middle is nearest to the
nodule, which is the one that MMCAF-Net's authors read. Intervals are Wilson's, of 95 %.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import usage
from numpy.typing import NDArray
from rows import environment, write_rows

from mmcaf_engine import Bundle, load_bundle, open_session
from mmcaf_engine.cancel import Progress
from mmcaf_engine.demo.phantom import Phantom, make_phantom
from mmcaf_engine.evaluation.synthetic import PhantomCase
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.result.explain import ExplanationMap, gradcam_maps
from mmcaf_engine.session.run import run_windows
from mmcaf_engine.session.session import Session

Z95 = 1.959963984540054
FIRST_SEED = 40_000
"""The split `test` of examples/demo_model/splits.py: nothing was trained or chosen on it."""


@dataclass(frozen=True)
class Pointed:
    """One map. hit: whether its largest part touches the nodule; share: of its parts that do."""

    hit: bool
    share: float


def main() -> None:
    """Play the game with the trained network and with its control, and write the rows."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--checkpoint", type=Path, required=True, help="of the demonstration's network")
    asked.add_argument("--cases", type=usage.count, default=200)
    asked.add_argument("--backend", default="onnxruntime")
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force, inputs=[arguments.checkpoint])
    with TemporaryDirectory() as folder:
        bundles = {
            "trained": exported(arguments.checkpoint, Path(folder, "trained.mmcaf")),
            "randomised": exported(randomised(arguments.checkpoint, Path(folder)), Path(folder, "randomised.mmcaf")),
        }
        seeds = range(FIRST_SEED, FIRST_SEED + arguments.cases)
        rows = [row for name, bundle in bundles.items() for row in played(name, bundle, seeds, arguments.backend)]
    facts = environment(["numpy", "onnxruntime", "openvino", "torch"])
    for row in rows:
        print(row)
    write_rows(arguments.output, [{**row, **facts} for row in rows])


def exported(checkpoint: Path, output: Path) -> Bundle:
    """The bundle of a checkpoint, with its heat maps' graph."""
    from mmcaf_export.export import export_bundle

    export_bundle(checkpoint, output)
    return load_bundle(output)


def randomised(checkpoint: Path, folder: Path) -> Path:
    """The same network with the weights that it has before any training, of one seed."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    from mmcaf_export.networks.registry import Networks

    with safe_open(checkpoint, "pt") as found:
        metadata, state = found.metadata(), {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
    networks = Networks()
    name, config = networks.recognise(state, metadata)
    torch.manual_seed(0)
    network = networks.entry(name).build(config)
    output = folder / "randomised.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, output, metadata)
    return output


def played(name: str, bundle: Bundle, seeds: range, backend: str) -> Iterator[dict[str, str]]:
    """A row over the windows that decided, and one over those of the lesion."""
    deciding: list[Pointed] = []
    lesion: list[Pointed] = []
    decision = decision_for(bundle.manifest)
    with open_session(bundle, backend=backend, precision="fp32", threads=1) as session:
        for seed in seeds:
            prepared, phantom = PhantomCase(seed).load(bundle.manifest), make_phantom(seed)
            outputs = run_windows(session, prepared)
            score = decision.aggregate(prepared.starts, outputs[bundle.manifest.score.name])
            cotangent = decision.cotangent(score.label)[np.newaxis]
            depth = prepared.series[0].windows.depth
            middles = [start + (depth - 1) / 2 for start in prepared.starts]
            nearest = int(np.argmin([abs(middle - phantom.nodule_index[0]) for middle in middles]))
            for window, into in ((score.deciding, deciding), (nearest, lesion)):
                [found] = drawn_map(session, prepared.inputs(window, bundle.manifest), cotangent, window, score.label)
                into.append(pointed(found.values, touched(found.values, phantom, prepared.starts[window], depth)))
    yield summed(name, "deciding", deciding)
    yield summed(name, "at_lesion", lesion)


def drawn_map(
    session: Session,
    inputs: dict[str, NDArray[np.float32]],
    cotangent: NDArray[np.float32],
    window: int,
    label: int,
    progress: Progress | None = None,
) -> tuple[ExplanationMap, ...]:
    """Grad-CAM of one window, in the patient's axes."""
    manifest = session.bundle.manifest
    return gradcam_maps(manifest, session.explain(inputs, cotangent, progress), window, manifest.labels[label])


def touched(values: NDArray[np.float32], phantom: Phantom, start: int, depth: int) -> NDArray[np.bool_]:
    """Which parts of a map [D, R, C] over one window have a point within the nodule's sphere."""
    radius = phantom.patient.nodule.diameter_mm / 2
    sizes = (depth, *phantom.hu.shape[1:])
    centre = np.array(phantom.nodule_index) + 0.5 - (start, 0, 0)
    square = np.zeros(values.shape)
    for axis, (parts, size) in enumerate(zip(values.shape, sizes, strict=True)):
        edges = np.linspace(0, size, parts + 1)
        away = np.maximum(np.maximum(edges[:-1] - centre[axis], centre[axis] - edges[1:]), 0)  # voxels
        shape = [1, 1, 1]
        shape[axis] = parts
        square = square + (away * phantom.spacing_mm[axis]).reshape(shape) ** 2
    inside: NDArray[np.bool_] = square <= radius**2
    return inside


def pointed(values: NDArray[np.float32], lesion: NDArray[np.bool_]) -> Pointed:
    """Whether a map points into a lesion; one that is 0 everywhere points nowhere."""
    largest = np.unravel_index(int(values.argmax()), values.shape)
    return Pointed(bool(values.max() > 0 and lesion[largest]), float(lesion.mean()))


def summed(name: str, windows: str, found: list[Pointed]) -> dict[str, str]:
    """The row of some maps."""
    hits = sum(one.hit for one in found)
    low, high = wilson(hits, len(found))
    return {
        "weights": name,
        "windows": windows,
        "cases": str(len(found)),
        "hits": str(hits),
        "share": f"{hits / len(found):.3f}",
        "low": f"{low:.3f}",
        "high": f"{high:.3f}",
        "chance": f"{sum(one.share for one in found) / len(found):.3f}",
    }


def wilson(hits: int, cases: int) -> tuple[float, float]:
    """The interval of 95 % of a share (Wilson, JASA 1927)."""
    share, square = hits / cases, Z95**2
    middle = (share + square / (2 * cases)) / (1 + square / cases)
    half = Z95 / (1 + square / cases) * math.sqrt(share * (1 - share) / cases + square / (4 * cases**2))
    return max(0.0, middle - half), min(1.0, middle + half)


if __name__ == "__main__":
    usage.run(main)
