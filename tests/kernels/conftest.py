"""Fixtures of the kernel tests: kernels interpreted, emulated or on the GPU, and what is compiled for one."""

import ctypes
import io
import multiprocessing
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.harness import Measure, measured
from mmcaf_kernels.msdc.cuda import configure, kernel_arguments
from shared import Shared

Interpreter = Callable[[Measure, Any, torch.dtype], float]
Msdc = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    """Runs a measurement where Triton interprets its kernels on the CPU.

    Triton decides this once, when it is imported, so it happens in a process of its own.
    """
    pytest.importorskip("triton", reason="Triton is not installed")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as worker:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            worker.submit(int).result()  # the process starts here and keeps the setting

        def run(measure: Measure, case: Any, dtype: torch.dtype) -> float:
            return worker.submit(measured, measure, case, dtype, "cpu").result()

        yield run


@pytest.fixture(scope="session")
def gpu() -> Callable[[Measure, Any, torch.dtype], float]:
    """Runs a measurement on the GPU, with kernels that are really compiled."""
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    return lambda measure, case, dtype: measured(measure, case, dtype, "cuda")


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Msdc:
    """The CUDA kernel of MSDC compiled for the CPU; needs the CUDA headers and g++, no GPU."""
    compiler, nvcc = shutil.which("g++"), shutil.which("nvcc")
    if compiler is None or nvcc is None:
        pytest.skip(f"{'g++' if compiler is None else 'nvcc'} is not installed")
    shown = subprocess.run([nvcc, "--dryrun", "-E", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
    headers = [word.strip('"') for word in shown.split() if word.strip('"').startswith("-I")]
    here = Path(__file__).parent
    library = tmp_path_factory.mktemp("native") / "msdc.so"
    headers.append(f"-I{here.parents[1] / 'kernels' / 'cuda'}")
    flags = ["-std=c++20", "-O2", "-fPIC", "-shared", "-pthread", *headers]
    subprocess.run([compiler, *flags, here / "cuda_on_host.cpp", "-o", library], check=True)
    function = ctypes.CDLL(str(library)).run_msdc

    def run(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None) -> Tensor:
        chosen = configure(x)
        out = torch.empty_like(x)
        blocks = ctypes.c_uint(min(3, chosen.blocks)), ctypes.c_uint(chosen.threads)  # few, so that they stride
        function(chosen.kernel.encode(), *blocks, *kernel_arguments(x, taps, bias, order, out, chosen))
        return out

    return run


@pytest.fixture(scope="session")
def compiled(shared: Shared) -> tuple[Path, str]:
    """The folder of every kernel in FP16 for sm_89, and what was printed about them; read it, do not change it."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from mmcaf_kernels import aot

    def compile_all(folder: Path) -> tuple[Path, str]:
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
            patch.setenv("TRITON_CACHE_DIR", str(folder / "triton"))
            assert aot.main(["--out", str(folder / "kernels"), "--target", "sm_89", "--precision", "fp16"]) == 0
        return folder / "kernels", printed.getvalue()

    return shared("kernels-sm_89-fp16", compile_all)
