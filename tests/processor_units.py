"""A processor with other units than this one's, as far as OpenVINO tells."""

from typing import Any

import pytest

from mmcaf_engine.backends.openvino.backend import OpenVinoBackend


def give_units(monkeypatch: pytest.MonkeyPatch, *units: str) -> None:
    """Has OpenVINO tell that the processor has FP32, INT8 and these."""
    openvino = OpenVinoBackend.runtime()

    class Core(openvino.Core):  # type: ignore[misc, name-defined]
        def get_property(self, *asked: Any) -> Any:
            if asked == ("CPU", "OPTIMIZATION_CAPABILITIES"):
                return ["FP32", "INT8", *units]
            return super().get_property(*asked)

    monkeypatch.setattr(openvino, "Core", Core)
