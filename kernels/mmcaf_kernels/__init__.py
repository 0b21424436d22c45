"""Triton and CUDA kernels for the blocks of the fusion networks."""
