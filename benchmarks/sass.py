"""What compilers make of kernels, without a GPU: their instructions, and of msdc.cu registers and arithmetic.

python benchmarks/sass.py > benchmarks/results/msdc_sass.csv
"""

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import usage

SOURCE = Path(__file__).parents[1] / "kernels" / "cuda" / "msdc.cu"
TARGETS = ("sm_89", "sm_90")
COUNTED = ("FFMA", "FMUL", "FADD")
COLUMNS = ("compiler", "target", "kernel", "registers", "spilled_bytes", *COUNTED)


def main() -> int:
    """Print the table; 6 without compilers."""
    usage.parser(__doc__).parse_args()
    compiler, disassembler = shutil.which("nvcc"), nvdisasm()
    if compiler is None or disassembler is None:
        return usage.missing("nvcc and nvdisasm are needed: install the CUDA toolkit.")
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    table.writeheader()
    for target in TARGETS:
        table.writerows(rows(compiler, disassembler, target))
    return 0


def nvdisasm() -> str | None:
    """The toolkit's disassembler, or the one that Triton brings."""
    try:
        from triton.knobs import nvidia
    except ImportError:
        return shutil.which("nvdisasm")
    return shutil.which("nvdisasm") or str(nvidia.nvdisasm.path)


def version(compiler: str) -> str:
    """Such as V13.0.88."""
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\bV[\d.]+", shown)[-1]


def rows(compiler: str, disassembler: str, target: str) -> list[dict[str, str]]:
    """A row of COLUMNS per kernel, by name."""
    cubin, resources = compiled(compiler, target)
    made = []
    for name, code in disassembled(disassembler, cubin).items():
        found = Counter(instruction.name.partition(".")[0] for instruction in code)
        counts = {counted: str(found[counted]) for counted in COUNTED}
        first = {"compiler": version(compiler), "target": target, "kernel": name}
        registers, spilled = resources[name]
        made.append({**first, "registers": str(registers), "spilled_bytes": str(spilled), **counts})
    return sorted(made, key=lambda row: row["kernel"])


def compiled(compiler: str, target: str, source: Path = SOURCE) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """msdc.cu as a cubin, and of each of its kernels registers and bytes spilt, per thread."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "msdc.cubin")
        options = ["-std=c++17", "-O3", "--resource-usage", "-cubin", f"-arch={target}"]
        build = [compiler, *options, str(source), "-o", str(cubin)]
        said = subprocess.run(build, capture_output=True, text=True, check=True)
        used = r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers"
        found = re.findall(used, said.stderr, re.DOTALL)
        return cubin.read_bytes(), {name: (int(registers), int(spilt)) for name, spilt, registers in found}


@dataclass(frozen=True)
class Instruction:
    """One of a kernel's, such as LDG.E.U16: whether a predicate may switch it off, and what index it branches to."""

    name: str
    predicated: bool
    target: int | None


def disassembled(disassembler: str, cubin: bytes) -> dict[str, list[Instruction]]:
    """Kernel -> its instructions in order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        command = [disassembler, "-c", str(file)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sections = re.split(r"^\s*\.section\s+\.text\.", text, flags=re.MULTILINE)[1:]
    return {re.findall(r"\A\w+", section)[0]: _instructions(section) for section in sections}


def _instructions(section: str) -> list[Instruction]:
    labels: dict[str, int] = {}
    found: list[tuple[str, bool, str | None]] = []
    for line in section.splitlines():
        label = re.match(r"\s*(\.L_\w+):", line)
        if label:
            labels[label[1]] = len(found)
        code = re.match(r"\s*/\*[0-9a-f]+\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)(.*?);", line)
        if code:
            place = re.search(r"`\((\.L_\w+)\)", code[3])
            found.append((code[2], code[1] is not None, place[1] if place else None))
    return [Instruction(name, predicated, labels.get(place or "")) for name, predicated, place in found]


if __name__ == "__main__":
    usage.run(main)
