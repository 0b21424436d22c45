"""What launches execute, for kernel_model.py: compiled without a GPU, and their instructions counted."""

import math
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import sass
from kernel_names import TWIN

if TYPE_CHECKING:
    from mmcaf_kernels.launch import Launch

THREADS_PER_WARP = 32


@dataclass(frozen=True)
class Card:
    """By the data sheet: multiprocessors, boost clock in GHz, GB/s, float32 TFLOP/s."""

    target: str
    processors: int
    clock: float
    bandwidth: float
    rate: float


WARPS, BLOCKS, SHARED = {"sm_89": 48, "sm_90": 64}, {"sm_89": 24, "sm_90": 32}, {"sm_89": 102400, "sm_90": 233472}
"""What a multiprocessor holds (CUDA C++ Programming Guide, technical specifications)."""
REGISTERS, RESERVED = 65536, 1024  # of a multiprocessor; bytes of shared memory that the system takes per block
CONFLICTS = 4.0
"""Wavefronts of a shared load of two values in msdc.cu: 2.8 to 4 at the network's shapes."""
UNITS = {"issue": 4.0, "float32": 4.0, "other": 2.0, "memory": 1.0, "special": 0.5, "tensor": 0.125}
"""Warp instructions a clock of a multiprocessor (the same guide, throughput of native arithmetic instructions); tensor:
HMMA.16816.F32 of GeForce cards, by the data sheet's 165 TFLOP/s of an RTX 4090."""


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
    def limits(self) -> dict[str, int]:
        """Resource of a multiprocessor -> how many blocks it has room for."""
        return {
            "registers": REGISTERS // (ceil_div(self.registers * THREADS_PER_WARP, 256) * 256 * self.warps),
            "shared memory": SHARED[self.target] // (self.shared + RESERVED),
            "warps": WARPS[self.target] // self.warps,
            "blocks": BLOCKS[self.target],
        }

    @property
    def resident(self) -> int:
        """Blocks that a multiprocessor holds at a time."""
        return min(self.limits.values())

    @property
    def limited_by(self) -> str:
        """The resources, with " and " between them, that let it hold no more."""
        return " and ".join(name for name, blocks in self.limits.items() if blocks == self.resident)

    def microseconds(self, card: Card) -> float:
        """By the model."""
        clocks = max(count / UNITS[unit] for unit, count in self.executed.items())
        busiest = ceil_div(self.blocks, card.processors) * self.warps * clocks / (card.clock * 1e3)
        return max(busiest, self.bytes / (card.bandwidth * 1e3))


def ceil_div(length: int, step: int) -> int:
    """How many steps cover the length."""
    return -(-length // step)


def triton_work(target: str, wanted: Collection[tuple[str, str]]) -> Iterator[Work]:
    """Every launch of these calls: kernel and shape."""
    import torch

    from mmcaf_kernels.compiled import compile_launch
    from mmcaf_kernels.network import calls

    disassembler = sass.nvdisasm()
    assert disassembler is not None
    for kernel, shape, make in calls(torch.float16):
        if (kernel, shape) not in wanted:
            continue
        for step, launch in enumerate(make()):
            binary = compile_launch(launch, target)
            [code] = sass.disassembled(disassembler, binary.cubin).values()
            found = executed(code, trips(launch), 3 / 5 if kernel == "msdc" else 1.0)
            size = sum(given.nbytes for given in launch.arguments.values() if isinstance(given, torch.Tensor))
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


def trips(launch: "Launch") -> list[int]:
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
        "scores_kernel": lambda: [times("d", "block_d")],
        "gather_kernel": lambda: [times("m", "block_keys"), times("n", "block_keys")],  # one side's or the other's
    }
    return counts.get(launch.kernel.__name__, list)()


def twin_work(target: str) -> Iterator[Work]:
    """msdc.cu at the network's shapes, without an order of channels, as the network calls it; nothing without nvcc."""
    compiler, disassembler = shutil.which("nvcc"), sass.nvdisasm()
    if compiler is None or disassembler is None:
        return
    import torch

    from mmcaf_kernels.msdc import cuda
    from mmcaf_kernels.network import STAGES

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
    if first in ("LDG", "STG", "LDS", "LDSM", "STS", "ATOMG", "SHFL"):
        return "memory"
    if first == "HMMA":
        return "tensor"
    control = ("BRA", "EXIT", "NOP", "BAR", "BSSY", "BSYNC", "CALL", "WARPSYNC", "R2UR", "S2UR", "LDC", "DEPBAR")
    return None if first.startswith("U") or first in control else "other"
