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
    "network.config.slices": "12",
    "network.config.size": "192",
    "preprocessing.intensity": "hounsfield",
    "preprocessing.axes": "SPL",
    "preprocessing.steps.resize.rows": "192",
    "preprocessing.steps.resize.columns": "192",
    "preprocessing.steps.resize.rounding": "half_even",
    "preprocessing.windows": json.dumps({"slices": 12, "stride": 12, "pad_value": -1000.0}),  # Of whole phantoms.
    "table.order": json.dumps(("sex", "age", "weight", "t_stage", "n_stage", "m_stage", "smoking_history")),
    "table.fields.sex.categories": json.dumps({"M": 1, "F": 0}),
    "table.fields.age.lower": "20",
    "table.fields.age.upper": "90",
    "table.fields.weight.lower": "35",
    "table.fields.weight.upper": "130",
    "table.fields.t_stage.categories": json.dumps(
        {"is": 0, "1": 1, "1a": 1, "1b": 2, "1c": 3, "2": 4, "2a": 4, "2b": 5, "3": 6, "4": 7}
    ),
    "table.fields.n_stage.categories": json.dumps({"0": 0, "1": 1, "2": 2, "3": 3}),
    "table.fields.m_stage.categories": json.dumps({"0": 0, "1": 1, "1a": 1, "1b": 2, "1c": 3}),
    **{f"table.fields.{letter}_stage.divisor": "10" for letter in "tnm"},
    "table.fields.smoking_history.divisor": "2",
    "labels": json.dumps(("adenocarcinoma", "squamous-cell carcinoma")),
    "threshold": "0.5",
    "aggregation.method": "max",
}


def main() -> None:
    """Replace the bundle in the engine's package."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from mmcaf_export.export import export_bundle

    print(export_bundle(CHECKPOINT, demo_bundle(), settings=SETTINGS, force=True, explain=False).summary())


if __name__ == "__main__":
    main()
