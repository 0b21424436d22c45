"""The cases of gpu.py: each says whether it can run here, answers right or is left out, and is timed.

Each runs in a process of its own.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from card import card_state
from full_size import LOGIT_BUDGET, phantom_windows, set_random_weights
from usage import torch_missing

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
    import torch
    from safetensors.torch import save_file

    from mmcaf_export.export import export_bundle
    from mmcaf_export.precision.quantize import quantize_bundle

    network = published_network()
    set_random_weights(network)
    save_file(network.state_dict(), folder / "full.safetensors")
    export_bundle(folder / "full.safetensors", folder / "full.mmcaf", force=True)
    windows = list(phantom_windows(folder / "full.mmcaf", CASES_FROM))
    with torch.inference_mode():
        answers = [network(**{name: torch.from_numpy(array) for name, array in w.items()}).numpy() for w in windows]
    inputs = {name: np.concatenate([window[name] for window in windows]) for name in windows[0]}
    np.savez(folder / "case.npz", **inputs, logit=np.concatenate(answers))
    if lower:
        quantize_bundle(
            folder / "full.mmcaf",
            precisions=lower,
            calibration="demo:50000-50007",
            logit_budget=LOGIT_BUDGET,
            processor="gpu",
            tell=lambda text: print(text, file=sys.stderr),
        )


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


def onnxruntime_missing(provider: str) -> str | None:
    """Why ONNX Runtime has not this provider."""
    from mmcaf_engine.backends.registry import backend_class

    kind = backend_class("onnxruntime")
    answer = kind.availability()
    if not answer.available:
        return answer.reason
    if provider not in kind.runtime().get_available_providers():
        return f"this onnxruntime has no {provider}; pip install onnxruntime-gpu"
    return None


def onnxruntime_case(provider: str, precision: str, folder: Path, runs: int) -> Row:
    """One window by ONNX Runtime with a GPU provider, from host memory to host memory."""
    started = time.perf_counter()
    from mmcaf_engine import load_bundle
    from mmcaf_engine.backends.registry import backend_class

    onnxruntime = backend_class("onnxruntime").runtime()
    bundle = load_bundle(folder / "full.mmcaf")
    models: dict[str, str] = {**bundle.manifest.models}
    options: dict[str, str] = {"use_tf32": "0"} if provider.startswith("CUDA") and precision == "fp32" else {}
    session = onnxruntime.InferenceSession(
        bundle.folder / models[precision],
        providers=[(provider, options)],
    )
    if session.get_providers()[0] != provider:
        return {"left_out": f"{provider} fell back to {session.get_providers()[0]}"}
    return _measure(lambda inputs: session.run(["logit"], inputs)[0], folder, runs, precision, started)


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
        row = _measure(lambda inputs: session.run(inputs)["logit"], folder, runs, precision, started)
        facts = session.describe()
        return {**row, "graph": facts.get("graph") or facts.get("execution", "")}


def ours_on_device(precision: str, folder: Path, runs: int) -> Row:
    """As `ours` by TensorRT, with inputs of torch that lie in the GPU's memory."""
    started = time.perf_counter()
    import torch

    from mmcaf_engine import load_bundle, open_session

    inputs, _ = _case(folder, 1)
    there = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
    with open_session(load_bundle(folder / "full.mmcaf"), backend="tensorrt", precision=precision) as session:
        return _measure(lambda _: session.run(there)["logit"], folder, runs, precision, started)


def study_of_ours(backend: str, precision: str, folder: Path, runs: int) -> Row:
    """All windows of a study in one call; TensorRT overlaps copies and inference."""
    started = time.perf_counter()
    from mmcaf_engine import load_bundle, open_session

    few = max(runs // 10, 3)
    with open_session(load_bundle(folder / "full.mmcaf"), backend=backend, precision=precision) as session:
        return _measure(lambda inputs: session.run(inputs)["logit"], folder, few, precision, started, STUDY_WINDOWS)


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
    spent, used, state, card = [], gpu_megabytes(), card_state(), {}
    for turn in range(runs):
        begun = time.perf_counter()
        run(inputs)
        spent.append((time.perf_counter() - begun) * 1e3)
        if turn == runs // 2:
            card = state()
    shape = "x".join(map(str, (windows, *WINDOW[1:])))
    return {
        "precision": precision,
        "shape": shape,
        "windows": windows,
        "ms": spent,
        "cold_s": cold,
        "gpu_mb": max(used, gpu_megabytes()),
        "error": error,
        "card": card,
    }


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


def gpu_megabytes() -> float:
    """Memory in use on the GPU, by everybody: nothing else should run on it. NaN if the driver does not say."""
    from mmcaf_engine.machine.gpu import first_gpu, free_memory

    gpu = first_gpu()
    free = None if gpu is None else free_memory(gpu)
    return float("nan") if gpu is None or free is None else (gpu.memory - free) / 2**20


def _case(folder: Path, windows: int) -> tuple[Inputs, np.ndarray]:
    with np.load(folder / "case.npz") as case:
        return {name: case[name][:windows] for name in ("image", "table")}, case["logit"][:windows]


def _cases() -> Iterator[tuple[str, Case]]:
    for mode, precision in (("eager", "fp32"), ("eager", "tf32"), ("eager", "fp16"), ("compile", "fp16")):
        name = "torch.compile max-autotune" if mode == "compile" else "torch eager"
        yield f"{name} {precision}", Case(torch_missing, partial(torch_case, mode, precision))
    for provider, name in (("CUDAExecutionProvider", "CUDA"), ("NvTensorRTRTXExecutionProvider", "TensorRT-RTX")):
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
