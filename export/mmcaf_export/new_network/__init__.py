"""A package with a network of its own, written to begin with: `mmcaf new-network`."""
