"""Exports one of the slim networks beside this file as a bundle.

python examples/export.py cmasg cmasg.mmcaf
"""

import argparse
import json
from pathlib import Path

from mmcaf_engine.demo import LIVER_LABELS

HERE = Path(__file__).parent
VOCABULARY = str(HERE / "chest_studies" / "vocabulary.txt")
OWN: dict[str, dict[str, str]] = {
    "liver": {
        "name": "lcadb-demo",
        "description": "DEMONSTRATION: a slim LCA-DB trained on synthetic eight-phase MR studies.",
        "labels": json.dumps(LIVER_LABELS),
        "preprocessing.axes": "LAS",
        "attention_agreement": json.dumps(
            {
                "outputs": ["alpha_image", "alpha_patch"],
                "bound": 0.52,
                "percentile": 5,
                "studies": 200,
                "data": "synthetic liver studies, seeds 60000 to 60199",
            }
        ),
    },
    "cmasg": {
        "name": "cmasg-demo",
        "description": "DEMONSTRATION: a slim CMASG-Bi-LSTM trained on synthetic chest radiographs and reports.",
        "text.vocabulary": VOCABULARY,
    },
    "medfusionnet": {
        "name": "medfusionnet-demo",
        "description": "DEMONSTRATION: a slim MedFusionNet trained on synthetic radiographs, reports and records.",
        "text.vocabulary": VOCABULARY,
    },
}
SHARED = {
    "demonstration": "true",
    "licence": "Apache-2.0",
    "intended_use": "Demonstration, trained on synthetic studies: it says nothing about patients.",
}


def checkpoint(network: str) -> Path:
    """Its trained weights."""
    return HERE / f"{network}_model" / "weights.safetensors"


def settings(network: str) -> dict[str, str]:
    """What its manifest says besides what the export knows by itself."""
    return OWN[network] | SHARED


def main() -> None:
    """Write the bundle and say what was verified."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=OWN)
    parser.add_argument("output", type=Path)
    parser.add_argument("--force", action="store_true", help="replace what is there")
    options = parser.parse_args()
    from mmcaf_export.export import export_bundle

    report = export_bundle(
        checkpoint(options.network), options.output, settings=settings(options.network), force=options.force
    )
    print(report.summary())


if __name__ == "__main__":
    main()
