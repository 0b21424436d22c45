"""The private copies of a bundle's networks that runtimes read, and what a runtime says of one, said of the bundle."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..backends.base import Hold
from ..bundle.bundle import Bundle
from ..bundle.held import Held
from ..errors import MmcafError, escaped
from ..files import real_path
from ..manifest import Precision


def hold(bundle: Bundle, precision: Precision) -> Hold:
    """`Held.reading`, within which an exception names the bundle where it named the copy, which is gone by then."""
    held = Held(bundle, precision)

    @contextmanager
    def reading(model: Path) -> Iterator[Path]:
        with held.reading(model) as copy:
            try:
                yield copy
            except Exception as failure:
                depth = len(model.relative_to(bundle.folder).parts)
                _say_instead(failure, copy.parents[depth - 1], bundle.shown)
                raise

    return reading


def _say_instead(failure: Exception, folder: Path, shown: Path) -> None:
    for named in {str(folder), str(real_path(folder))}:
        failure.args = tuple(one.replace(named, str(shown)) if isinstance(one, str) else one for one in failure.args)
        if isinstance(failure, MmcafError):
            failure.problem = failure.problem.replace(escaped(named), escaped(str(shown)))
            failure.args = (failure.problem, *failure.remedies)
