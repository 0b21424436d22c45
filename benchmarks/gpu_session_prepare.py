"""What gpu_session.py brings to a lent GPU: compiled kernels, packages, networks; made on a machine without one."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from gpu_session_carried import COMMIT, CUBINS, FATBIN, LIST, WHEELS, write_list
from rows import commit

GLIBC = (17, 24, 27, 28)
LARGEST = 64 * 2**20
"""Bytes of the repository and what is carried, together."""


def prepare(root: Path, carry: Path, python: str, target: str, largest: int = LARGEST) -> int:
    """Make everything anew, for a version of Python and a GPU's target; 1 if not all could be made, or it is too large.

    A folder that holds anything and was not made here is left alone: 2.
    """
    try:
        if carry.is_symlink() or carry.exists():
            if carry.is_symlink() or not carry.is_dir() or (any(carry.iterdir()) and not (carry / LIST).is_file()):
                print(f"{carry}: not a folder that was prepared here; choose another --carry", file=sys.stderr)
                return 2
            shutil.rmtree(carry)
        carry.mkdir(parents=True)
        (carry / LIST).touch()
    except OSError as failure:
        print(f"{carry}: cannot be written, {failure.strerror}; choose another --carry", file=sys.stderr)
        return 2
    makers: dict[str, Callable[[Path], None]] = {
        COMMIT: write_commit,
        CUBINS: lambda made: compile_cubins(made, target),
        FATBIN: lambda made: compile_fatbin(root / "kernels" / "cuda" / "msdc.cu", made, target),
        "wheels": lambda made: fetch_wheels(made, python),
        "network": export_networks,
    }
    wrong = False
    for name, make in makers.items():
        try:
            make(carry / name)
        except (OSError, subprocess.CalledProcessError, ImportError) as failure:
            wrong = True
            remove(carry / name)  # half of it would be listed as whole
            print(f"{name}: {failure}", file=sys.stderr)
        else:
            print(f"{name}: made", flush=True)
    write_list(carry)
    return int(wrong or not small_enough(root, carry, largest))


def remove(path: Path) -> None:
    """A file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def small_enough(root: Path, carry: Path, largest: int) -> bool:
    """Whether both together are, after saying how large they are."""
    try:
        carried, repository = size_of(carry), size_of_repository(root)
    except (OSError, subprocess.CalledProcessError) as failure:
        print(f"{root}: how large the repository is cannot be told: {failure}", file=sys.stderr)
        return False
    total = f"{carried / 2**20:.1f} MiB carried and {repository / 2**20:.1f} MiB of the repository"
    fits = carried + repository <= largest
    print(f"{total}, of at most {largest / 2**20:.0f} MiB", file=sys.stdout if fits else sys.stderr)
    return fits


def write_commit(made: Path) -> None:
    """For the rows of a machine where there is no git."""
    made.write_text(f"{commit()} (as prepared)\n", encoding="utf-8")


def compile_cubins(folder: Path, target: str) -> None:
    """Every Triton kernel in every precision."""
    command = [sys.executable, "-m", "mmcaf_kernels.aot", "--out", str(folder), "--target", target]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def compile_fatbin(source: Path, made: Path, target: str) -> None:
    """The CUDA C++ kernel, with the flags of the native build."""
    compiler = shutil.which("nvcc")
    if compiler is None:
        raise FileNotFoundError("nvcc is not installed; it comes with the CUDA toolkit")
    code = f"arch={target.replace('sm', 'compute')},code={target}"
    subprocess.run([compiler, "-std=c++17", "-O3", "-gencode", code, "-fatbin", source, "-o", made], check=True)


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
