"""Checkpoints read as data: tensors and plain values, never code."""

from .load import load_checkpoint
from .model import SAFETENSORS, SHARDED, STATE_DICT, TRAINING, Checkpoint, Reading, Weights

__all__ = ["SAFETENSORS", "SHARDED", "STATE_DICT", "TRAINING", "Checkpoint", "Reading", "Weights", "load_checkpoint"]
