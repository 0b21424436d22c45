"""Trains the members of an ensemble of demonstration networks, which `ensemble.py` measures.

    python benchmarks/ensemble_members.py --cache CACHE --folder MEMBERS

Member i of k learns from all studies but every k-th, from the i-th on, so that no two learn from the same. Each begins
with the image branch of examples/demo_model/demo.safetensors and goes on with it by two short phases of its own order
and augmentation, under new helper heads; then its KAN, fusion and last layer are trained from nothing on its features.
So members share what the demonstration's image branch had learnt, and are more alike than five trained from nothing
would be. CACHE holds rendered studies and is filled where it lacks some (about 2 MB a study); a member that lies in
MEMBERS already is left as it is.
"""

import sys
import time
from pathlib import Path

import numpy as np
import usage

DEMO = usage.ROOT / "examples" / "demo_model"
STUDIES = {"encoder": 350, "fusion": 200, "validation": 50}
"""Of each split, the first so many; the test split is for `ensemble.py`."""


def main() -> None:
    """Train every member that is not there."""
    asked = usage.parser(__doc__)
    asked.add_argument("--cache", type=Path, required=True, help="folder of rendered studies")
    asked.add_argument("--folder", type=Path, required=True, help="of member-0.safetensors and so on")
    asked.add_argument("--members", type=usage.count, default=5)
    asked.add_argument("--crops", type=usage.count, default=15, help="steps on crops around the nodule")
    asked.add_argument("--whole", type=usage.count, default=8, help="steps on whole windows")
    arguments = asked.parse_args()
    sys.path.insert(0, str(DEMO))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for member in range(arguments.members):
        path = arguments.folder / f"member-{member}.safetensors"
        if not path.exists():
            _train(member, path, arguments.members, arguments.cache, (arguments.crops, arguments.whole))


def _train(member: int, path: Path, members: int, cache: Path, steps: tuple[int, int]) -> None:
    """Train one and write it."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    from cohort import load_split
    from encoder import Helper, Phase, grey_stem, train_encoder
    from heads import extract, train_head
    from scoring import load_network

    started = time.perf_counter()
    np.seterr(all="raise", under="ignore")
    torch.set_num_threads(1)
    torch.manual_seed(100 + member)
    net = load_network(DEMO / "demo.safetensors")
    phases = {
        1: Phase(size=64, steps=steps[0], batch=16, rate=4e-4, elsewhere=1 / 3),
        2: Phase(size=192, steps=steps[1], batch=4, rate=2e-4, elsewhere=1 / 3),
    }

    def own(split: str) -> list:
        studies = load_split(split, cache, 2, STUDIES[split])
        return [study for at, study in enumerate(studies) if split == "validation" or at % members != member]

    def told(line: str) -> None:
        print(f"member {member}, {time.perf_counter() - started:.0f} s: {line}", flush=True)

    for parameter in net.parameters():
        parameter.requires_grad_(True)
    with grey_stem(net.image_encoder):
        train_encoder(net.image_encoder, Helper(net.image_encoder), own("encoder"), phases, 100 + member, told, told)
        fusion, validation = extract(net.image_encoder, own("fusion")), extract(net.image_encoder, own("validation"))
    head, _ = train_head(fusion, validation, 100 + member, told, batch=32)
    net.load_state_dict({**net.state_dict(), **head.state_dict()})
    with safe_open(DEMO / "demo.safetensors", "pt") as file:
        metadata = {**file.metadata(), "seed": str(100 + member)}
    metadata.pop("seeds", None)
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path, metadata)
    told("written")


if __name__ == "__main__":
    usage.run(main)
