"""Trains a slim MedFusionNet on synthetic chest studies, from nothing, with fixed seeds.

python -m examples.medfusionnet_model.train --cache CACHE_FOLDER
"""

from pathlib import Path

from examples.chest_studies.training import parser


def main() -> None:
    """Train, and write weights.safetensors beside this file, or where --out says."""
    asked = parser(__doc__, Path(__file__).parent)
    asked.add_argument("--resume", action="store_true", help="take what the cache folder holds of the first phase")
    options = asked.parse_args()
    from examples.medfusionnet_model.training import train

    train(options)


if __name__ == "__main__":
    main()
