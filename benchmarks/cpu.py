"""FP32 on the CPU: the full-size network on each backend against eager torch, and the demonstration from cold.

python benchmarks/cpu_fp32.py --output benchmarks/results/cpu_fp32.csv
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rows import environment, percentiles, write_rows

WINDOW = (1, 1, 12, 192, 192)
WARM_UP = 3


def main() -> None:
    """Run every case in its own process and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(CASES[arguments.case](arguments.folder, arguments.runs)))
        return
    facts = environment(["torch", "onnxruntime", "openvino", "numpy"])
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        print("preparing the full-size network ...", file=sys.stderr)
        run_case("prepare", Path(scratch), arguments)
        for case in CASES:
            if case == "prepare":
                continue
            rows.append({"case": f"MMCAF-Net, {case}", **run_case(case, Path(scratch), arguments), **facts})
            print(rows[-1], file=sys.stderr)
        for backend in ("onnxruntime", "openvino"):
            rows.append({"case": f"demo, cold, {backend}", **demo(Path(scratch), backend, arguments.runs), **facts})
            print(rows[-1], file=sys.stderr)
    write_rows(arguments.output, rows)


def run_case(case: str, folder: Path, arguments: argparse.Namespace) -> dict[str, str]:
    """This script again, for one case, in a fresh process."""
    command = [
        sys.executable,
        __file__,
        "--output",
        "-",
        "--case",
        case,
        "--folder",
        folder,
        "--runs",
        str(arguments.runs),
    ]
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return row


def prepare(folder: Path, runs: int) -> dict[str, str]:
    """A checkpoint with seeded random weights, its bundle, one input and the source network's answer."""
    import torch
    from safetensors.torch import save_file

    from mmcaf_export.export import export_bundle
    from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
    from mmcaf_export.onnx_export import export_onnx
    from mmcaf_export.rewrites.mmcaf.one_channel_stem import REWRITE as ONE_CHANNEL_STEM
    from mmcaf_export.rewrites.rewrite import rewritten

    torch.manual_seed(0)
    network = MmcafNet(MmcafConfig()).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim >= 2:  # torch's own start lets the signal die out, and every difference with it
                weight.normal_(0, weight[0].numel() ** -0.5)
    save_file(network.state_dict(), folder / "full.safetensors")
    generator = np.random.default_rng(0)
    image = (generator.standard_normal(WINDOW) * 0.3).astype(np.float32)
    table = generator.uniform(0, 1, (1, 7)).astype(np.float32)
    with torch.inference_mode():
        logit = network(torch.from_numpy(image), torch.from_numpy(table)).numpy()
    np.savez(folder / "case.npz", image=image, table=table, logit=logit)
    export_bundle(folder / "full.safetensors", folder / "full.mmcaf")
    inputs = {"image": torch.from_numpy(image), "table": torch.from_numpy(table)}
    (folder / "plain").mkdir()
    export_onnx(rewritten(network, (ONE_CHANNEL_STEM,), inputs), inputs, folder / "plain" / "model.onnx")
    return {}


def eager_torch(folder: Path, runs: int) -> dict[str, str]:
    """The source network in eager mode: the baseline."""
    import torch
    from safetensors.torch import load_file

    from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet

    network = MmcafNet(MmcafConfig()).eval()
    network.load_state_dict(load_file(folder / "full.safetensors"))
    with np.load(folder / "case.npz") as case:
        image, table, logit = (torch.from_numpy(case[name]) for name in ("image", "table", "logit"))
    with torch.inference_mode():
        return _measure(lambda: network(image, table).numpy(), logit.numpy(), runs)


def session_case(backend: str, folder: Path, runs: int) -> dict[str, str]:
    """One window through `open_session(...).run`."""
    from mmcaf_engine import load_bundle, open_session

    with np.load(folder / "case.npz") as case:
        image, table, logit = (case[name] for name in ("image", "table", "logit"))
    with open_session(load_bundle(folder / "full.mmcaf"), backend=backend) as session:
        return _measure(lambda: session.run({"image": image, "table": table})["logit"], logit, runs)


def plain_case(backend: str, folder: Path, runs: int) -> dict[str, str]:
    """One window through the same backend, of the network exported without the rewrites."""
    from mmcaf_engine import load_bundle
    from mmcaf_engine.backends import backend_class
    from mmcaf_engine.session import usable_cores

    manifest = load_bundle(folder / "full.mmcaf").manifest
    with np.load(folder / "case.npz") as case:
        image, table, logit = (case[name] for name in ("image", "table", "logit"))
    model = folder / "plain" / "model.onnx"
    with backend_class(backend)(model, manifest.inputs, manifest.outputs, usable_cores()) as opened:
        return _measure(lambda: opened.infer({"image": image, "table": table})["logit"], logit, runs)


def demo(folder: Path, backend: str, runs: int) -> dict[str, str]:
    """`mmcaf-infer study.dcm record.json` as a whole process, from start to exit."""
    study = folder / f"demo-{backend}"
    mmcaf = Path(sys.executable).with_name("mmcaf")
    subprocess.run([mmcaf, "demo", "--save", study], check=True, stdout=subprocess.DEVNULL)
    command = [f"{mmcaf}-infer", study / "study.dcm", study / "record.json", "--backend", backend, "--json"]
    spent = []
    peak = 0
    for _ in range(runs + 1):
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        spent.append((time.perf_counter() - started) * 1e3)
        peak = max(peak, usage.ru_maxrss)
        if status:
            raise SystemExit(f"{command}: exit status {status}")
    return {"shape": "whole process", "precision": "fp32", **percentiles(spent[1:]), "peak_mb": f"{peak / 1024:.0f}"}


def _measure(run: Callable[[], np.ndarray], logit: np.ndarray, runs: int) -> dict[str, str]:
    error = max(float(np.abs(run() - logit).max()) for _ in range(WARM_UP))
    spent = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        spent.append((time.perf_counter() - started) * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "shape": "x".join(map(str, WINDOW)),
        "precision": "fp32",
        **percentiles(spent),
        "peak_mb": f"{peak:.0f}",
        "max_abs_dlogit": f"{error:.1e}",
    }


CASES = {
    "prepare": prepare,
    "eager torch": eager_torch,
    "onnxruntime, plain export": lambda folder, runs: plain_case("onnxruntime", folder, runs),
    "onnxruntime": lambda folder, runs: session_case("onnxruntime", folder, runs),
    "openvino, plain export": lambda folder, runs: plain_case("openvino", folder, runs),
    "openvino": lambda folder, runs: session_case("openvino", folder, runs),
}

if __name__ == "__main__":
    main()
