"""One module per kernel: what its block looks like in an ONNX graph."""
