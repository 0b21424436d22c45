"""What a layer costs by the table of peaks, and which layers are worth it."""

import pytest

from mmcaf_engine.errors import UsageError
from mmcaf_export.precision.costs import (
    DEFAULT_FAMILY,
    LEAST_CHANNELS,
    LEAST_SHARE,
    TARGETS,
    Family,
    families,
    family_for,
    fp32_cycles,
    int8_cycles,
    worthwhile,
)
from mmcaf_export.precision.layers import Layer
from refusals import check_facts, refused

PLAIN = Family("plain", "", "", fp32=10, int8=40, bytes=4, lanes=8, depth=4, grouped=False)


def layer(name: str = "a", **facts: int) -> Layer:
    """One that fills every vector."""
    sizes = {"flops": 4000, "read": 10, "written": 10, "weights": 10, "inputs": 8, "outputs": 8} | facts
    return Layer(name, "x", **sizes)  # type: ignore[arg-type]


def test_arithmetic_or_memory_whichever_takes_longer() -> None:
    assert (fp32_cycles(layer(), PLAIN), int8_cycles(layer(), PLAIN)) == (400, 100)
    wide = layer(read=1000, written=2000, weights=40)
    assert fp32_cycles(wide, PLAIN) == 4 * 3040 / 4
    assert int8_cycles(wide, PLAIN) == (1000 + 40 + 4 * 2000) / 4, "the result stays in FP32"


def test_vectors_that_are_not_filled_count_whole() -> None:
    assert fp32_cycles(layer(outputs=9), PLAIN) == pytest.approx(400 * 16 / 9)
    assert fp32_cycles(layer(inputs=5), PLAIN) == 400
    assert int8_cycles(layer(inputs=5), PLAIN) == pytest.approx(100 * 8 / 5)
    assert int8_cycles(layer(inputs=5, outputs=12), PLAIN) == pytest.approx(100 * 8 / 5 * 16 / 12)


def test_what_saves_time_is_worth_it() -> None:
    fast, small = layer("fast", flops=4_000_000), layer("small", flops=1000)
    assert worthwhile([fast, small], PLAIN) == {"fast": 300_000.0}
    bound = layer("bound", flops=4000, written=100_000)
    assert fp32_cycles(bound, PLAIN) > int8_cycles(bound, PLAIN)
    assert LEAST_SHARE * fp32_cycles(bound, PLAIN) > fp32_cycles(bound, PLAIN) - int8_cycles(bound, PLAIN)
    assert worthwhile([bound], PLAIN) == {}, "a result in FP32 takes as long to write"


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_few_channels_are_left_out(side: str) -> None:
    assert worthwhile([layer(**{side: LEAST_CHANNELS})], PLAIN) != {}
    assert worthwhile([layer(**{side: LEAST_CHANNELS - 1})], PLAIN) == {}


def test_for_a_gpu_arithmetic_stands_for_time() -> None:
    assert worthwhile([layer(flops=3_000_000_000, inputs=1), layer("b", flops=0)], None) == {"a": 3.0, "b": 0.0}


def test_the_families() -> None:
    known = families()
    assert DEFAULT_FAMILY in known and not set(TARGETS) & set(known)
    for family in known.values():
        assert family.title and len(family.source) > 40, "where its peaks are from"
        assert family.int8 > family.fp32 > 0 and family.bytes > 0 and not family.grouped


def test_the_family_of_a_target() -> None:
    assert family_for("gpu") is None
    assert family_for("cpu") is family_for(DEFAULT_FAMILY) is families()[DEFAULT_FAMILY]
    amx = family_for("amx")
    assert amx is not None and amx.name == "amx"
    with refused(UsageError, "'vax'") as caught:
        family_for("vax")
    check_facts(str(caught.value), "cpu", "gpu", "avx2", "neon")
