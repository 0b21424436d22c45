"""What every backend is: open, infer, describe, close."""

import hashlib
import mmap
import platform
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, ClassVar, Self, TypeVar

import numpy as np

from .. import cancel
from ..cancel import Progress
from ..errors import BackendError, MmcafError, Remedy, UsageError, printable
from ..machine.cpu import processor
from ..machine.declared import JsonObject, Limit, Positive
from ..machine.installation import install_package
from ..machine.plugins import holds_study, may_raise, raised
from ..manifest import Precision, TensorSpec
from ..timing import span, waiting
from ..volume import Arrays
from .availability import Availability as Availability
from .availability import Detail as Detail
from .device_arrays import lies_on_device
from .inputs import Adopted, Input, checked_inputs
from .node_time import Counting
from .outputs import Given, joined
from .remedies import OTHER_BACKEND, SEE_WHAT_RUNS

Window = Mapping[str, Adopted]
"""One window of checked inputs, N = 1."""

Hold = Callable[[Path], AbstractContextManager[Path]]
"""A model of a bundle -> a copy of it with its weights, which nobody else can change and which goes with the block."""

RUNNING = "running"
"""What a backend does while it holds a study; see `Backend._foreign`."""

DESCRIBED = ("backend", "device", "version", "threads", "kernels")
"""The keys that every `Backend.describe` has."""

_Given = TypeVar("_Given")
_Kind = TypeVar("_Kind", bound="Backend")
_Outcome = TypeVar("_Outcome")
_Described = Annotated[
    JsonObject, Limit(f"the keys {', '.join(DESCRIBED)}", lambda facts: facts.keys() >= {*DESCRIBED})
]


def called(name: str, origin: str) -> str:
    """What messages call a backend, with the package that it comes from where that is another one."""
    return f"Backend {name} of the package {origin}" if origin else f"Backend {name}"


class Backend(ABC):
    """One network, loaded in one runtime.

    Safe to call from several threads: calls take turns, since each uses all the cores it was given.
    A batch runs one window after the other, which bounds the memory and costs a CPU no time; a runtime that can
    overlap windows has its own `_infer_all`.
    A subclass only talks to its runtime, through `_open`, `_infer` and `_close`. If what the runtime builds from
    a model is worth keeping, `keeps_engines` is True and `_export` and `_import` are there too.
    Everything else that the engine knows of a backend it asks the class: nothing is said of one anywhere else.
    What another package's class raises is that package's fault, and what it gives back is checked against the types
    declared here (`machine.plugins.guard`).

    Args:
        lengths: that texts are padded to, ascending; the last is the longest "L" of a text input.
    """

    name: str
    kind: type["Backend"]
    """What is asked about the runtime."""
    model: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    threads: int
    precision: Precision
    lengths: tuple[int, ...]
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions of which one must be installed, beside the one that the class comes from."""
    optional: ClassVar[bool] = True
    """Whether an installation is whole without it."""
    needs_gpu: ClassVar[bool] = False
    auto_needs_gpu: ClassVar[bool] = False
    """Whether "auto" takes it on a GPU alone, although it can run without one."""
    rank: ClassVar[int] = 100
    """Place in lists, the lowest first."""
    can_split: ClassVar[bool] = False
    """Whether it also runs a network in two parts, each in a backend of this class: `split.SplitNetwork`."""
    origin: ClassVar[str] = ""
    """The package that it comes from, with version, where that is another one; set by the registry."""
    device: str = "CPU"
    keeps_engines: bool = False
    windows_per_call: ClassVar[Positive] = 1
    """Windows that one call of `infer` should be given where there are several."""
    progress: Progress | None = None
    """Set before opening: told of an engine that is built, (phase, steps done, steps in all), from any thread."""
    hold: Hold | None = None
    """Set before opening where the model is a bundle's: what gives a copy that was hashed, in a folder of its own."""

    def __init__(
        self,
        model: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        threads: int,
        precision: Precision = "fp32",
        *,
        lengths: Sequence[int] = (),
    ):
        if not lengths and any("L" in spec.shape for spec in inputs):
            raise ValueError("a network with a text input needs the lengths of its texts")
        self.kind = type(self)
        self.model = self._named = model
        self.inputs = inputs
        self.outputs = outputs
        self.threads = threads
        self.precision = precision
        self.lengths = tuple(lengths)
        self._lock = threading.Lock()
        self._changing_turns = threading.Lock()
        self._turn: object = None
        self._is_open = False

    @classmethod
    def title(cls) -> str:
        """What messages call it."""
        return called(cls.name, cls.origin)

    @classmethod
    def availability(cls) -> Availability:
        """Whether this machine can run it, and why or why not. Imports the runtime."""
        try:
            return Availability(True, f"{cls.name} {cls.version()}")
        except (ImportError, BackendError) as failure:
            missing = failure.__cause__ if isinstance(failure, BackendError) else failure
            if not isinstance(missing, ImportError):
                raise
            install = [Remedy("Install it", command=install_package(package)) for package in cls.packages[:1]]
            return Availability(
                False, f"{cls.name} cannot be imported ({printable(str(missing), 300)})", tuple(install)
            )

    @classmethod
    def can_run(cls, precision: Precision) -> Availability:
        """Whether this machine can usefully run a precision on this backend, and why or why not."""
        answer = cls.availability()
        return cls._can_run(precision) if answer.available else answer

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        """As `can_run`, where the runtime is known to be available."""
        return Availability(True, f"{cls.name} runs {precision}")

    @classmethod
    def auto_rank(cls) -> int | None:
        """Place among what "auto" tries here where nothing was measured, the lowest first; None: it is not tried."""
        return None

    @classmethod
    def excluded_from_auto(cls) -> str | None:
        """Why "auto" and tuning leave it aside on this machine although it can run; None if they do not."""
        return None

    @classmethod
    def details(cls) -> Sequence[Detail]:
        """What else there is to know of it on this machine, such as a package or kernels that it uses."""
        return ()

    @classmethod
    def runtime(cls) -> Any:
        """The runtime's module, imported on first use."""
        return import_module(cls.name)

    @classmethod
    def build(cls) -> str:
        """The runtime's version with all that tells its builds apart."""
        return str(cls.runtime().__version__)

    @classmethod
    def version(cls) -> str:
        """The runtime's version, without its build."""
        return cls.build().split("-")[0]

    @classmethod
    def code(cls) -> str:
        """What tells one state of another package's class from the next: package, version, SHA-256 of its module."""
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        return (
            f"{cls.origin} {hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ''}" if cls.origin else ""
        )

    @property
    def parts(self) -> tuple["Backend", ...]:
        """What has a model and an engine of its own: itself alone, unless the network lies in parts."""
        return (self,)

    def layers(self) -> Counting:
        """One like this, not open, that also tells the time of every node.

        Raises:
            BackendError: this runtime does not tell.
        """
        raise BackendError(f"{self.kind.title()} does not tell the times of its layers.", OTHER_BACKEND)

    def _like(self, kind: type[_Kind]) -> _Kind:
        """A backend of another class for the same network."""
        made = kind(self._named, self.inputs, self.outputs, self.threads, self.precision, lengths=self.lengths)
        made.hold = self.hold
        return made

    def forget(self) -> None:  # noqa: B027
        """Drop what is kept of inputs; most keep nothing."""

    def open(self) -> Self:
        """Load the network from its model.

        Raises:
            BackendError: the runtime refuses it.
            BundleError: the model is damaged or altered.
        """

        def load() -> None:
            with self.reading():
                self._open()

        return self._load("loading", load)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """`model` may be read until the block ends: of a bundle, it is a copy of its own meanwhile.

        Raises:
            BundleError: it is damaged or altered.
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
        with self._lock:
            self._expect_open()
            with self._mapped("exporting", OSError):
                self._export(output)

    def engine_facts(self) -> JsonObject:
        """What an engine depends on besides the model's bytes and the processor, as JSON."""
        return {
            "runtime": self.name,
            "build": self.kind.build(),
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "inputs": [[spec.name, *spec.shape[1:]] for spec in self.inputs],
            "outputs": [[spec.name, *spec.shape[1:]] for spec in self.outputs],
            **({"lengths": list(self.lengths)} if self.lengths else {}),
            "configuration": self._configuration(),
        }

    def machine(self) -> list[str]:
        """What computes, as far as answers may depend on it: system and processor."""
        name, instructions = astuple(processor())
        return [platform.machine(), platform.system(), platform.release(), name, *instructions]

    @holds_study
    @may_raise(UsageError)
    def infer(self, arrays: Mapping[str, Input], *, optional: bool = False) -> Arrays:
        """Run the network on every window of a batch.

        Args:
            arrays: input name -> array of the manifest's shape and type, int32 also for int64; N is free, and L up to
                the longest text, but each the same for all. Where the backend runs on a GPU, an array may lie in its
                memory; it is taken without a copy to the host, and so is not searched for NaN.
            optional: also return the outputs that the manifest calls optional.

        Returns:
            Output name -> float32 array of the manifest's shape.

        Raises:
            UsageError: an input is missing, unknown, or of the wrong shape or type, or holds NaN or infinity.
            BackendError: not open, or the runtime failed.
        """
        with span("copy_in"):
            checked = checked_inputs(arrays, self.inputs, self.lengths, self._adopt)
            batch = len(next(iter(checked.values())))
            windows = [{name: array[at : at + 1] for name, array in checked.items()} for at in range(batch)]
        wanted = [spec for spec in self.outputs if optional or not spec.optional]
        every = len(wanted) == len(self.outputs)
        answers = self._infer_all(windows) if every else self._infer_some(windows, wanted)
        with span("copy_out"):
            return joined(answers, batch, wanted, self.kind.title())

    @holds_study
    def _infer_all(self, windows: Sequence[Window]) -> Sequence[Given]:
        return [self._in_turn(self._infer, window) for window in windows]

    @holds_study
    def _infer_some(self, windows: Sequence[Window], outputs: Sequence[TensorSpec]) -> Sequence[Given]:
        """As `_infer_all`, of these outputs at least; a runtime that can leaves out what only others need."""
        return self._infer_all(windows)

    @holds_study
    def _in_turn(self, work: Callable[[_Given], _Outcome], given: _Given) -> _Outcome:
        """Do a runtime's work while no other thread does.

        A caller with limits leaves it when those end; the runtime is asked to stop, and the next call waits for it.
        """
        turn = object()

        def alone() -> _Outcome:
            with self._lock:
                cancel.check()
                self._expect_open()
                with self._changing_turns:
                    self._turn = turn
                try:
                    with span("infer"), self._mapped(RUNNING):
                        return work(given)
                finally:
                    with self._changing_turns:
                        self._turn = None

        def interrupt() -> None:
            with self._changing_turns:
                if self._turn is turn:  # Never what another caller waits for.
                    self._interrupt()

        if not cancel.are_limits():
            return alone()
        with waiting():
            return cancel.leave_behind(alone, name="infer", interrupt=interrupt)

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

    @property
    def degraded(self) -> str | None:
        """In words, why it is slower than it should be on this device, or None; known once it is open."""
        return None

    def describe(self) -> _Described:
        """Backend, device, version, threads; and this project's kernels in use, with how many layers each is."""
        return {
            "backend": self.name,
            "device": self.device,
            "version": self.kind.version(),
            "threads": self.threads,
            "kernels": self._kernels() if self._is_open else {},
        }

    def close(self) -> None:
        """Release the network; closing twice is harmless."""
        with self._lock:
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
        with self._lock:
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
    @holds_study
    def _infer(self, window: Any) -> Given:
        """One window, N = 1; what is returned must not change with the next call."""

    @abstractmethod
    def _close(self) -> None: ...

    def _kernels(self) -> dict[str, int]:
        """This project's kernels -> how many layers of the open network each is."""
        return {}

    def _interrupt(self) -> None:  # noqa: B027 - a runtime that cannot be asked is waited for
        """Ask the runtime to give up the window that it works on; called from another thread than that window's."""

    def _configuration(self) -> JsonObject:
        """What the runtime is told, as JSON."""
        return {}

    @may_raise(OSError)
    def _export(self, output: BinaryIO) -> None:
        raise NotImplementedError

    def _import(self, engine: mmap.mmap) -> None:
        """As `_open`, from an engine; `engine` stays valid and unchanged until `_close`."""
        raise NotImplementedError

    @holds_study
    @may_raise(UsageError)
    def _adopt(self, name: str, given: Input) -> Adopted:
        """An input as the runtime can take it."""
        if lies_on_device(given):
            raise UsageError(
                f"Input {name} lies in GPU memory; {self.name} runs on the {self.device}.",
                Remedy(
                    "Copy it to the host (CuPy: array.get(); torch: tensor.cpu().numpy()), or run the network there",
                    option="backend",
                    value="tensorrt",
                ),
            )
        return np.asarray(given)

    def _foreign(self, doing: str, failure: Exception) -> BackendError:
        """The one place where a runtime's exception becomes ours; it is not quoted where a study was in hand."""
        if isinstance(failure, MemoryError):
            return BackendError(f"{self.name}: out of memory while {doing} {self.model.name}.", "Close other programs.")
        reason = type(failure).__name__ if doing == RUNNING else raised(failure)
        return BackendError(
            f"{self.name} {self.kind.version()} failed while {doing} {self.model.name}: {reason}.",
            OTHER_BACKEND,
            SEE_WHAT_RUNS,
        )
