"""Which figure of which fresh process stands where; the processes are played."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import BackendError
from mmcaf_engine.profile import cold
from mmcaf_engine.profile.figures import cold_medians
from mmcaf_engine.profile.probe import _ram_peak_mb
from mmcaf_engine.profile.report import SubjectFacts
from mmcaf_engine.profile.subject import Measured
from refusals import refused

STUDY = Measured(Path("study"), None, {}, SubjectFacts("given study", 1, 1, {}))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tiny_bundle_source: Path) -> cold.ColdStart:
    """Two rounds of three processes, each of whose figures tell which it was."""
    count = 0

    def run(command: list[str], *, input: str, **how: Any) -> SimpleNamespace:
        nonlocal count
        task, count = json.loads(input), count + 1
        figures = {"process_start": count, "ram_peak_mb": 100.0 + count, "vram_peak_mb": 10.0 - count}
        if task["answer"]:
            figures |= {"first_answer": 1000.0 * count}
        else:
            figures |= {"imports": 10.0 * count, "open": 100.0 * count, "first_infer": 0.1 * count, "cache": "loaded"}
        return SimpleNamespace(stdout=json.dumps(figures), stderr="", returncode=0)

    monkeypatch.setattr("mmcaf_engine.profile.cold.subprocess.run", run)
    return cold.measure_cold(load_bundle(tiny_bundle_source), STUDY, "onnxruntime", "fp32", 1, 2)


def test_each_figure_is_of_its_own_process(played: cold.ColdStart) -> None:
    found = played.cold
    assert found.open_cold.values == (100.0, 400.0) and found.open_warm.values == (200.0, 500.0)
    assert found.first_answer is not None and found.first_answer.values == (3000.0, 6000.0)
    assert found.imports.values == (10.0, 40.0, 20.0, 50.0) and found.first_infer.values == pytest.approx(
        (0.1, 0.4, 0.2, 0.5)
    )
    assert sorted(found.process_start.values) == [1, 2, 3, 4, 5, 6]


def test_memory_is_the_highest_of_the_answers(played: cold.ColdStart) -> None:
    assert played.memory is not None
    assert (played.memory.ram_peak_mb, played.memory.vram_peak_mb) == (106.0, 7.0)


@pytest.mark.parametrize(("kept", "opening"), [(True, 350.0), (False, 250.0)])
def test_a_process_opens_with_the_engine_kept_or_with_nothing_kept(
    played: cold.ColdStart, kept: bool, opening: float
) -> None:
    medians = dict(cold_medians(played.cold, kept=kept))
    assert medians == {"process start": 3.5, "imports": 30.0, "open": opening, "first window": pytest.approx(0.3)}


def test_the_peak_of_memory_is_in_megabytes() -> None:
    """At least what this process has now, where the system tells it."""
    now = Path("/proc/self/statm")
    held = int(now.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if now.exists() else 1.0
    peak = _ram_peak_mb()
    assert peak is None or 0.9 * held <= peak <= 1e6


def test_a_process_that_cannot_be_started_is_told(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tiny_bundle / "manifest.json"))
    with refused(BackendError, "onnxruntime fp32", "Permission denied", command="mmcaf doctor"):
        cold.measure_cold(load_bundle(tiny_bundle), STUDY, "onnxruntime", "fp32", 1, 1)
