"""What every backend is: open, infer, describe, close."""

import platform
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from ..cancel import Progress
from ..errors import BackendError, UsageError
from ..machine.cpu import processor
from ..machine.declared import JsonObject, Limit, Positive
from ..machine.plugins import holds_study, may_raise
from ..manifest import Precision, TensorSpec
from ..timing import span
from ..volume import Arrays
from .availability import Availability as Availability
from .availability import Detail as Detail
from .inputs import Adopted, Input, checked_inputs, on_host
from .loading import RUNNING, Loaded
from .loading import Hold as Hold
from .node_time import Counting
from .outputs import Given, joined
from .remedies import ANY_BACKEND, OTHER_BACKEND

Window = Mapping[str, Adopted]
"""One window of checked inputs, N = 1."""

DESCRIBED = ("backend", "device", "version", "threads", "kernels")
"""The keys that every `Backend.describe` has."""

_Given = TypeVar("_Given")
_Kind = TypeVar("_Kind", bound="Backend")
_Outcome = TypeVar("_Outcome")


def _describes(facts: Mapping[str, Any]) -> bool:
    if not facts.keys() >= {*DESCRIBED}:
        return False
    texts, threads, kernels = [facts[name] for name in DESCRIBED[:3]], facts["threads"], facts["kernels"]
    counts = [*kernels.values(), *([] if threads is None else [threads])] if isinstance(kernels, dict) else [""]
    printable = all(isinstance(text, str) and text.isprintable() for text in texts)
    return printable and all(isinstance(count, int) and count >= 0 for count in counts)


_Described = Annotated[
    JsonObject,
    Limit(f"the keys {', '.join(DESCRIBED)}: three texts, a number or None, and numbers by name", _describes),
]


class Backend(Loaded):
    """One network, loaded in one runtime, where `loading` opens and closes it.

    Safe to call from several threads: calls take turns, since each uses all the cores it was given.
    A batch runs one window after the other, which bounds the memory and costs a CPU no time; a runtime that can
    overlap windows has its own `_infer_all`.
    A subclass only talks to its runtime, through `_open`, `_infer` and `_close`. If what the runtime builds from
    a model is worth keeping, `keeps_engines` is True and `_export` and `_import` are there too.
    What another package's class raises is that package's fault, and what it gives back is checked against the types
    declared here (`machine.plugins.guard`).

    Args:
        lengths: that texts are padded to, ascending; the last is the longest "L" of a text input.
    """

    kind: type["Backend"]
    """What is asked about the runtime."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    threads: int
    precision: Precision
    lengths: tuple[int, ...]
    device: str = "CPU"
    keeps_engines: bool = False
    windows_per_call: ClassVar[Positive] = 1
    """Windows that one call of `infer` should be given where there are several."""
    progress: Progress | None = None
    """Set before opening: told of an engine that is built, (phase, steps done, steps in all), from any thread."""
    own_kernels: bool = True
    """Set before opening: whether this project's kernels may take the place of a runtime's own operators."""
    kernels_in_engine: dict[str, int] | None = None
    """Set before an engine is opened that is known to hold these, so that the runtime is not asked; see `describe`."""

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
        super().__init__(model)
        self.inputs = inputs
        self.outputs = outputs
        self.threads = threads
        self.precision = precision
        self.lengths = tuple(lengths)

    @classmethod
    def on(cls, device: str) -> type["Backend"]:
        """The same runtime on a device that it is told by name, as a backend of its own: "NAME:DEVICE".

        Raises:
            UsageError: it has no device of that name, or is told none.
        """
        raise UsageError(f"{cls.title()} is not told a device, and {device!r} was named.", ANY_BACKEND)

    @classmethod
    def other_devices(cls) -> Sequence[type["Backend"]]:
        """This runtime on each further device that is here, of which `mmcaf tune` times all."""
        return ()

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

    def forget(self) -> None:
        """Drop what is kept of inputs; most keep nothing."""

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
            BundleError: the model's outputs are not the manifest's.
        """
        with span("copy_in"):
            checked = checked_inputs(arrays, self.inputs, self.lengths, self._adopt)
            batch = len(next(iter(checked.values())))
            windows = [{name: array[at : at + 1] for name, array in checked.items()} for at in range(batch)]
        wanted = [spec for spec in self.outputs if optional or not spec.optional]
        every = len(wanted) == len(self.outputs)
        answers = self._infer_all(windows) if every else self._infer_some(windows, wanted)
        with span("copy_out"):
            fault = None if self.kind.origin else self.model.name
            length = next((checked[spec.name].shape[1] for spec in self.inputs if "L" in spec.shape), None)
            return joined(answers, batch, wanted, self.kind.title(), fault, length)

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

        def done() -> _Outcome:
            with span("infer"), self._mapped(RUNNING):
                return work(given)

        return self._turns.take(done, ready=self._expect_open, interrupt=self._interrupt)

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
            "kernels": self._known_kernels() if self._is_open else {},
        }

    @abstractmethod
    @holds_study
    def _infer(self, window: Any) -> Given:
        """One window, N = 1; what is returned must not change with the next call."""

    def _known_kernels(self) -> dict[str, int]:
        return self._kernels() if self.kernels_in_engine is None else dict(self.kernels_in_engine)

    def _kernels(self) -> dict[str, int]:
        """This project's kernels -> how many layers of the open network each is."""
        return {}

    @property
    def can_be_stopped(self) -> bool:
        """Whether a window that is computed ends soon where somebody cancels it."""
        return type(self)._interrupt is not Backend._interrupt

    def _interrupt(self) -> None:
        """Ask the runtime to give up the window that it works on; called from another thread than that window's."""

    def _configuration(self) -> JsonObject:
        """What the runtime is told, as JSON."""
        return {}

    @holds_study
    @may_raise(UsageError)
    def _adopt(self, name: str, given: Input) -> Adopted:
        """An input as the runtime can take it."""
        return on_host(name, given, f"{self.name} runs on the {self.device}")
