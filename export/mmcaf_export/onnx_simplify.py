"""Simplifying what torch's exporter writes: constants folded, operators that do nothing dropped, equal ones merged.

These are the passes that `torch.onnx.export(optimize=True)` runs, from the public parts of the same packages, without
the rule that makes a Split of two Slices: it compares every pair of nodes, which takes a quarter of the export of a
network of a thousand operators, and the runtimes gain nothing by it.
"""

import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass, RewriteRule, onnx_fusions
from onnxscript.rewriter.rules import common as rules

ROUNDS = 2
"""At most; a round that changes nothing is the last."""


def simplify(model: ir.Model) -> None:
    """Simplify a model in place."""
    passes.InlinePass()(model)
    rewriting = RewritePass(_rules())
    for _ in range(ROUNDS):
        folded = fold_constants(model, onnx_shape_inference=True)
        rewritten = rewriting(model)
        for clean in (passes.RemoveUnusedNodesPass, passes.RemoveUnusedFunctionsPass, passes.RemoveUnusedOpsetsPass):
            clean()(model)
        if not (folded.modified or rewritten.modified):
            break
    passes.RemoveUnusedNodesPass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.LiftSubgraphInitializersToMainGraphPass()(model)
    for tidy in (passes.DeduplicateInitializersPass, passes.CommonSubexpressionEliminationPass, passes.OutputFixPass):
        tidy()(model)
    passes.NameFixPass()(model)
    onnx_fusions.fuse(model)


def _rules() -> tuple[RewriteRule, ...]:
    """In the order in which they are tried."""
    nothing_done = (
        *rules.mul_by_1_rule.commute(),
        *rules.add_0_rule.commute(),
        rules.sub_0_rule,
        rules.div_by_1_rule,
        rules.dropout_zero_rule,
        rules.dropout_inference_rule,
    )
    shapes = (
        rules.two_reshapes_matmul_reshape_rule,
        rules.one_reshape_matmul_reshape_rule,
        rules.cast_constant_of_shape_rule,
        rules.cast_constant_of_shape_without_value_rule,
        rules.collapse_slice_rule,
        rules.collapse_slice2_rule,
        rules.materialize_reshape_shape_rule,
    )
    clamps = (
        rules.min_min_rule,
        rules.max_max_rule,
        rules.min_max_rule,
        rules.max_min_rule,
        rules.successive_clip_relu_rule,
        rules.successive_relu_clip_rule,
        rules.successive_relu_rule,
        rules.successive_clip_rule,
    )
    successive = (
        rules.cast_cast_rule,
        rules.no_op_cast_rule,
        rules.no_op_expand_rule,
        rules.flatten_to_reshape_rule,
        rules.reshape_reshape_rule,
        rules.no_op_transpose_rule,
        rules.transpose_transpose_rule,
        rules.unsqueeze_unsqueeze_rule,
        rules.squeeze_reshape_1d_rule,
        rules.no_op_dynamic_scatter_nd_rule,
        rules.no_op_static_scatter_nd_rule,
    )
    into_convolutions = (
        rules.normalize_pad_format_conv_rule,
        rules.normalize_pad_format_conv_integer_rule,
        rules.fuse_pad_into_conv_rule,
        rules.fuse_pad_into_conv_integer_rule,
        rules.fuse_batchnorm_into_conv_rule,
        rules.fuse_batchnorm_into_conv_transpose_rule,
        rules.fuse_batchnorm_into_gemm_rule,
        rules.remove_optional_bias_from_conv_rule,
        rules.remove_optional_bias_from_conv_transpose_rule,
        rules.remove_optional_bias_from_qlinear_conv_rule,
        rules.remove_optional_bias_from_gemm_rule,
    )
    return (*nothing_done, *shapes, *clamps, *successive, *into_convolutions)
