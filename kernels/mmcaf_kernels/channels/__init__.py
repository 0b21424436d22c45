"""Pieces that several kernels share: statistics of channels, and gates computed from them."""
