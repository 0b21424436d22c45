"""What gpu_session.py brings to a lent GPU: compiled kernels, packages, networks; made on a machine without one."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

WHEELS = (
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-extensions",
    "typing-inspection",
    "pydicom",
    "nibabel",
    "onnx",
    "onnx-ir",
    "ml-dtypes",
    "protobuf",
    "cuda-bindings",
    "cuda-pathfinder",
)
"""What the steps, and an answer from a study, import beyond torch, Triton, NumPy, pytest and what these need; in the
versions installed here."""

GLIBC = (17, 24, 27, 28)
CAPABILITY = "90"
LARGEST = 64 * 2**20
"""Bytes of the repository and what is carried, together."""


MARK = ".made-by-gpu-session"


def prepare(root: Path, carry: Path, python: str, largest: int = LARGEST) -> int:
    """Make everything anew; 1 if something could not be made, or all of it is too large.

    A folder that holds anything and was not made here is left alone: 2.
    """
    if carry.is_symlink() or carry.exists():
        if carry.is_symlink() or not carry.is_dir() or (any(carry.iterdir()) and not (carry / MARK).is_file()):
            print(f"{carry}: not a folder that was prepared here; choose another --carry", file=sys.stderr)
            return 2
        shutil.rmtree(carry)
    carry.mkdir(parents=True)
    (carry / MARK).touch()
    makers: dict[str, Callable[[], None]] = {
        "cubin": lambda: compile_cubins(carry / "cubin"),
        "fatbin": lambda: compile_fatbin(root / "kernels" / "cuda" / "msdc.cu", carry / "msdc.fatbin"),
        "wheels": lambda: fetch_wheels(carry / "wheels", python),
        "network": lambda: export_networks(carry / "network"),
    }
    wrong = False
    for name, make in makers.items():
        try:
            make()
        except (OSError, subprocess.CalledProcessError, ImportError) as failure:
            wrong = True
            print(f"{name}: {failure}", file=sys.stderr)
        else:
            print(f"{name}: made", flush=True)
    carried, repository = size_of(carry), size_of_repository(root)
    total = f"{carried / 2**20:.1f} MiB carried and {repository / 2**20:.1f} MiB of the repository"
    fits = carried + repository <= largest
    print(f"{total}, of at most {largest / 2**20:.0f} MiB", file=sys.stdout if fits else sys.stderr)
    return int(wrong or not fits)


def compile_cubins(folder: Path) -> None:
    """Every Triton kernel in every precision."""
    command = [sys.executable, "-m", "mmcaf_kernels.aot", "--out", str(folder), "--target", f"sm_{CAPABILITY}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def compile_fatbin(source: Path, target: Path) -> None:
    """The CUDA C++ kernel, with the flags of the native build."""
    compiler = shutil.which("nvcc")
    if compiler is None:
        raise FileNotFoundError("nvcc is not installed; it comes with the CUDA toolkit")
    code = f"arch=compute_{CAPABILITY},code=sm_{CAPABILITY}"
    subprocess.run([compiler, "-std=c++17", "-O3", "-gencode", code, "-fatbin", source, "-o", target], check=True)


def fetch_wheels(folder: Path, python: str) -> None:
    """The packages as wheels for x86-64 Linux and this version of Python."""
    pip = shutil.which("pip") or shutil.which("pip3")
    if pip is None:
        raise FileNotFoundError("pip is not installed")
    platforms = [word for minor in GLIBC for word in ("--platform", f"manylinux_2_{minor}_x86_64")]
    wanted = [f"{name}=={version(name)}" for name in WHEELS]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    where = ["--platform", "manylinux2014_x86_64", *platforms, "--dest", str(folder)]
    subprocess.run([pip, "download", *options, *where, *wanted], check=True)


def export_networks(folder: Path) -> None:
    """The published network without its large weights."""
    subprocess.run([sys.executable, str(Path(__file__).with_name("network_files.py")), str(folder)], check=True)


def size_of(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def size_of_repository(root: Path) -> int:
    """Bytes of what git tracks, and of what it would if it were added."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    files = [root / name for name in listed.split("\0") if name]
    return sum(file.stat().st_size for file in files if file.is_file())
