"""The processor's kernel for group norm with its activation, against float64."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_kernels.cpu.groupnorm_act import groupnorm_act
from mmcaf_kernels.cpu.library import LEVELS, at_most, missing
from mmcaf_kernels.cpu.maps import bfloat16, float32

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no processor kernels here: {missing()}")
TOLERANCE = 2e-6
"""Of values of about 1: rounding of the scale, the shift and one multiply-add in float32."""
STATISTICS = 3e-7 * 50 * 4
"""Where the mean is 50 times the spread, x itself holds 50 times fewer digits of what is left of it."""
Floats = NDArray[np.float32]


@pytest.fixture(params=LEVELS, autouse=True)
def level(request: pytest.FixtureRequest) -> Any:
    with at_most(request.param) as found:
        if found != request.param:
            pytest.skip(f"this processor has no {request.param}")
        yield found


def case(shape: tuple[int, ...], hidden: int = 0, mean: float = 0.0) -> dict[str, Any]:
    random = np.random.default_rng(sum(shape))
    channels = shape[-1]

    def normal(*size: int) -> Floats:
        return random.normal(0, 1, size).astype(np.float32)

    made: dict[str, Any] = {
        "x": normal(*shape) + np.float32(mean),
        "weight": normal(channels),
        "bias": normal(channels),
    }
    if hidden:
        made["gate"] = (normal(hidden, channels) / 4, normal(hidden), normal(channels, hidden), normal(channels))
        made["residual"] = normal(*shape)
    return made


def exact(
    x: Floats, groups: int, weight: Floats, bias: Floats, slope: float, gate: Any = None, residual: Any = None
) -> NDArray[np.float64]:
    cases, channels = x.shape[0], x.shape[-1]
    grouped = x.astype(np.float64).reshape(cases, -1, groups, channels // groups)
    offset = grouped - grouped.mean((1, 3), keepdims=True)
    y = (offset / np.sqrt((offset**2).mean((1, 3), keepdims=True) + 1e-5)).reshape(cases, -1, channels) * weight + bias
    if gate is not None:
        hidden = y.mean(1) @ gate[0].T.astype(np.float64) + gate[1]
        hidden = np.where(hidden < 0, 0.01 * hidden, hidden)
        y = y * (1 / (1 + np.exp(-(hidden @ gate[2].T.astype(np.float64) + gate[3]))))[:, None]
    y = y.reshape(x.shape) + (0 if residual is None else residual)
    return np.where(y < 0, slope * y, y)


SHAPES = [
    ((1, 1, 1, 1, 1), 1),
    ((1, 1, 1, 1, 16), 4),
    ((1, 3, 5, 7, 63), 3),
    ((2, 1, 9, 3, 100), 25),
    ((1, 2, 12, 12, 128), 16),
    ((1, 3, 24, 24, 33), 33),
    ((1, 6, 31, 17, 64), 1),
]


@pytest.mark.parametrize(("shape", "groups"), SHAPES, ids=["x".join(map(str, shape)) for shape, _ in SHAPES])
@pytest.mark.parametrize("hidden", [0, 5], ids=["plain", "gate"])
def test_as_float64(shape: tuple[int, ...], groups: int, hidden: int) -> None:
    given, out = case(shape, hidden), np.full(shape, np.nan, np.float32)
    groupnorm_act(**given, groups=groups, slope=0.01, out=out)
    right = exact(**given, groups=groups, slope=0.01)
    assert float(np.abs(out - right).max()) <= TOLERANCE * max(1, float(np.abs(right).max()))


def test_a_mean_far_from_zero_costs_no_more_than_x_has_lost() -> None:
    given, out = case((1, 4, 40, 33, 48), mean=50.0), np.full((1, 4, 40, 33, 48), np.nan, np.float32)
    groupnorm_act(**given, groups=3, out=out)
    assert float(np.abs(out - exact(**given, groups=3, slope=1.0)).max()) <= STATISTICS


def test_one_value_far_from_the_others_spoils_none() -> None:
    given, out = case((1, 2, 31, 33, 20)), np.full((1, 2, 31, 33, 20), np.nan, np.float32)
    given["x"][0, 0, 0, 0] = 1e4
    groupnorm_act(**given, groups=5, out=out)
    right = exact(**given, groups=5, slope=1.0)
    assert float(np.abs(out - right).max()) <= TOLERANCE * float(np.abs(right).max())


@pytest.mark.parametrize("shape", [(1, 3, 5, 7, 63), (2, 2, 12, 12, 128)], ids=["odd", "even"])
def test_bfloat16_maps(shape: tuple[int, ...]) -> None:
    given = case(shape, 5)
    low = {**given, "x": bfloat16(given["x"]), "residual": bfloat16(given["residual"])}
    wide = {**given, "x": float32(low["x"]), "residual": float32(low["residual"])}
    made, out = np.full(shape, np.nan, np.float32), np.full(shape, 0x7FC0, np.uint16)
    groupnorm_act(**low, groups=1, slope=0.1, out=made)
    groupnorm_act(**low, groups=1, slope=0.1, out=out)
    right = exact(**wide, groups=1, slope=0.1)
    assert float(np.abs(made - right).max()) <= TOLERANCE * max(1, float(np.abs(right).max()))
    np.testing.assert_array_equal(out, bfloat16(made))


def test_halves_go_to_even() -> None:
    """Between two bfloat16 values, in NumPy as in the kernel: what x is when nothing is done to it."""
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-20], np.float32)
    np.testing.assert_array_equal(float32(bfloat16(x)), np.float32([1, 1 + 2**-6, -1, 1 + 2**-7]))
    out = np.zeros((1, 1, 4), np.uint16)
    weight = np.zeros(4, np.float32)
    groupnorm_act(np.zeros((1, 1, 4), np.float32), 1, weight, x, out=out)
    np.testing.assert_array_equal(out[0, 0], bfloat16(x))


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("shape", [(1, 3, 5, 7, 63), (1, 2, 12, 12, 128)], ids=["odd", "even"])
def test_rounded_beside_what_it_is_rounded_from(shape: tuple[int, ...], kind: type) -> None:
    given, zero_point = case(shape), 128 if kind is np.uint8 else 0
    out, rounded, alone = np.full(shape, np.nan, np.float32), np.full(shape, 77, kind), np.full(shape, 77, kind)
    limits = np.iinfo(kind)
    options: dict[str, Any] = {**given, "groups": 1, "slope": 0.01, "step": 0.0371, "zero_point": zero_point}
    groupnorm_act(**options, out=out, rounded=rounded)
    groupnorm_act(**options, rounded=alone)
    whole = np.rint(out * (np.float32(1) / np.float32(0.0371))) + zero_point
    np.testing.assert_array_equal(rounded, np.clip(whole, limits.min, limits.max).astype(kind))
    np.testing.assert_array_equal(alone, rounded)
    assert whole.max() > limits.max


@pytest.mark.parametrize("shape", [(1, 6, 40, 31, 48), (3, 1, 2, 2, 1000)], ids=["large", "wide"])
def test_the_bits_do_not_depend_on_threads(shape: tuple[int, ...]) -> None:
    given = case(shape, 7)
    outs = [np.full(shape, np.nan, np.float32) for _ in range(3)]
    for threads, out in zip((1, 2, 5), outs, strict=True):
        groupnorm_act(**given, groups=2, out=out, threads=threads)
    for out in outs[1:]:
        np.testing.assert_array_equal(out, outs[0])


def test_what_is_not_finite_stays_in_its_group() -> None:
    given, out = case((1, 2, 3, 4, 32)), np.zeros((1, 2, 3, 4, 32), np.float32)
    given["x"][0, 1, 2, 3, 5] = np.nan
    groupnorm_act(**given, groups=4, slope=0.01, out=out)
    assert np.isnan(out[..., :8]).all() and np.isfinite(out[..., 8:]).all()


def test_nothing_in_nothing_out() -> None:
    given, out = case((1, 1, 1, 1, 8)), np.zeros((0, 1, 1, 1, 8), np.float32)
    groupnorm_act(**{**given, "x": given["x"][:0]}, groups=2, out=out)
    out = np.zeros((1, 0, 1, 1, 8), np.float32)
    groupnorm_act(**{**given, "x": given["x"][:, :0]}, groups=2, out=out)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"groups": 3}, "8 channels make no 3 groups"),
        ({"groups": 0}, "8 channels make no 0 groups"),
        ({"slope": 1.5}, "slope 1.5 of 0 to 1"),
        ({"step": 0.0}, "step 0.0 above 0"),
        ({"out": None}, "an output are expected"),
        ({"x": np.zeros((1, 2, 8))}, "x is float64"),
        ({"x": np.zeros((1, 2, 16), np.float32)[..., ::2]}, "x is float32.*contiguous"),
        ({"out": np.zeros((1, 3, 8), np.float32)}, "out is float32"),
        ({"out": np.zeros((1, 2, 8), np.int8)}, "out is int8"),
        ({"rounded": np.zeros((1, 2, 8), np.float32)}, "rounded is float32"),
        ({"residual": np.zeros((2, 8), np.float32)}, "residual is float32"),
        ({"bias": np.zeros(7, np.float32)}, "bias is float32"),
        ({"gate": [np.zeros((2, 8), np.float32)] * 4}, r"gate\[1\] is float32"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    given = {**case((1, 2, 8)), "groups": 2, "out": np.zeros((1, 2, 8), np.float32), **wrong}
    with pytest.raises(ValueError, match=message):
        groupnorm_act(**given)
