"""The answer: from the network's outputs to what a person or a program reads."""

from .aggregate import aggregate
from .result import Result

__all__ = ["aggregate", "Result"]
