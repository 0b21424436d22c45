"""Milliseconds that each convolution takes, as OpenVINO's own counters tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmcaf_engine.backends import backend_class

WARM_UP_RUNS = 2
RUNS = 10


def convolution_times(model: Path, window: Mapping[str, NDArray[Any]], threads: int) -> dict[str, float] | None:
    """Node -> mean of RUNS times in ms, after a warm-up; None without OpenVINO."""
    backend = backend_class("openvino")
    if not backend.availability().available:
        return None
    from mmcaf_engine.profile.openvino_layers import Counters

    core = backend.runtime().Core()
    network = core.read_model(model)
    network.reshape({name: list(array.shape) for name, array in window.items()})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    counters = Counters(core.compile_model(network, "CPU", settings).create_infer_request())
    for run in range(WARM_UP_RUNS + RUNS):
        if run == WARM_UP_RUNS:
            counters.start()
        counters.infer(window)
    return {
        entry.node_name.removesuffix("/WithoutBiases"): ms
        for entry, ms in counters.means()
        if "Convolution" in entry.node_type
    }
