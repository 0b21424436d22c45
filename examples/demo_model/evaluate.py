"""AUROC of the demo on phantoms held out from all training and selection, as a Markdown report.

python examples/demo_model/evaluate.py --cache CACHE_FOLDER                # the checkpoint, with torch
python examples/demo_model/evaluate.py --cache CACHE_FOLDER --bundle demo.mmcaf   # the exported bundle
"""

import argparse
from pathlib import Path

from splits import SPLITS

HERE = Path(__file__).parent


def main() -> None:
    """Print the report."""
    options = _options()
    from scoring import evaluate

    evaluate(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for rendered studies")
    parser.add_argument("--model", type=Path, default=HERE, help="folder of the two checkpoints")
    parser.add_argument("--bundle", type=Path, default=None, help="score this exported bundle instead")
    parser.add_argument("--split", choices=tuple(SPLITS), default="test")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
