"""What is made of a network: it runs as a whole, or in the parts that it has where reports are kept."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmcaf_engine.backends.factory import Network, Parts, make_backend
from mmcaf_engine.manifest import TensorSpec

WORDS = TensorSpec(name="words", kind="words", shape=("N", "L", 4))
PARTS = Parts(Path("text.onnx"), Path("rest.onnx"), WORDS)


def kind(*, can_split: bool) -> Any:
    """A class that only says what it was made of."""

    class Kind(SimpleNamespace):
        name, origin = "kind", ""

        def __init__(self, *given: Any, **how: Any) -> None:
            super().__init__(given=given, **how)
            self.parts = (self,)

    Kind.can_split = can_split  # type: ignore[attr-defined]
    return Kind


def network(parts: Parts | None) -> Network:
    return Network(Path("model.onnx"), (), (), (4, 8), parts, nullcontext)


@pytest.mark.parametrize("parts", [None, PARTS])
def test_without_reports_it_runs_as_a_whole(parts: Parts | None) -> None:
    def told(phase: str, done: int, total: int) -> None:
        pass

    made: Any = make_backend(kind(can_split=True), network(parts), 3, "int8", progress=told)
    assert made.given == (Path("model.onnx"), (), (), 3, "int8") and made.lengths == (4, 8)
    assert made.progress is told and made.hold is nullcontext


@pytest.mark.parametrize(("parts", "can_split"), [(None, True), (PARTS, False), (None, False)])
def test_reports_are_kept_of_a_network_in_parts_by_what_runs_them_alone(parts: Parts | None, can_split: bool) -> None:
    with pytest.raises(ValueError, match="cannot keep reports"):
        make_backend(kind(can_split=can_split), network(parts), 1, reports=2)
