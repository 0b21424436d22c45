"""The whole MMCAF-Net in FP16 by the torch backend's program, in variants, each with a table of its kernels' times.

python benchmarks/network_variants.py FOLDER --output network.csv --table network-kernels.csv [--seconds 90]

FOLDER is what network_files.py wrote. Variants: the rewrite few_slices, channels innermost where tensor cores want
them, and cuDNN's algorithms timed instead of chosen by its heuristics, each on and off; the usual one first, then those
that differ from it in one thing. Each is compared with the same network in FP32, operator by operator and without
kernels, and timed as its one CUDA graph, with a cold and with a warm L2 cache. Rows are written at once; a variant that
is wrong or raises is left out, and the exit status is then 1, as where no row was measured. Needs onnx, onnx-ir and
ml-dtypes. Without a GPU it says so and exits with status 6.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import usage
from network_files import FILES, INPUTS, NETWORK, fill
from rows import Budget, RowFile, environment, said

if TYPE_CHECKING:
    from mmcaf_kernels.graph import Program

TOLERANCE = 2e-2  # of the logit in FP16, as in the golden self-test
Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Variant:
    """What is on; the defaults are what the torch backend does."""

    few_slices: bool = True
    innermost: bool = True
    benchmark: bool = False

    def row(self) -> dict[str, str]:
        """As columns."""
        return {field.name: "on" if getattr(self, field.name) else "off" for field in fields(self)}

    def changes(self) -> int:
        """In how many things it differs from the usual one."""
        return sum(getattr(self, field.name) is not field.default for field in fields(self))


VARIANTS = sorted((Variant(*on) for on in product((True, False), repeat=3)), key=Variant.changes)


def main(given: Sequence[str] | None = None) -> int:
    """Check, measure, write."""
    asked = usage.parser(__doc__)
    asked.add_argument("folder", type=Path)
    usage.add_outputs(asked, "--output", "--table")
    asked.add_argument("--runs", type=usage.count, default=50)
    asked.add_argument("--seconds", type=usage.seconds, help="begin no other variant after so long")
    chosen = asked.parse_args(given)
    budget = Budget(chosen.seconds)
    if absent := [name for name in FILES if not (chosen.folder / name).is_file()]:
        asked.error(f"{chosen.folder}: not what network_files.py writes, without {', '.join(absent)}")
    places = [("--output", chosen.output), ("--table", chosen.table)]
    usage.try_outputs(asked, places, force=chosen.force, inputs=[chosen.folder])
    if reason := usage.torch_missing():
        return usage.without_gpu(reason)
    from card import card_state
    from gpu_timing import Timer, gpu

    facts = {**gpu(), **environment(["torch", "triton"])}
    tables = RowFile(chosen.output), RowFile(chosen.table)
    status = run(chosen.folder, tables, chosen.runs, facts, Timer(card_state()), kernel_times, budget, "cuda:0")
    return status if tables[0].rows else 1


def run(
    folder: Path,
    tables: tuple[RowFile, RowFile],
    runs: int,
    facts: Mapping[str, str],
    timer: Any,
    profile: Callable[["Program"], dict[str, tuple[int, float]]],
    budget: Budget,
    device: str,
) -> int:
    """A row for each variant, and one for each of its kernels, while there is time; 1 if one was left out as wrong."""
    with np.load(folder / INPUTS) as stored:
        inputs: Inputs = dict(stored)
    left_out = 0
    with tempfile.TemporaryDirectory() as scratch:
        networks = Networks(folder, Path(scratch), inputs, device)
        for variant in VARIANTS:
            if budget.spent():
                print(f"{variant}: not measured, the time is over", file=sys.stderr)
                continue
            try:
                measure(variant, networks, tables, runs, facts, timer, profile)
            except Exception as error:
                left_out += said(f"{variant}", error)
    return int(bool(left_out))


class Networks:
    """The files, filled and lowered when they are asked for first, and the logit that each has in FP32."""

    def __init__(self, folder: Path, scratch: Path, inputs: Inputs, device: str) -> None:
        self.inputs, self.device = inputs, device
        self.shapes = {name: array.shape for name, array in inputs.items()}
        self._folder, self._scratch = folder, scratch
        self._made: dict[bool, tuple[Path, np.ndarray]] = {}

    def low(self, few_slices: bool) -> tuple[Path, np.ndarray]:
        """The network in FP16, and the logit in FP32."""
        from mmcaf_export.onnx_files import load_model, save_model
        from mmcaf_export.precision.typed import lower_precision
        from mmcaf_kernels.graph import Network

        if few_slices not in self._made:
            name = NETWORK.format("on" if few_slices else "off")
            whole, low = (self._scratch / f"{name}.{precision}.onnx" for precision in ("fp32", "fp16"))
            fill(self._folder / f"{name}.onnx", whole)
            expected = Network(whole, device=self.device, fused=False).program(self.shapes)(self.inputs)["logit"]
            model = load_model(whole)
            lower_precision(model, "fp16")
            save_model(model, low)
            self._made[few_slices] = low, expected
        return self._made[few_slices]


def measure(
    variant: Variant,
    networks: Networks,
    tables: tuple[RowFile, RowFile],
    runs: int,
    facts: Mapping[str, str],
    timer: Any,
    profile: Callable[["Program"], dict[str, tuple[int, float]]],
) -> None:
    """Write a variant's row, and those of its kernels.

    Raises:
        ArithmeticError: its logit is further from that in FP32 than allowed, or not the same in two runs.
    """
    from mmcaf_kernels.graph import Network

    path, expected = networks.low(variant.few_slices)
    network = Network(path, device=networks.device, innermost=variant.innermost, benchmark=variant.benchmark)
    program = network.program(networks.shapes)
    found, again = (program(networks.inputs)["logit"] for _ in range(2))
    error = float(np.abs(found - expected).max())
    if not error <= TOLERANCE or found.tobytes() != again.tobytes():
        raise ArithmeticError(f"the logit is {found.ravel()}, then {again.ravel()}; expected {expected.ravel()}")
    times = timer.launches(program.launch, runs)
    p50, p95, p99 = (f"{float(np.percentile(times.cold, q)):.1f}" for q in (50, 95, 99))
    row = {
        **variant.row(),
        "execution": program.execution,
        "runs": str(runs),
        "p50_us": p50,
        "p95_us": p95,
        "p99_us": p99,
        "warm_p50_us": f"{float(np.percentile(times.warm, 50)):.1f}",
        "weights_mb": f"{network.weights.bytes / 2**20:.1f}",
        "error": f"{error:.1e}",
        "logit": f"{float(found.ravel()[0]):.6f}",
        **times.state,
        **facts,
    }
    tables[0].add(row)
    print(row, file=sys.stderr)
    for name, (count, spent) in sorted(profile(program).items(), key=lambda item: -item[1][1]):
        tables[1].add({**variant.row(), "kernel": name, "launches": str(count), "us": f"{spent:.2f}"})


def kernel_times(program: "Program") -> dict[str, tuple[int, float]]:
    """Each kernel's launches and microseconds in one run, as the driver's profiling interface tells."""
    import torch

    program.launch()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        program.launch()
        torch.cuda.synchronize()
    averages = profiler.key_averages()
    return {
        event.key: (event.count, event.self_device_time_total) for event in averages if event.self_device_time_total > 0
    }


if __name__ == "__main__":
    usage.run(main)
