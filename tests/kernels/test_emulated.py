"""Every CUDA source on the CPU, under sanitizers: between two barriers in random order, and all threads at once.

The address sanitizer finds a byte beyond a buffer or beyond shared memory, the undefined-behaviour sanitizer a
misaligned piece, the thread sanitizer a missing barrier; faults that are put in show that they do.
"""

import ctypes
import re
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="Hypothesis is not installed")

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.conftest import Built
from kernels.emulations import EMULATIONS, Emulation, Setting
from kernels.emulator import SOURCES, Call, Check, Compiler, EmulationError, Emulator, kernels_of
from kernels.harness import DTYPES, name
from kernels.nonfinite import PLACED, VALUES

BARRIER = "__syncthreads();"
ODD = (1, 3, 1, 1, 1), (2, 3, 2, 7, 13), (1, 2, 6, 3, 65), (1, 9, 3, 1, 2), (3, 1, 7, 1, 1), (1, 2, 1, 130, 3)
"""Sides of one, no multiples of a tile, more and fewer channels than a block takes."""
EVERY_VALUE = tuple((0, 7 * k, value) for k, value in enumerate(VALUES))


def error(program: Emulator, emulation: Emulation, setting: Setting, seed: int = 0) -> float:
    trial = emulation.trial(setting)
    program.run(trial.call, seed)
    return trial.distance()


def test_every_source_is_tried() -> None:
    assert EMULATIONS.keys() == SOURCES.keys(), "a source of kernels/cuda needs its entry in emulations.py"


@pytest.mark.parametrize("source", EMULATIONS)
def test_every_kernel_is_tried(source: str) -> None:
    emulation = EMULATIONS[source]
    tried = {
        emulation.trial(Setting((1, 1, depth, 2, 2), dtype)).call.kernel
        for depth in emulation.depths
        for dtype in DTYPES
    }
    assert tried == set(kernels_of(SOURCES[source]))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("shape", ODD, ids=str)
@pytest.mark.parametrize("source", EMULATIONS)
def test_memory(built: Built, source: str, shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> None:
    setting = Setting(shape, dtype, EVERY_VALUE, shuffled=True, misaligned=shape[4] % 2 == 1)
    assert error(built(source, "memory"), EMULATIONS[source], setting) <= 1


@pytest.mark.parametrize("source", EMULATIONS)
def test_races(built: Built, source: str) -> None:
    """One case of every kernel, in blocks that make one part after the other."""
    emulation = EMULATIONS[source]
    for depth in emulation.depths:
        setting = Setting((1, 3, depth, 9, 10), DTYPES[depth % len(DTYPES)], blocks=1)
        assert error(built(source, "races"), emulation, setting) <= 1


def without(text: str, barrier: int) -> str:
    """The text with one of its barriers taken out."""
    start = [found.start() for found in re.finditer(re.escape(BARRIER), text)][barrier]
    return text[:start] + text[start + len(BARRIER) :]


BARRIERS = [(source, k) for source, path in SOURCES.items() for k in range(path.read_text().count(BARRIER))]


@pytest.mark.parametrize(("source", "barrier"), BARRIERS)
@pytest.mark.parametrize("check", ["memory", "races"])
def test_a_missing_barrier_is_found(
    built: Built, emulator: Compiler, tmp_path: Path, source: str, barrier: int, check: Check
) -> None:
    emulation = EMULATIONS[source]
    kernel = emulation.trial(emulation.sharing).call.kernel
    text = SOURCES[source].read_text(encoding="utf-8")
    (tmp_path / "less.cu").write_text(without(text, barrier), encoding="utf-8")
    less = emulator(tmp_path / "less.cu", tmp_path, check, kernel.__eq__)
    assert error(built(source, check), emulation, emulation.sharing) <= 1
    if check == "races":
        with pytest.raises(EmulationError, match="data race"):
            error(less, emulation, emulation.sharing)
    else:  # the order is random, and the same for the same seed
        assert all(error(less, emulation, emulation.sharing, seed) > 1 for seed in range(3))


SLIPS = [(source, slip) for source, emulation in EMULATIONS.items() for slip in emulation.slips]


@pytest.mark.parametrize(("source", "slip"), SLIPS)
def test_a_slip_is_found(emulator: Compiler, tmp_path: Path, source: str, slip: str) -> None:
    emulation = EMULATIONS[source]
    right, wrong = emulation.slips[slip]
    text = SOURCES[source].read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "wrong.cu").write_text(text.replace(right, wrong), encoding="utf-8")
    kernel = emulation.trial(emulation.slipping).call.kernel
    program = emulator(tmp_path / "wrong.cu", tmp_path, "memory", kernel.__eq__)
    with pytest.raises(EmulationError, match=r"AddressSanitizer|runtime error: .* misaligned address"):
        error(program, emulation, emulation.slipping)


def settings_of(emulation: Emulation) -> st.SearchStrategy[Setting]:
    sides = (st.integers(1, 2), st.integers(1, 9), st.sampled_from((*emulation.depths, 4)), st.integers(1, 40))
    return st.builds(
        Setting,
        shape=st.tuples(*sides, st.integers(1, 140)),
        dtype=st.sampled_from(DTYPES),
        placed=st.one_of(st.just(()), PLACED),
        shuffled=st.booleans(),
        misaligned=st.booleans(),
        blocks=st.integers(1, 5),
    )


@pytest.mark.full
@pytest.mark.parametrize("check", ["memory", "races"])
@pytest.mark.parametrize("source", EMULATIONS)
def test_many_more(built: Built, source: str, check: Check) -> None:
    emulation = EMULATIONS[source]

    @settings(
        max_examples=60 if check == "memory" else 12, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(setting=settings_of(emulation), seed=st.integers(0, 2**32 - 1))
    def holds(setting: Setting, seed: int) -> None:
        assert error(built(source, check), emulation, setting, seed) <= 1

    holds()


# The emulator itself, on kernels made for that.

PROBE = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>
extern "C" __global__ void convert(const float* x, __half* half, __nv_bfloat16* brain, float* back, int count) {
  for (int k = threadIdx.x; k < count; k += blockDim.x) {
    half[k] = __float2half_rn(x[k]);
    brain[k] = __float2bfloat16_rn(x[k]);
    const __half2 two = {half[k], half[k]};
    const __nv_bfloat162 pair = {brain[k], brain[k]};
    back[2 * k] = __half22float2(two).y;
    back[2 * k + 1] = __bfloat1622float2(pair).x;
  }
}
extern "C" __global__ void part(float* x) {
  if (threadIdx.x == 0) return;
  if (threadIdx.x == 1) {
    __syncthreads();
  } else {
    x[0] = 1.0f;
    __syncthreads();
  }
}
"""


@pytest.fixture(scope="module")
def probe(emulator: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.cu").write_text(PROBE, encoding="utf-8")
    return emulator(folder / "probe.cu", folder, "memory")


def pointers(*tensors: torch.Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def test_types_of_16_bits_round_as_in_torch(probe: Emulator) -> None:
    """Every value of FP16, values half way between two and next to that, and those of bfloat16."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    half, brain = every.view(torch.float16).float(), every.view(torch.bfloat16).float()
    between = torch.cat([(values[1:].double() + values[:-1].double()).div(2).float() for values in (half, brain)])
    steps = [torch.nextafter(between, torch.tensor(end)) for end in (float("inf"), -float("inf"))]
    x = torch.cat([half, brain, between, *steps, torch.tensor([65519.996, 65520.0, 1e-40, 2.0**-25, -(2.0**-25)])])
    found = torch.zeros_like(x, dtype=torch.float16), torch.zeros_like(x, dtype=torch.bfloat16)
    back = torch.zeros(len(x), 2)
    arguments = [*pointers(x, *found, back), ctypes.c_int(len(x))]
    probe.run(Call("convert", 1, 2, 0, arguments, (x, *found, back)))
    for index, made in enumerate(found):
        assert torch.equal(made.nan_to_num(nan=7), x.to(made.dtype).nan_to_num(nan=7))
        assert torch.equal(made.isnan(), x.isnan())
        assert torch.equal(back[:, index].nan_to_num(nan=7), made.float().nan_to_num(nan=7))


def test_threads_that_ended_are_not_waited_for(probe: Emulator) -> None:
    x = torch.zeros(1)
    probe.run(Call("part", 1, 2, 0, pointers(x), (x,)))


def test_threads_that_wait_at_different_barriers_are_an_error(probe: Emulator) -> None:
    x = torch.zeros(1)
    with pytest.raises(EmulationError, match=r"threads of a block wait in lines \d+ and \d+"):
        probe.run(Call("part", 1, 3, 0, pointers(x), (x,)))


def test_arguments_are_those_of_the_kernel(probe: Emulator) -> None:
    x = torch.zeros(1)
    with pytest.raises(EmulationError, match="2 arguments, the kernel takes 1"):
        probe.run(Call("part", 1, 1, 0, [*pointers(x), ctypes.c_int(1)], (x,)))
    with pytest.raises(EmulationError, match="argument 0 has 4 bytes, the kernel takes 8"):
        probe.run(Call("part", 1, 1, 0, [ctypes.c_int(1)], (x,)))
    with pytest.raises(EmulationError, match="no kernel whole"):
        probe.run(Call("whole", 1, 1, 0, pointers(x), (x,)))


def test_a_missing_sanitizer_is_said(monkeypatch: pytest.MonkeyPatch, emulator: Compiler, tmp_path: Path) -> None:
    monkeypatch.setattr("kernels.emulator.how_it_runs", lambda check: "it does not work")
    with pytest.raises(pytest.skip.Exception, match="it does not work"):
        emulator(SOURCES["msdc"], tmp_path, "races")
