"""Grad-CAM of a network as an ONNX graph of its own: traced, written, and held against torch's own gradients."""
