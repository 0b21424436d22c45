"""The steps of gpu_session.py: what is run on a lent GPU, in which order, and after how long it is killed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpu_session_carried import CUBINS, FATBIN

HERE = Path(__file__).resolve().parent
PROFILED = ("msdc", "groupnorm_act", "msca_attention", "upsample_dw", "kan", "fusion_head")
MEASURED = (*PROFILED, "cross_attention", "msdc (CUDA C++)")


@dataclass(frozen=True)
class Step:
    """A command, killed after so many seconds; one whose program is not installed is passed over.

    writes: the files, beside its log, that it writes into the folder of results.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    writes: tuple[str, ...] = ()


def correctness(carry: Path, out: Path, python: str) -> list[Step]:
    """Part 1, cheap to dear."""

    def tests(name: str, seconds: float, *files: str, more: tuple[str, ...] = ()) -> Step:
        command = (python, "-m", "pytest", "-m", "gpu", "-v", "-p", "no:cacheprovider", *more)
        return Step(name, seconds, (*command, *(f"tests/{file}" for file in files)))

    def sanitizer(tool: str) -> Step:
        small = (python, str(HERE / "single_calls.py"), "--small", "--fatbin", str(carry / FATBIN))
        return Step(tool, 60, ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *small))

    several = ("-p", "xdist", "-n", "8")  # one alone would compile longer than the step may take
    return [
        Step("machine", 30, (python, "-m", "torch.utils.collect_env")),
        tests("cubin", 30, "kernels/test_cubin.py"),
        tests("cuda", 40, "kernels/test_msdc_cuda.py"),
        tests("kernels", 140, "kernels/test_against_references.py", more=several),
        tests("graph", 60, "engine/backends/test_torch_backend.py"),
        sanitizer("memcheck"),
        sanitizer("racecheck"),
    ]


def numbers(carry: Path, out: Path, python: str) -> list[Step]:
    """Part 2."""
    fatbin = ("--fatbin", str(carry / FATBIN))
    ours = ("--providers", "ours", "eager", "--precision", "fp16", "--seconds", "85", *fatbin)
    each = (word for kernel in MEASURED for word in ("--kernel", kernel))
    table, network, of_network = "kernels.csv", "network.csv", "network-kernels.csv"
    kernels = (python, str(HERE / "kernels.py"), "--force", "--output", str(out / table), *each, *ours)
    rows = ("--output", str(out / network), "--table", str(out / of_network), "--seconds", "90")
    variants = (python, str(HERE / "network_variants.py"), str(carry / "network"), "--force", *rows)
    return [
        Step("rows", 100, kernels, (table,)),
        Step("network", 110, variants, (network, of_network)),
        Step("ncu", 80, (*profiler(carry), python, str(HERE / "single_calls.py"), "--kernel", *PROFILED)),
    ]


def profiler(carry: Path) -> tuple[str, ...]:
    """Nsight Compute, for the kernels that were compiled beforehand alone; the card's clocks are left as they are."""
    from mmcaf_kernels.cubin import read_kernels

    names = sorted({entry.kernel for entry in read_kernels(carry / CUBINS)})
    sections = ("SpeedOfLight", "MemoryWorkloadAnalysis", "Occupancy", "LaunchStats")
    wanted = (word for section in sections for word in ("--section", section))
    return ("ncu", "--clock-control", "none", "--csv", *wanted, "--kernel-name", f"regex:{'|'.join(names)}")


PARTS: dict[str, tuple[float, Callable[[Path, Path, str], list[Step]]]] = {
    "1": (420, correctness),
    "2": (300, numbers),
}
"""Part -> its seconds, and what makes its steps of the carried folder, the folder of results, and a Python."""
