"""What the training scripts of both networks share: their options, and how weights are written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def parser(description: str | None, folder: Path) -> argparse.ArgumentParser:
    """The options of a training script whose weights go to `folder`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cache", type=Path, required=True, help="folder for rendered studies")
    made.add_argument("--out", type=Path, default=folder, help="folder for weights.safetensors")
    made.add_argument("--workers", type=int, default=2, help="processes that render")
    made.add_argument("--report", action="store_true", help="only report on the committed weights")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--limit", type=int, default=None, help="studies of each split, to try it")
    return made


def write_weights(folder: Path, state: Mapping[str, Tensor], seed: int, metadata: Mapping[str, str]) -> None:
    """Write weights.safetensors whole or not at all; `metadata` is what the exporter reads besides the weights."""
    from examples.chest_studies.studies import SPLITS
    from safetensors.torch import save

    said = {
        **metadata,
        "training": "synthetic chest studies; a demonstration, not a medical device",
        "seeds": json.dumps({name: [seeds.start, seeds.stop] for name, seeds in SPLITS.items()}),
        "seed": str(seed),
    }
    temporary = folder / "weights.safetensors.tmp"
    temporary.write_bytes(save({key: value.contiguous() for key, value in state.items()}, metadata=said))
    temporary.replace(folder / "weights.safetensors")
