"""The model of what kernels can reach: its tables are of these kernels, and one follows from the other."""

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

import torch
from torch import nn

from counterparts import need
from kernels.scripts import BENCHMARKS, load

STAGES = ("stage1", "stage2", "stage3")


@pytest.fixture(scope="module")
def model() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        yield load(patch, "kernel_model")


@pytest.fixture(scope="module")
def work_of(model: ModuleType) -> ModuleType:
    return sys.modules["kernel_work"]


def table(name: str) -> list[dict[str, str]]:
    with (BENCHMARKS / "results" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_text(rows: list[dict[str, object]]) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("state", ["c9d691d", "now"])
def test_the_model_follows_from_the_instructions(model: ModuleType, state: str) -> None:
    works = [model.read_work(row) for row in table("kernel_instructions") if row["state"] == state]
    assert as_text(model.instruction_rows(state, works)) == [
        row for row in table("kernel_instructions") if row["state"] == state
    ]
    assert as_text(model.model_rows(state, works)) == [row for row in table("kernel_model") if row["state"] == state]


def test_every_call_of_a_window_is_listed_for_every_card(model: ModuleType) -> None:
    listed = {(row["card"], row["kernel"], row["shape"]) for row in table("kernel_model") if row["state"] == "now"}
    calls = [*model.CALLS, *((model.TWIN, stage) for stage in STAGES)]
    assert listed == {(card, *call) for card in model.CARDS for call in calls}


def test_the_page_shows_the_newest_rows() -> None:
    rows = [row for row in table("kernel_model") if row["state"] == "now"]
    expected = set()
    for kernel, shape, calls, launches in {
        (row["kernel"], row["shape"], row["calls_a_window"], row["launches_a_window"]) for row in rows
    }:
        of_call = {row["card"]: row for row in rows if (row["kernel"], row["shape"]) == (kernel, shape)}
        modelled = [
            f"{float(row['modelled_us']):.1f}, {row['modelled_share_percent']} %"
            for row in (of_call[card] for card in ("RTX 4060", "RTX 4090", "H200"))
        ]
        expected.add(f"| {' | '.join([kernel, shape, f'{calls}, {launches}', *modelled])} |")
    text = (BENCHMARKS.parent / "docs" / "kernels.md").read_text(encoding="utf-8")
    section = text.partition("## Expected, by a model")[2].partition("\n## ")[0]
    assert {line for line in section.splitlines() if line.startswith("| ") and "%" in line} == expected


def test_these_kernels_became_slower_by_the_model() -> None:
    """As docs/kernels.md says; shortcut calls were not listed before."""
    states = {
        state: {
            (row["card"], row["kernel"], row["shape"]): float(row["modelled_us"])
            for row in table("kernel_model")
            if row["state"] == state
        }
        for state in ("c9d691d", "now")
    }
    slower = {call for call, before in states["c9d691d"].items() if states["now"][call] > 1.01 * before}
    assert {kernel for _, kernel, _ in slower} == {"upsample_dw", "kan", "cross_attention"}
    assert {call[::2] for call in slower if call[1] == "upsample_dw"} == {
        ("RTX 4060", "stage3"),
        ("RTX 4090", "stage3"),
    }
    assert {call[2].rpartition(" ")[2] for call in states["now"].keys() - states["c9d691d"].keys()} == {"shortcut"}


@pytest.mark.full
@pytest.mark.parametrize("target", ["sm_89", "sm_90"])
def test_the_instructions_are_those_of_the_kernels(
    model: ModuleType, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the compilers are those of the table: others may allot registers and order instructions otherwise."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(need("nvcc")).parent), prepend=os.pathsep)
    if model.sass.nvdisasm() is None:
        pytest.skip("nvdisasm is not installed")
    works = [*model.triton_work(target, model.CALLS), *model.twin_work(target)]
    found = as_text(model.instruction_rows("now", works))
    assert {row["kernel"] for row in found} == {*(kernel for kernel, _ in model.CALLS), model.TWIN}
    compilers = {row["compiler"] for row in found}
    of_these = {(row["kernel"], row["target"]) for row in found}
    listed = [row for row in table("kernel_instructions") if row["state"] == "now"]
    listed = [row for row in listed if row["compiler"] in compilers and (row["kernel"], row["target"]) in of_these]
    same = {row["compiler"] for row in listed}
    assert [row for row in found if row["compiler"] in same] == listed


def test_a_window_has_these_calls(model: ModuleType) -> None:
    """Norms by the shapes that the published network gives them; others are counted in test_graph_program."""
    pytest.importorskip("mmcaf_export", reason="the exporter is not installed")
    from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
    from mmcaf_export.networks.registry import BUILT_IN
    from mmcaf_kernels import network as shapes

    with torch.device("meta"):
        network = MmcafNet(MmcafConfig()).eval()
    found: Counter[tuple[tuple[int, ...], bool]] = Counter()
    for name, module in network.named_modules():
        if isinstance(module, nn.GroupNorm):
            gated = name.endswith("norm3")
            module.register_forward_pre_hook(
                lambda _, given, gated=gated: found.update([(tuple(given[0].shape[1:]), gated)])
            )
    entry = next(entry for entry in BUILT_IN if entry.name == "mmcaf")
    with torch.no_grad():
        network(*(value.to("meta") for value in entry.example_inputs(MmcafConfig(), 1, seed=0).values()))

    expected: Counter[tuple[tuple[int, ...], bool]] = Counter({((64, 12, 96, 96), False): 1})
    for stage, (channels, *size) in shapes.STAGES.items():
        for layer, wide in (("norm1", channels // 2), ("norm3", channels), ("shortcut", channels)):
            expected[((wide, *size), layer == "norm3")] += model.WINDOW["groupnorm_act", f"{stage} {layer}"]
    assert found == expected


def code(model: ModuleType, *lines: tuple[str, int | None] | str) -> list[object]:
    """Instructions: a name, or a branch with its target, predicated where it runs forward."""
    pairs = [(line, None) if isinstance(line, str) else line for line in lines]
    return [
        model.sass.Instruction(name, target is not None and target > at, target)
        for at, (name, target) in enumerate(pairs)
    ]


def test_what_a_warp_executes(model: ModuleType, work_of: ModuleType) -> None:
    twice_three_times = code(
        model,
        "LDG.E.128",  # 0: four times the width
        "MUFU.RCP",  # 1: the outer loop begins
        "FFMA",  # 2: the inner loop begins
        ("BRA", 5),  # 3: may leave out the next
        "FADD",
        "LDS",  # 5: a load with conflicts
        ("BRA", 2),  # 6
        ("BRA", 1),  # 7
        "EXIT",
        "FFMA",  # a subroutine is not counted
    )
    found = work_of.executed(twice_three_times, [2, 3], 0.5, conflicts=4)
    assert found == {
        "issue": 1 + 2 + 6 * 4 + 3 + 2 + 1,
        "float32": 6 + 3,
        "other": 0,
        "memory": 4 + 6 * 4,
        "special": 2,
        "tensor": 0,
    }


@pytest.mark.parametrize(
    ("name", "unit"),
    [("LDSM.16.M88.2", "memory"), ("HMMA.16816.F32", "tensor"), ("IMAD.MOV", "other"), ("BRA", None)],
)
def test_what_takes_which_unit(work_of: ModuleType, name: str, unit: str | None) -> None:
    assert work_of.unit(name) == unit


def test_a_loop_whose_turns_are_not_known_is_refused(model: ModuleType, work_of: ModuleType) -> None:
    with pytest.raises(ValueError, match="1 loops were found; how often they turn is not known"):
        work_of.executed(code(model, "FFMA", ("BRA", 0), "EXIT"), [], 1.0)


def work(model: ModuleType, **changed: object) -> object:
    executed = {"issue": 400, "float32": 100, "other": 100, "memory": 50, "special": 10, "tensor": 0}
    given = {"compiler": "", "call": ("k", "s"), "step": 0, "function": "k", "target": "sm_89", "blocks": 129,
             "warps": 8, "registers": 32, "shared": 0, "executed": executed, "bytes": 1_008_000}  # fmt: skip
    return model.Work(**{**given, **changed})


@pytest.mark.parametrize(
    ("changed", "blocks", "limit"),
    [
        ({}, 6, "warps"),  # 48
        ({"registers": 65}, 3, "registers"),  # 72 a thread, of 65536
        ({"shared": 33000}, 3, "shared memory"),  # of 102400 bytes, each with a kilobyte more
        ({"shared": 33000, "registers": 65}, 3, "registers and shared memory"),
        ({"warps": 1}, 24, "blocks"),
        ({"target": "sm_90", "warps": 1}, 32, "blocks"),
    ],
    ids=str,
)
def test_how_many_blocks_a_multiprocessor_holds(
    model: ModuleType, changed: dict[str, object], blocks: int, limit: str
) -> None:
    held = work(model, **changed)
    assert (held.resident, held.limited_by) == (blocks, limit)


def test_the_busiest_decides(model: ModuleType) -> None:
    card = model.CARDS["RTX 4090"]
    assert work(model).microseconds(card) == pytest.approx(1.0)  # a megabyte at 1008 GB/s
    two_blocks = 2 * 8 * 400 / 4 / 2520
    assert work(model, bytes=0).microseconds(card) == pytest.approx(two_blocks)  # 129 blocks on 128 multiprocessors


def test_rows_of_another_state_are_kept(model: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    for state, value in (("now", 1), ("older", 2), ("now", 3)):
        model.write(file, [*model.of_other_states(file, state), {"state": state, "value": value}])
    with file.open(encoding="utf-8", newline="") as text:
        assert [tuple(row.values()) for row in csv.DictReader(text)] == [("older", "2"), ("now", "3")]


def test_it_says_what_is_missing(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(model.sass, "nvdisasm", lambda: None)
    assert model.main(["--folder", str(tmp_path)]) == 6
    assert "pip install '.[kernels]'" in capsys.readouterr().err
