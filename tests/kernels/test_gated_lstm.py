"""The processor's kernel for gated LSTMs, against the same in float64, step by step."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_kernels.cpu import library as libraries
from mmcaf_kernels.cpu.gated_lstm import gated_lstm, gated_lstm_states, packed
from mmcaf_kernels.cpu.library import KernelsMissingError, fingerprint, library, missing

TOLERANCE = 1e-6
needs_kernels = pytest.mark.skipif(missing() is not None, reason=f"no processor kernels here: {missing()}")
Arrays = dict[str, NDArray[np.float32]]


def case(steps: int, cases: int, hidden: int, spread: float = 1.0) -> tuple[Arrays, NDArray[np.float32]]:
    """The kernel's arrays but for the weights, and the recurrent weights as they were before packing."""
    random = np.random.default_rng(hidden)
    shapes = {
        "inputs": (steps, 2, cases, 4 * hidden),
        "gates": (steps, 2, cases, hidden),
        "output": (2, cases, hidden),
        "cell": (2, cases, hidden),
    }
    arrays = {name: random.normal(0, spread, shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["gates"] = random.uniform(0, 0.5, shapes["gates"]).astype(np.float32)
    return arrays, random.normal(0, hidden**-0.5, (2, hidden, 4 * hidden)).astype(np.float32)


def exact(arrays: Arrays, recurrent: NDArray[np.float32]) -> NDArray[np.float64]:
    return exact_steps(arrays, recurrent)[0]


def exact_steps(arrays: Arrays, recurrent: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Outputs, cells and curves of every step."""
    inputs, gates, output, cell = (arrays[name].astype(np.float64) for name in ("inputs", "gates", "output", "cell"))
    outputs, cells, curves = (np.empty(like.shape) for like in (gates, gates, inputs))
    for step, (added, half) in enumerate(zip(inputs, gates, strict=True)):
        curves[step] = np.tanh(added + output @ recurrent.astype(np.float64))
        i, f, o, c = np.split(curves[step], 4, axis=-1)
        cells[step] = cell = 2 * half * ((1 + f) / 2 * cell + (1 + i) / 2 * c)
        outputs[step] = output = 2 * half * (1 + o) / 2 * np.tanh(cell)
    return [outputs, cells, curves]


@needs_kernels
@pytest.mark.parametrize("hidden", [1, 7, 8, 16, 24, 104, 192])
@pytest.mark.parametrize(("steps", "cases"), [(1, 1), (9, 1), (5, 3)])
def test_answers_as_float64(steps: int, cases: int, hidden: int) -> None:
    arrays, recurrent = case(steps, cases, hidden)
    found = gated_lstm(**arrays, weights=packed(recurrent))
    assert found.shape == arrays["gates"].shape
    assert float(np.abs(found - exact(arrays, recurrent)).max()) <= TOLERANCE


@needs_kernels
@pytest.mark.parametrize("hidden", [1, 7, 24, 104])
@pytest.mark.parametrize("threads", [1, 2])
def test_cells_and_curves_as_float64(hidden: int, threads: int) -> None:
    arrays, recurrent = case(150, 2, hidden)
    found = gated_lstm_states(**arrays, weights=packed(recurrent), threads=threads)
    for made, right in zip(found, exact_steps(arrays, recurrent)[1:], strict=True):
        assert made.shape == right.shape and float(np.abs(made - right).max()) <= TOLERANCE


@needs_kernels
def test_cells_and_curves_are_written_where_it_is_told() -> None:
    arrays, recurrent = case(4, 1, 8)
    out = np.full(arrays["gates"].shape, 7, np.float32), np.full(arrays["inputs"].shape, 7, np.float32)
    assert gated_lstm_states(**arrays, weights=packed(recurrent), out=out) == out
    assert float(np.abs(out[1]).max()) < 1
    for wrong in ((out[0], out[0]), (out[1], out[1])):
        with pytest.raises(ValueError, match=r"c(ells|urves) is float32.*is expected"):
            gated_lstm_states(**arrays, weights=packed(recurrent), out=wrong)


@needs_kernels
def test_long_sequences_do_not_drift() -> None:
    arrays, recurrent = case(400, 1, 64)
    assert float(np.abs(gated_lstm(**arrays, weights=packed(recurrent)) - exact(arrays, recurrent)).max()) <= TOLERANCE


@needs_kernels
@pytest.mark.parametrize("spread", [1e-6, 30.0, 1e4, 1e30])
def test_saturated_and_tiny_values(spread: float) -> None:
    arrays, recurrent = case(3, 1, 16, spread)
    arrays["cell"] = np.zeros_like(arrays["cell"])
    arrays["output"] = np.zeros_like(arrays["output"])
    found = gated_lstm(**arrays, weights=packed(recurrent))
    assert float(np.abs(found - exact(arrays, recurrent)).max()) <= TOLERANCE


@needs_kernels
def test_two_threads_give_the_same_bits() -> None:
    arrays, recurrent = case(100, 2, 64)
    weights = packed(recurrent)
    one = gated_lstm(**arrays, weights=weights)
    for threads in (2, 8):
        np.testing.assert_array_equal(gated_lstm(**arrays, weights=weights, threads=threads), one)


@needs_kernels
def test_writes_where_it_is_told() -> None:
    arrays, recurrent = case(4, 1, 8)
    out = np.full(arrays["gates"].shape, 7, np.float32)
    assert gated_lstm(**arrays, weights=packed(recurrent), out=out) is out
    assert float(np.abs(out - exact(arrays, recurrent)).max()) <= TOLERANCE


@needs_kernels
def test_nothing_in_nothing_out() -> None:
    arrays, recurrent = case(0, 1, 8)
    assert gated_lstm(**arrays, weights=packed(recurrent)).shape == (0, 2, 1, 8)


@needs_kernels
def test_not_a_number_stays_one() -> None:
    arrays, recurrent = case(4, 1, 8)
    arrays["inputs"][1, 0, 0, 3] = np.nan
    found = gated_lstm(**arrays, weights=packed(recurrent))
    assert np.isfinite(found[0]).all() and np.isnan(found[1, 0, 0, 3]) and np.isnan(found[2, 0]).all()
    assert np.isfinite(found[:, 1]).all()


@needs_kernels
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("inputs", np.zeros((4, 2, 1, 31), np.float32)),
        ("inputs", np.zeros((4, 2, 1, 32))),
        ("inputs", np.zeros((4, 2, 1, 64), np.float32)[..., ::2]),
        ("cell", np.zeros((1, 2, 8), np.float32)),
        ("weights", np.zeros((2, 8, 32), np.float32)),
        ("out", np.zeros((4, 2, 1, 9), np.float32)),
    ],
)
def test_wrong_arrays_are_refused(name: str, wrong: NDArray[np.float32]) -> None:
    arrays, recurrent = case(4, 1, 8)
    with pytest.raises(ValueError, match=f"{name} is float.*is expected"):
        gated_lstm(**{**arrays, "weights": packed(recurrent), name: wrong})


def test_packed_lies_in_the_order_of_reading() -> None:
    recurrent = np.arange(2 * 24 * 96, dtype=np.float32).reshape(2, 24, 96)
    weights = packed(recurrent)
    assert weights.shape == (2, 2, 24, 64) and weights.flags.c_contiguous
    np.testing.assert_array_equal(weights[1, 0], recurrent[1, :, :64])
    np.testing.assert_array_equal(weights[0, 1, :, :32], recurrent[0, :, 64:])
    assert not weights[:, 1, :, 32:].any()


@needs_kernels
def test_a_library_of_older_sources_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "FUNCTIONS", (*libraries.FUNCTIONS, "mmcaf_newer"))
    for cached in (library, fingerprint):
        cached.cache_clear()
    try:
        assert "no mmcaf_newer: it was built from older sources" in str(missing())
        assert fingerprint() == "none"
    finally:
        for cached in (library, fingerprint):
            cached.cache_clear()


def test_an_installation_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "folders", [])
    for cached in (library, fingerprint):
        cached.cache_clear()
    try:
        assert "built with mmcaf-infer where CMake finds GCC or Clang" in str(missing())
        assert fingerprint() == "none"
        arrays, recurrent = case(1, 1, 8)
        with pytest.raises(KernelsMissingError, match="GCC or Clang"):
            gated_lstm(**arrays, weights=packed(recurrent))
    finally:
        for cached in (library, fingerprint):
            cached.cache_clear()


def test_a_damaged_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libmmcaf_cpu.so").write_bytes(b"not a library")
    monkeypatch.setattr(libraries, "folders", [tmp_path])
    library.cache_clear()
    try:
        assert "libmmcaf_cpu.so cannot be loaded" in str(missing())
    finally:
        library.cache_clear()


@needs_kernels
def test_a_library_cut_short_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loading it would end the process."""
    file = libraries.built()
    assert file is not None
    (tmp_path / file.name).write_bytes(file.read_bytes()[:20000])
    monkeypatch.setattr(libraries, "folders", [tmp_path])
    library.cache_clear()
    try:
        assert "cannot be loaded: it ends before its last section" in str(missing())
    finally:
        library.cache_clear()
