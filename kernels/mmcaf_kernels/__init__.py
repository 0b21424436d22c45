"""Triton and CUDA kernels for the blocks of the fusion networks.

Each kernel is a package of its name: `from mmcaf_kernels.msdc import msdc`. Importing it registers the
PyTorch operator `mmcaf::NAME`; `mmcaf_kernels.launch.path(x)` says how a call on such a tensor would run.
`mmcaf_kernels.cpu` has those for the processor, which take NumPy arrays and need no PyTorch.
"""
