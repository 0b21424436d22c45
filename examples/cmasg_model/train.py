"""Trains a slim CMASG-Bi-LSTM on synthetic chest studies, from nothing, with fixed seeds.

python -m examples.cmasg_model.train --cache CACHE_FOLDER
"""

from pathlib import Path

from examples.chest_studies.training import parser


def main() -> None:
    """Train, and write weights.safetensors beside this file, or where --out says."""
    asked = parser(__doc__, Path(__file__).parent)
    options = asked.parse_args()
    from examples.cmasg_model.training import train

    train(options)


if __name__ == "__main__":
    main()
