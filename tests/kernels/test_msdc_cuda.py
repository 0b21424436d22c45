"""The CUDA twin of MSDC: on the CPU, emulated thread by thread, and on a GPU."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from torch import Tensor

from kernels import nonfinite
from kernels.cases_msdc import LARGE, Case, arguments
from kernels.harness import DTYPES, hold, memory_full_of_nan, name, relative_error
from mmcaf_kernels.msdc import cuda
from mmcaf_kernels.msdc.cuda import MsdcCuda, configure, kernel_arguments
from mmcaf_kernels.msdc.reference import msdc as reference

SOURCES = Path(__file__).parents[2] / "kernels" / "cuda"
Run = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
CASES = [
    Case((1, 2, 3, 5, 7)),  # rows that are not aligned to 16 bytes
    Case((2, 4, 2, 12, 12), shuffled=True),  # several channels in a block
    Case((1, 2, 6, 9, 48), shuffled=True),  # rows of 16-byte pieces
    Case((1, 1, 1, 1, 1)),
    Case((1, 1, 11, 3, 5)),  # stacks with a halo
    Case((1, 1, 1, 63, 100)),  # several tiles either way
]


def nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None:
        pytest.skip("nvcc is not installed")
    return found


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The kernel compiled for the CPU; needs the CUDA headers and g++, no GPU."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    shown = subprocess.run([nvcc(), "--dryrun", "-E", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
    headers = [word.strip('"') for word in shown.split() if word.strip('"').startswith("-I")]
    library = tmp_path_factory.mktemp("native") / "msdc.so"
    flags = ["-std=c++20", "-O2", "-fPIC", "-shared", "-pthread", *headers, f"-I{SOURCES}"]
    subprocess.run([compiler, *flags, Path(__file__).with_name("cuda_on_host.cpp"), "-o", library], check=True)
    function = ctypes.CDLL(str(library)).run_msdc

    def run(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None) -> Tensor:
        chosen = configure(x)
        out = torch.empty_like(x)
        blocks = ctypes.c_uint(min(3, chosen.blocks)), ctypes.c_uint(chosen.threads)  # few, so that they stride
        function(chosen.kernel.encode(), *blocks, *kernel_arguments(x, taps, bias, order, out, chosen))
        return out

    return run


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    fatbin = tmp_path_factory.mktemp("native") / "msdc.fatbin"
    command = [nvcc(), "-std=c++17", "-fatbin", "-arch=native", SOURCES / "msdc.cu", "-o", fatbin]
    subprocess.run(command, check=True)
    return MsdcCuda(fatbin)


def error(run: Run, case: Case, dtype: torch.dtype, device: str) -> float:
    x, taps, bias, order = arguments(case, dtype, device)
    with memory_full_of_nan():
        return relative_error(run(x, taps, bias, order), reference(x.double(), taps, bias, order))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_matches_reference_emulated(emulated: Run, case: Case, dtype: torch.dtype) -> None:
    hold(error(emulated, case, dtype, "cpu"), dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("case", CASES + LARGE, ids=name)
def test_matches_reference_on_gpu(on_gpu: Run, case: Case, dtype: torch.dtype) -> None:
    hold(error(on_gpu, case, dtype, "cuda"), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=name)
@pytest.mark.parametrize("case", [CASES[1], Case((1, 1, 9, 6, 8))], ids=name)
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(placed=((0, 100, float("inf")),))
@example(placed=((0, 100, float("nan")),))
@given(placed=nonfinite.PLACED)
def test_what_is_not_finite_is_as_in_the_reference(
    emulated: Run, case: Case, dtype: torch.dtype, placed: nonfinite.Placed
) -> None:
    _, *rest = arguments(case, dtype, "cpu")
    given = nonfinite.Case("msdc", placed).inputs((case.shape,), dtype)
    with memory_full_of_nan():
        found = emulated(*given, *rest)
    assert nonfinite.distance(found, lambda a: reference(*a, *rest), given) <= 1


def test_a_channel_that_does_not_exist_is_nan(emulated: Run) -> None:
    x, taps, bias, _ = arguments(Case((1, 4, 2, 3, 3)), torch.float32, "cpu")
    out = emulated(x, taps, bias, torch.tensor([0, 4, -1, 3], dtype=torch.int32))
    assert out[:, [1, 2]].isnan().all()
    assert out[:, [0, 3]].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize(
    "shape", [(512, 6, 48, 48), (1024, 3, 24, 24), (2048, 2, 12, 12), (1, 9, 1, 4000), (3, 1, 4000, 1)], ids=str
)
def test_configuration_fits_every_target(shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    x = torch.empty(1, *shape, dtype=dtype, device="meta")
    chosen = configure(x)
    assert chosen.threads <= cuda.MOST_THREADS
    assert chosen.shared <= cuda.MOST_SHARED
    assert chosen.tile_width % (16 // x.element_size()) == 0
    assert chosen.tile_height >= 1


def test_needs_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    with pytest.raises(RuntimeError, match=r"libcuda\.so\.1 was not found"):
        MsdcCuda(tmp_path / "missing.fatbin")
