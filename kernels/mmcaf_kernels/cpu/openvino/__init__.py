"""Kernels in networks that OpenVINO runs: where they fit, and putting them there."""
