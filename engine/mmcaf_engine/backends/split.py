"""A network in two parts on one runtime: a report is encoded once, and kept for the images that come with it."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..manifest import Manifest, Precision, TensorSpec
from ..manifest.tensors import TEXT_KINDS
from ..manifest.text import text_lengths
from ..volume import Arrays
from .base import Availability, Backend, Window
from .onnxruntime.backend import OnnxRuntimeBackend
from .openvino.backend import OpenVinoBackend

_Report = tuple[bytes, ...]
"""The text inputs of one window, byte by byte; texts of unequal length differ in it too."""


class InParts(Backend):
    """Two backends, one for each part of the network, which answer as one.

    A report that was not found is encoded by the first; every answer then comes from the second. So the same input has
    the same bits whether its report was found or not. What is kept lies in memory alone, until `close`.

    Args:
        text, rest: the models of the two parts; `model` is that of the whole network, which is not read.
        words: what goes from one to the other.
    """

    whole: ClassVar[type[Backend]]
    """What runs each of the two."""
    reports: int = 1
    """Encoded reports that are kept; the least recently used goes first."""

    def __init__(
        self,
        model: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        threads: int,
        precision: Precision = "fp32",
        *,
        lengths: Sequence[int] = (),
        text: Path,
        rest: Path,
        words: TensorSpec,
    ):
        super().__init__(model, inputs, outputs, threads, precision, lengths=lengths)
        texts = tuple(spec for spec in inputs if spec.kind in TEXT_KINDS)
        others = tuple(words if spec.kind == "tokens" else spec for spec in inputs)
        self._words = words
        self._text = self.whole(text, texts, (words,), threads, precision, lengths=lengths)
        self._rest = self.whole(rest, others, outputs, threads, precision, lengths=lengths)
        self.device = self._rest.device
        self.forget()

    @classmethod
    def of(cls, manifest: Manifest, model: Path, threads: int, precision: Precision = "fp32") -> Self:
        """A backend, not yet open, for a bundle's network; the bundle is known to have the parts of this precision."""
        if manifest.parts is None:
            raise ValueError(f"{manifest.name} has no parts")
        files = manifest.parts.models[precision]
        folder = model.parents[manifest.models[precision].count("/")]
        return cls(
            model,
            manifest.inputs,
            manifest.outputs,
            threads,
            precision,
            lengths=text_lengths(manifest.text),
            text=folder / files.text,
            rest=folder / files.rest,
            words=manifest.parts.words,
        )

    @classmethod
    def runtime(cls) -> Any:
        """As of the whole network."""
        return cls.whole.runtime()

    @classmethod
    def build(cls) -> str:
        """As of the whole network."""
        return cls.whole.build()

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        return cls.whole._can_run(precision)

    @property
    def parts(self) -> tuple[Backend, ...]:
        """The two of them, the text's first."""
        return self._text, self._rest

    def forget(self) -> None:
        """Drop every encoded report, and count from none again."""
        with self._lock:
            self._kept: OrderedDict[_Report, NDArray[Any]] = OrderedDict()
            self._found = self._encoded = 0

    def describe(self) -> dict[str, Any]:
        """As every backend; and of the reports how many are kept, of how many, how many were found, and encoded."""
        with self._lock:
            counted = {"kept": len(self._kept), "limit": self.reports, "found": self._found, "encoded": self._encoded}
        return {**super().describe(), "reports": counted}

    def _kernels(self) -> dict[str, int]:
        return dict(sum((Counter(part.describe()["kernels"]) for part in self.parts), Counter()))

    def close(self) -> None:
        """Release both parts and every encoded report; closing twice is harmless."""
        super().close()
        for part in self.parts:  # One alone may be open, if the other was refused.
            part.close()
        self.forget()

    def _open(self) -> None:
        for part in self.parts:
            part.open()

    def _infer(self, window: Window) -> Arrays:
        given = {spec.name: window[spec.name] for spec in self._rest.inputs if spec is not self._words}
        given[self._words.name] = self._encode({spec.name: window[spec.name] for spec in self._text.inputs})
        return self._rest._in_turn(self._rest._infer, given)

    def _encode(self, texts: Window) -> NDArray[Any]:
        """The words of one window, found or computed; called by one thread at a time."""
        report = tuple(np.asarray(array).tobytes() for array in texts.values())
        if report in self._kept:
            self._kept.move_to_end(report)
            self._found += 1
            return self._kept[report]
        words = self._text._in_turn(self._text._infer, texts)[self._words.name]
        self._expect_words(words, np.asarray(next(iter(texts.values()))).shape[1])
        self._encoded += 1
        self._kept[report] = words
        while len(self._kept) > self.reports:
            self._kept.popitem(last=False)
        return words

    def _expect_words(self, words: NDArray[Any], length: int) -> None:
        free = {"N": 1, "L": length}
        expected = tuple(free[axis] if isinstance(axis, str) else axis for axis in self._words.shape)
        if words.dtype == np.dtype(self._words.dtype) and words.shape == expected:
            return
        raise BundleError(
            f"{self._text.model.name} puts out {self._words.name} as {words.dtype} {list(words.shape)}; the manifest "
            f"says {self._words.dtype} {list(expected)}.",
            "Export the bundle again.",
        )

    def _close(self) -> None:
        """Nothing is open but the parts."""


class OpenVinoInParts(InParts):
    """Both parts in OpenVINO."""

    name = "openvino"
    keeps_engines = True
    whole = OpenVinoBackend


class OnnxRuntimeInParts(InParts):
    """Both parts in ONNX Runtime."""

    name = "onnxruntime"
    whole = OnnxRuntimeBackend


IN_PARTS: dict[str, type[InParts]] = {kind.name: kind for kind in (OpenVinoInParts, OnnxRuntimeInParts)}
"""By the backend's name; the others run a network as a whole only."""
