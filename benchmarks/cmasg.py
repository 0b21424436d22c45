"""CMASG-Bi-LSTM on the CPU, case by case: what pruned gates, short reports and a report encoded once save.

python benchmarks/cmasg.py --output benchmarks/results/cmasg.csv

Parts, each a network of its own with random weights at the published size:
 image encoder, text encoder: radiograph or word pieces -> tokens
 recurrent: tokens -> logits through the gated LSTM alone; with `plain LSTM` as the operator that every runtime has
 head: tokens -> logits, cross-modal attention in front of the LSTM
 total: image encoder, text encoder and head, one after the other
 total, report encoded before: image encoder and head, for a further image of the same report
Sessions, of a bundle of the same network:
 session: the whole network, as `open_session` runs it unless reports are kept
 session with reports=8, first image; further image: of a report that is new, and of one that was encoded before
All parts, and all sessions, are measured in turn, ROUNDS times, so that a drift of the machine hits all alike.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import usage
from full_size import set_random_weights, write_vocabulary
from rows import environment, percentiles, write_rows

PRUNED = (0.0, 0.25, 0.5, 0.6, 0.75, 0.9)
LENGTHS = (32, 64, 96, 128)
LONGEST = LENGTHS[-1]
REGIONS, FEATURES = 49, 512
BUCKETS_AT = 0.6  # pruned, in the rows of report lengths
ROUNDS = 5
BUNDLE = "whole.mmcaf"
KEPT = 8  # reports of a session
SESSION, FIRST, FURTHER = (
    "session",
    f"session with reports={KEPT}, first image",
    f"session with reports={KEPT}, further image",
)

Feed = dict[str, np.ndarray]
Run = Callable[[Feed], np.ndarray]


@dataclass(frozen=True)
class Part:
    """One network on one runtime; pruned is None where it does not count, and stock tells the plain LSTM."""

    name: str
    pruned: float | None = None
    stock: bool = False

    @property
    def file(self) -> str:
        """Of its ONNX model."""
        return f"{self.name} {'stock' if self.stock else self.pruned}.onnx".replace(" ", "_")


def main() -> None:
    """Write the models, measure all parts in turn, and write the rows."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--runs", type=usage.count, default=10, help="of a part in each round")
    asked.add_argument(
        "--threads", type=usage.count, nargs="+", default=[1, 2], help="numbers of threads, one after the other"
    )
    asked.add_argument("--backends", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    asked.add_argument("--folder", type=usage.path, help="keep the models here, and use them if they are there")
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    if arguments.folder is not None:
        usage.try_outputs(asked, [("--folder", arguments.folder)], kind="folder", force=True)
    facts = environment(["torch", "onnxruntime", "openvino", "numpy"])
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        units = write_models(folder)
        write_session_bundle(folder)
        os.environ["MMCAF_CACHE"] = str(folder / "cache")
        for backend in arguments.backends:
            for threads in arguments.threads:
                spent = measure(backend, threads, folder, arguments.runs)
                setting = {"backend": backend, "threads": str(threads)}
                made = sparsity_rows(spent, units) + length_rows(spent)
                made += session_rows(measure_sessions(backend, threads, folder, arguments.runs), units[BUCKETS_AT])
                rows += [row | setting | facts for row in made]
                for row in made:
                    print(" ".join(list(row.values())[:9]), file=sys.stderr)
    write_rows(arguments.output, rows)


def parts() -> list[Part]:
    """Everything that is measured."""
    found = [Part("image encoder"), Part("text encoder")]
    for name in ("recurrent", "head"):
        found += [Part(name, stock=True), *(Part(name, pruned) for pruned in PRUNED)]
    return found


def write_models(folder: Path) -> dict[float, int]:
    """Write every part that is not there yet; fraction pruned -> units that are computed of each direction."""
    units = {}
    for part in parts():
        network = _network(part)
        lean = _lean(network)
        if part.pruned is not None:
            units[part.pruned] = lean.config.hidden
        if not (folder / part.file).exists():
            print(f"writing {part.file}", file=sys.stderr)
            _write(part, lean, folder / part.file)
    return units


def write_session_bundle(folder: Path) -> None:
    """Export the whole network, pruned by BUCKETS_AT, unless that was done."""
    from safetensors.torch import save_file

    from mmcaf_export.export import export_bundle

    if (folder / BUNDLE).exists():
        return
    print(f"writing {BUNDLE}", file=sys.stderr)
    network = _network(Part("whole", BUCKETS_AT))
    weights = folder / "whole.safetensors"
    save_file(network.state_dict(), weights)
    vocabulary = write_vocabulary(folder / "vocab.txt", network.config.text_vocabulary)
    export_bundle(weights, folder / BUNDLE, settings={"text.vocabulary": str(vocabulary)})
    weights.unlink()


def _network(part: Part) -> Any:
    """The network that a part is cut from; encoders that are not part of it are tiny."""
    import torch

    from mmcaf_export.networks.cmasg import CmasgConfig, CmasgNet

    text = {"text_width": 8, "text_layers": 1, "text_heads": 1, "text_intermediate": 8, "text_vocabulary": 8}
    tiny: dict[str, Any] = {**text, "width": 1 / 64, "size": 32}
    if part.name == "whole":
        tiny = {}
    elif part.name == "image encoder":
        tiny = text
    elif part.name == "text encoder":
        tiny = {"width": 1 / 64}
    config = CmasgConfig(**tiny, cross_attention=part.name != "recurrent", sparse_gate=not part.stock)
    network = CmasgNet(config).eval()
    set_random_weights(network)
    if part.pruned is not None:
        generator = torch.Generator().manual_seed(1)
        for ending in ("", "_reverse"):
            dropped = torch.randperm(config.hidden, generator=generator)[: round(config.hidden * part.pruned)]
            network.sparse_gate.get_buffer(f"keep_l0{ending}")[dropped] = False
    return network


def _lean(network: Any) -> Any:
    from mmcaf_export.networks.cmasg.entry import CmasgEntry
    from mmcaf_export.rewrites.rewrite import rewritten

    entry = CmasgEntry()
    return rewritten(network, entry.rewrites, entry.example_inputs(network.config, 1, seed=0))


def _write(part: Part, network: Any, path: Path) -> None:
    """Write the part of a rewritten network."""
    import torch
    from torch import Tensor, nn

    from mmcaf_export.onnx_export import export_onnx

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

    class Image(Cut):
        def forward(self, image: Tensor) -> Tensor:
            return self.network.image_projection(self.network.image_encoder(image).flatten(2).transpose(1, 2))

    class Text(Cut):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.network.text_projection(self.network.text_encoder(input_ids, attention_mask))

    class Head(Cut):
        def forward(self, regions: Tensor, words: Tensor, attention_mask: Tensor) -> Tensor:
            return self.network.classify(regions, words, attention_mask.bool())

    kind = {"image encoder": Image, "text encoder": Text}.get(part.name, Head)
    example = {name: torch.from_numpy(array) for name, array in feed(part, 16).items()}
    export_onnx(kind(), example, path, outputs=("answer",), longest=LONGEST, texts={"words"} & example.keys())


def feed(part: Part, length: int) -> Feed:
    """Random inputs of one case, its report of so many word pieces."""
    generator = np.random.default_rng(0)
    mask = np.ones((1, length), np.int64)
    if part.name == "image encoder":
        return {"image": generator.normal(0, 1, (1, 1, 224, 224)).astype(np.float32)}
    if part.name == "text encoder":
        return {"input_ids": generator.integers(0, 30_000, (1, length)), "attention_mask": mask}
    regions, words = (generator.normal(0, 1, (1, count, FEATURES)).astype(np.float32) for count in (REGIONS, length))
    return {"regions": regions, "words": words, "attention_mask": mask}


def measure(backend: str, threads: int, folder: Path, runs: int) -> dict[tuple[Part, int], list[float]]:
    """Part and word pieces -> milliseconds of every run."""
    opened = {part: RUNTIMES[backend](folder / part.file, threads, feed(part, LONGEST)) for part in parts()}
    cases = [(part, LONGEST) for part in parts()]
    cases += [(part, length) for length in LENGTHS[:-1] for part in (Part("text encoder"), Part("head", BUCKETS_AT))]
    spent: dict[tuple[Part, int], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for part, length in cases:
            given = feed(part, length)
            for _ in range(2):
                opened[part](given)
            for _ in range(runs):
                started = time.perf_counter()
                opened[part](given)
                spent[part, length].append((time.perf_counter() - started) * 1e3)
    return spent


def measure_sessions(backend: str, threads: int, folder: Path, runs: int) -> dict[tuple[str, int], list[float]]:
    """What is asked of a session, and word pieces -> milliseconds of every run."""
    from mmcaf_engine import load_bundle, open_session

    bundle = load_bundle(folder / BUNDLE)
    spent: dict[tuple[str, int], list[float]] = {}
    with (
        open_session(bundle, backend=backend, threads=threads) as whole,
        open_session(bundle, backend=backend, threads=threads, reports=KEPT) as keeping,
    ):
        generator = np.random.default_rng(0)
        for length in LENGTHS * ROUNDS:
            for run in range(-2, runs):  # the first two are not counted
                given = feed(Part("image encoder"), length) | feed(Part("text encoder"), length)
                given["input_ids"] = generator.integers(0, 30_000, (1, length))  # a report that is new
                for name, session in ((SESSION, whole), (FIRST, keeping), (FURTHER, keeping)):
                    given["image"] = generator.normal(0, 1, given["image"].shape).astype(np.float32)
                    started = time.perf_counter()
                    session.run(given)
                    if run >= 0:
                        spent.setdefault((name, length), []).append((time.perf_counter() - started) * 1e3)
        counted = keeping.describe()["reports"]
    if counted["found"] != counted["encoded"]:
        raise SystemExit(f"{backend}: every second image should find its report: {counted}")
    return spent


def session_rows(spent: Mapping[tuple[str, int], list[float]], units: int) -> list[dict[str, str]]:
    """As the spent time has them."""
    return [_row(name, f"{BUCKETS_AT:.0%}", units, length, times) for (name, length), times in spent.items()]


def sparsity_rows(spent: Mapping[tuple[Part, int], list[float]], units: Mapping[float, int]) -> list[dict[str, str]]:
    """Encoders, recurrent part, head and total against the fraction of pruned units, at the longest report."""
    rows = []
    encoders = [spent[Part("image encoder"), LONGEST], spent[Part("text encoder"), LONGEST]]
    for name, times in zip(("image encoder", "text encoder"), encoders, strict=True):
        rows.append(_row(name, "", None, LONGEST, times))
    for name in ("recurrent", "head"):
        stock = spent[Part(name, stock=True), LONGEST]
        rows.append(_row(name, "plain LSTM", 256, LONGEST, stock))
        for pruned in PRUNED:
            rows.append(_row(name, f"{pruned:.0%}", units[pruned], LONGEST, spent[Part(name, pruned), LONGEST], stock))
    stock = _together(*encoders, spent[Part("head", stock=True), LONGEST])
    rows.append(_row("total", "plain LSTM", 256, LONGEST, stock))
    for pruned in PRUNED:
        total = _together(*encoders, spent[Part("head", pruned), LONGEST])
        rows.append(_row("total", f"{pruned:.0%}", units[pruned], LONGEST, total, stock))
    return rows


def length_rows(spent: Mapping[tuple[Part, int], list[float]]) -> list[dict[str, str]]:
    """What a report takes at the lengths that reports are padded to, and what is left when it was encoded before."""
    rows = []
    image = spent[Part("image encoder"), LONGEST]
    for length in LENGTHS:
        text, head = spent[Part("text encoder"), length], spent[Part("head", BUCKETS_AT), length]
        shown = f"{BUCKETS_AT:.0%}"
        rows.append(_row("total, by report length", shown, None, length, _together(image, text, head)))
        rows.append(_row("total, report encoded before", shown, None, length, _together(image, head)))
    return rows


def _together(*spent: list[float]) -> list[float]:
    return [sum(times) for times in zip(*spent, strict=True)]


def _row(
    part: str, pruned: str, units: int | None, length: int, spent: list[float], stock: list[float] | None = None
) -> dict[str, str]:
    faster = "" if stock is None else f"{np.median(stock) / np.median(spent):.2f}"
    return {
        "part": part,
        "pruned": pruned,
        "units": "" if units is None else str(units),
        "word_pieces": str(length),
        **percentiles(spent),
        "times_plain_lstm": faster,
    }


def _onnxruntime(model: Path, threads: int, example: Feed) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)[0]


def _openvino(model: Path, threads: int, example: Feed) -> Run:
    """As the engine opens a network: for one case and texts of every length, with the kernel for the gated LSTM."""
    import openvino

    from mmcaf_engine.backends.openvino.operators import add_operators
    from mmcaf_kernels.cpu.openvino.editing import Editor
    from mmcaf_kernels.cpu.openvino.loops import replace_loops

    core = openvino.Core()
    add_operators(core)
    network = core.read_model(model)
    length = openvino.Dimension(1, LONGEST)
    texts = {"input_ids", "attention_mask", "words"}
    shapes = {
        name: openvino.PartialShape([1, length, *array.shape[2:]] if name in texts else list(array.shape))
        for name, array in example.items()
    }
    network.reshape(shapes)
    replace_loops(core, network, Editor(network))
    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    return lambda given: request.infer(given)[0]


RUNTIMES: dict[str, Callable[[Path, int, Feed], Run]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}

if __name__ == "__main__":
    usage.run(main)
