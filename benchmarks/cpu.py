"""A full-size network on the CPU: each backend and precision against eager torch and against the plain export.

python benchmarks/cpu.py --output benchmarks/results/cpu.csv
python benchmarks/cpu.py --network lcadb --output benchmarks/results/cpu_lcadb.csv
python benchmarks/cpu.py --network cmasg --output benchmarks/results/cpu_cmasg.csv
python benchmarks/cpu.py --network medfusionnet --output benchmarks/results/cpu_medfusionnet.csv

Every case runs in processes of its own, ROUNDS times in turn, so that a drift of the machine hits all alike.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import usage
from full_size import LOGIT_BUDGET, Steps, phantom_windows, set_random_weights, write_vocabulary
from rows import environment, percentiles, write_rows

ROUNDS = 2
WITHOUT = "without kernels"
"""In the name of a case: OpenVINO's own operators alone."""
SCORE = "expected"  # the source network's answers, beside the inputs

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Subject:
    """The network that is measured, with its default configuration, which is the published one.

    shape: of its volumes or image; cases, calibration: synthetic studies that it answers, and that INT8's ranges are
    taken from; demo: whether the demonstration bundle is of this network; settings: of its export.
    """

    name: str
    shape: tuple[int, ...]
    cases: str
    calibration: str
    demo: bool
    settings: Mapping[str, str] = field(default_factory=dict)


SUBJECTS = {
    "mmcaf": Subject("mmcaf", (1, 1, 12, 192, 192), "demo:60000-60005", "demo:50000-50007", demo=True),
    "lcadb": Subject("lcadb", (1, 1, 128, 128, 16), "demo:60000-60001", "demo:50000-50001", demo=False),
    "cmasg": Subject("cmasg", (1, 1, 224, 224), "demo:60000-60005", "demo:50000-50007", demo=False),
    "medfusionnet": Subject(
        "medfusionnet",
        (1, 1, 224, 224),
        "demo:60000-60005",
        "demo:50000-50007",
        demo=False,
        # Random weights score every label about 0.5; at thresholds there the gate would count noise as changed labels.
        settings={"thresholds": json.dumps([0.01] * 14)},
    ),
}


def main() -> None:
    """Run every case and write the rows."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output", required=False)
    asked.add_argument("--runs", type=usage.count, default=5, help="of a case in each round")
    asked.add_argument("--network", choices=SUBJECTS, default="mmcaf")
    asked.add_argument("--folder", type=usage.path, help="keep what is prepared here, and use it if it is there")
    asked.add_argument("--case", help=argparse.SUPPRESS)
    arguments = asked.parse_args()
    subject = SUBJECTS[arguments.network]
    if arguments.case:
        print(json.dumps(CASES[arguments.case](subject, arguments.folder, arguments.runs)))
        return
    output = usage.given(asked, "--output", arguments.output)
    usage.try_outputs(asked, [("--output", output)], force=arguments.force)
    if arguments.folder is not None:
        usage.try_outputs(asked, [("--folder", arguments.folder)], kind="folder", force=True)
    facts = environment(["torch", "onnxruntime", "openvino", "numpy"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        prepare_once(subject, folder, arguments.runs)
        cases = [case for case in CASES if case != "prepare" and usable(case)]
        cases = [case for case in cases if subject.demo or not case.startswith("demo")]
        found: dict[str, list[dict[str, Any]]] = {case: [] for case in cases}
        for turn in range(ROUNDS):
            for case in cases:
                found[case].append(run_case(case, subject, folder, arguments.runs))
                print(turn + 1, case, found[case][-1], file=sys.stderr)
    rows = [{"case": case, **merged(outcomes), **facts} for case, outcomes in found.items()]
    write_rows(output, rows)


def prepare_once(subject: Subject, folder: Path, runs: int) -> None:
    """Prepare what the cases read, unless an earlier run has."""
    if not (folder / "ready").exists():
        run_case("prepare", subject, folder, runs)
        (folder / "ready").touch()


def usable(case: str) -> bool:
    """Whether this machine can run a case; says so if not."""
    from mmcaf_engine.backends.registry import backend_class

    precision = next((one for one in ("int8-bf16", "bf16") if one in case), None)
    if precision is None:
        return True
    answer = backend_class("openvino").can_run(precision)
    if not answer.available:
        print(f"{case}: left out, {answer.reason}", file=sys.stderr)
    return answer.available


def run_case(case: str, subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """This script again, for one case, in a fresh process, with a cache of its own."""
    print(f"{case} ...", file=sys.stderr)
    command = [sys.executable, __file__, "--network", subject.name, "--case", case]
    command += ["--folder", folder, "--runs", runs]
    done = subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MMCAF_CACHE": str(folder / "cache"), "MMCAF_KERNELS": str(int(WITHOUT not in case))},
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def merged(outcomes: list[dict[str, Any]]) -> dict[str, str]:
    """One row from the rounds of a case: all times together, the highest memory, the largest error."""
    first = outcomes[0]
    spent = [value for outcome in outcomes for value in outcome["ms"]]
    row = {"precision": first["precision"], "shape": first["shape"], **percentiles(spent)}
    row["peak_mb"] = f"{max(outcome['peak_mb'] for outcome in outcomes):.0f}"
    if "error" in first:
        row["max_abs_dlogit"] = f"{max(outcome['error'] for outcome in outcomes):.1e}"
    return row


def prepare(subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """Seeded random weights, their bundle with lower precisions, plain exports, windows and their answers."""
    import torch
    from safetensors.torch import save_file

    from mmcaf_engine import load_bundle
    from mmcaf_engine.manifest import Precision
    from mmcaf_export.export import export_bundle
    from mmcaf_export.networks.cmasg.rewrites import HOISTED_GATES
    from mmcaf_export.networks.mmcaf.rewrites.one_channel_stem import REWRITE as ONE_CHANNEL_STEM
    from mmcaf_export.onnx_export import export_onnx
    from mmcaf_export.precision.quantize import quantize_bundle
    from mmcaf_export.rewrites.rewrite import rewritten

    network = network_of(subject)
    set_random_weights(network)
    save_file(network.state_dict(), folder / "full.safetensors")
    settings = dict(subject.settings)
    if subject.name == "cmasg":
        settings["text.vocabulary"] = str(write_vocabulary(folder / "vocab.txt", network.config.text_vocabulary))
    steps = Steps()
    export_bundle(folder / "full.safetensors", folder / "full.mmcaf", settings=settings, force=True, tell=steps.tell)
    windows = list(phantom_windows(folder / "full.mmcaf", subject.cases))
    inputs = {name: _joined([window[name] for window in windows]) for name in windows[0]}
    with torch.inference_mode():
        answers = np.concatenate([_answer(network, window) for window in windows])
    np.savez(folder / "case.npz", **inputs, **{SCORE: answers})
    wanted: list[Precision] = ["int8", "int8-bf16", "bf16"]
    lower = [precision for precision in wanted if usable(f"openvino {precision}")]
    report = quantize_bundle(
        folder / "full.mmcaf",
        precisions=lower,
        calibration=subject.calibration,
        logit_budget=LOGIT_BUDGET,
        tell=steps.tell,
        progress=steps.progress,
    )
    print(report.summary(), file=sys.stderr)
    plain = folder / "plain.onnx"
    tensors = {name: torch.from_numpy(array) for name, array in windows[0].items()}
    needed = {"mmcaf": (ONE_CHANNEL_STEM,), "cmasg": (HOISTED_GATES,)}  # a loop over steps cannot be written as it is
    manifest = load_bundle(folder / "full.mmcaf").manifest
    lean = rewritten(network, needed.get(subject.name, ()), tensors)
    longest = None if manifest.text is None else manifest.text.max_tokens
    export_onnx(lean, tensors, plain, outputs=[spec.name for spec in manifest.outputs], longest=longest)
    _plain_int8(plain, folder / "plain.int8.onnx", subject, folder)
    return {}


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    """Cases as one batch; texts are padded to the longest."""
    if arrays[0].dtype == np.int64:
        longest = max(array.shape[1] for array in arrays)
        arrays = [np.pad(array, ((0, 0), (0, longest - array.shape[1]))) for array in arrays]
    return np.concatenate(arrays)


def network_of(subject: Subject) -> Any:
    """The network at its published size, with torch's own random weights."""
    from mmcaf_export.networks.cmasg import CmasgConfig
    from mmcaf_export.networks.lcadb import LcadbConfig
    from mmcaf_export.networks.medfusionnet import MedFusionConfig
    from mmcaf_export.networks.mmcaf import MmcafConfig
    from mmcaf_export.networks.registry import Networks

    configs = {"mmcaf": MmcafConfig, "lcadb": LcadbConfig, "medfusionnet": MedFusionConfig, "cmasg": CmasgConfig}
    network = Networks().entry(subject.name).build(configs[subject.name]())
    if subject.name == "medfusionnet":
        network.metadata_selection.load_state_dict(_chest_selection().buffers())
    return network


def _chest_selection() -> Any:
    """Thresholds of the clinical values, fitted to synthetic patients."""
    from mmcaf_engine.demo import chest_patient
    from mmcaf_export.networks.medfusionnet.selection import fit

    patients = [chest_patient(seed) for seed in range(50_000, 50_200)]
    columns = [[one.age, one.sex == "M", one.view == "AP", one.follow_up] for one in patients]
    return fit(columns, [one.present for one in patients])


def _answer(network: Any, window: Inputs) -> np.ndarray:
    """The scores of a torch network: [N, 1] or [N, K]."""
    import torch

    outputs = network(*(torch.from_numpy(array) for array in window.values()))
    scores: np.ndarray = (outputs[0] if isinstance(outputs, tuple) else outputs).numpy()
    return scores


def _plain_int8(model: Path, output: Path, subject: Subject, folder: Path) -> None:
    """The plain export through ONNX Runtime's own quantiser; OpenVINO refuses its matrix products per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.windows: Iterator[Inputs] = phantom_windows(folder / "full.mmcaf", subject.calibration)

        def get_next(self) -> Inputs | None:
            return next(self.windows, None)

    quantize_static(
        model,
        output,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
        op_types_to_quantize=["Conv", "Gemm"],
    )


def eager_torch(subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """The source network in eager mode: the baseline."""
    import torch
    from safetensors.torch import load_file

    network = network_of(subject)
    network.load_state_dict(load_file(folder / "full.safetensors"))

    with torch.inference_mode():
        return _measure(lambda inputs: _answer(network, inputs), subject, folder, runs, "fp32")


def session_case(backend: str, precision: str, subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """One window through `open_session(...).run`."""
    from mmcaf_engine import load_bundle, open_session

    bundle = load_bundle(folder / "full.mmcaf")
    score = bundle.manifest.score.name
    with open_session(bundle, backend=backend, precision=precision) as session:
        return _measure(lambda inputs: session.run(inputs)[score], subject, folder, runs, precision)


def plain_case(backend: str, precision: str, file: str, subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """One window through the same runtime without rewrites and kernels; in BF16, with all of the network in it."""
    from mmcaf_engine import load_bundle
    from mmcaf_engine.backends.factory import Network, make_backend
    from mmcaf_engine.backends.registry import backend_class
    from mmcaf_engine.machine.cpu import usable_cores

    manifest = load_bundle(folder / "full.mmcaf").manifest
    network = Network.whole(manifest, folder / file)
    kind = backend_class(backend)
    hint = "bf16" if precision == "bf16" else kind.hint(precision)
    plain = make_backend(
        type("Plain", (kind,), {"hint": classmethod(lambda cls, precision: hint)}), network, usable_cores(), precision
    )
    plain.own_kernels = False
    with plain as opened:
        score = manifest.score.name
        return _measure(lambda inputs: opened.infer(inputs)[score], subject, folder, runs, precision)


def first_answer(precision: str, subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """A new process with a kept engine: from its start to the first window's answer."""
    code = (
        "import numpy as np, sys; from mmcaf_engine import load_bundle, open_session\n"
        "case = np.load(sys.argv[1])\n"
        "session = open_session(load_bundle(sys.argv[2]), backend='openvino', precision=sys.argv[3])\n"
        "session.run({name: case[name][:1] for name in case.files if name != sys.argv[4]})\n"
        "import os; sys.stdout.flush(); os._exit(0)"
    )
    command = [sys.executable, "-c", code, folder / "case.npz", folder / "full.mmcaf", precision, SCORE]
    return _processes([str(part) for part in command], runs, precision)


def demo(backend: str, subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """`mmcaf-infer study.dcm record.json` as a whole process, from start to exit."""
    study = folder / f"demo-{backend}"
    mmcaf = Path(sys.executable).with_name("mmcaf")
    subprocess.run([mmcaf, "demo", "--save", study, "--force"], check=True, stdout=subprocess.DEVNULL)
    command = [f"{mmcaf}-infer", study / "study.dcm", study / "record.json", "--backend", backend, "--json"]
    return _processes([str(part) for part in command], runs, "fp32")


def _processes(command: list[str], runs: int, precision: str) -> dict[str, Any]:
    spent = []
    peak = 0
    for _ in range(runs + 1):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        spent.append((time.perf_counter() - started) * 1e3)
        peak = max(peak, usage.ru_maxrss)
        if status:
            raise SystemExit(f"{command}: exit status {status}")
    return {"precision": precision, "shape": "whole process", "ms": spent[1:], "peak_mb": peak / 1024}


def _measure(
    run: Callable[[Inputs], np.ndarray], subject: Subject, folder: Path, runs: int, precision: str
) -> dict[str, Any]:
    """The largest error over all windows, which also warms up, and the time of the first window."""
    with np.load(folder / "case.npz") as case:
        expected = case[SCORE]
        given = {name: case[name] for name in case.files if name != SCORE}
    windows = [{name: array[at : at + 1] for name, array in given.items()} for at in range(len(expected))]
    error = max(float(np.abs(run(window) - right).max()) for window, right in zip(windows, expected, strict=True))
    spent = []
    for _ in range(runs):
        started = time.perf_counter()
        run(windows[0])
        spent.append((time.perf_counter() - started) * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shape = "x".join(map(str, subject.shape))
    return {"precision": precision, "shape": shape, "ms": spent, "peak_mb": peak, "error": error}


def _bind(function: Callable[..., dict[str, Any]], *given: str) -> Callable[[Subject, Path, int], dict[str, Any]]:
    return lambda subject, folder, runs: function(*given, subject, folder, runs)


CASES: dict[str, Callable[[Subject, Path, int], dict[str, Any]]] = {
    "prepare": prepare,
    "eager torch": eager_torch,
    "onnxruntime fp32, plain export": _bind(plain_case, "onnxruntime", "fp32", "plain.onnx"),
    "onnxruntime fp32": _bind(session_case, "onnxruntime", "fp32"),
    "openvino fp32, plain export": _bind(plain_case, "openvino", "fp32", "plain.onnx"),
    "openvino fp32": _bind(session_case, "openvino", "fp32"),
    f"openvino fp32, {WITHOUT}": _bind(session_case, "openvino", "fp32"),
    "openvino bf16, plain export": _bind(plain_case, "openvino", "bf16", "plain.onnx"),
    "openvino bf16": _bind(session_case, "openvino", "bf16"),
    f"openvino bf16, {WITHOUT}": _bind(session_case, "openvino", "bf16"),
    "openvino int8, plain export by ONNX Runtime's quantiser": _bind(plain_case, "openvino", "int8", "plain.int8.onnx"),
    "openvino int8": _bind(session_case, "openvino", "int8"),
    f"openvino int8, {WITHOUT}": _bind(session_case, "openvino", "int8"),
    "openvino int8-bf16": _bind(session_case, "openvino", "int8-bf16"),
    f"openvino int8-bf16, {WITHOUT}": _bind(session_case, "openvino", "int8-bf16"),
    "openvino int8, first answer of a new process": _bind(first_answer, "int8"),
    "demo, mmcaf-infer as a new process, openvino": _bind(demo, "openvino"),
    "demo, mmcaf-infer as a new process, onnxruntime": _bind(demo, "onnxruntime"),
}

if __name__ == "__main__":
    usage.run(main)
