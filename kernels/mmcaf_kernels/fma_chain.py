"""Chains of float32 multiply-adds in registers: what a card computes at most outside its tensor cores."""

import triton
import triton.language as tl

STEPS = 16
"""Multiply-adds of each value in one turn."""


@triton.jit
def fma_chain_kernel(
    out,  # [programs * block]
    turns,
    steps: tl.constexpr,
    block: tl.constexpr,
):
    at = tl.arange(0, block)
    value = at.to(tl.float32)
    for _ in range(turns):
        for _ in tl.static_range(steps):
            value = value * 0.999 + 0.001
    tl.store(out + tl.program_id(0).to(tl.int64) * block + at, value)
