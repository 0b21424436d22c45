"""Elements that a network picks from a weight by indexes that never change: picked when it is exported.

A table of relative positions in an attention is one: each head has a value for each distance, and the network lays
them out for every pair of patches. ONNX Runtime does so once, when it opens the model. OpenVINO 2026 folds what
constants make too, but not GatherND, and would do it again for each window. The file holds the pairs then, not the
distances.
"""

import onnx_ir as ir

from .onnx_bodies import fold_makers


def fold_constant_gathers(model: ir.Model) -> None:
    """Put a constant in the place of each GatherND of constants."""
    fold_makers(model, [node.outputs[0] for node in model.graph if node.op_type == "GatherND"])
