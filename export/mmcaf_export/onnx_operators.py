"""Torch operators of our own, and what each is in ONNX."""

from collections.abc import Callable
from typing import Any

TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Torch operator -> a function that takes its arguments as ONNX values and adds nodes for it."""
