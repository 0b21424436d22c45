"""The rows of kernels.py: each kernel compared with its reference, then timed, beside what the card reaches."""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_timing import BATCH, SHORT_BYTES, Times
from kernel_cases import PRECISIONS, Case, Maker, makers
from kernel_names import NETWORK, TWIN
from rows import Budget, RowFile, said

from mmcaf_kernels.msdc.cuda import MsdcCuda

Timer = Callable[[Sequence[Callable[[], Any]], int], Times]


@dataclass(frozen=True)
class Ceilings:
    """What the card reaches: GB/s of a copy and GFLOP/s of multiply-adds, NaN where that could not be measured."""

    copy: float
    fma: float


def of_precision(name: str, native: MsdcCuda | None) -> Iterator[Maker]:
    """Every kernel's cases in it."""
    return makers(PRECISIONS[name], native)


def run(
    wanted: Iterable[Maker],
    kernels: Collection[str],
    providers: Sequence[str],
    timer: Timer,
    runs: int,
    ceilings: Ceilings,
    facts: dict[str, str],
    table: RowFile,
    budget: Budget,
) -> int:
    """Write a row for each case and provider while there is time; how many were left out for an error."""
    left_out, cut = 0, False
    for make in wanted:
        if kernels and make.kernel not in kernels:
            continue
        if cut := budget.spent():
            break
        try:
            case = make()
            expected = case.reference()
        except Exception as error:
            left_out += said(f"{make}", error)
            continue
        for provider in providers:
            if cut := budget.spent():
                break
            try:
                row = {**measured(case, make, provider, expected, timer, runs, ceilings), **facts}
            except Exception as error:
                left_out += said(f"{case.kernel} {case.shape} {case.dtype} {provider}", error)
                continue
            table.add(row)
            print(row, file=sys.stderr)
    if cut:
        print("the time is over: what is not in the table was not measured", file=sys.stderr)
    return left_out


def opened(fatbin: Path | None, kernels: Collection[str]) -> tuple[MsdcCuda | None, int]:
    """The CUDA C++ kernel, if one is given, wanted and opens; and how many were left out.

    kernels: those that are wanted; none for all.
    """
    try:
        return (MsdcCuda(fatbin) if fatbin and (not kernels or TWIN in kernels) else None), 0
    except Exception as error:
        return None, said(TWIN, error)


def network() -> Maker:
    """The whole network's case."""
    return Maker(NETWORK, _network)


def _network() -> Case:
    from kernels_network import network_case  # needs the export extra

    from mmcaf_export.networks.mmcaf import MmcafConfig

    return network_case(MmcafConfig())


def function_of(case: Case, provider: str) -> Callable[[], Any]:
    """What the provider runs."""
    if provider == "torch.compile":  # graphs are ours
        compiled: Callable[[], Any] = torch.compile(case.eager, mode="max-autotune-no-cudagraphs", fullgraph=True)
        return compiled
    return case.ours if provider == "ours" else case.eager


def measured(
    case: Case, make: Maker, provider: str, expected: Any, timer: Timer, runs: int, ceilings: Ceilings
) -> dict[str, str]:
    """One row.

    Raises:
        ArithmeticError: ours is further from the reference than allowed.
    """
    if provider == "torch.compile":
        torch.compiler.reset()  # so that no shape of a former case makes this one's dynamic
    function = function_of(case, provider)
    found = function()
    error = case.error(found, expected)
    if provider == "ours" and not case.right(found, expected):
        raise ArithmeticError(f"error {error:.1e}")
    batch = BATCH if case.bytes < SHORT_BYTES else 1
    others = [function_of(make(), provider) for _ in range(batch - 1)]
    times = timer([function, *others], runs)
    p50, p95, p99 = (float(np.percentile(times.cold, q)) for q in (50, 95, 99))
    bandwidth, rate = case.bytes / p50 / 1e3, case.operations / p50 / 1e3  # of microseconds
    return {
        "kernel": case.kernel,
        "shape": case.shape,
        "precision": str(case.dtype).removeprefix("torch."),
        "provider": provider,
        "runs": str(runs),
        "batch": str(batch),
        "p50_us": f"{p50:.2f}",
        "p95_us": f"{p95:.2f}",
        "p99_us": f"{p99:.2f}",
        "warm_p50_us": f"{float(np.percentile(times.warm, 50)):.2f}",
        "gb_per_s": f"{bandwidth:.1f}",
        "share_of_copy": f"{bandwidth / ceilings.copy:.2f}",
        "gflop_per_s": f"{rate:.1f}",
        "share_of_fma": f"{rate / ceilings.fma:.3f}",
        "peak_mb": f"{times.peak / 2**20:.1f}",
        "error": f"{error:.1e}",
        "copy_gb_per_s": f"{ceilings.copy:.0f}",
        "fma_gflop_per_s": f"{ceilings.fma:.0f}",
        **times.state,
    }


def ceiling(name: str, measure: Callable[[], float]) -> float:
    """What it measures, or NaN, said, if it raises."""
    try:
        return measure()
    except Exception as error:
        said(name, error)
        return float("nan")


def copy_ceiling(timer: Timer, runs: int) -> float:
    """GB/s read and written by a copy of 1 GiB."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    times = timer([lambda: target.copy_(source)], runs)
    return 2 * source.nbytes / float(np.percentile(times.cold, 50)) / 1e3


def fma_ceiling(timer: Timer, runs: int) -> float:
    """GFLOP/s of independent float32 multiply-adds."""
    from mmcaf_kernels.fma_chain import STEPS, fma_chain_kernel

    block, turns = 2048, 1000
    programs = 16 * torch.cuda.get_device_properties(0).multi_processor_count
    out = torch.empty(programs * block, device="cuda")

    def start() -> None:
        fma_chain_kernel[(programs,)](out, turns, steps=STEPS, block=block, num_warps=4, enable_fp_fusion=True)

    times = timer([start], runs)
    return 2 * STEPS * turns * block * programs / float(np.percentile(times.cold, 50)) / 1e3
