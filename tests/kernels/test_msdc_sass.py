"""What nvcc makes of msdc.cu: no multiplication beside the multiply-adds, and as the committed table says."""

import csv
from collections.abc import Iterator
from types import ModuleType

import pytest

from counterparts import need
from kernels.scripts import BENCHMARKS, load

MOST_REGISTERS = 128
"""Of a thread, so that two blocks of 256 threads fit a multiprocessor."""


@pytest.fixture(scope="module")
def sass() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        yield load(patch, "sass")


@pytest.mark.full
@pytest.mark.parametrize("target", ["sm_89", "sm_90"])
def test_only_multiply_adds_and_no_spill(sass: ModuleType, target: str) -> None:
    compiler, disassembler = need("nvcc"), sass.nvdisasm()
    if disassembler is None:
        pytest.skip("nvdisasm is not installed")
    found = sass.rows(compiler, disassembler, target)
    assert len(found) == 12
    for row in found:
        assert int(row["registers"]) <= MOST_REGISTERS, row
        assert (row["spilled_bytes"], row["FMUL"]) == ("0", "0"), row
    with (BENCHMARKS / "results" / "msdc_sass.csv").open(encoding="utf-8", newline="") as file:
        listed = [
            row for row in csv.DictReader(file) if (row["compiler"], row["target"]) == (sass.version(compiler), target)
        ]
    if listed:  # another compiler may allot registers and order instructions otherwise
        assert found == listed


def test_the_table_holds_every_kernel_for_both_targets(sass: ModuleType) -> None:
    with (BENCHMARKS / "results" / "msdc_sass.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert tuple(listed[0]) == sass.COLUMNS
    assert len({(row["target"], row["kernel"]) for row in listed}) == len(listed) == 12 * len(sass.TARGETS)
