"""PyTorch with this project's kernels."""
