"""Output decisions: what a network's scores mean, one class for each kind."""

from .base import Decision, Label, Method
from .binary import BinaryDecision
from .multiclass import MulticlassDecision
from .multilabel import MultilabelDecision
from .registry import decision_for, register, unregister

__all__ = [
    "Decision",
    "Label",
    "Method",
    "BinaryDecision",
    "MulticlassDecision",
    "MultilabelDecision",
    "decision_for",
    "register",
    "unregister",
]
