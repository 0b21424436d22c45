"""Exact rewrites of a network before it is written as ONNX; each network lists its own."""
