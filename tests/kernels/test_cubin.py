"""Launching compiled kernels without Triton and torch: what is listed, packed, and told to the driver."""

import ctypes
import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kernels.cases_msdc import Case, arguments
from kernels.harness import hold, memory_full_of_nan, relative_error
from mmcaf_kernels.cubin import Argument, Entry, KnownLaunch, LoadedKernel, choose, pack, read_kernels

CAPABILITIES = {"sm_75": (7, 5), "sm_80": (8, 0), "sm_86": (8, 6), "sm_89": (8, 9), "sm_90": (9, 0), "sm_120": (12, 0)}


@pytest.fixture(scope="module")
def folder(compiled: tuple[Path, str]) -> Path:
    """Every kernel in one precision for one target."""
    return compiled[0]


@pytest.fixture(scope="module")
def entries(folder: Path) -> list[Entry]:
    return read_kernels(folder)


def test_everything_a_launch_needs_is_listed(entries: list[Entry]) -> None:
    for entry in entries:
        assert entry.file.read_bytes().startswith(b"\x7fELF")
        assert entry.warps in (1, 2, 4, 8, 16) and entry.scratch == {"global_scratch": 0, "profile_scratch": 0}
        assert entry.launches
        for known in entry.launches:
            values: dict[str, Any] = {**known.numbers, **dict.fromkeys(known.tensors, 4096)}
            assert all(length >= 1 for length in known.grid)
            for argument in entry.signature:
                assert (argument.name in known.tensors) is argument.type.startswith("*")
                if argument.type.startswith("*"):
                    short = {"float16": "fp16", "float32": "fp32", "int32": "i32", "int64": "i64", "bool": "i1"}
                    assert argument.type == "*" + short[known.tensors[argument.name]["type"]]
            assert len(pack(entry, values)) == len(entry.signature) + 2


def test_every_call_of_the_network_can_be_chosen(entries: list[Entry]) -> None:
    from mmcaf_kernels.network import calls

    for kernel, shape, make in calls(torch.float16):
        for step, launch in enumerate(make()):
            entry = choose(entries, launch.kernel.__name__, "fp16", f"{kernel} {shape}", capability=(8, 9))
            known = entry.launch(f"{kernel} {shape}", step)
            assert known.grid == launch.grid
            given = {name for name, value in launch.arguments.items() if value is not None}
            assert given == {*known.numbers, *known.tensors}
            assert {name: entry.fixed[name] for name in launch.constants} == launch.constants


@pytest.mark.full
@pytest.mark.parametrize("target", CAPABILITIES)
def test_every_target_takes_the_arguments_that_are_listed(target: str, tmp_path: Path) -> None:
    """Compiling compares them with the parameters of the compiled kernel, and refuses when they are others."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from mmcaf_kernels import ahead
    from mmcaf_kernels.compiled import compile_launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path))
        for launch in {job.launch.kernel.__name__: job.launch for job in ahead.jobs(["fp32"])}.values():
            binary = compile_launch(launch, target)
            listed = {argument.name for argument in binary.signature} | binary.fixed.keys()
            assert listed == {*launch.arguments, *launch.constants}


def test_other_parameters_than_known_are_refused() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from mmcaf_kernels.compiled import _check_parameters

    ptx = ".visible .entry k(\n\t.param .u64 .ptr .global .align 1 k_0,\n\t.param .u32 k_1,\n\t.param .u64 k_2\n)\n"
    with pytest.raises(
        RuntimeError, match=r"parameters \['u64', 'u32', 'u64'\]; expected \['u64', 'u32', 'u64', 'u64'\]"
    ):
        _check_parameters(ptx, (Argument("x", "*fp16", True), Argument("n", "i32", False)))


# What follows needs no compiler: an entry by hand.

IMAGE = b"\x7fELF of a kernel"
SIGNATURE = (
    Argument("x", "*fp16", True),
    Argument("n", "i32", True),
    Argument("big", "i64", False),
    Argument("eps", "fp32", False),
)
VALUES: dict[str, Any] = {"x": 4096, "n": 48, "big": 2**40, "eps": 0.5}


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """A kernel of four arguments, one of which was compiled in as 1 and one as absent."""
    (tmp_path / "k.cubin").write_bytes(IMAGE)
    launch = KnownLaunch("k stage1", 0, (7, 2), {"n": 48}, {"x": {"type": "float16", "shape": [1]}})
    return Entry(
        file=tmp_path / "k.cubin",
        sha256=hashlib.sha256(IMAGE).hexdigest(),
        kernel="k",
        target="sm_80",
        precision="fp16",
        signature=SIGNATURE,
        fixed={"step": 1, "order": None, "block": 64},
        scratch={"global_scratch": 0, "profile_scratch": 0},
        warps=4,
        shared_memory=1024,
        launches=(launch,),
    )


class Driver:
    """The few calls of cuda.bindings.driver; remembers them, and what the addresses of a launch point to."""

    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="most shared memory")

    def __init__(self, failing: str | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.packed: list[bytes] = []
        self.failing = failing

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        def call(*given: Any) -> tuple[Any, ...]:
            self.calls.append((name, *given))
            if name == "cuLaunchKernel":
                sizes = [8, 4, 8, 4, 8, 8]
                addresses = (ctypes.c_void_p * len(sizes)).from_address(given[9])
                self.packed = [ctypes.string_at(at, size) for at, size in zip(addresses, sizes, strict=True)]
            if name == self.failing:
                return (700,)
            made = {"cuDeviceGet": "device", "cuDevicePrimaryCtxRetain": "context", "cuModuleLoadData": "module",
                    "cuModuleGetFunction": "function"}.get(name)  # fmt: skip
            return (0,) if made is None else (0, made)

        return call


def test_the_driver_is_told_what_was_listed(entry: Entry) -> None:
    driver = Driver()
    with LoadedKernel(entry, device=3, driver=driver) as kernel:
        kernel.launch(entry.launch("k stage1").grid, VALUES, stream=17)
    kernel.close()
    assert [call[0] for call in driver.calls] == [
        "cuInit",
        "cuDeviceGet",
        "cuDevicePrimaryCtxRetain",
        "cuCtxSetCurrent",
        "cuModuleLoadData",
        "cuModuleGetFunction",
        "cuLaunchKernel",
        "cuModuleUnload",
        "cuDevicePrimaryCtxRelease",
    ]
    assert driver.calls[1] == ("cuDeviceGet", 3)
    assert driver.calls[4] == ("cuModuleLoadData", IMAGE)
    assert driver.calls[5] == ("cuModuleGetFunction", "module", b"k")
    assert driver.calls[6][1:10] == ("function", 7, 2, 1, 128, 1, 1, 1024, 17)
    assert driver.packed == [struct.pack("<q", 4096), struct.pack("<i", 48), struct.pack("<q", 2**40),
                             struct.pack("<f", 0.5), bytes(8), bytes(8)]  # fmt: skip


def test_much_shared_memory_is_asked_for(entry: Entry) -> None:
    driver = Driver()
    LoadedKernel(replace(entry, shared_memory=65536), driver=driver)
    assert ("cuFuncSetAttribute", "function", "most shared memory", 65536) in driver.calls


def test_a_refusal_of_the_driver_is_told(entry: Entry) -> None:
    driver = Driver(failing="cuModuleLoadData")
    with pytest.raises(RuntimeError, match=r"k \(sm_80\): cuModuleLoadData failed with 700"):
        LoadedKernel(entry, driver=driver)
    assert driver.calls[-1] == ("cuDevicePrimaryCtxRelease", "device")


def test_what_was_compiled_in_may_be_passed_too(entry: Entry) -> None:
    given = pack(entry, {**VALUES, "step": 1, "order": None})
    assert [value.value for value in given] == [4096, 48, 2**40, 0.5, None, None]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": 4104}, "x is 4104; the kernel was compiled for multiples of 16"),
        ({"n": 50}, "n is 50; the kernel was compiled for multiples of 16"),
        ({"n": 2**33}, "n is 8589934592, which does not fit i32"),
        ({"n": 48.0}, "n is 48.0; expected a whole number"),
        ({"x": None}, "x is None; expected a device address"),
        ({"eps": "small"}, "eps is 'small'; expected a number"),
        ({"step": 2}, "step is 2; it was compiled for 1"),
        ({"order": 4096}, "order is 4096; it was compiled for None"),
        ({"other": 1}, r"missing: \[\]; unknown: \['other'\]"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_refused(entry: Entry, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pack(entry, {**VALUES, **changes})


def test_missing_arguments_are_refused(entry: Entry) -> None:
    with pytest.raises(ValueError, match=r"missing: \['big', 'eps', 'n'\]; unknown: \[\]"):
        pack(entry, {"x": 4096})


@pytest.mark.parametrize("grid", [(), (0,), (1, 1, 1, 1)], ids=str)
def test_impossible_grids_are_refused(entry: Entry, grid: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected one to three positive numbers"):
        LoadedKernel(entry, driver=Driver()).launch(grid, VALUES)


def test_another_file_is_refused(entry: Entry) -> None:
    entry.file.write_bytes(IMAGE + b"!")
    with pytest.raises(ValueError, match=r"k\.cubin: SHA-256 .* kernels\.json has"):
        LoadedKernel(entry, driver=Driver())


def test_scratch_memory_is_refused(entry: Entry) -> None:
    with pytest.raises(ValueError, match="needs scratch memory"):
        LoadedKernel(replace(entry, scratch={"global_scratch": 128, "profile_scratch": 0}), driver=Driver())


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 5), "sm_75"),
        ((8, 0), "sm_80"),
        ((8, 7), "sm_86"),
        ((8, 9), "sm_89"),
        ((9, 0), "sm_90"),
        ((12, 1), "sm_120"),
    ],
    ids=str,
)
def test_the_newest_binary_that_runs_is_chosen(entry: Entry, capability: tuple[int, int], expected: str) -> None:
    listed = [replace(entry, target=target) for target in CAPABILITIES]
    assert choose(listed, "k", "fp16", "k stage1", capability=capability).target == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("k", "fp16", "k stage1", (7, 0)), "was compiled for sm_80; compute capability 7.0 is needed"),
        (("k", "fp16", "k stage1", (9, 0)), "was compiled for sm_80; compute capability 9.0"),
        (("k", "bf16", "k stage1", (8, 0)), "was compiled for no target"),
        (("k", "fp16", "k stage9", (8, 0)), "k in fp16 for 'k stage9' was compiled for no target"),
    ],
    ids=["older", "newer", "precision", "call"],
)
def test_no_binary_is_told(entry: Entry, asked: tuple[Any, ...], said: str) -> None:
    *names, capability = asked
    with pytest.raises(ValueError, match=said):
        choose([entry], *names, capability=capability)


def test_a_call_of_several_launches_needs_the_step(entry: Entry) -> None:
    again = replace(entry, launches=(*entry.launches, replace(entry.launches[0], step=2)))
    assert again.launch("k stage1", 2).step == 2
    with pytest.raises(
        ValueError, match=r"2 launches of 'k stage1', step None; it has 'k stage1' step 0, 'k stage1' step 2"
    ):
        again.launch("k stage1")


@pytest.mark.parametrize("text", ["{", '[{"file": "k"}]', "[1]"], ids=["json", "fields", "kind"])
def test_another_list_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "kernels.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"kernels\.json: not written by this version of python -m mmcaf_kernels\.aot"):
        read_kernels(tmp_path)


def test_neither_triton_nor_torch_is_needed(folder: Path) -> None:
    """Not even numpy: a process in which none of them can be imported reads, chooses and packs."""
    code = (
        "import sys, json; from pathlib import Path\n"
        "for name in ('torch', 'triton', 'numpy', 'onnx'): sys.modules[name] = None\n"
        "from mmcaf_kernels.cubin import choose, pack, read_kernels\n"
        "entry = choose(read_kernels(Path(sys.argv[1])), 'msdc_kernel', 'fp16', 'msdc stage1', capability=(8, 9))\n"
        "known = entry.launch('msdc stage1')\n"
        "print(len(pack(entry, {**known.numbers, **dict.fromkeys(known.tensors, 4096)})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_cuda_python_is_named_when_it_is_missing(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(RuntimeError, match=r"cuda-python is not installed: pip install 'cuda-python>=13'"):
        LoadedKernel(entry)


@pytest.mark.gpu
def test_a_compiled_kernel_answers_as_the_reference(tmp_path: Path) -> None:
    """MSDC at the network's third stage, torch giving the memory and the expected values only.

    The binary is the one in the folder that $MMCAF_CUBINS names, else one that is compiled now.
    """
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    from mmcaf_kernels import aot
    from mmcaf_kernels.msdc.reference import msdc as reference
    from mmcaf_kernels.targets import TARGETS

    capability = torch.cuda.get_device_capability(0)
    carried = os.environ.get("MMCAF_CUBINS")
    if carried is None:
        fitting = [
            name for name in TARGETS if CAPABILITIES[name][0] == capability[0] and CAPABILITIES[name] <= capability
        ]
        assert aot.main(["--out", str(tmp_path), "--target", fitting[-1], "--precision", "fp16"]) == 0
    entries = read_kernels(Path(carried or tmp_path))
    entry = choose(entries, "msdc_kernel", "fp16", "msdc stage3", capability=capability)
    known = entry.launch("msdc stage3")
    x, taps, bias, order = arguments(Case((1, 2048, 2, 12, 12), shuffled=True), torch.float16, "cuda")
    assert order is not None and list(x.shape) == known.tensors["x"]["shape"]
    with memory_full_of_nan():
        out = torch.empty_like(x).fill_(float("nan"))
    places = {"x": x, "taps": taps, "bias": bias, "order": order.to(torch.int32), "out": out}
    with LoadedKernel(entry) as kernel:
        values = {**known.numbers, **{name: tensor.data_ptr() for name, tensor in places.items()}}
        kernel.launch(known.grid, values, torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()
    hold(relative_error(out, reference(x.double(), taps, bias, order)), torch.float16)
