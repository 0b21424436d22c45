"""Patterns of nodes, matched by structure: operators, who reads whom, and constants; never by names."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from .graph import Array, Graph, Node

COMMUTATIVE = {"Add", "Mul", "And"}
DEFAULTS = {"keepdims": 1, "group": 1, "transB": 0}
"""Of attributes that a pattern may ask for and a node leave out."""
FLOATING = {"float16", "bfloat16", "float32", "float64"}


class Pattern:
    """One value of a pattern. Used twice, it stands for the same value (a Weight: for equal ones) both times."""


class Value(Pattern):
    """Any value."""


class Weight(Pattern):
    """A constant of floating point."""


class Made(Pattern):
    """What a node of this operator makes of the inputs; without `inputs`, of any."""

    def __init__(self, operator: str, *inputs: Pattern, **attributes: Any) -> None:
        self.operator, self.inputs, self.attributes = operator, inputs, attributes


class Mean(Pattern):
    """The mean over some axes, which stay with a length of one: in one step or in several, as means or as sums."""

    def __init__(self, x: Pattern, *axes: int) -> None:
        self.x, self.axes = x, axes


class Either(Pattern):
    """What one of the patterns describes, the first that fits."""

    def __init__(self, *patterns: Pattern) -> None:
        self.patterns = patterns


@dataclass(frozen=True)
class Match:
    """Which value stands where."""

    found: Mapping[Pattern, str]
    view: "View"

    def __getitem__(self, pattern: Pattern) -> str:
        return self.found[pattern]

    def weight(self, pattern: Pattern) -> Array:
        """The constant, float32."""
        return self.view.graph.array(self.found[pattern]).astype(np.float32, copy=False)

    def node(self, pattern: Pattern) -> Node:
        """The node that makes the value."""
        return self.view.made_by[self.found[pattern]]


class View:
    """A graph as the patterns see it, with every Cast between floating types seen through."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made_by = graph.producers()

    def origin(self, name: str) -> str:
        """The value before all changes of floating type."""
        while (node := self.made_by.get(name)) is not None and node.operator == "Cast":
            if not (self._floating(name) and self._floating(node.inputs[0])):
                break
            name = node.inputs[0]
        return name

    def node(self, name: str, operator: str) -> Node | None:
        """The node of this operator that makes the value."""
        node = self.made_by.get(self.origin(name))
        return node if node is not None and node.operator == operator else None

    def constant(self, name: str) -> Array | None:
        """The constant of this name."""
        name = self.origin(name)
        return self.graph.array(name) if name in self.graph.constants else None

    def match(self, pattern: Pattern, name: str) -> Match | None:
        """The first way in which the value is what the pattern describes."""
        found = next(self._ways(pattern, name, {}), None)
        return Match(found, self) if found is not None else None

    def _ways(self, pattern: Pattern, name: str, found: dict[Pattern, str]) -> Iterator[dict[Pattern, str]]:
        name = self.origin(name)
        if pattern in found:
            if found[pattern] == name or (isinstance(pattern, Weight) and self._equal(found[pattern], name)):
                yield found
        elif isinstance(pattern, Either):
            for one in pattern.patterns:
                for way in self._ways(one, name, found):
                    yield {**way, pattern: name}
        elif isinstance(pattern, Mean):
            source = self._averaged(name, set(pattern.axes))
            for way in self._ways(pattern.x, source, found) if source is not None else ():
                yield {**way, pattern: name}
        elif isinstance(pattern, Weight):
            if name in self.graph.constants and self._floating(name):
                yield {**found, pattern: name}
        elif isinstance(pattern, Made):
            node = self.made_by.get(name)
            if node is not None and self._fits(node, pattern):
                for inputs in _orders(pattern):
                    for way in self._all(inputs, node.inputs, found):
                        yield {**way, pattern: name}
        else:
            yield {**found, pattern: name}

    def _all(
        self, patterns: Sequence[Pattern], names: Sequence[str], found: dict[Pattern, str]
    ) -> Iterator[dict[Pattern, str]]:
        if not patterns:
            yield found
            return
        for way in self._ways(patterns[0], names[0], found):
            yield from self._all(patterns[1:], names[1:], way)

    def _fits(self, node: Node, pattern: Made) -> bool:
        """Operator, attributes and number of inputs; settings such as axes are compared with what is constant."""
        if node.operator != pattern.operator:
            return False
        settings = dict(pattern.attributes)
        axes = settings.pop("axes", None)
        given = [name for name in node.inputs if name]
        if axes is not None and (len(given) < 2 or self._integers(given[1]) != axes):
            return False
        if any(node.attributes.get(key, DEFAULTS.get(key)) != value for key, value in settings.items()):
            return False
        floating = [name for name in given if not self._is_setting(name)]
        return not pattern.inputs or len(floating) == len(pattern.inputs)

    def _averaged(self, name: str, axes: set[int]) -> str | None:
        """The value whose mean over the axes this one is."""
        factor = 1.0  # this value over that mean
        while axes:
            node = self.made_by.get(self.origin(name))
            if node is None:
                return None
            source, settings = node.inputs[0], node.inputs[1:]
            number = self.constant(settings[0]) if settings else None
            if node.operator in ("ReduceMean", "ReduceSum"):
                over = self._axes(node, source)
                if not over <= axes:
                    return None
                axes = axes - over
                factor *= math.prod(self.graph.sizes[source][axis] for axis in over) if "Sum" in node.operator else 1
            elif node.operator in ("Mul", "Div") and number is not None and number.size == 1 and number.item():
                factor *= number.item() if node.operator == "Mul" else 1 / number.item()
            else:
                return None
            name = source
        return name if math.isclose(factor, 1, rel_tol=1e-5) else None

    def _axes(self, node: Node, source: str) -> set[int]:
        """What a reduction reduces to one; no axis that exists if it drops them or they are not known."""
        listed = self._integers(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("axes")
        if not listed or node.attributes.get("keepdims", 1) != 1:
            return {-1}
        return {axis % len(self.graph.sizes[source]) for axis in listed}

    def _integers(self, name: str) -> list[int] | None:
        constant = self.graph.array(name) if name in self.graph.constants else None
        return constant.reshape(-1).tolist() if constant is not None else None

    def _is_setting(self, name: str) -> bool:
        """Whole numbers such as axes and shapes, which patterns do not list among inputs."""
        return self.graph.types[name] == "int64" and name in self.graph.constants

    def _floating(self, name: str) -> bool:
        return self.graph.types[name] in FLOATING

    def _equal(self, one: str, other: str) -> bool:
        if one not in self.graph.constants or other not in self.graph.constants:
            return False
        return np.array_equal(self.graph.array(one), self.graph.array(other))


def _orders(pattern: Made) -> Iterator[tuple[Pattern, ...]]:
    if pattern.operator in COMMUTATIVE:
        yield from permutations(pattern.inputs)
    else:
        yield pattern.inputs
