"""The CUDA twin of MSDC: on the CPU, emulated thread by thread, and on a GPU."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from kernels.cases_msdc import LARGE, Case, arguments
from kernels.conftest import Built, Msdc
from kernels.emulator import Call, Emulator
from kernels.harness import DTYPES, hold, memory_full_of_nan, name, relative_error
from mmcaf_kernels import fingerprint
from mmcaf_kernels.launch import Path as Way
from mmcaf_kernels.msdc import cuda, operator
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


# The kernel in the operator: a driver that emulates it, for tensors of the CPU.


class Driver:
    """The driver's functions that MsdcCuda calls; a launch is emulated. `refused` fails with status 209."""

    def __init__(self, program: Emulator, refused: str = "") -> None:
        self.program, self.refused = program, refused
        self.calls: list[str] = []
        self.launched: list[str] = []
        self.streams: list[int] = []
        self.context: int | None = None
        self.tensors: list[Tensor] = []
        self._names: list[str] = []

    def cuCtxGetCurrent(self, context: Any) -> int:  # noqa: N802
        context._obj.value = 99
        return 0

    def cuCtxSetCurrent(self, context: ctypes.c_void_p) -> int:  # noqa: N802
        self.context = context.value
        return 0

    def cuModuleLoadData(self, module: Any, image: bytes) -> int:  # noqa: N802
        self.calls.append(f"load {image!r}")
        return 209 if self.refused == "cuModuleLoadData" else 0  # CUDA_ERROR_NO_BINARY_FOR_GPU

    def cuModuleGetFunction(self, function: Any, module: ctypes.c_void_p, name: bytes) -> int:  # noqa: N802
        self.calls.append(f"get {name.decode()}")
        self._names.append(name.decode())
        function._obj.value = len(self._names)
        return 0

    def cuLaunchKernel(self, function: Any, *given: Any) -> int:  # noqa: N802
        blocks, _, _, threads, _, _, shared, stream, addresses, extra = given
        assert self.context == 99
        assert extra is None and given[1:3] == given[4:6] == (1, 1)
        kernel = self._names[function.value - 1]
        self.launched.append(kernel)
        self.streams.append(stream.value)
        types = [ctypes.c_void_p] * 5 + [ctypes.c_int64] + [ctypes.c_int] * 7
        values = [kind.from_address(at) for kind, at in zip(types, addresses, strict=True)]
        self.program.run(Call(kernel, blocks, threads, shared, values, self.tensors))
        return 0


@pytest.fixture
def driver(built: Built, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """In the place of libcuda, with a fatbin in the place of the package's, and the CPU in that of cuda:0."""
    found = Driver(built("msdc", "memory"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: found)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *device: SimpleNamespace(cuda_stream=17))
    monkeypatch.setattr(operator, "path", lambda x: Way("triton", "as if on a GPU"))
    cuda.twin.cache_clear()
    yield found
    cuda.twin.cache_clear()


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "msdc" / "msdc.fatbin"
    file.parent.mkdir()
    file.write_bytes(b"a fatbin")
    monkeypatch.setattr(cuda, "folders", [tmp_path / "elsewhere", tmp_path])
    return file


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("shuffled", [False, True], ids=["in-order", "shuffled"])
def test_the_operator_launches_it(
    driver: Driver, carried: Path, dtype: torch.dtype, shuffled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "run", Mock(side_effect=AssertionError("Triton is not asked")))
    x, taps, bias, order = arguments(Case((1, 4, 3, 9, 10), shuffled), dtype, "cpu")
    out = torch.full_like(x, float("nan"))
    monkeypatch.setattr(operator, "new", lambda *_: out)
    driver.tensors = [x, taps, bias, out, *([] if order is None else [order])]
    for _ in range(2):
        operator.msdc(x, taps, bias, order)
    hold(relative_error(out, reference(x.double(), taps, bias, order)), dtype)
    kernel = configure(x).kernel
    assert driver.calls == ["load b'a fatbin'", f"get {kernel}"], "it is loaded once, and each kernel of it"
    assert driver.launched == [kernel] * 2 and driver.streams == [17] * 2


def test_an_order_of_64_bits_is_for_triton(driver: Driver, carried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Mock()
    monkeypatch.setattr(operator, "run", run)
    x, taps, bias, order = arguments(Case((1, 4, 3, 5, 7), shuffled=True), torch.float32, "cpu")
    assert order is not None
    operator.msdc(x, taps, bias, order.long())
    assert run.called and not driver.launched


@pytest.mark.parametrize("refused", [False, True], ids=["none", "refused"])
def test_without_one_for_this_gpu_triton_computes(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused: bool
) -> None:
    monkeypatch.setattr(cuda, "folders", [tmp_path])
    if refused:
        (tmp_path / "msdc").mkdir()
        (tmp_path / "msdc" / "msdc.fatbin").write_bytes(b"for another GPU")
        driver.refused = "cuModuleLoadData"
    run = Mock()
    monkeypatch.setattr(operator, "run", run)
    x, taps, bias, _ = arguments(Case((1, 4, 3, 5, 7)), torch.float32, "cpu")
    operator.msdc(x, taps, bias)
    assert run.called and not driver.launched
    why = "no fatbin was built with this package"
    if refused:
        why = "msdc.fatbin does not load (MSDC in CUDA: cuModuleLoadData failed with status 209)"
    assert cuda.twin(x.device.index).reason == f"Triton, as {why}"
    assert [record.levelname for record in caplog.records] == (["WARNING"] if refused else [])


def test_a_program_says_which_computes_msdc(driver: Driver, carried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="ONNX is not installed")
    from mmcaf_kernels.graph import program

    monkeypatch.setattr(program, "kernel_path", lambda x: Way("triton", "the tensor is on cuda:0"))
    way = program._path(torch.device("cpu"), {"msdc": 3})
    assert way == ("triton", "the tensor is on cuda:0; msdc by CUDA C++ (msdc.fatbin)")
    assert program._path(torch.device("cpu"), {"kan": 1}).reason == "the tensor is on cuda:0"


def test_the_fatbin_is_part_of_the_kernels_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "folders", [*fingerprint.folders, str(tmp_path)])
    states = []
    for content in (None, b"one", b"another"):
        if content is not None:
            (tmp_path / "msdc.fatbin").write_bytes(content)
        fingerprint.fingerprint.cache_clear()
        states.append(fingerprint.fingerprint())
    fingerprint.fingerprint.cache_clear()
    assert len(set(states)) == 3
