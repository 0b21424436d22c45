"""What runs in a fresh process to be measured from its first line; `cold` starts it and reads what it prints.

The task comes as JSON on stdin, the figures go as JSON to stdout, in milliseconds and MB.
"""

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

FIRST_LINE = "import time; started = time.perf_counter(); from mmcaf_engine.profile.probe import main; main(started)"
"""What the process runs. `perf_counter` has one origin for all processes of a machine."""


def main(started: float) -> None:
    """Do the task; what a user could cause goes back as an error: problem and remedies."""
    task = json.load(sys.stdin)
    from ..errors import MmcafError

    try:
        figures = _answer(task) if task["answer"] else _open(task)
    except MmcafError as failure:
        figures = {"error": [failure.problem, [remedy.to_dict() for remedy in failure.remedies]]}
    print(json.dumps({"process_start": (started - task["started"]) * 1e3, **figures}))  # noqa: T201 - for `cold`


def _open(task: dict[str, Any]) -> dict[str, Any]:
    """Import, open, and run the first window."""
    before_import = perf_counter()
    from ..backends.registry import backend_class
    from ..bundle.bundle import load_bundle
    from ..bundle.golden import one_window
    from ..session.session import open_session

    backend_class(task["backend"]).availability()
    imported = perf_counter()
    free = _free_vram()
    opening = perf_counter()
    bundle = load_bundle(Path(task["bundle"]))
    session = open_session(bundle, backend=task["backend"], precision=task["precision"], threads=task["threads"])
    opened = perf_counter()
    window = one_window(bundle)
    running = perf_counter()
    session.run(window)
    ended = perf_counter()
    return {
        "imports": (imported - before_import) * 1e3,
        "open": (opened - opening) * 1e3,
        "first_infer": (ended - running) * 1e3,
        "cache": session.describe()["cache"],
        **_memory(free),
    }


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    """The whole answer, as `mmcaf-infer` gives it; its time is since the process was started."""
    from ..pipeline import infer

    free = _free_vram()
    infer(
        task["study"],
        task["record"],
        bundle=task["bundle"],
        backend=task["backend"],
        precision=task["precision"],
        threads=task["threads"],
    )
    return {"first_answer": (perf_counter() - task["started"]) * 1e3, **_memory(free)}


def _memory(free_before: float | None) -> dict[str, float | None]:
    """Peaks of this process; on the GPU, what became less free, since TensorRT gives nothing back before the end."""
    free = _free_vram()
    vram = None if free is None or free_before is None else max(free_before - free, 0.0)
    return {"ram_peak_mb": _ram_peak_mb(), "vram_peak_mb": vram}


def _ram_peak_mb() -> float | None:
    """The process' own; what `getrusage` says may be of the process that started it."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None


def _free_vram() -> float | None:
    from ..machine.gpu import first_gpu, free_memory

    gpu = first_gpu()
    free = None if gpu is None else free_memory(gpu)
    return None if free is None else free / 1e6
