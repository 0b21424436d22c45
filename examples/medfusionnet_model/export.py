"""Exports the slim MedFusionNet as a bundle.

python examples/medfusionnet_model/export.py medfusionnet.mmcaf
"""

import argparse
from pathlib import Path

from mmcaf_export.export import export_bundle

HERE = Path(__file__).parent
CHECKPOINT = HERE / "weights.safetensors"
SETTINGS = {
    "name": "medfusionnet-demo",
    "description": "DEMONSTRATION: a slim MedFusionNet trained on synthetic chest radiographs, reports and records.",
    "text.vocabulary": str(HERE.parent / "chest_studies" / "vocabulary.txt"),
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
