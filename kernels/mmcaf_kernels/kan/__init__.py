"""Kolmogorov-Arnold layer with cubic splines (KAN) of the table branch."""

from .operator import kan, launches
from .reference import fold

__all__ = ["kan", "fold", "launches"]
