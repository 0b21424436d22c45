"""Exports the demonstration checkpoint as the bundle that ships with the engine.

python examples/demo_model/export.py
"""

import argparse
import json
from pathlib import Path

from mmcaf_engine.bundle.default import demo_bundle

CHECKPOINT = Path(__file__).parent / "demo.safetensors"
CHEST = (
    *("CHEST", "LUNG", "THORAX", "MEDIASTINUM", "CHESTABDOMEN", "CHESTABDPELVIS"),
    *("NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV", "WHOLEBODY"),
)
ELSEWHERE = (
    *("HEAD", "BRAIN", "SKULL", "FACE", "EYE", "ELBOW", "FOREARM", "WRIST", "HAND"),
    *("HIP", "THIGH", "KNEE", "LEG", "ANKLE", "FOOT", "EXTREMITY"),
)
SETTINGS = {
    "name": "mmcaf-demo",
    "description": "DEMONSTRATION: a slim MMCAF-Net trained on synthetic chest-CT phantoms.",
    "release": "1",
    "demonstration": "true",
    "body_part": json.dumps({"accepted": CHEST, "refused": ELSEWHERE}),
    "licence": "Apache-2.0",
    "intended_use": "Demonstration, trained on synthetic phantoms: it says nothing about patients.",
    # What the training script used; said here so that the export has nothing to assume.
    "preprocessing.intensity": "hounsfield",
    "preprocessing.windows": json.dumps({"slices": 12, "stride": 12, "pad_value": -1000.0}),  # Of whole phantoms.
    "table.fields.age.lower": "20",
    "table.fields.age.upper": "90",
    "table.fields.weight.lower": "35",
    "table.fields.weight.upper": "130",
    "table.fields.smoking_history.divisor": "2",
}


def main() -> None:
    """Replace the bundle in the engine's package."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from mmcaf_export.export import export_bundle

    print(export_bundle(CHECKPOINT, demo_bundle(), settings=SETTINGS, force=True, explain=False).summary())


if __name__ == "__main__":
    main()
