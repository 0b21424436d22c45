"""A model of what each kernel can reach on a GPU, from its instructions: nothing in it is measured.

python benchmarks/kernel_model.py --folder benchmarks/results [--state NAME]

Needs Triton's compilers, and nvcc for msdc.cu; no GPU. It replaces the rows of NAME (default: now) in two tables:

kernel_instructions.csv: what one warp of each launch executes, by loops that are taken as often as the shape says and
everything between them once, so rather too many; registers, shared memory, and how many blocks a multiprocessor holds.

kernel_model.csv: for every call of the published network, FP16, one window, the floor of docs/kernels.md and the
modelled time. A launch takes as long as the busiest of: memory (each tensor once, at the data sheet's bandwidth), the
multiprocessor's issue slots (4 warp instructions a clock), float32 units (4), other arithmetic (2), load and store (1,
bank conflicts of msdc.cu counted), special functions (1/2); on the multiprocessor with the most blocks, at the boost
clock. Launches of a call follow each other. Latency, the cost of a launch and caches are not modelled, so a kernel
reaches less than this. A state of an older commit is made with PYTHONPATH at the kernels of a checkout of it.
"""

import argparse
import csv
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import kernel_cases
import sass
import torch
from torch import Tensor

from mmcaf_kernels.compiled import compile_launch
from mmcaf_kernels.launch import Launch, ceil_div
from mmcaf_kernels.msdc import cuda
from mmcaf_kernels.network import STAGES, calls

WINDOW = {
    ("groupnorm_act", "stem"): 1,
    ("groupnorm_act", "stage1 norm1"): 6,
    ("groupnorm_act", "stage1 norm3"): 3,
    ("groupnorm_act", "stage1 shortcut"): 2,
    ("groupnorm_act", "stage2 norm1"): 7,
    ("groupnorm_act", "stage2 norm3"): 4,
    ("groupnorm_act", "stage2 shortcut"): 2,
    ("groupnorm_act", "stage3 norm1"): 11,
    ("groupnorm_act", "stage3 norm3"): 6,
    ("groupnorm_act", "stage3 shortcut"): 1,
    **{("msdc", stage): 1 for stage in STAGES},
    **{("msca_attention", stage): 1 for stage in STAGES},
    ("upsample_dw", "stage2"): 1,
    ("upsample_dw", "stage3"): 1,
    ("kan", "table"): 1,
    ("fusion_head", "tokens"): 1,
}
"""Call -> how often the published network makes it in a window. A stage's first norm1 lies before its stride, so it has
the shape of the shortcut of the stage before."""
TWIN = "msdc (CUDA C++)"
THREADS_PER_WARP = 32


@dataclass(frozen=True)
class Card:
    """By the data sheet: multiprocessors, boost clock in GHz, GB/s, float32 TFLOP/s."""

    target: str
    processors: int
    clock: float
    bandwidth: float
    rate: float


CARDS = {
    "RTX 4060": Card("sm_89", 24, 2.46, 272, 15.1),
    "RTX 4090": Card("sm_89", 128, 2.52, 1008, 82.6),
    "H200": Card("sm_90", 132, 1.98, 4800, 66.9),
}
WARPS, BLOCKS, SHARED = {"sm_89": 48, "sm_90": 64}, {"sm_89": 24, "sm_90": 32}, {"sm_89": 102400, "sm_90": 233472}
"""What a multiprocessor holds (CUDA C++ Programming Guide, technical specifications)."""
REGISTERS, RESERVED = 65536, 1024  # of a multiprocessor; bytes of shared memory that the system takes per block
CONFLICTS = 4.0
"""Wavefronts of a shared load of two values in msdc.cu: 2.8 to 4 at the network's shapes."""
UNITS = {"issue": 4.0, "float32": 4.0, "other": 2.0, "memory": 1.0, "special": 0.5}
"""Warp instructions a clock of a multiprocessor (the same guide, throughput of native arithmetic instructions)."""


@dataclass(frozen=True)
class Work:
    """One launch, compiled: what every block is and what a warp executes, by UNITS."""

    compiler: str
    call: tuple[str, str]
    step: int
    function: str
    target: str
    blocks: int
    warps: int
    registers: int
    shared: int
    executed: dict[str, int]
    bytes: int

    @property
    def resident(self) -> int:
        """Blocks that a multiprocessor holds at a time."""
        by_registers = REGISTERS // (ceil_div(self.registers * THREADS_PER_WARP, 256) * 256 * self.warps)
        by_shared = SHARED[self.target] // (self.shared + RESERVED)
        return min(by_registers, by_shared, WARPS[self.target] // self.warps, BLOCKS[self.target])

    def microseconds(self, card: Card) -> float:
        """By the model."""
        clocks = max(count / UNITS[unit] for unit, count in self.executed.items())
        busiest = ceil_div(self.blocks, card.processors) * self.warps * clocks / (card.clock * 1e3)
        return max(busiest, self.bytes / (card.bandwidth * 1e3))


def triton_work(target: str, kernels: Sequence[str] = ()) -> Iterator[Work]:
    """Every launch of the network's calls; of some kernels if they are named."""
    disassembler = sass.nvdisasm()
    assert disassembler is not None
    for kernel, shape, make in calls(torch.float16):
        if (kernel, shape) not in WINDOW or (kernels and kernel not in kernels):
            continue
        for step, launch in enumerate(make()):
            binary = compile_launch(launch, target)
            [code] = sass.disassembled(disassembler, binary.cubin).values()
            found = executed(code, trips(launch), 3 / 5 if kernel == "msdc" else 1.0)
            size = sum(given.nbytes for given in launch.arguments.values() if isinstance(given, Tensor))
            yield Work(
                compiler=f"triton {version('triton')}",
                call=(kernel, shape),
                step=step,
                function=binary.kernel,
                target=target,
                blocks=math.prod(launch.grid),
                warps=launch.warps,
                registers=binary.registers,
                shared=binary.shared_memory,
                executed=found,
                bytes=size,
            )


def trips(launch: Launch) -> list[int]:
    """How often each loop of a kernel turns, in the order in which they begin."""
    given = {**launch.arguments, **launch.constants}

    def times(length: str, step: str) -> int:
        return ceil_div(int(given[length]), int(given[step]))

    counts: dict[str, Callable[[], list[int]]] = {
        "msdc_kernel": lambda: [5],
        "upsample_dw_kernel": lambda: [given["depth"], 2],  # slices of the input, and of the output for each
        "channel_statistics_kernel": lambda: [ceil_div(min(given["part"], given["length"]), given["block"])],
        "channel_gate_kernel": lambda: [times("hidden", "block_hidden"), times("channels", "block")],
        "coefficients_kernel": lambda: [times("channels", "block")],
        "position_statistics_kernel": lambda: [times("channels", "block_channels")],
        "position_gate_kernel": lambda: [7],
        "kan_kernel": lambda: [given["inputs"], 12],  # knots
    }
    return counts.get(launch.kernel.__name__, list)()


def twin_work(target: str) -> Iterator[Work]:
    """msdc.cu at the network's shapes, without an order of channels, as the network calls it; nothing without nvcc."""
    compiler, disassembler = shutil.which("nvcc"), sass.nvdisasm()
    if compiler is None or disassembler is None:
        return
    source = Path(cuda.__file__).parents[2] / "cuda" / "msdc.cu"  # of the checkout that is asked
    cubin, resources = sass.compiled(compiler, target, source)
    codes = sass.disassembled(disassembler, cubin)
    for stage, (channels, depth, height, width) in STAGES.items():
        x = torch.empty(1, 2 * channels, depth, height, width, dtype=torch.float16, device="meta")
        chosen = cuda.configure(x)
        line = chosen.tile_width // 8 + 2  # pieces of 16 bytes
        pieces = chosen.slots * depth * (chosen.tile_height + 4) * line
        weights = chosen.slots * 156
        load, more = ceil_div(pieces, chosen.threads), ceil_div(weights, chosen.threads)
        turns = [1, load, 0, more, 0, 5]  # both loads are there twice: without an order, and with one
        found = executed(codes[chosen.kernel], turns, 3 / 5, CONFLICTS)
        yield Work(
            compiler=f"nvcc {sass.version(compiler)}",
            call=(TWIN, stage),
            step=0,
            function=chosen.kernel,
            target=target,
            blocks=chosen.blocks,
            warps=ceil_div(chosen.threads, THREADS_PER_WARP),
            registers=resources[chosen.kernel][0],
            shared=chosen.shared,
            executed=found,
            bytes=2 * x.nbytes + 2 * channels * 156 * 4,
        )


def executed(
    code: Sequence[sass.Instruction], turns: Sequence[int], partly: float, conflicts: float = 1.0
) -> dict[str, int]:
    """What a warp executes, by UNITS; a wide load of shared memory counts once, as all threads read the same weights.

    turns: of the loops in the order of their beginnings; the last also for those after it, which the compiler has made
    of one. partly: in how many turns of the last a stretch is executed that a branch within it may leave out.
    conflicts: wavefronts of a load of 32 bits from shared memory.
    """
    branches = [(at, found.target, found) for at, found in enumerate(code) if found.target is not None]
    loops = sorted({(target, at) for at, target, _ in branches if target < at})
    if loops and not turns:
        raise ValueError(f"{len(loops)} loops were found; how often they turn is not known")
    left_out = [
        (at, target)
        for at, target, found in branches
        if found.name == "BRA"
        and found.predicated
        and any(start <= at < target <= end for start, end in loops[len(turns) - 1 :])
    ]
    counts = dict.fromkeys(UNITS, 0.0)
    last = max(at for at, found in enumerate(code) if found.name == "EXIT")  # subroutines and padding follow
    for at, found in enumerate(code[: last + 1]):
        around = [turns[min(k, len(turns) - 1)] for k, (start, end) in enumerate(loops) if start <= at <= end]
        times = math.prod(around) * (partly if any(start < at < end for start, end in left_out) else 1.0)
        counts["issue"] += times
        if (taken := unit(found.name)) is not None:
            wide = 1 if found.name.startswith("LDS") else 4 if ".128" in found.name else 2 if ".64" in found.name else 1
            counts[taken] += times * (conflicts if found.name == "LDS" else wide)
    return {name: round(count) for name, count in counts.items()}


def unit(name: str) -> str | None:
    """Which of UNITS an instruction takes, beside an issue slot."""
    first = name.partition(".")[0]
    if first in ("FFMA", "FMUL", "FADD"):
        return "float32"
    if first in ("MUFU", "I2F", "F2I", "F2F"):
        return "special"
    if first in ("LDG", "STG", "LDS", "STS", "ATOMG", "SHFL"):
        return "memory"
    control = ("BRA", "EXIT", "NOP", "BAR", "BSSY", "BSYNC", "CALL", "WARPSYNC", "R2UR", "S2UR", "LDC", "DEPBAR")
    return None if first.startswith("U") or first in control else "other"


def instruction_rows(state: str, works: Iterable[Work]) -> list[dict[str, object]]:
    """Of kernel_instructions.csv."""
    return [
        {
            "state": state,
            "compiler": work.compiler,
            "target": work.target,
            "kernel": work.call[0],
            "shape": work.call[1],
            "step": work.step,
            "function": work.function,
            "blocks": work.blocks,
            "warps": work.warps,
            "registers": work.registers,
            "shared_bytes": work.shared,
            "resident_blocks": work.resident,
            "occupancy_percent": round(100 * work.resident * work.warps / WARPS[work.target]),
            **{f"warp_{name}": count for name, count in work.executed.items()},
            "bytes": work.bytes,
        }
        for work in works
    ]


def read_work(row: Mapping[str, str]) -> Work:
    """What a row of kernel_instructions.csv says."""
    return Work(
        compiler=row["compiler"],
        call=(row["kernel"], row["shape"]),
        step=int(row["step"]),
        function=row["function"],
        target=row["target"],
        blocks=int(row["blocks"]),
        warps=int(row["warps"]),
        registers=int(row["registers"]),
        shared=int(row["shared_bytes"]),
        executed={name: int(row[f"warp_{name}"]) for name in UNITS},
        bytes=int(row["bytes"]),
    )


def model_rows(state: str, works: Sequence[Work]) -> list[dict[str, object]]:
    """Of kernel_model.csv."""
    least = {(case.kernel, case.shape.partition(" [")[0]): (case.bytes, case.operations) for case in _cases()}
    made = []
    for name, card in CARDS.items():
        for call in dict.fromkeys(work.call for work in works):
            kernel, shape = call
            steps = [work for work in works if work.call == call and work.target == card.target]
            size, operations = least[(kernel.removesuffix(TWIN.removeprefix("msdc")), shape)]
            floor = max(size / (card.bandwidth * 1e3), operations / (card.rate * 1e6))
            modelled = sum(work.microseconds(card) for work in steps)
            often = WINDOW[("msdc" if kernel == TWIN else kernel, shape)]
            made.append(
                {
                    "state": state,
                    "card": name,
                    "kernel": kernel,
                    "shape": shape,
                    "calls_a_window": often,
                    "launches_a_window": often * len(steps),
                    "megabytes": f"{size / 1e6:.2f}",
                    "megaflop": f"{operations / 1e6:.1f}",
                    "floor_us": f"{floor:.2f}",
                    "modelled_us": f"{modelled:.2f}",
                    "modelled_share_percent": round(100 * floor / modelled),
                }
            )
    return made


def _cases() -> list[kernel_cases.Case]:
    kernel_cases.DEVICE = "cpu"  # for their bytes and operations; nothing is run
    return [make() for make in kernel_cases.makers(torch.float16, None)]


def replace(file: Path, state: str, rows: Sequence[dict[str, object]]) -> None:
    """Write the rows in the place of those of this state."""
    kept: list[dict[str, object]] = []
    if file.exists():
        with file.open(encoding="utf-8", newline="") as text:
            kept = [dict(row) for row in csv.DictReader(text) if row["state"] != state]
    with file.open("w", encoding="utf-8", newline="") as text:
        table = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(sorted([*kept, *rows], key=lambda row: row["state"] == "now"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both tables; 1 without a compiler."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="of the tables")
    parser.add_argument("--state", default="now", help="the name of these rows, such as a commit")
    chosen = parser.parse_args(arguments)
    if sass.nvdisasm() is None:
        sys.stderr.write("Triton's compilers are needed: pip install triton\n")
        return 1
    works = [work for target in WARPS for made in (triton_work, twin_work) for work in made(target)]
    replace(chosen.folder / "kernel_instructions.csv", chosen.state, instruction_rows(chosen.state, works))
    replace(chosen.folder / "kernel_model.csv", chosen.state, model_rows(chosen.state, works))
    return 0


if __name__ == "__main__":
    sys.exit(main())
