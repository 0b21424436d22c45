"""The benchmark of whole networks on a processor: its preparation calls the exporter as that takes it."""

from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest

from kernels.scripts import load

torch = pytest.importorskip("torch", reason="torch is not installed")
export = pytest.importorskip("mmcaf_export.export", reason="the exporter is not installed")


class Network(torch.nn.Linear):  # type: ignore[misc, name-defined]
    """Reads the record alone."""

    def forward(self, image: Any, table: Any) -> Any:
        return super().forward(table)


def test_what_is_prepared_is_followed_step_by_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, quantize = load(monkeypatch, "cpu"), import_module("mmcaf_export.precision.quantize")
    followed = create_autospec(quantize.quantize_bundle)

    def quantized(*given: object, tell: Any, progress: Any, **more: object) -> None:
        tell("making int8")
        progress("layers in INT8", 1, 94)
        raise KeyboardInterrupt

    followed.side_effect = quantized
    monkeypatch.setattr(quantize, "quantize_bundle", followed)
    monkeypatch.setattr(export, "export_bundle", create_autospec(export.export_bundle))
    window = {"image": np.ones((1, 2), np.float32), "table": np.ones((1, 7), np.float32)}
    monkeypatch.setattr(script, "network_of", lambda subject: Network(7, 1))
    monkeypatch.setattr(script, "phantom_windows", lambda *given: iter([window]))
    with pytest.raises(KeyboardInterrupt):
        script.prepare(script.SUBJECTS["mmcaf"], tmp_path, 1)
    assert followed.call_count == 1 and " s  making int8\n" in capsys.readouterr().err
