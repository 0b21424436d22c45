"""Threads of the library where memory or threads run out: an error to the caller, never the end of the process."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mmcaf_kernels.cpu.area_resize import AreaResize
from mmcaf_kernels.cpu.library import missing

SOURCES = Path(__file__).parents[2] / "kernels" / "cpu" / "library"
THROWING = """
#include "threads.hpp"

#include <atomic>
#include <cstdio>
#include <new>

int main() {
    std::atomic<int> begun{0};
    mmcaf::Threads four(4);
    const mmcaf::Parallel parallel = four;
    try {
        parallel(1000, [&](int index) {
            ++begun;
            if (index % 10 == 3) throw std::bad_alloc();
        });
    } catch (const std::bad_alloc &) {
        std::printf("caught %s", begun < 1000 ? "early" : "late");
    }
    begun = 0;
    parallel(1000, [&](int) { ++begun; });
    std::printf(", then %d", begun.load());
}
"""


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
def test_what_a_task_throws_reaches_the_caller(tmp_path: Path) -> None:
    (tmp_path / "throwing.cpp").write_text(THROWING)
    files = [str(tmp_path / "throwing.cpp"), str(SOURCES / "threads.cpp")]
    subprocess.run(
        ["c++", "-std=c++17", "-pthread", f"-I{SOURCES}", *files, "-o", str(tmp_path / "throwing")], check=True
    )
    done = subprocess.run([str(tmp_path / "throwing")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "caught early, then 1000")


@contextmanager
def address_space_left(size: int) -> Iterator[None]:
    """This process may take so many bytes more."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(sys.platform != "linux" or missing() is not None, reason=f"on Linux alone; {missing()}")
def test_a_kernel_that_finds_no_memory_says_so() -> None:
    rows = [[(at, 1.0)] for at in range(4096)]
    kernel = AreaResize((4096, 4096), rows, rows[::-1], columns_first=True)
    image, resized = np.ones((4096, 4096), np.int16), np.empty((4096, 4096), np.float32)
    with address_space_left(1 << 24), pytest.raises(MemoryError, match=r"^area_resize_steps: out of memory$"):
        kernel(image, resized)  # It works in 64 MiB.
    kernel(image, resized)
    assert (resized == 1).all()
