"""Fixtures of the kernel tests: kernels interpreted, emulated or on the GPU, and what is compiled for one."""

import io
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.emulator import SOURCES, Call, Check, Compiler, Emulator
from kernels.harness import Measure, measured
from kernels.interpreting import prepare
from mmcaf_kernels.msdc.cuda import configure, kernel_arguments
from shared import Shared

Interpreter = Callable[[Measure, Any, torch.dtype], float]
Built = Callable[[str, Check], Emulator]
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
            worker.submit(prepare).result()  # the process starts here and keeps the setting

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
def emulator(shared: Shared) -> Compiler:
    """Compiles CUDA sources for the CPU; needs g++, no GPU."""
    return Compiler(shared)


@pytest.fixture(scope="session")
def built(shared: Shared, emulator: Compiler) -> Built:
    """The emulator of all kernels of a source of kernels/cuda, compiled once."""

    def find(source: str, check: Check) -> Emulator:
        return shared(f"emulated-{source}-{check}", lambda folder: emulator(SOURCES[source], folder, check))

    return find


@pytest.fixture(scope="session")
def emulated(built: Built) -> Msdc:
    """The CUDA kernel of MSDC on the CPU, its threads in random order, under the sanitizers of memory."""
    program = built("msdc", "memory")

    def run(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None) -> Tensor:
        chosen = configure(x)
        out = torch.empty_like(x)
        blocks = min(3, chosen.blocks)  # few, so that they stride
        values = kernel_arguments(x, taps, bias, order, out, chosen)
        tensors = [x, taps, bias, out, *([] if order is None else [order])]
        program.run(Call(chosen.kernel, blocks, chosen.threads, chosen.shared, values, tensors))
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


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """benchmarks/gpu_session.py, on an H200 where both tools are installed, with what was prepared for it."""
    from kernels.gpu_sessions import at_an_h200

    return at_an_h200(monkeypatch, tmp_path)
