"""The custom kernels on a GPU, at the published network's shapes, against eager torch and torch.compile.

python benchmarks/kernels.py --output benchmarks/results/kernels.csv [--fatbin build/native/msdc.fatbin]

Every kernel is compared with its float64 reference first; nothing is written when one is off. Errors are
relative to the largest value; that of the whole network ("network": FP16, one window, as the torch backend
runs it; needs the export extra) is in logit. All are timed as CUDA graphs, each run with a cold L2 cache, so
that neither launch overhead on the host nor a warm cache is counted. Bytes and operations are the least that
the result needs (docs/kernels.md).
Without a GPU it says so and exits with status 2.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kernel_cases import Case, cases
from rows import environment, write_rows

from mmcaf_kernels.msdc.cuda import MsdcCuda

WARM_UP = 5
FLUSH_BYTES = 256 * 2**20  # more than any L2 cache


def main() -> int:
    """Check, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--kernel", action="append", help="only this kernel; may be repeated")
    parser.add_argument("--fatbin", type=Path, help="also measure the CUDA C++ kernel of this file")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("no NVIDIA GPU that torch can use: nothing was measured", file=sys.stderr)
        return 2
    native = MsdcCuda(chosen.fatbin) if chosen.fatbin else None
    found = [case for case in cases(native) if not chosen.kernel or case.kernel in chosen.kernel]
    if not chosen.kernel or "network" in chosen.kernel:
        from kernels_network import network_case  # needs the export extra

        from mmcaf_export.networks.mmcaf import MmcafConfig

        found.append(network_case(MmcafConfig()))
    wrong = [case for case in found if not case.right(case.ours(), case.reference())]
    for case in wrong:
        error = case.error(case.ours(), case.reference())
        print(f"{case.kernel} {case.shape} {case.dtype}: error {error:.1e}", file=sys.stderr)
    if wrong:
        print("a kernel is wrong: nothing was measured", file=sys.stderr)
        return 1
    copy, fma = copy_ceiling(chosen.runs), fma_ceiling(chosen.runs)
    facts = {
        "copy_gb_per_s": f"{copy:.0f}",
        "fma_gflop_per_s": f"{fma:.0f}",
        **gpu(),
        **environment(["torch", "triton"]),
    }
    rows = []
    for case in found:
        compiled = torch.compile(case.eager, mode="max-autotune-no-cudagraphs", fullgraph=True)  # graphs are ours
        for provider, function in (("ours", case.ours), ("eager", case.eager), ("torch.compile", compiled)):
            error = case.error(function(), case.reference())
            rows.append({**measured(case, provider, function, chosen.runs, copy, fma, error), **facts})
            print(rows[-1], file=sys.stderr)
    write_rows(chosen.output, rows)
    return 0


def measured(
    case: Case, provider: str, function: Callable[[], Any], runs: int, copy: float, fma: float, error: float
) -> dict[str, str]:
    """One row."""
    times, peak = timed(function, runs)
    p50, p95, p99 = (float(np.percentile(times, q)) for q in (50, 95, 99))
    bandwidth, rate = case.bytes / p50 / 1e3, case.operations / p50 / 1e3  # of microseconds
    return {
        "kernel": case.kernel,
        "shape": case.shape,
        "precision": str(case.dtype).removeprefix("torch."),
        "provider": provider,
        "runs": str(runs),
        "p50_us": f"{p50:.2f}",
        "p95_us": f"{p95:.2f}",
        "p99_us": f"{p99:.2f}",
        "gb_per_s": f"{bandwidth:.1f}",
        "share_of_copy": f"{bandwidth / copy:.2f}",
        "gflop_per_s": f"{rate:.1f}",
        "share_of_fma": f"{rate / fma:.3f}",
        "peak_mb": f"{peak / 2**20:.1f}",
        "error": f"{error:.1e}",
    }


def timed(function: Callable[[], Any], runs: int) -> tuple[list[float], int]:
    """Microseconds of each run as a CUDA graph with a cold cache, and the peak of memory during one call."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    peak = torch.cuda.max_memory_allocated() - before
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda")
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
    for _ in range(WARM_UP):
        graph.replay()
    for start, end in pairs:
        flush.zero_()
        start.record()
        graph.replay()
        end.record()
    torch.cuda.synchronize()
    return [1e3 * start.elapsed_time(end) for start, end in pairs], peak


def copy_ceiling(runs: int) -> float:
    """GB/s read and written by a copy of 1 GiB."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    times, _ = timed(lambda: target.copy_(source), runs)
    return 2 * source.nbytes / float(np.percentile(times, 50)) / 1e3


def fma_ceiling(runs: int) -> float:
    """GFLOP/s of independent float32 multiply-adds."""
    from mmcaf_kernels.fma_chain import STEPS, fma_chain_kernel

    block, turns = 2048, 1000
    programs = 16 * torch.cuda.get_device_properties(0).multi_processor_count
    out = torch.empty(programs * block, device="cuda")

    def start() -> None:
        fma_chain_kernel[(programs,)](out, turns, steps=STEPS, block=block, num_warps=4, enable_fp_fusion=True)

    times, _ = timed(start, runs)
    return 2 * STEPS * turns * block * programs / float(np.percentile(times, 50)) / 1e3


def gpu() -> dict[str, str]:
    """The card and what drives it."""
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": str(torch.version.cuda),
        "driver": Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
