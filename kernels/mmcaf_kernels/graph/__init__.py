"""Networks as graphs, and the blocks in them that this package has kernels for, found by structure.

`Network` is an ONNX network as a PyTorch program; graphs, patterns and blocks need neither PyTorch nor ONNX.
"""

from typing import TYPE_CHECKING, Any

from .graph import UnsupportedGraphError

if TYPE_CHECKING:
    from .program import Network, Program

__all__ = ["Network", "Program", "UnsupportedGraphError"]


def __getattr__(name: str) -> Any:
    if name not in ("Network", "Program"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import program

    return getattr(program, name)
