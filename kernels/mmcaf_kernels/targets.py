"""The GPUs that kernels are compiled for ahead of time, and their limits: known without torch and Triton."""

SHARED_MEMORY = {"sm_75": 65536, "sm_80": 166912, "sm_86": 101376, "sm_89": 101376, "sm_90": 232448, "sm_120": 101376}
"""Bytes that one program may use, per target (CUDA C++ Programming Guide, technical specifications)."""
TARGETS = tuple(SHARED_MEMORY)
PRECISIONS = ("fp32", "fp16", "bf16")
