"""MONAI bundles of classification networks: read as data, and what does not map onto a manifest refused by name."""
