"""Milliseconds that each convolution takes, as OpenVINO's own counters tell."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.backends import backend_class

RUNS = 10


def convolution_times(model: Path, window: Mapping[str, NDArray[np.float32]], threads: int) -> dict[str, float] | None:
    """Node -> smallest of RUNS times in ms; None without OpenVINO."""
    backend = backend_class("openvino")
    if not backend.availability().available:
        return None
    core = backend.runtime().Core()
    network = core.read_model(model)
    network.reshape({name: list(array.shape) for name, array in window.items()})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    best: dict[str, float] = {}
    for _ in range(RUNS):
        request.infer(dict(window))
        for entry in request.profiling_info:
            if "Convolution" in entry.node_type:
                node = entry.node_name.removesuffix("/WithoutBiases")
                best[node] = min(best.get(node, np.inf), entry.real_time.total_seconds() * 1e3)
    return best
