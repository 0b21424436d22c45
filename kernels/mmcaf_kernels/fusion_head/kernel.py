"""Multi-scale fusion and classifier of MMCAF-Net in Triton: the whole head in one launch, one program per sample.

The parameters lie one after the other in the order of use; each step returns where the next begins.
"""

import triton
import triton.language as tl


@triton.jit
def fusion_head_kernel(
    image,  # [N, width]
    table,  # [N, width]
    parameters,  # see reference.layers
    out,  # [N, 1]
    width: tl.constexpr,
    mean: tl.constexpr,  # fusion by mean instead of tokens
    block: tl.constexpr,
    block_middle: tl.constexpr,
    block_narrow: tl.constexpr,
):
    middle: tl.constexpr = width // 2
    narrow: tl.constexpr = width // 4
    sample = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, block)
    inside = lane < width
    norm = parameters + lane
    a = tl.load(image + sample * width + lane, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(table + sample * width + lane, mask=inside, other=0.0).to(tl.float32)
    a = a * tl.load(norm, mask=inside, other=0.0) + tl.load(norm + width, mask=inside, other=0.0)
    b = b * tl.load(norm + 2 * width, mask=inside, other=0.0) + tl.load(norm + 3 * width, mask=inside, other=0.0)
    step = parameters + 4 * width

    a1, b1, step = _exchange(step, a, b, width, block)
    a2, b2, step = _descend(step, a, b, a1, b1, width, width, middle, block, block, block_middle)
    a2, b2, step = _exchange(step, a2, b2, middle, block_middle)
    a3, b3, step = _descend(step, a, b, a2, b2, width, middle, narrow, block, block_middle, block_narrow)
    a3, b3, step = _exchange(step, a3, b3, narrow, block_narrow)
    if mean:
        a1 = (a1 + b1) * 0.5
        a2 = (a2 + b2) * 0.5
        a3 = (a3 + b3) * 0.5
        b1 = a1
        b2 = a2
        b3 = a3
    a2, b2, step = _weigh(step, a2, b2, a3, b3, middle, narrow, block_middle, block_narrow)
    a1, b1, step = _weigh(step, a1, b1, a2, b2, width, middle, block, block_middle)

    logit = a1 * tl.load(step + lane, mask=inside, other=0.0)
    inputs: tl.constexpr = width if mean else 2 * width
    if not mean:
        logit += b1 * tl.load(step + width + lane, mask=inside, other=0.0)
    logit = tl.sum(tl.where(inside, logit, 0.0), axis=0) + tl.load(step + inputs)
    tl.store(out + sample, logit.to(out.dtype.element_ty))


@triton.jit
def _linear(
    step, x, inputs: tl.constexpr, outputs: tl.constexpr, block_inputs: tl.constexpr, block_outputs: tl.constexpr
):
    """One layer of one vector; lanes beyond `outputs` are zero."""
    o = tl.arange(0, block_outputs)
    i = tl.arange(0, block_inputs)
    known = (o < outputs)[:, None] & (i < inputs)[None, :]
    weight = tl.load(step + o[:, None] * inputs + i[None, :], mask=known, other=0.0)
    bias = tl.load(step + outputs * inputs + o, mask=o < outputs, other=0.0)
    return tl.sum(weight * x[None, :], axis=1) + bias


@triton.jit
def _exchange(step, a, b, width: tl.constexpr, block: tl.constexpr):
    """One-token cross-attention in both directions: the softmax over a single score is one."""
    new_a = a + _linear(step, b, width, width, block, block)
    new_b = b + _linear(step, a, width, width, block, block)
    return new_a, new_b, step + width * (width + 1)


@triton.jit
def _descend(
    step,
    a,
    b,
    finer_a,
    finer_b,
    width: tl.constexpr,
    finer: tl.constexpr,
    outputs: tl.constexpr,
    block: tl.constexpr,
    block_finer: tl.constexpr,
    block_outputs: tl.constexpr,
):
    """The next scale: ReLU of a layer of the normalised features, plus a layer of the finer scale's result."""
    new_a = _relu(_linear(step, a, width, outputs, block, block_outputs))
    new_b = _relu(_linear(step, b, width, outputs, block, block_outputs))
    step += outputs * (width + 1)
    new_a += _linear(step, finer_a, finer, outputs, block_finer, block_outputs)
    step += outputs * (finer + 1)
    new_b += _linear(step, finer_b, finer, outputs, block_finer, block_outputs)
    return new_a, new_b, step + outputs * (finer + 1)


@triton.jit
def _weigh(
    step,
    a,
    b,
    coarse_a,
    coarse_b,
    width: tl.constexpr,
    coarse: tl.constexpr,
    block: tl.constexpr,
    block_coarse: tl.constexpr,
):
    """BSF of both rows."""
    below = step + width * (width + 1)
    fine = _linear(step, a, width, width, block, block)
    new_a = _gated(fine, _linear(below, coarse_a, coarse, width, block_coarse, block), width, block)
    fine = _linear(step, b, width, width, block, block)
    new_b = _gated(fine, _linear(below, coarse_b, coarse, width, block_coarse, block), width, block)
    return new_a, new_b, below + width * (coarse + 1)


@triton.jit
def _gated(fine, coarse, width: tl.constexpr, block: tl.constexpr):
    inside = tl.arange(0, block) < width
    score = tl.where(inside, fine * coarse, float("-inf"))
    weight = tl.exp(score - tl.max(score, axis=0))
    return (fine + coarse) * (1.0 + weight / tl.sum(weight, axis=0))


@triton.jit
def _relu(value):
    return tl.where(value < 0, 0.0, value)
