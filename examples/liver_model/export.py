"""Exports the slim LCA-DB as a bundle.

python examples/liver_model/export.py liver.mmcaf
"""

import argparse
import json
from pathlib import Path

from mmcaf_engine.demo import LIVER_LABELS
from mmcaf_export.export import export_bundle

CHECKPOINT = Path(__file__).parent / "weights.safetensors"
SETTINGS = {
    "name": "lcadb-demo",
    "description": "DEMONSTRATION: a slim LCA-DB trained on synthetic eight-phase MR studies.",
    "labels": json.dumps(LIVER_LABELS),
    "preprocessing.axes": "LAS",
    "demonstration": "true",
    "licence": "Apache-2.0",
    "intended_use": "Demonstration, trained on synthetic studies: it says nothing about patients.",
}


def main() -> None:
    """Write the bundle and say what was verified."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--force", action="store_true", help="replace what is there")
    options = parser.parse_args()
    print(export_bundle(CHECKPOINT, options.output, settings=SETTINGS, force=options.force).summary())


if __name__ == "__main__":
    main()
