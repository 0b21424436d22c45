"""What PyTorch's exporter says where it fails, whole and with the line of the network; and a batch that it fixed."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from mmcaf_engine.errors import CAUSE_CHARACTERS, ExportError, Remedy, printable
from mmcaf_engine.machine.plugins import place, raised_whole

SHOW_TRACE = Remedy("For the whole trace, run it again after", command="export MMCAF_DEBUG=1")

_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
"""The logger that says, while a network is traced, of which axes torch makes constants."""
_PASSED_OVER = (f"{Path(torch.__file__).parent}{os.sep}", logging.__file__)

_FILE_LINE = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_STEP = re.compile(r"Failed to (export|convert|decompose|translate)[\s\S]*This is step")
"""How the exporter begins what it says to its own developers."""


@contextmanager
def translating_exporter_errors() -> Iterator[None]:
    """Say of the exporter's errors what they were made of, each whole, and at which line of the network.

    Raises:
        ExportError: in their place.
    """
    try:
        yield
    except torch.onnx.errors.OnnxExporterError as failure:
        chain = list(_chain(failure))
        told = [raised_whole(one) for one in chain if not _STEP.search(str(one))] or [raised_whole(failure)]
        where = next(filter(None, [*(place(one) for one in chain), *(_traced_line(one) for one in chain)]), "")
        raise ExportError(
            f"PyTorch {torch.__version__} cannot write the network as ONNX{where and f', at {where}'}: "
            f"{printable('; '.join(told), CAUSE_CHARACTERS)}.",
            "Write this part of `forward` with other operators, or so that it depends on shapes alone.",
            SHOW_TRACE,
        ) from failure


def _chain(failure: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = failure
    while found is not None:
        yield found
        found = found.__cause__


def _traced_line(failure: BaseException) -> str:
    """The line of the network that an operator was traced from which the exporter was at when it failed."""
    trace, found = failure.__traceback__, ""
    while trace is not None:
        node = trace.tb_frame.f_locals.get("node")
        if isinstance(node, torch.fx.Node) and (lines := _FILE_LINE.findall(node.meta.get("stack_trace") or "")):
            file, line, function = lines[-1]
            found = f"{function}, {file}, line {line}"
        trace = trace.tb_next
    return found


def fixed_batch(graph: ir.Graph) -> ir.Value | None:
    """The first input whose batch is a constant, or output without any dynamic axis; None if all are dynamic.

    That an output's batch is its first axis is for the comparison with the network to say.
    """
    for value in graph.inputs:
        if value.shape is not None and len(value.shape) and isinstance(value.shape[0], int):
            return value
    for value in graph.outputs:
        if value.shape is not None and len(value.shape) and all(isinstance(size, int) for size in value.shape):
            return value
    return None


def check_batch(graph: ir.Graph, line: Callable[[], str] = lambda: "") -> None:
    """Refuse a graph in which the batch, dynamic in the call, became a constant.

    Args:
        line: of the network, at which it did; empty where nobody can tell.

    Raises:
        ExportError: with what to declare.
    """
    value = fixed_batch(graph)
    if value is not None and value.shape is not None:
        where = line()
        raise ExportError(
            f"The network can only be written for a fixed batch: of {value.name}, [N, ...], tracing made "
            f"{list(map(_axis, value.shape))}, since `forward` computes with the batch as a number, as a loop over its "
            f"cases does{where and f': {where}'}.",
            *ONE_CASE,
        )


def fixing_line(network: nn.Module, examples: tuple[Tensor, ...], shapes: tuple[Any, ...]) -> str:
    """The line of the network at which torch, tracing it once more, makes a constant of the batch; empty if it does not
    say.

    Args:
        examples, shapes: as of `torch.export.export`.
    """
    logger, told = logging.getLogger(_SYMBOLS), _FirstConstant()
    level = logger.level
    logger.addFilter(told)
    logger.setLevel(logging.INFO)
    try:
        with suppress(Exception), torch.no_grad():  # That it fails is known; where is wanted.
            torch.export.export(network, examples, dynamic_shapes=shapes, strict=False)
    finally:
        logger.removeFilter(told)
        logger.setLevel(level)
    return told.line


class _FirstConstant(logging.Filter):
    """Notes the line of the network that is running when torch first says that an axis must be one number, and lets
    nothing of what torch says through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.line = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if not self.line and record.getMessage().startswith("set_replacement"):
            self.line = _running_line()
        return False


def _running_line() -> str:
    """The innermost line that is neither torch's nor of this module."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        file = frame.f_code.co_filename
        if not file.startswith(_PASSED_OVER) and file != __file__:
            return f"{frame.f_code.co_name}, {file}, line {frame.f_lineno}"
    return ""


ONE_CASE: Sequence[str] = (
    "Write it without a loop over the batch; or set `batch = 1` in the network's entry: cases are then computed one "
    "by one.",
)
"""What to do about a network that answers right for one case at a time alone."""


def _axis(size: int | ir.SymbolicDim) -> int | str:
    return size if isinstance(size, int) else str(size.value)
