"""The kernels' benchmark: its baselines compute what the kernels do, its least costs are right, no GPU no rows."""

import csv
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("pydantic", reason="pydantic is not installed")
pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch

from kernels.harness import relative_error
from kernels.networks import MEAN
from kernels.scripts import load

ROOT = Path(__file__).parents[2]
CARDS = ((272, 15.1), (1008, 82.6), (4800, 66.9))  # GB/s and TFLOP/s in float32: RTX 4060, RTX 4090, H200


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's cases as they are."""
    return load(monkeypatch, "kernel_names", "kernel_cases")


@pytest.fixture
def table(published: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's cases, small and on the CPU."""
    module = published
    monkeypatch.setattr(module, "DEVICE", "cpu")
    monkeypatch.setattr(module, "STAGES", {"stage1": (32, 3, 5, 7), "stage2": (64, 2, 3, 3)})
    monkeypatch.setattr(module, "TOLERANCE", {torch.float32: 1e-5})
    return module


def test_baselines_compute_what_the_kernels_compute(table: ModuleType) -> None:
    seen = set()
    for case in table.cases(None):
        seen.add(case.kernel)
        expected = case.reference()
        for function in (case.ours, case.eager):
            found = function()
            pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
            assert all(relative_error(a, b) < 1e-5 for a, b in pairs), (case.kernel, case.shape)
        assert case.bytes > 0
        assert case.operations > 0
    assert len(seen) == 7


@pytest.mark.full
def test_the_networks_case(table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(monkeypatch, "kernels_network")
    case = module.network_case(MEAN, torch.float32)
    reference, ours = case.reference(), case.ours()
    for found in (ours, case.eager()):
        assert found.shape == (1, 1)
        assert case.right(found, reference)
    assert not case.right(ours + 1e-3, reference)
    assert not case.right(ours * float("nan"), reference)
    assert case.bytes > 1e5 and case.operations > 1e6


@pytest.mark.parametrize(("length", "kernel"), [(1, 5), (2, 5), (6, 5), (3, 3), (12, 7), (4, 1)])
def test_taps_inside_counts_products_that_are_not_padding(table: ModuleType, length: int, kernel: int) -> None:
    ones = torch.ones(1, 1, length)
    counted = torch.nn.functional.conv1d(ones, torch.ones(1, 1, kernel), padding=kernel // 2).sum()
    assert table.taps_inside(length, kernel) == counted


def documented(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows of docs/kernels.md: megabytes, megaflops and the floor in microseconds, float32 / float16."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    monkeypatch.setattr(module, "DEVICE", "meta")
    monkeypatch.setattr(module, "TOLERANCE", {torch.float32: 0, torch.float16: 0})
    for case in module.cases(None):
        found.setdefault((case.kernel, case.shape), []).append((case.bytes, case.operations))
    rows = []
    for (kernel, shape), costs in found.items():
        if max(size for size, _ in costs) < 1e6:
            continue  # a launch costs more than the work
        cells = [kernel, shape, " / ".join(f"{size / 1e6:.1f}" for size, _ in costs), f"{costs[0][1] / 1e6:.0f}"]
        for bandwidth, rate in CARDS:
            cells.append(" / ".join(f"{max(size / bandwidth / 1e3, work / rate / 1e6):.1f}" for size, work in costs))
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_documented_floors_are_current(published: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8").splitlines()
    expected = documented(published, monkeypatch)
    assert [line for line in page if line in expected] == expected, "\n".join(expected)


@pytest.fixture
def script(table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What measures for benchmarks/kernels.py, with the small cases."""
    return load(monkeypatch, "rows", "card", "gpu_timing", "kernel_rows")


def case_of(table: ModuleType, kernel: str, right: bool = True, raises: bool = False, size: int = 10) -> Any:
    """A case of a single number that ours gets right or wrong, or cannot give."""

    def ours() -> torch.Tensor:
        if raises:
            raise RuntimeError("an illegal address")
        return torch.ones(1) if right else torch.zeros(1)

    eager = reference = lambda: torch.ones(1)
    return table.Case(kernel, "[1]", torch.float32, ours, eager, reference, size, 10)


class StandInTimer:
    """A clock that says 10 microseconds cold and 4 warm, and how many calls it was given."""

    def __init__(self, timing: ModuleType) -> None:
        self.batches: list[int] = []
        self._times = timing.Times

    def __call__(self, calls: Sequence[Callable[[], Any]], runs: int) -> Any:
        self.batches.append(len(calls))
        return self._times([10.0] * runs, [4.0] * runs, 2**20, {"sm_mhz": "1980", "power_w": "310"})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def measure(
    script: ModuleType,
    path: Path,
    wanted: list[Any],
    timer: Any,
    seconds: float | None = None,
    kernels: Sequence[str] = (),
) -> int:
    rows, maker = sys.modules["rows"], sys.modules["kernel_cases"].Maker
    budget = rows.Budget(seconds, iter(range(100)).__next__)
    makers = (make if isinstance(make, maker) else maker("any", make) for make in wanted)
    given = makers, kernels, ("ours", "eager"), timer, 3, script.Ceilings(100.0, 1000.0), {"gpu": "H200"}
    left_out: int = script.run(*given, rows.RowFile(path), budget)
    return left_out


def test_what_is_wrong_or_raises_leaves_out_only_itself(
    script: ModuleType, table: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unmade() -> Any:
        raise MemoryError("no room for the case")

    wanted = [
        unmade,
        lambda: case_of(table, "wrong", right=False),
        lambda: case_of(table, "broken", raises=True),
        lambda: case_of(table, "good"),
    ]
    timer = StandInTimer(sys.modules["gpu_timing"])
    assert measure(script, tmp_path / "rows.csv", wanted, timer) == 3
    written = [(row["kernel"], row["provider"]) for row in rows_of(tmp_path / "rows.csv")]
    assert written == [("wrong", "eager"), ("broken", "eager"), ("good", "ours"), ("good", "eager")]
    said = capsys.readouterr().err
    for fact in ("MemoryError: no room for the case", "wrong [1] torch.float32 ours: ArithmeticError: error 1.0e+00"):
        assert fact in said
    assert "broken [1] torch.float32 ours: RuntimeError: an illegal address" in said


def test_what_is_not_asked_for_is_not_even_made(
    script: ModuleType, table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a file opened that only another kernel needs."""
    unmade = table.Maker("kan", Mock(side_effect=MemoryError("no room")))
    wanted = [unmade, table.Maker("msdc", lambda: case_of(table, "msdc")), unmade]
    timer = StandInTimer(sys.modules["gpu_timing"])
    assert measure(script, tmp_path / "rows.csv", wanted, timer, kernels=["msdc"]) == 0
    assert [row["kernel"] for row in rows_of(tmp_path / "rows.csv")] == ["msdc", "msdc"]
    assert unmade.make.call_count == 0
    assert script.opened(tmp_path / "none.fatbin", ["kan"]) == (None, 0)


def test_a_case_is_of_the_kernel_that_was_asked_for(published: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "DEVICE", "meta")
    for make in published.makers(torch.float16, Mock()):
        assert make().kernel == make.kernel and make.kernel in str(make)


@pytest.mark.parametrize("how", ["row", "whole table"])
def test_a_full_disk_is_said_in_one_line(
    how: str, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And ends the run: it is no fault of the case that was measured."""
    rows, file = sys.modules["rows"], Path("/dev/full")
    table = rows.RowFile(file)
    with pytest.raises(SystemExit) as ended:
        table.add({"a": "1"}) if how == "row" else rows.write_rows(file, [{"a": "1"}])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "/dev/full: cannot be written: No space left on device\n"


def test_rows_are_in_the_file_when_the_run_is_ended(script: ModuleType, table: ModuleType, tmp_path: Path) -> None:
    def ended() -> Any:
        assert len(rows_of(tmp_path / "rows.csv")) == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(
            script,
            tmp_path / "rows.csv",
            [lambda: case_of(table, "good"), ended],
            StandInTimer(sys.modules["gpu_timing"]),
        )
    assert len(rows_of(tmp_path / "rows.csv")) == 2


def test_nothing_begins_after_the_seconds(
    script: ModuleType, table: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock goes on by one second whenever it is asked: for the end, the first case and its two providers."""
    wanted = [lambda: case_of(table, "first"), lambda: case_of(table, "second")]
    assert measure(script, tmp_path / "rows.csv", wanted, StandInTimer(sys.modules["gpu_timing"]), seconds=3) == 0
    assert [(row["kernel"], row["provider"]) for row in rows_of(tmp_path / "rows.csv")] == [("first", "ours")]
    assert "the time is over" in capsys.readouterr().err
    assert measure(script, tmp_path / "rows.csv", wanted[:1], StandInTimer(sys.modules["gpu_timing"]), seconds=4) == 0
    assert len(rows_of(tmp_path / "rows.csv")) == 2 and "the time is over" not in capsys.readouterr().err


def test_a_row_says_batch_and_cold_and_warm_and_clocks(script: ModuleType, table: ModuleType, tmp_path: Path) -> None:
    timer = StandInTimer(sys.modules["gpu_timing"])
    wanted = [lambda: case_of(table, "short", size=999_999), lambda: case_of(table, "long", size=1_000_000)]
    assert measure(script, tmp_path / "rows.csv", wanted, timer) == 0
    first = rows_of(tmp_path / "rows.csv")[0]
    assert {"p50_us": "10.00", "warm_p50_us": "4.00", "sm_mhz": "1980", "power_w": "310"}.items() <= first.items()
    assert timer.batches == [20, 20, 1, 1]
    assert [row["batch"] for row in rows_of(tmp_path / "rows.csv")] == ["20", "20", "1", "1"]


def test_copies_of_a_case_share_no_buffer(table: ModuleType) -> None:
    for make in table.makers(torch.float32, None):
        one, other = make(), make()
        cells = [tensors(case) for case in (one, other)]
        assert cells[0] and cells[0].isdisjoint(cells[1]), one.kernel


def tensors(case: Any) -> set[int]:
    """Where the tensors lie that a case's own function reads."""
    held = [cell.cell_contents for cell in case.ours.__closure__ or ()]
    found = [tensor for value in held for tensor in (value if isinstance(value, list | tuple) else [value])]
    return {tensor.data_ptr() for tensor in found if torch.is_tensor(tensor)}


class StandInCuda:
    """Notes what a GPU would be told in order; each replay of a graph takes 60 microseconds of its clock."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.now = 0.0
        cuda = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                self.at = 0.0

            def record(self) -> None:
                self.at = cuda.now
                cuda.told.append("event")

            def elapsed_time(self, end: "Event") -> float:
                return end.at - self.at

        class CUDAGraph:
            def replay(self) -> None:
                cuda.now += 0.06  # ms
                cuda.told.append("replay")

        self.Event, self.CUDAGraph = Event, CUDAGraph

    def Stream(self) -> Mock:  # noqa: N802
        return Mock()

    current_stream = Stream
    synchronize = reset_peak_memory_stats = Mock()
    memory_allocated = Mock(return_value=100)
    max_memory_allocated = Mock(return_value=350)

    def stream(self, stream: object) -> nullcontext[None]:
        return nullcontext()

    graph = stream


def test_a_batch_is_divided_and_the_cache_is_emptied_by_a_read(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing, cuda = sys.modules["gpu_timing"], StandInCuda()
    monkeypatch.setattr(timing, "cuda", cuda)
    cache = timing.Cache("cpu", evicting=64)
    monkeypatch.setattr(cache, "written", Mock(zero_=lambda: cuda.told.append("zero")))
    monkeypatch.setattr(cache, "read", Mock(amax=lambda: cuda.told.append("read")))
    timer = timing.Timer(lambda: {"sm_mhz": "1980"}, cache)
    times = timer([Mock()] * 20, runs=2)
    assert times.cold == pytest.approx([3.0, 3.0]) and times.warm == pytest.approx([3.0, 3.0])
    assert (times.peak, times.state) == (250, {"sm_mhz": "1980"})
    warm_up = ["replay"] * timing.WARM_UP
    one = ["event", "replay", "event"]
    assert cuda.told == [*warm_up, *(["zero", "read", *one] * 2), *warm_up, *one, *one]


EMPTY = {"sm_mhz": "", "memory_mhz": "", "power_w": "", "celsius": ""}


def test_the_cards_state(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    card = sys.modules["card"]

    def tells(value: int) -> Mock:
        return Mock(side_effect=lambda *given: setattr(given[-1]._obj, "value", value) or 0)

    def place(bus: Any, size: int, device: object) -> int:
        bus.value = b"0000:17:00.0"
        return 0

    driver = Mock(
        cuInit=Mock(return_value=0), cuDeviceGet=Mock(return_value=0), cuDeviceGetPCIBusId=Mock(side_effect=place)
    )
    nvml = Mock(
        nvmlInit_v2=Mock(return_value=0),
        nvmlDeviceGetHandleByPciBusId_v2=Mock(return_value=0),
        nvmlDeviceGetClockInfo=tells(1980),
        nvmlDeviceGetPowerUsage=tells(309_600),
        nvmlDeviceGetTemperature=Mock(return_value=3),  # not supported
    )
    monkeypatch.setattr(card.ctypes, "CDLL", lambda name: nvml if "nvidia-ml" in name else driver)
    assert card.card_state()() == {**EMPTY, "sm_mhz": "1980", "memory_mhz": "1980", "power_w": "310"}
    assert nvml.nvmlDeviceGetHandleByPciBusId_v2.call_args.args[0] == b"0000:17:00.0"
    del nvml.nvmlDeviceGetClockInfo
    assert card.card_state()() == {**EMPTY, "power_w": "310"}
    for failing in (nvml.nvmlInit_v2, driver.cuInit, driver.cuDeviceGetPCIBusId):
        before, failing.side_effect, failing.return_value = failing.side_effect, None, 9
        assert card.card_state()() == EMPTY
        failing.side_effect, failing.return_value = before, 0
    monkeypatch.setattr(card.ctypes, "CDLL", Mock(side_effect=OSError))
    assert card.card_state()() == EMPTY


def test_where_there_is_no_git_and_a_package_has_another_name_the_rest_is_told(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sys.modules["rows"]
    ours = rows.commit()
    monkeypatch.chdir(tmp_path)
    assert ours == rows.commit() != "unknown"
    monkeypatch.setattr(rows.usage, "ROOT", tmp_path)
    told = rows.environment(["numpy", "a-package-that-nobody-has"])
    assert told["commit"] == "unknown"
    assert told["versions"].startswith("numpy=") and told["versions"].endswith(" a-package-that-nobody-has=unknown")
    monkeypatch.setenv("MMCAF_COMMIT", "1234567 (as prepared)")
    monkeypatch.setattr(rows.usage, "ROOT", ROOT / "benchmarks")  # within another repository
    assert rows.commit() == "1234567 (as prepared)"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rows.environment([])["commit"] == "1234567 (as prepared)"


def test_a_fatbin_that_does_not_open_is_left_out(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.opened(None, ()) == (None, 0)
    assert script.opened(tmp_path / "none.fatbin", ()) == (None, 1)
    assert "left out: msdc (CUDA C++): " in capsys.readouterr().err


def test_a_column_that_the_table_lacks_is_refused(script: ModuleType, tmp_path: Path) -> None:
    table = sys.modules["rows"].RowFile(tmp_path / "rows.csv")
    table.add({"a": "1", "b": "2"})
    table.add({"a": "3"})
    with pytest.raises(ValueError, match="'c'"):
        table.add({"c": "4"})
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == "a,b\n1,2\n3,\n"
