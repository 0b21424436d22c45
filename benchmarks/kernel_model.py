"""A model of what each kernel can reach on a GPU, from its instructions: nothing in it is measured.

python benchmarks/kernel_model.py --folder benchmarks/results [--state NAME]

Needs Triton's compilers, and nvcc for msdc.cu; no GPU. It replaces the rows of NAME (default: now) in two tables:

kernel_instructions.csv: what one warp of each launch executes, by loops that are taken as often as the shape says and
everything between them once, so rather too many; registers, shared memory, how many blocks a multiprocessor holds, and
which of its resources lets it hold no more.

kernel_model.csv: for every call of the published network, FP16, one window, and of CMASG-Bi-LSTM's cross_attention (a
window there: an image with its report), the floor of docs/kernels.md and the modelled time. A launch takes as long as
the busiest of: memory (each tensor once, at the data sheet's bandwidth), the multiprocessor's issue slots (4 warp
instructions a clock), float32 units (4), other arithmetic (2), load and store (1, bank conflicts of msdc.cu counted),
special functions (1/2), tensor cores (1/8, as of GeForce cards); on the multiprocessor with the most blocks, at the
boost clock. Launches of a call follow each other. Latency, the cost of a launch and caches are not modelled, so that a
kernel reaches less than this. A state of an older commit is made with PYTHONPATH at the kernels of a checkout of it.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import sass
import usage
from kernel_names import TWIN
from kernel_work import UNITS, WARPS, Card, Work, triton_work, twin_work

if TYPE_CHECKING:
    from kernel_cases import Case

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
    **{(kernel, f"stage{number}"): 1 for kernel in ("msdc", "msca_attention") for number in (1, 2, 3)},
    ("upsample_dw", "stage2"): 1,
    ("upsample_dw", "stage3"): 1,
    ("kan", "table"): 1,
    ("fusion_head", "tokens"): 1,
}
"""Call -> how often the published network makes it in a window. A stage's first norm1 lies before its stride, so it has
the shape of the shortcut of the stage before."""
REPORT = {("cross_attention", f"49 x {pieces} tokens of 512"): 1 for pieces in (32, 128)}
"""The same of CMASG-Bi-LSTM, for an image with a report of the shortest and of the longest length."""
CALLS = {**WINDOW, **REPORT}
CARDS = {
    "RTX 4060": Card("sm_89", 24, 2.46, 272, 15.1),
    "RTX 4090": Card("sm_89", 128, 2.52, 1008, 82.6),
    "H200": Card("sm_90", 132, 1.98, 4800, 66.9),
}


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
            "limited_by": work.limited_by,
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
            often = CALLS[("msdc" if kernel == TWIN else kernel, shape)]
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


def _cases() -> "list[Case]":
    import kernel_cases
    import torch

    kernel_cases.DEVICE = "cpu"  # for their bytes and operations; nothing is run
    return [make() for make in kernel_cases.makers(torch.float16, None)]


def of_other_states(file: Path, state: str) -> list[dict[str, object]]:
    """The rows that stay.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such table.
    """
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    if any(row.get("state") is None for row in rows):
        raise ValueError("a row without a state")
    return [dict(row) for row in rows if row["state"] != state]


def write(file: Path, rows: Sequence[dict[str, object]]) -> None:
    """The newest state last."""
    with file.open("w", encoding="utf-8", newline="") as text:
        table = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(sorted(rows, key=lambda row: row["state"] == "now"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both tables; 6 without a compiler."""
    asked = usage.parser(__doc__)
    asked.add_argument("--folder", type=usage.path, required=True, help="of the tables, whose other rows stay")
    asked.add_argument("--state", default="now", help="the name of these rows, such as a commit")
    chosen = asked.parse_args(arguments)
    files = [chosen.folder / f"{name}.csv" for name in ("kernel_instructions", "kernel_model")]
    usage.try_outputs(asked, [("--folder", file) for file in files], force=True)
    kept = []
    for file in files:
        try:
            kept.append(of_other_states(file, chosen.state))
        except (OSError, ValueError, csv.Error) as failure:
            asked.error(f"{file}: not a table that this script wrote, and it would be replaced ({failure})")
    if sass.nvdisasm() is None or find_spec("torch") is None:
        return usage.missing("torch and Triton's compilers are needed: pip install '.[kernels]'")
    works = [work for target in WARPS for made in (triton_work(target, CALLS), twin_work(target)) for work in made]
    write(files[0], [*kept[0], *instruction_rows(chosen.state, works)])
    write(files[1], [*kept[1], *model_rows(chosen.state, works)])
    return 0


if __name__ == "__main__":
    usage.run(main)
