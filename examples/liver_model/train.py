"""Trains a slim LCA-DB on synthetic eight-phase studies, from nothing, with fixed seeds.

python examples/liver_model/train.py --cache CACHE_FOLDER
"""

import argparse
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Train, and write weights.safetensors."""
    options = _options()
    from training import train

    train(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for rendered studies (about 2 GB)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the checkpoint")
    parser.add_argument("--resume-after", type=int, default=0, choices=range(1, 5), help="phase that is already done")
    parser.add_argument("--workers", type=int, default=2, help="processes that render studies")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=None, help="studies per split, for a trial run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
