"""What nvcc makes of msdc.cu, without a GPU: registers and floating-point instructions of every kernel.

python benchmarks/sass.py > benchmarks/results/msdc_sass.csv
"""

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "kernels" / "cuda" / "msdc.cu"
TARGETS = ("sm_89", "sm_90")
COUNTED = ("FFMA", "FMUL", "FADD")
COLUMNS = ("compiler", "target", "kernel", "registers", "spilled_bytes", *COUNTED)


def main() -> int:
    """Print the table."""
    compiler, disassembler = shutil.which("nvcc"), nvdisasm()
    if compiler is None or disassembler is None:
        sys.stderr.write("nvcc and nvdisasm are needed; install the CUDA toolkit.\n")
        return 1
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
    with tempfile.TemporaryDirectory() as folder:
        cubin = str(Path(folder, "msdc.cubin"))
        build = [
            compiler,
            "-std=c++17",
            "-O3",
            "--resource-usage",
            "-cubin",
            f"-arch={target}",
            str(SOURCE),
            "-o",
            cubin,
        ]
        said = subprocess.run(build, capture_output=True, text=True, check=True)
        command = [disassembler, "-c", cubin]
        code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers"
    resources = {name: (spilled, registers) for name, spilled, registers in re.findall(used, said.stderr, re.DOTALL)}
    made = []
    for section in re.split(r"^\s*\.section\s+\.text\.", code, flags=re.MULTILINE)[1:]:
        [name] = re.findall(r"\A\w+", section)
        found = Counter(re.findall(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)", section, re.MULTILINE))
        spilled, registers = resources[name]
        counts = {instruction: str(found[instruction]) for instruction in COUNTED}
        first = {"compiler": version(compiler), "target": target, "kernel": name}
        made.append({**first, "registers": registers, "spilled_bytes": spilled, **counts})
    return sorted(made, key=lambda row: row["kernel"])


if __name__ == "__main__":
    sys.exit(main())
