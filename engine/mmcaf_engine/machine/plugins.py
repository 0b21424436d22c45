"""What other packages add through entry points: in the messages about it, where it is from and what it raised."""

from importlib.metadata import EntryPoint

from ..errors import printable


def origin(point: EntryPoint) -> str:
    """The package that an entry point is from, with its version."""
    if point.dist is None:
        return "a package of unknown name"
    return printable(f"{point.dist.name} {point.dist.version}")


def raised(failure: BaseException) -> str:
    """The kind of an exception and the first line of its message."""
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}: {printable(lines[0], 200)}" if lines else type(failure).__name__
