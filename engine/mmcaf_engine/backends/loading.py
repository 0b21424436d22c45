"""How a network gets into a runtime and out of it: from a model, or from an engine that an earlier process built."""

import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ..errors import BackendError, MmcafError
from ..machine.memory import lacks_memory, out_of_memory
from ..machine.plugins import may_raise, raised_whole
from .remedies import OTHER_BACKEND, SEE_WHAT_RUNS
from .runtime import Runtime
from .turns import Turns

Hold = Callable[[Path], AbstractContextManager[Path]]
"""A model of a bundle -> a copy of it with its weights, which nobody else can change and which goes with the block."""

RUNNING = "running"
"""What a backend does while it holds a study; see `Loaded._foreign`."""


class Loaded(Runtime, ABC):
    """One network in one runtime, open or not: the half of a `Backend` that runs nothing."""

    kind: type[Runtime]
    """What is asked about the runtime."""
    model: Path
    hold: Hold | None = None
    """Set before opening where the model is a bundle's: what gives a copy that was hashed, in a folder of its own."""

    def __init__(self, model: Path) -> None:
        self.kind = type(self)
        self.model = self._named = model
        self._turns = Turns()
        self._is_open = False

    def open(self) -> Self:
        """Load the network from its model.

        Raises:
            BackendError: the runtime refuses it.
            BundleError: the model is damaged or altered.
        """

        def load() -> None:
            with ExitStack() as undo:
                with self.reading():
                    self._open()
                    undo.callback(self._close)
                undo.pop_all()

        return self._load("loading", load)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """`model` may be read until the block ends: of a bundle, it is a copy of its own meanwhile.

        Raises:
            BundleError: it is damaged or altered; of weights, at the end of the block.
        """
        if self.hold is None:
            yield
            return
        with self.hold(self._named) as copy:
            self.model = copy
            try:
                yield
            finally:
                self.model = self._named

    def open_engine(self, engine: mmap.mmap) -> Self:
        """Load the network as an earlier `export_engine` wrote it; the model is not read.

        Raises:
            BackendError: the runtime refuses it.
        """
        return self._load("loading the kept engine of", lambda: self._import(engine))

    @may_raise(OSError)
    def export_engine(self, output: BinaryIO) -> None:
        """Write what the runtime built from the model, for `open_engine` of a backend with equal `engine_facts`.

        Raises:
            BackendError: the session is closed, or the runtime cannot.
            OSError: `output` cannot be written.
        """
        with self._turns.lock:
            self._expect_open()
            with self._mapped("exporting", OSError):
                self._export(output)

    @contextmanager
    def _mapped(self, doing: str, *passed: type[Exception]) -> Iterator[None]:
        """Turn a runtime's exceptions into ours; those that are ours, and `passed`, stay as they are."""
        try:
            yield
        except Exception as failure:
            if isinstance(failure, (MmcafError, *passed)):
                raise
            raise self._foreign(doing, failure) from failure

    @property
    def is_open(self) -> bool:
        """Whether it can answer."""
        return self._is_open

    def close(self) -> None:
        """Release the network; closing twice is harmless."""
        with self._turns.lock:
            if self._is_open:
                self._is_open = False
                self._close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, doing: str, load: Callable[[], None]) -> Self:
        with self._turns.lock:
            if not self._is_open:
                with self._mapped(doing):
                    load()
                self._is_open = True
        return self

    def _expect_open(self) -> None:
        if not self._is_open:
            raise BackendError(f"The {self.name} session is closed.", "Open a new one: open_session(bundle)")

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @may_raise(OSError)
    def _export(self, output: BinaryIO) -> None:
        raise NotImplementedError

    def _import(self, engine: mmap.mmap) -> None:
        """As `_open`, from an engine; `engine` stays valid and unchanged until `_close`."""
        raise NotImplementedError

    def _foreign(self, doing: str, failure: Exception) -> BackendError:
        """The one place where a runtime's exception becomes ours; whole, but not quoted where a study was in hand."""
        if lacks_memory(failure):
            return out_of_memory(f"{doing} {self.model.name} in {self.name}", failure)
        reason = type(failure).__name__ if doing == RUNNING else raised_whole(failure)
        return BackendError(
            f"{self.name} {self.kind.version()} failed while {doing} {self.model.name}: {reason}.",
            OTHER_BACKEND,
            SEE_WHAT_RUNS,
        )
