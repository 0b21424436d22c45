"""The table of operations: what makes a node's function, of attributes and of inputs as far as they are constant."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from ..graph import Node, UnsupportedGraphError, every_node

Function = Callable[..., Any]


@dataclass(frozen=True)
class Arguments:
    """A node as the maker of its function sees it: attributes, and inputs as far as they are constant."""

    node: Node
    constants: Mapping[str, Tensor]

    def __call__(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    def has(self, position: int) -> bool:
        """Whether there is an input at this position."""
        return len(self.node.inputs) > position and bool(self.node.inputs[position])

    def tensor(self, position: int) -> Tensor:
        """An input that must be constant."""
        name = self.node.inputs[position]
        if name not in self.constants:
            raise self.unsupported(f"input {position} is not constant")
        return self.constants[name]

    def numbers(self, position: int) -> list[Any] | None:
        """An input that must be constant, as a list; None if it is absent."""
        return cast(list[Any], self.tensor(position).reshape(-1).tolist()) if self.has(position) else None

    def expect(self, name: str, *allowed: Any) -> None:
        """Refuse an attribute of another value; it may be absent."""
        if name in self.node.attributes and self.node.attributes[name] not in allowed:
            raise self.unsupported(
                f"{name} is {self.node.attributes[name]!r}; {' or '.join(map(repr, allowed))} is known"
            )

    def unsupported(self, what: str) -> UnsupportedGraphError:
        return UnsupportedGraphError(f"{self.node.name or self.node.operator} ({self.node.operator}): {what}")


@dataclass(frozen=True)
class Operation:
    """`make` gives the function of the inputs from position 0 to `settings`; later inputs are constant settings."""

    make: Callable[[Arguments], Function]
    settings: int | None = None


OPERATIONS: dict[str, Operation] = {}


def check_supported(nodes: Iterable[Node]) -> None:
    """Refuse a network with operators that are not in OPERATIONS, by their names."""
    unknown = sorted({node.operator for node in every_node(nodes)} - OPERATIONS.keys() - {"Shape"})
    if unknown:
        raise UnsupportedGraphError(f"the network uses {', '.join(unknown)}, which the torch backend does not know")


def function_of(arguments: Arguments) -> tuple[Function, tuple[str, ...]]:
    """What computes a node, and the values to call it with, "" standing for None."""
    operation = OPERATIONS[arguments.node.operator]
    return operation.make(arguments), arguments.node.inputs[: operation.settings]


def operation(*names: str, settings: int | None = None) -> Callable[[Callable[[Arguments], Function]], None]:
    def register(make: Callable[[Arguments], Function]) -> None:
        OPERATIONS.update(dict.fromkeys(names, Operation(make, settings)))

    return register
