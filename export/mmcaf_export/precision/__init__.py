"""The same network in fewer bits: FP16 and BF16 graphs, INT8 by calibration, and the gate they must pass."""
