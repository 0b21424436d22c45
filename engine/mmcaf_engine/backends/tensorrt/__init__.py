"""Engines of NVIDIA TensorRT, in both its flavours: TensorRT for RTX and TensorRT.

Everything up to a finished engine works without a GPU where the flavour allows it; nothing here is imported before it
is asked for, and no module imports TensorRT when it is imported itself.
"""
