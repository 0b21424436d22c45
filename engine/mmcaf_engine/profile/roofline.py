"""What this processor reaches at best: a matrix product for its arithmetic, a copy for its memory.

After Williams, Waterman and Patterson, Roofline: an insightful visual performance model, 2009. It takes a few seconds,
and is measured anew for each report.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.registry import backend_class
from ..manifest import Precision, types_in
from .report import Roofline

SIDE = 1024
"""Of the matrices; their product is 2.1e9 operations."""

COPIED = 256 * 2**20
"""Bytes that are copied, far more than a cache holds."""

REPEATS = 6

_HINTS: dict[Precision, str] = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32", "int8-bf16": "f32"}


def measure_roofline(precisions: Iterable[Precision], threads: int) -> Roofline:
    """The best of a few repeats, each of the arithmetic in these precisions and of the memory.

    Matrix products are OpenVINO's where it is there and takes the precision, and numpy's in FP32 otherwise; a precision
    that neither multiplies in is left out.
    """
    gflops: dict[Precision, float] = {}
    how = []
    for precision in dict.fromkeys(precisions):
        multiply = _openvino_product(precision, threads)
        runtime = "OpenVINO"
        if multiply is None and precision == "fp32":
            multiply, runtime = _numpy_product(), "numpy"
        if multiply is not None:
            gflops[precision] = 2 * SIDE**3 / _best_seconds(multiply) / 1e9
            how.append(f"{runtime} {precision}")
    products = f"products of {SIDE} x {SIDE} matrices ({', '.join(how)})" if how else "no matrix product"
    copies = f"copies of {COPIED >> 20} MiB in {threads} threads, read and written bytes both counted"
    return Roofline(gflops, _memory_gb_s(threads), f"Best of {REPEATS}: {products}; {copies}.")


def _openvino_product(precision: Precision, threads: int) -> Callable[[], object] | None:
    """A product of two matrices compiled as a network's layers are; None where that cannot be."""
    kind = backend_class("openvino")
    if not kind.can_run(precision).available:
        return None
    openvino: Any = kind.runtime()
    from openvino import opset13 as operators

    generator = np.random.default_rng(0)
    first, second = (generator.standard_normal((SIDE, SIDE)).astype(np.float32) for _ in range(2))
    given = operators.parameter([SIDE, SIDE], np.float32)
    left, right = given, operators.constant(second)
    if "int8" in types_in(precision):
        left, right = (_quantised(operators, side) for side in (left, right))
    network = openvino.Model([operators.matmul(left, right, False, False)], [given], "product")
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(first))
    return lambda: request.infer()


def _quantised(operators: Any, values: Any) -> Any:
    """In 8 bits around 0, as convolutions of an INT8 network take them."""
    lowest, highest = np.float32(-4), np.float32(4 * 127 / 128)
    return operators.fake_quantize(values, lowest, highest, lowest, highest, 256)


def _numpy_product() -> Callable[[], object]:
    generator = np.random.default_rng(0)
    first, second = (generator.standard_normal((SIDE, SIDE)).astype(np.float32) for _ in range(2))
    result = np.empty((SIDE, SIDE), np.float32)
    return lambda: np.matmul(first, second, out=result)


def _memory_gb_s(threads: int) -> float:
    source, target = (np.ones(COPIED, np.uint8) for _ in range(2))
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))

    def part(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        np.copyto(pair[1], pair[0])

    with ThreadPoolExecutor(threads) as pool:
        seconds = _best_seconds(lambda: list(pool.map(part, parts)))
    return 2 * COPIED / seconds / 1e9


def _best_seconds(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(REPEATS):
        started = perf_counter()
        work()
        taken.append(perf_counter() - started)
    return min(taken)
