"""Triton's interpreter without what it needlessly repeats: a process that interprets kernels begins with `prepare`."""

from typing import Any


def prepare() -> None:
    """Let a device function, `tl.sum` among them, be called without a look through all of Triton's language before.

    The interpreter looks there at each call for what it is to take over. The launch around the call has done so for
    `tl`; what Triton's own functions read beside it is taken over here, once, and stays so, as after any such call.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    interpreter._patch_lang(tl.sum.fn)
    interpreter.InterpretedFunction.__call__ = _call


def _call(function: Any, *arguments: Any, **options: Any) -> Any:
    return function.rewrite()(*arguments, **options)
