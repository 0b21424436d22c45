"""The cases of gpu.py: each says whether it can run here, answers right or is left out, and is timed.

Each runs in a process of its own.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from full_size import Steps, phantom_windows, set_random_weights
from gpu_measure import Inputs, Row, inputs_of, measure
from usage import torch_missing

STUDY_WINDOWS = 25
"""Windows of a study of 300 slices."""

CASES_FROM = "demo:60000-60004"
"""Studies that these windows are taken from, one of each, in turn again and again: the source network takes seconds for
each on a processor."""

CALIBRATION = "demo:50000-50001"
"""Few: INT8 is prepared to be timed, and what it costs weights that are random says nothing. For the same reason no
layer is tried by itself: the gate decides of all."""

RTX, PLUG_IN = "NvTensorRTRTXExecutionProvider", "onnxruntime_ep_nv_tensorrt_rtx"
"""ONNX Runtime's provider by TensorRT for RTX, and the module that brings it as a plug-in: PyPI has no onnxruntime for
Linux with it built in, as onnxruntime-trt-rtx is for Windows."""


@dataclass(frozen=True)
class Case:
    """missing: why it cannot run on this machine, or None, without a bundle; run: of a folder and a number of runs."""

    missing: Callable[[], str | None]
    run: Callable[[Path, int], Row]


def missing(cases: Sequence[str]) -> dict[str, str]:
    """The cases that cannot run on this machine, and why."""
    reasons = {case: CASES[case].missing() for case in cases}
    return {case: reason for case, reason in reasons.items() if reason is not None}


def prepare(folder: Path, lower: Sequence[str]) -> None:
    """Seeded random weights, their bundle in FP32 and these lower precisions, a study's windows and their answers."""
    steps = Steps()
    tell = steps.tell
    tell("loading torch and the exporter")
    import torch
    from safetensors.torch import save_file

    from mmcaf_export.export import export_bundle
    from mmcaf_export.precision.quantize import quantize_bundle

    tell("drawing weights")
    network = published_network()
    set_random_weights(network)
    save_file(network.state_dict(), folder / "full.safetensors")
    export_bundle(folder / "full.safetensors", folder / "full.mmcaf", force=True, tell=tell)
    tell(f"answering a window of each of {CASES_FROM} by the source network")
    cases = []
    for window in phantom_windows(folder / "full.mmcaf", CASES_FROM):
        with torch.inference_mode():
            logit = network(**{name: torch.from_numpy(array) for name, array in window.items()}).numpy()
        cases.append({**window, "logit": logit})
    of_a_study = [cases[at % len(cases)] for at in range(STUDY_WINDOWS)]
    np.savez(folder / "case.npz", **{name: np.concatenate([case[name] for case in of_a_study]) for name in cases[0]})
    if lower:
        quantize_bundle(
            folder / "full.mmcaf",
            precisions=lower,
            calibration=CALIBRATION,
            method="minmax",
            logit_budget=math.inf,
            processor="gpu",
            tell=tell,
            progress=steps.progress,
        )
    tell("ready")


def torch_case(mode: str, precision: str, folder: Path, runs: int) -> Row:
    """The source network by torch on the GPU, one window from host memory to the logit on the host.

    mode: eager, or compile for torch.compile with max-autotune; FP16 lies in channels_last_3d.
    """
    started = time.perf_counter()
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = torch.float16 if precision == "fp16" else torch.float32
    network = _on_gpu(folder, dtype)
    run: Any = torch.compile(network, mode="max-autotune", fullgraph=False) if mode == "compile" else network

    def answer(inputs: Inputs) -> np.ndarray:
        image, table = (torch.from_numpy(array).pin_memory().cuda(non_blocking=True) for array in inputs.values())
        image = image.to(dtype, memory_format=torch.channels_last_3d)
        logit: np.ndarray = run(image, table.to(dtype)).float().cpu().numpy()
        return logit

    with torch.inference_mode():
        return measure(answer, folder, runs, precision, started)


def onnxruntime_missing(provider: str) -> str | None:
    """Why ONNX Runtime has not this provider."""
    from mmcaf_engine.backends.registry import backend_class

    kind = backend_class("onnxruntime")
    answer = kind.availability()
    if not answer.available:
        return answer.reason
    if provider in kind.runtime().get_available_providers():
        return None
    if provider != RTX:
        return f"this onnxruntime has no {provider}; pip install onnxruntime-gpu, in the place of onnxruntime"
    if find_spec(PLUG_IN) is None:
        return f"no {provider} is installed; pip install 'onnxruntime>=1.24' onnxruntime-ep-nv-tensorrt-rtx"
    try:
        return None if plugged_in(kind.runtime()) else f"{provider} finds no GPU that it can use"
    except Exception as failure:
        return f"{provider} cannot be loaded: {failure}"


@cache
def plugged_in(onnxruntime: Any) -> list[Any]:
    """The devices of the provider that comes as a plug-in, which is loaded into this ONNX Runtime."""
    library = import_module(PLUG_IN).get_library_path()
    onnxruntime.register_execution_provider_library(RTX, library)
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == RTX]


def onnxruntime_case(provider: str, precision: str, folder: Path, runs: int) -> Row:
    """One window by ONNX Runtime with a GPU provider, from host memory to host memory."""
    started = time.perf_counter()
    from mmcaf_engine import load_bundle
    from mmcaf_engine.backends.registry import backend_class

    onnxruntime = backend_class("onnxruntime").runtime()
    bundle = load_bundle(folder / "full.mmcaf")
    models: dict[str, str] = {**bundle.manifest.models}
    options = onnxruntime.SessionOptions()
    named: list[tuple[str, dict[str, str]]] = []
    if provider in onnxruntime.get_available_providers():
        named = [(provider, {"use_tf32": "0"} if provider.startswith("CUDA") and precision == "fp32" else {})]
    else:
        options.add_provider_for_devices(plugged_in(onnxruntime)[:1], {})
    session = onnxruntime.InferenceSession(bundle.folder / models[precision], options, providers=named)
    if session.get_providers()[0] != provider:
        return {"left_out": f"{provider} fell back to {session.get_providers()[0]}"}
    return measure(lambda inputs: session.run(["logit"], inputs)[0], folder, runs, precision, started)


def ours_missing(backend: str, precision: str) -> str | None:
    """Why this backend does not run the precision on the GPU."""
    from mmcaf_engine.backends.registry import backend_class
    from mmcaf_engine.manifest import PRECISIONS

    kind = backend_class(backend)
    known = next(one for one in PRECISIONS if one == precision)
    answer = kind.can_run(known)
    return kind.excluded_from_auto() if answer.available else answer.reason


def ours(backend: str, precision: str, folder: Path, runs: int) -> Row:
    """One window through `open_session(...).run`; the first round builds an engine, the others load the kept one."""
    started = time.perf_counter()
    from mmcaf_engine import load_bundle, open_session

    with open_session(load_bundle(folder / "full.mmcaf"), backend=backend, precision=precision) as session:
        row = measure(lambda inputs: session.run(inputs)["logit"], folder, runs, precision, started)
        facts = session.describe()
        return {**row, "graph": facts.get("graph") or facts.get("execution", "")}


def ours_on_device(precision: str, folder: Path, runs: int) -> Row:
    """As `ours` by TensorRT, with inputs of torch that lie in the GPU's memory."""
    started = time.perf_counter()
    import torch

    from mmcaf_engine import load_bundle, open_session

    inputs, _ = inputs_of(folder, 1)
    there = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
    with open_session(load_bundle(folder / "full.mmcaf"), backend="tensorrt", precision=precision) as session:
        return measure(lambda _: session.run(there)["logit"], folder, runs, precision, started)


def study_of_ours(backend: str, precision: str, folder: Path, runs: int) -> Row:
    """All windows of a study in one call; TensorRT overlaps copies and inference."""
    started = time.perf_counter()
    from mmcaf_engine import load_bundle, open_session

    few = max(runs // 10, 3)
    with open_session(load_bundle(folder / "full.mmcaf"), backend=backend, precision=precision) as session:
        return measure(lambda inputs: session.run(inputs)["logit"], folder, few, precision, started, STUDY_WINDOWS)


def study_of_torch(precision: str, folder: Path, runs: int) -> Row:
    """All windows of a study, compiled and one by one."""
    started = time.perf_counter()
    few = max(runs // 10, 3)
    import torch

    compiled: Any = torch.compile(_on_gpu(folder, torch.float16), mode="max-autotune")

    def answer(inputs: Inputs) -> np.ndarray:
        logits = []
        for image, table in zip(inputs["image"], inputs["table"], strict=True):
            pixels = torch.from_numpy(image[None]).pin_memory().cuda(non_blocking=True).half()
            pixels = pixels.contiguous(memory_format=torch.channels_last_3d)
            logits.append(compiled(pixels, torch.from_numpy(table[None]).cuda().half()).float())
        joined: np.ndarray = torch.cat([logit.clone() for logit in logits]).cpu().numpy()
        return joined

    with torch.inference_mode():
        return measure(answer, folder, few, precision, started, STUDY_WINDOWS)


def published_network() -> Any:
    from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet

    return MmcafNet(MmcafConfig()).eval()


def _on_gpu(folder: Path, dtype: Any) -> Any:
    """The source network on the GPU, in channels_last_3d."""
    import torch
    from safetensors.torch import load_file

    network = published_network()
    network.load_state_dict(load_file(folder / "full.safetensors"))
    return network.to("cuda", dtype, memory_format=torch.channels_last_3d)


def _cases() -> Iterator[tuple[str, Case]]:
    for mode, precision in (("eager", "fp32"), ("eager", "tf32"), ("eager", "fp16"), ("compile", "fp16")):
        name = "torch.compile max-autotune" if mode == "compile" else "torch eager"
        yield f"{name} {precision}", Case(torch_missing, partial(torch_case, mode, precision))
    for provider, name in (("CUDAExecutionProvider", "CUDA"), (RTX, "TensorRT-RTX")):
        for precision in ("fp32", "fp16"):
            run = partial(onnxruntime_case, provider, precision)
            yield f"onnxruntime {name} {precision}", Case(partial(onnxruntime_missing, provider), run)
    own = [("torch", ("fp32", "fp16")), ("tensorrt", ("fp32", "fp16", "int8"))]
    for backend, precisions in own:
        for precision in precisions:
            run = partial(ours, backend, precision)
            yield f"ours {backend} {precision}", Case(partial(ours_missing, backend, precision), run)
    there = Case(lambda: ours_missing("tensorrt", "fp16") or torch_missing(), partial(ours_on_device, "fp16"))
    yield "ours tensorrt fp16, inputs on the GPU", there
    yield "study, torch.compile max-autotune fp16", Case(torch_missing, partial(study_of_torch, "fp16"))
    for backend, precision in (("torch", "fp16"), ("tensorrt", "fp16"), ("tensorrt", "int8")):
        run = partial(study_of_ours, backend, precision)
        yield f"study, ours {backend} {precision}", Case(partial(ours_missing, backend, precision), run)


CASES = dict(_cases())
