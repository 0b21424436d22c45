"""Running the nodes of a graph one after the other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, last_uses
from .registry import Arguments, Function, function_of


@dataclass(frozen=True)
class Step:
    """One call: what it reads ("" for None) and writes, and the values that nothing reads afterwards."""

    function: Function
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    last: tuple[str, ...]


def steps_of(graph: Graph) -> list[Step]:
    """A call for each node; inputs, outputs and constants of the graph, and what it takes from outside, are kept."""
    kept = {*graph.outputs, *graph.inputs, *graph.constants, *graph.outside()}
    steps = []
    for node, last in zip(graph.nodes, last_uses(graph.nodes, kept), strict=True):
        function, reads = function_of(Arguments(node, graph.constants))
        steps.append(Step(function, reads, node.outputs, last))
    return steps


def read_by(steps: Iterable[Step]) -> set[str]:
    """Every value that a call reads."""
    return {name for step in steps for name in step.reads if name}


def run(steps: Sequence[Step], values: dict[str, Any]) -> None:
    """Make the calls; `values` has what they read from outside, and has the outputs afterwards."""
    for step in steps:
        made = step.function(*(values[name] if name else None for name in step.reads))
        values.update(zip(step.writes, made if isinstance(made, tuple) else (made,), strict=False))
        for name in step.last:
            values.pop(name, None)
