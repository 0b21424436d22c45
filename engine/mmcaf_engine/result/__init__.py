"""The answer: from the network's outputs to what a person or a program reads."""

from .decisions import decision_for
from .result import Result

__all__ = ["decision_for", "Result"]
