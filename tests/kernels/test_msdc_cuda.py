"""The CUDA twin of MSDC: on the CPU, emulated thread by thread, and on a GPU."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from kernels.cases_msdc import LARGE, Case, arguments
from kernels.conftest import Msdc
from kernels.harness import DTYPES, hold, memory_full_of_nan, name, relative_error
from mmcaf_kernels.msdc import cuda
from mmcaf_kernels.msdc.cuda import MsdcCuda, configure
from mmcaf_kernels.msdc.reference import msdc as reference

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "kernels" / "cuda" / "msdc.cu"
TARGETS = ("75", "80", "86", "89", "90", "120")
CASES = [
    Case((1, 2, 3, 5, 7)),  # rows that are not aligned to 16 bytes
    Case((2, 4, 2, 12, 12), shuffled=True),  # several channels in a block
    Case((1, 2, 6, 9, 48), shuffled=True),  # rows of 16-byte pieces
    Case((1, 1, 1, 1, 1)),
    Case((1, 1, 11, 3, 5)),  # stacks with a halo
    Case((1, 1, 1, 63, 100)),  # several tiles either way
]


def fatbin(folder: Path) -> Path:
    """The kernel for every target: the file that $MMCAF_MSDC_FATBIN names, else one that nvcc makes in this folder."""
    carried = os.environ.get("MMCAF_MSDC_FATBIN")
    if carried:
        return Path(carried)
    compiler = shutil.which("nvcc")
    if compiler is None:
        pytest.skip("nvcc is not installed, and MMCAF_MSDC_FATBIN names no fatbin")
    code = [word for target in TARGETS for word in ("-gencode", f"arch=compute_{target},code=sm_{target}")]
    made = folder / "msdc.fatbin"
    subprocess.run([compiler, "-std=c++17", "-O3", "-fatbin", *code, str(SOURCE), "-o", str(made)], check=True)
    return made


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Msdc:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    return MsdcCuda(fatbin(tmp_path_factory.mktemp("native")))


def error(run: Msdc, case: Case, dtype: torch.dtype, device: str) -> float:
    x, taps, bias, order = arguments(case, dtype, device)
    with memory_full_of_nan():
        return relative_error(run(x, taps, bias, order), reference(x.double(), taps, bias, order))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_matches_reference_emulated(emulated: Msdc, case: Case, dtype: torch.dtype) -> None:
    hold(error(emulated, case, dtype, "cpu"), dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("case", CASES + LARGE, ids=name)
def test_matches_reference_on_gpu(on_gpu: Msdc, case: Case, dtype: torch.dtype) -> None:
    hold(error(on_gpu, case, dtype, "cuda"), dtype)


def test_a_channel_that_does_not_exist_is_nan(emulated: Msdc) -> None:
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


def test_the_fatbin_that_was_carried_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Mock(side_effect=AssertionError("nothing is compiled")))
    monkeypatch.setenv("MMCAF_MSDC_FATBIN", str(tmp_path / "carried.fatbin"))
    assert fatbin(tmp_path) == tmp_path / "carried.fatbin"


def test_a_fatbin_is_made_for_the_targets_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Mock()
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.delenv("MMCAF_MSDC_FATBIN", raising=False)
    assert fatbin(tmp_path).parent == tmp_path
    code = [word for word in run.call_args.args[0] if word.startswith("arch=")]
    assert code == [f"arch=compute_{target},code=sm_{target}" for target in TARGETS]
    assert f"set(MMCAF_CUDA_TARGETS {' '.join(TARGETS)})" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def test_without_a_compiler_it_must_be_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("MMCAF_MSDC_FATBIN", raising=False)
    with pytest.raises(pytest.skip.Exception, match="MMCAF_MSDC_FATBIN names no fatbin"):
        fatbin(tmp_path)


def test_needs_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    with pytest.raises(RuntimeError, match=r"libcuda\.so\.1 was not found"):
        MsdcCuda(tmp_path / "missing.fatbin")
