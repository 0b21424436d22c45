"""Networks of other packages: our bundle against what torch's own ONNX export is in OpenVINO, run by run in turn.

    python benchmarks/plugins.py --output benchmarks/results/plugins.csv

Both run in OpenVINO in FP32, in one process, one case at a time, with the same threads and hints. "plain" is the
network as its authors wrote it, through torch.onnx.export with every size fixed; "ours" is the bundle through
`open_session(...).run`, with all that checks its inputs. The networks are those of tests/export/plugins in sizes that
are used, with random weights. `ratio` is the median of plain by ours, pair by pair.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import usage
from rows import environment, percentiles, said, write_rows

TESTS = Path(__file__).resolve().parents[1] / "tests"
WARM = 3  # runs of each before any counts

Inputs = dict[str, np.ndarray]
Run = Callable[[Inputs], np.ndarray]


@dataclass(frozen=True)
class Subject:
    """A network in a size. in_one_dict: its forward takes all inputs as one dict. config: what is not its default."""

    name: str
    in_one_dict: bool = False
    config: Mapping[str, int] = field(default_factory=dict)


SUBJECTS = {
    "film-net": Subject("film-net", True, {"slices": 12, "size": 96, "width": 16}),
    "volume-group-norm": Subject("volume-group-norm", False, {"slices": 16, "size": 128, "width": 16}),
    "image-table-transformer": Subject(
        "image-table-transformer", False, {"size": 224, "patch": 16, "width": 192, "depth": 6, "heads": 4}
    ),
    "hypernetwork": Subject("hypernetwork", False, {"slices": 12, "size": 96, "width": 16}),
}


def main() -> int:
    """Measure each network and write two rows for it; 1 where one was left out."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--runs", type=usage.count, default=60, help="of each of the two")
    asked.add_argument("--seconds", type=usage.seconds, default=20.0, help="after which a network gets no more runs")
    asked.add_argument("--network", choices=SUBJECTS, action="append", help="this one alone")
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    sys.path.insert(0, str(TESTS))
    status, rows = 0, list[dict[str, str]]()
    facts = environment(["torch", "onnx", "onnxscript", "openvino", "numpy"])
    with tempfile.TemporaryDirectory() as scratch:
        _install(Path(scratch))
        for name in arguments.network or SUBJECTS:
            folder = Path(scratch) / name
            folder.mkdir()
            try:
                measured = compared(SUBJECTS[name], folder, arguments.runs, arguments.seconds)
            except Exception as error:
                status |= said(name, error)
                continue
            for row in measured:
                print(row, file=sys.stderr, flush=True)
                rows.append({**row, **facts})
    write_rows(arguments.output, rows)
    return status


def _install(scratch: Path) -> None:
    """The networks as a package that pip has installed."""
    from export import plugins

    plugins.install(scratch / "site")
    sys.path.insert(0, str(scratch / "site"))


def compared(subject: Subject, folder: Path, runs: int, seconds: float) -> list[dict[str, str]]:
    """Rows of ours and plain, from runs by turns, each first in every other turn."""
    import torch

    from export import plugins
    from mmcaf_engine import load_bundle, open_session
    from mmcaf_engine.machine.cpu import usable_cores
    from mmcaf_export.export import export_bundle

    entry = plugins.entry_of(subject.name)
    config = dataclasses.replace(plugins.config_of(subject.name), **subject.config)
    torch.manual_seed(0)
    network = entry.build(config).requires_grad_(False).eval()
    torch.save(network.state_dict(), folder / "weights.pth")
    read = entry.configure(network.state_dict(), {})
    settings = {
        f"network.config.{name}": str(value)
        for name, value in dataclasses.asdict(config).items()
        if getattr(read, name) != value
    }
    report = export_bundle(folder / "weights.pth", folder / "ours.mmcaf", settings=settings, explain=False)
    given = entry.example_inputs(config, 1, 1)
    outputs = [spec.name for spec in entry.tensors(config)[1]]
    score = outputs[0]
    wrapped = _positional(network, list(given), outputs, subject.in_one_dict)
    with torch.inference_mode():
        expected = wrapped(*given.values())[0].numpy()
    inputs = {name: tensor.numpy() for name, tensor in given.items()}
    with open_session(load_bundle(folder / "ours.mmcaf"), backend="openvino", precision="fp32") as session:

        def ours(case: Inputs) -> np.ndarray:
            return session.run(case)[score]

        plain = _plain(wrapped, given, folder / "plain.onnx")
        times, worst = _by_turns({"ours": ours, "plain": plain}, inputs, expected, runs, seconds)
    ratio = float(np.median(np.divide(times["plain"], times["ours"])))
    kept = " ".join(done.rewrite.name for done in report.rewrites)
    sizes = " ".join(f"{name}={value}" for name, value in dataclasses.asdict(config).items())
    return [
        {
            "network": subject.name,
            "config": sizes,
            "form": form,
            "precision": "fp32",
            "threads": str(usable_cores()),
            "rewrites": kept if form == "ours" else "",
            **percentiles(times[form], digits=2),
            "ratio": f"{ratio:.3f}" if form == "ours" else "",
            "max_abs_dlogit": f"{worst[form]:.1e}",
        }
        for form in ("ours", "plain")
    ]


def _by_turns(
    forms: Mapping[str, Run], inputs: Inputs, expected: np.ndarray, runs: int, seconds: float
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds of each run, and the largest difference from the source network."""
    times: dict[str, list[float]] = {form: [] for form in forms}
    worst = dict.fromkeys(forms, 0.0)
    for form, run in forms.items():
        for _ in range(WARM):
            worst[form] = max(worst[form], float(np.abs(run(inputs) - expected).max()))
        if not worst[form] <= 1e-4:
            raise ArithmeticError(f"{form} is off the source network by {worst[form]:.2g}")
    end = time.monotonic() + seconds
    for turn in range(runs):
        for form in sorted(forms, reverse=bool(turn % 2)):
            before = time.perf_counter()
            forms[form](inputs)
            times[form].append((time.perf_counter() - before) * 1e3)
        if time.monotonic() > end:
            break
    return times, worst


def _plain(network: Any, given: Mapping[str, Any], path: Path) -> Run:
    """OpenVINO on torch's own export, with the threads and hints that our backend gives it."""
    import openvino
    import torch

    from mmcaf_engine.machine.cpu import usable_cores
    from mmcaf_export.onnx_operators import TRANSLATIONS

    program = torch.onnx.export(
        network,
        tuple(given.values()),
        dynamo=True,
        input_names=list(given),
        custom_translation_table=TRANSLATIONS,  # of operators that it cannot write; it has no others
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    program.save(str(path))
    hints = {
        "INFERENCE_NUM_THREADS": usable_cores(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
    }
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()

    def run(case: Inputs) -> np.ndarray:
        answer: np.ndarray = next(iter(request.infer(case).values()))
        return answer

    return run


def _positional(network: Any, names: list[str], outputs: list[str], in_one_dict: bool) -> Any:
    """The network as a module that takes its inputs one by one and gives what the bundle gives, in its order."""
    from torch import nn

    class Positional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: Any) -> Any:
            given = (dict(zip(names, tensors, strict=True)),) if in_one_dict else tensors
            return tuple(_named(self.network(*given), outputs))

    return Positional().eval()


def _named(answer: Any, names: list[str]) -> list[Any]:
    """The outputs in whatever a network answers with."""
    if isinstance(answer, Mapping):
        return [answer[name] for name in names]
    if isinstance(answer, (list, tuple)):
        return list(answer[: len(names)])
    return [getattr(answer, name) for name in names] if dataclasses.is_dataclass(answer) else [answer]


if __name__ == "__main__":
    usage.run(main)
