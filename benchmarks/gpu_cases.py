"""The cases of gpu.py: each prepares itself, answers right or is left out, and is timed; to run in its own process."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from full_size import LOGIT_BUDGET, phantom_windows, set_random_weights

WINDOW = (1, 1, 12, 192, 192)
STUDY_WINDOWS = 25
"""Windows of a study of 300 slices."""

CASES_FROM = f"demo:60000-{60000 + STUDY_WINDOWS - 1}"

WARM_UP = 10
TOLERANCE = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 5e-2, "int8": 5e-1}
"""Largest |difference in logit| from the source network with which a case may be timed. FP32 on a GPU sums in another
order; INT8 here is calibrated on phantoms for weights that are random, which says nothing of a trained network."""

Inputs = dict[str, np.ndarray]
Row = dict[str, Any]
"""What a case found: "ms" of each run and the rest, or "left_out" with the reason."""


def prepare(folder: Path, runs: int) -> Row:
    """Seeded random weights, their bundle with every precision, a study's windows and their answers in FP32."""
    import torch
    from safetensors.torch import save_file

    from mmcaf_engine.manifest import Precision
    from mmcaf_export.export import export_bundle
    from mmcaf_export.precision.quantize import quantize_bundle

    network = _network()
    set_random_weights(network)
    save_file(network.state_dict(), folder / "full.safetensors")
    export_bundle(folder / "full.safetensors", folder / "full.mmcaf", force=True)
    windows = list(phantom_windows(folder / "full.mmcaf", CASES_FROM))
    with torch.inference_mode():
        answers = [network(**{name: torch.from_numpy(array) for name, array in w.items()}).numpy() for w in windows]
    inputs = {name: np.concatenate([window[name] for window in windows]) for name in windows[0]}
    np.savez(folder / "case.npz", **inputs, logit=np.concatenate(answers))
    lower: list[Precision] = ["fp16", "int8"]
    quantize_bundle(
        folder / "full.mmcaf",
        precisions=lower,
        calibration="demo:50000-50007",
        logit_budget=LOGIT_BUDGET,
        processor="gpu",
        progress=lambda text: print(text, file=sys.stderr),
    )
    return {}


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
        return _measure(answer, folder, runs, precision, started)


def onnxruntime_case(provider: str, precision: str, folder: Path, runs: int) -> Row:
    """One window by ONNX Runtime with a GPU provider, from host memory to host memory."""
    started = time.perf_counter()
    from mmcaf_engine import load_bundle
    from mmcaf_engine.backends.registry import backend_class

    onnxruntime = backend_class("onnxruntime").runtime()

    if provider not in onnxruntime.get_available_providers():
        return {"left_out": f"this onnxruntime has no {provider}; pip install onnxruntime-gpu"}
    bundle = load_bundle(folder / "full.mmcaf")
    models: dict[str, str] = {**bundle.manifest.models}
    options: dict[str, str] = {"use_tf32": "0"} if provider.startswith("CUDA") and precision == "fp32" else {}
    session = onnxruntime.InferenceSession(
        bundle.file(models[precision]),
        providers=[(provider, options)],
    )
    if session.get_providers()[0] != provider:
        return {"left_out": f"{provider} fell back to {session.get_providers()[0]}"}
    return _measure(lambda inputs: session.run(["logit"], inputs)[0], folder, runs, precision, started)


def ours(precision: str, folder: Path, runs: int) -> Row:
    """One window through `open_session(...).run`; the first round builds the engine, the others load the kept one."""
    started = time.perf_counter()
    from mmcaf_engine import load_bundle, open_session

    with open_session(load_bundle(folder / "full.mmcaf"), backend="tensorrt", precision=precision) as session:
        row = _measure(lambda inputs: session.run(inputs)["logit"], folder, runs, precision, started)
        return {**row, "graph": session.describe()["graph"]}


def ours_on_device(precision: str, folder: Path, runs: int) -> Row:
    """As `ours`, with inputs of torch that lie in the GPU's memory."""
    started = time.perf_counter()
    import torch

    from mmcaf_engine import load_bundle, open_session

    inputs, _ = _case(folder, 1)
    there = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
    with open_session(load_bundle(folder / "full.mmcaf"), backend="tensorrt", precision=precision) as session:
        return _measure(lambda _: session.run(there)["logit"], folder, runs, precision, started)


def study_case(backend: str, precision: str, folder: Path, runs: int) -> Row:
    """All windows of a study in one call, which overlaps copies and inference; torch takes them one by one."""
    started = time.perf_counter()
    few = max(runs // 10, 3)
    if backend == "tensorrt":
        from mmcaf_engine import load_bundle, open_session

        with open_session(load_bundle(folder / "full.mmcaf"), backend="tensorrt", precision=precision) as session:
            return _measure(lambda inputs: session.run(inputs)["logit"], folder, few, precision, started, STUDY_WINDOWS)
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
        return _measure(answer, folder, few, precision, started, STUDY_WINDOWS)


def _measure(
    run: Callable[[Inputs], np.ndarray], folder: Path, runs: int, precision: str, started: float, windows: int = 1
) -> Row:
    """Cold start, correctness, then times and the most GPU memory that this process took.

    The cold start is from the start of the case, before its imports, to the first answer.
    """
    inputs, logit = _case(folder, windows)
    first = run(inputs)
    cold = time.perf_counter() - started
    error = max(float(np.abs(answer - logit).max()) for answer in (first, run(inputs)))
    if not error <= TOLERANCE[precision]:
        return {"left_out": f"wrong: off by {error:.2g} in the logit, at most {TOLERANCE[precision]:g} is allowed"}
    for _ in range(WARM_UP):
        run(inputs)
    spent, used = [], _gpu_megabytes()
    for _ in range(runs):
        begun = time.perf_counter()
        run(inputs)
        spent.append((time.perf_counter() - begun) * 1e3)
    shape = "x".join(map(str, (windows, *WINDOW[1:])))
    return {
        "precision": precision,
        "shape": shape,
        "windows": windows,
        "ms": spent,
        "cold_s": cold,
        "gpu_mb": max(used, _gpu_megabytes()),
        "error": error,
    }


def _network() -> Any:
    from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet

    return MmcafNet(MmcafConfig()).eval()


def _on_gpu(folder: Path, dtype: Any) -> Any:
    """The source network on the GPU, in channels_last_3d."""
    import torch
    from safetensors.torch import load_file

    network = _network()
    network.load_state_dict(load_file(folder / "full.safetensors"))
    return network.to("cuda", dtype, memory_format=torch.channels_last_3d)


def _gpu_megabytes() -> float:
    """Memory in use on the GPU, by everybody: nothing else should run on it. NaN if the driver does not say."""
    from mmcaf_engine.machine.gpu import first_gpu, free_memory

    gpu = first_gpu()
    free = None if gpu is None else free_memory(gpu)
    return float("nan") if gpu is None or free is None else (gpu.memory - free) / 2**20


def _case(folder: Path, windows: int) -> tuple[Inputs, np.ndarray]:
    with np.load(folder / "case.npz") as case:
        return {name: case[name][:windows] for name in ("image", "table")}, case["logit"][:windows]


def _cases() -> Iterator[tuple[str, Callable[[Path, int], Row]]]:
    def bound(function: Callable[..., Row], *given: str) -> Callable[[Path, int], Row]:
        return lambda folder, runs: function(*given, folder, runs)

    yield "prepare", prepare
    yield "torch eager fp32", bound(torch_case, "eager", "fp32")
    yield "torch eager tf32", bound(torch_case, "eager", "tf32")
    yield "torch eager fp16", bound(torch_case, "eager", "fp16")
    yield "torch.compile max-autotune fp16", bound(torch_case, "compile", "fp16")
    for provider, name in (("CUDAExecutionProvider", "CUDA"), ("NvTensorRTRTXExecutionProvider", "TensorRT-RTX")):
        for precision in ("fp32", "fp16"):
            yield f"onnxruntime {name} {precision}", bound(onnxruntime_case, provider, precision)
    for precision in ("fp32", "fp16", "int8"):
        yield f"ours {precision}", bound(ours, precision)
    yield "ours fp16, inputs on the GPU", bound(ours_on_device, "fp16")
    yield "study, torch.compile max-autotune fp16", bound(study_case, "torch", "fp16")
    for precision in ("fp16", "int8"):
        yield f"study, ours {precision}", bound(study_case, "tensorrt", precision)


CASES = dict(_cases())
