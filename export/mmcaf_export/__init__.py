"""Workshop side of mmcaf-infer: trained checkpoints in, verified ONNX bundles out."""
