"""What the body of a Scan, Loop or If reads from outside of it: constants as they stand, made by no node.

ONNX lets a body read any value around it. OpenVINO 2026 takes the constants among them alone into the body of a Scan;
one that a node makes, be it of constants, leaves the Scan an input short, and the model cannot be read. Constant
folding makes constants of what constants make, but not of large weights.
"""

from collections.abc import Iterable, Iterator

import onnx_ir as ir
from onnxscript.optimizer import fold_constants


def fold_read_by_bodies(model: ir.Model) -> None:
    """Put a constant in the place of what a body reads and nodes make of constants, however large it is."""
    fold_makers(model, _read(model.graph))


def fold_makers(model: ir.Model, values: Iterable[ir.Value]) -> None:
    """Put constants in the place of those of the values that are made of constants alone, however large they are."""
    made = {node for value in values for node in _makers(value)}
    if made:
        fold_constants(model, should_fold=lambda node: node in made)


def _read(graph: ir.Graph) -> Iterator[ir.Value]:
    """Values that the bodies in a graph read from it."""
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph()):
                    yield from (value for value in inner.inputs if value is not None and value.graph is graph)


def _makers(value: ir.Value) -> set[ir.Node]:
    """The nodes that make a value; none where it is made of more than constants."""
    found: set[ir.Node] = set()
    left = [value]
    while left:
        given = left.pop()
        node = given.producer()
        if node is None and not given.is_initializer():
            return set()
        if node is not None and node not in found:
            found.add(node)
            left += [each for each in node.inputs if each is not None]
    return found
