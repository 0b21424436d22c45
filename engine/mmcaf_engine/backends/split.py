"""A network in two parts on one runtime: a report is encoded once, and kept for the images that come with it."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..manifest import Precision, TensorSpec
from ..manifest.tensors import TEXT_KINDS
from .base import Backend, Window
from .outputs import Given, joined

_Report = tuple[bytes, ...]
"""The text inputs of one window, byte by byte; texts of unequal length differ in it too."""


class SplitNetwork(Backend):
    """Two backends of one class, one for each part of the network, which answer as one.

    A report that was not found is encoded by the first; every answer then comes from the second. So the same input has
    the same bits whether its report was found or not. What is kept lies in memory alone, until `close`.

    Args:
        kind: what runs each of the two.
        model: of the whole network, which is not read.
        text_part, image_part: the models of the two parts.
        embeddings: what goes from one to the other.
        reports: encoded reports that are kept; the least recently used goes first.
    """

    def __init__(
        self,
        kind: type[Backend],
        model: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        threads: int,
        precision: Precision = "fp32",
        *,
        lengths: Sequence[int] = (),
        text_part: Path,
        image_part: Path,
        embeddings: TensorSpec,
        reports: int = 1,
    ):
        super().__init__(model, inputs, outputs, threads, precision, lengths=lengths)
        self.kind = kind
        self.name, self.keeps_engines, self.reports = kind.name, kind.keeps_engines, reports
        texts = tuple(spec for spec in inputs if spec.kind in TEXT_KINDS)
        others = tuple(embeddings if spec.kind == "tokens" else spec for spec in inputs)
        self._embeddings = embeddings
        self._text = kind(text_part, texts, (embeddings,), threads, precision, lengths=lengths)
        self._image = kind(image_part, others, outputs, threads, precision, lengths=lengths)
        self.device = self._image.device
        self.forget()

    @property
    def parts(self) -> tuple[Backend, ...]:
        """The two of them, the text's first."""
        return self._text, self._image

    def forget(self) -> None:
        """Drop every encoded report, and count from none again."""
        with self._turns.lock:
            self._kept: OrderedDict[_Report, NDArray[Any]] = OrderedDict()
            self._found = self._encoded = 0

    def describe(self) -> dict[str, Any]:
        """As every backend; and of the reports how many are kept, of how many, how many were found, and encoded."""
        with self._turns.lock:
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
        with ExitStack() as held:
            for part in self.parts:  # Both at once: what they share is then copied once.
                if not part.is_open:
                    held.enter_context(part.reading())
            for part in self.parts:
                part.open()

    def _infer(self, window: Window) -> Given:
        given = {spec.name: window[spec.name] for spec in self._image.inputs if spec is not self._embeddings}
        given[self._embeddings.name] = self._encode({spec.name: window[spec.name] for spec in self._text.inputs})
        return self._image._in_turn(self._image._infer, given)

    def _encode(self, texts: Window) -> NDArray[Any]:
        """The embeddings of one window, found or computed; called by one thread at a time."""
        report = tuple(np.asarray(array).tobytes() for array in texts.values())
        if report in self._kept:
            self._kept.move_to_end(report)
            self._found += 1
            return self._kept[report]
        given = self._text._in_turn(self._text._infer, texts)
        encoded: NDArray[Any] | None = given.get(self._embeddings.name)
        if not isinstance(encoded, np.ndarray):
            encoded = joined([given], 1, [self._embeddings], self.kind.title())[self._embeddings.name]  # refuses it
        self._expect_embeddings(encoded, np.asarray(next(iter(texts.values()))).shape[1])
        self._encoded += 1
        self._kept[report] = encoded
        while len(self._kept) > self.reports:
            self._kept.popitem(last=False)
        return encoded

    def _expect_embeddings(self, encoded: NDArray[Any], length: int) -> None:
        name, free = self._embeddings.name, {"N": 1, "L": length}
        expected = tuple(free[axis] if isinstance(axis, str) else axis for axis in self._embeddings.shape)
        if encoded.dtype == np.dtype(self._embeddings.dtype) and encoded.shape == expected:
            return
        raise BundleError(
            f"{self._text.model.name}: output {name}: expected {self._embeddings.dtype} {list(expected)}, as the "
            f"manifest says, got {encoded.dtype} {list(encoded.shape)}.",
            "Export the bundle again.",
        )

    def _close(self) -> None:
        """Nothing is open but the parts."""
