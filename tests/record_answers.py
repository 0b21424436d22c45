"""What this checkout answers on this machine, to compare later commits with.

python tests/record_answers.py --append

exports the four examples, answers their golden cases and one synthetic study each on both processor runtimes with two
threads, runs the stored bundles of format 1, and prints the record of this machine as JSON. With --append it also
appends the record to tests/data/answers_50593ee.json, unless one of this processor and these versions is there. Do so
only on a commit that passes tests/test_unchanged_answers.py elsewhere: what is recorded is what has to come out.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mmcaf_engine import Answerer, load_bundle, open_session
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.machine.cpu import processor
from mmcaf_engine.outputs import temporary_folder
from mmcaf_engine.result.aggregate import sigmoid, softmax
from mmcaf_export.precision.edit import drop_unused
from mmcaf_kernels.cpu.library import missing

DATA = Path(__file__).parent / "data"
RECORDS = DATA / "answers_50593ee.json"
VERSION_1 = DATA / "version_1"
BACKENDS = ("openvino", "onnxruntime")
THREADS = 2
RUNTIMES = ("openvino", "onnxruntime", "numpy")
"""Distributions whose version decides the bits of an answer."""
EXPORTERS = ("torch", "onnx", "onnxscript", "numpy")
"""Distributions whose version decides the bytes of a model."""
STUDIES: dict[str, dict[str, Any]] = {
    "demo": {"kind": "lung", "seed": 1, "study": "study.dcm", "record": "record.json"},
    "liver": {"kind": "liver", "seed": 1, "study": "dicom"},
    "cmasg": {"kind": "chest", "seed": 1, "study": "study.dcm", "record": "report.txt"},
    "medfusionnet": {
        "kind": "chest",
        "seed": 1,
        "study": "study.dcm",
        "record": "record.json",
        "report": "report.txt",
    },
}
"""Example -> the synthetic patient that it answers, and the files of `mmcaf demo` that it is given."""
SHOWN = 2000
"""An array of more values is recorded with its first fifty alone, beside its hash."""


def identity() -> dict[str, Any]:
    """What decides whether this machine gives the very bits of another."""
    here = asdict(processor())
    return {
        "processor": {"name": here["name"], "instructions": list(here["instructions"])},
        "threads": THREADS,
        "versions": {name: version(name) for name in sorted({*RUNTIMES, *EXPORTERS})},
    }


def array_facts(values: NDArray[Any]) -> dict[str, Any]:
    """Hash of the little-endian bytes, type, shape, and the values as the shortest decimals that give them again."""
    flat = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).ravel()
    few = flat.size <= SHOWN
    return {
        "sha256": hashlib.sha256(flat.tobytes()).hexdigest(),
        "dtype": values.dtype.name,
        "shape": list(values.shape),
        "values" if few else "first_values": [float(str(value)) for value in (flat if few else flat[:50])],
    }


def outputs_of(path: Path, backend: str) -> dict[str, dict[str, Any]]:
    """Every output of a bundle's FP32 network for its golden cases."""
    bundle = load_bundle(path)
    with np.load(bundle.folder / "golden.npz") as golden:
        inputs = {spec.name: golden[spec.name] for spec in bundle.manifest.inputs}
    with open_session(bundle, backend=backend, precision="fp32", threads=THREADS) as session:
        return {name: array_facts(values) for name, values in session.run(inputs).items()}


def model_hashes(bundle: Path) -> dict[str, str]:
    """SHA-256 of every file of an exported bundle; of its networks, without optional outputs and what they alone need.

    So what an optional output adds must leave every byte of the network as it was.
    """
    optional = {spec.name for spec in load_bundle(bundle).manifest.outputs if spec.optional}
    files = sorted(file for file in bundle.rglob("*") if file.is_file())
    return {file.relative_to(bundle).as_posix(): _sha256_without(file, optional) for file in files}


def _sha256_without(file: Path, optional: set[str]) -> str:
    if file.suffix != ".onnx" or not optional:
        return file_sha256(file)
    model = ir.load(file)
    if optional.isdisjoint(str(value.name) for value in model.graph.outputs):
        return file_sha256(file)
    model.graph.outputs[:] = [value for value in model.graph.outputs if value.name not in optional]
    drop_unused(model)
    with temporary_folder() as folder:
        ir.save(model, folder / file.name)
        return file_sha256(folder / file.name)


def write_study(example: str, folder: Path) -> dict[str, Path]:
    """Write the example's synthetic patient; the files as keyword arguments of `infer`."""
    asked = STUDIES[example]
    if not folder.exists():
        program = "from mmcaf_cli.main import main; main()"
        options = ["demo", "--kind", asked["kind"], "--seed", str(asked["seed"]), "--save", str(folder)]
        subprocess.run([sys.executable, "-c", program, *options], check=True, stdout=subprocess.DEVNULL)
    return {name: folder / asked[name] for name in ("study", "record", "report") if name in asked}


def answer(given: Mapping[str, Path], bundle: Path, backend: str) -> dict[str, Any]:
    """What the networks say of a study, in the terms of schema version 1, in which the first answers were recorded.

    There, probability, logit and the windows' are those of label 1 of two, else of the most probable label.
    """
    report = {"report": given["report"]} if "report" in given else {}
    with open_session(load_bundle(bundle), backend=backend, precision="fp32", threads=THREADS) as session:
        found = Answerer(session).answer(given["study"], given.get("record"), **report)  # type: ignore[arg-type]
    result = found.result
    document: dict[str, Any] = json.loads(result.to_json())
    said = {name: document[name] for name in ("label", "probabilities", "findings", "record", "engine")}
    scores = found.outputs[found.bundle.manifest.score.name].astype(np.float64)
    if result.positive is not None:
        told, threshold = [float(logit) for logit in scores[:, 0]], result.positive.threshold
        probability, logit = result.positive.probability, result.positive.logit
        chances = [sigmoid(one) for one in told]
    elif result.findings:
        most = max(result.findings, key=lambda finding: finding.probability)
        told = [float(one) for one in scores[:, result.findings.index(most)]]
        probability, logit, threshold, chances = most.probability, most.logit, most.threshold, list(map(sigmoid, told))
    else:
        at = list(result.probabilities).index(result.label)
        told, threshold = [float(one) for one in scores[:, at]], None
        probability, logit = result.probability, max(told)
        chances = [float(one) for one in softmax(scores)[:, at]]
    starts = [window["start_slice"] for window in document["windows"]]
    windows = [
        {"start_slice": start, "logit": one, "probability": chance}
        for start, one, chance in zip(starts, told, chances, strict=False)
    ]
    return {**said, "probability": probability, "logit": logit, "threshold": threshold, "windows": windows}


def record(place: Path) -> dict[str, Any]:
    """All of it, for this machine; `place` is an empty folder to work in."""
    from example_exports import NAMES, export_example

    made = {name: export_example(name, place / f"{name}.mmcaf").output for name in NAMES}
    bundles = {"demo": demo_bundle(), "demo_export": made.pop("demo"), **made}
    given = {name: write_study(name, place / str(STUDIES[name]["kind"])) for name in STUDIES}
    return {
        **identity(),
        "models": {name: model_hashes(bundle) for name, bundle in bundles.items()},
        "outputs": {name: {at: outputs_of(bundle, at) for at in BACKENDS} for name, bundle in bundles.items()},
        "studies": STUDIES,
        "answers": {name: {at: answer(given[name], bundles[name], at) for at in BACKENDS} for name in STUDIES},
        "version_1": {
            file.stem: {
                "sha256": file_sha256(file),
                "size": file.stat().st_size,
                "outputs": {at: outputs_of(file, at) for at in BACKENDS},
            }
            for file in sorted(VERSION_1.glob("*.zip"))
        },
    }


def recorded_machines() -> list[dict[str, Any]]:
    """The machines of tests/data/answers_50593ee.json, the oldest first."""
    machines: list[dict[str, Any]] = json.loads(RECORDS.read_text(encoding="utf-8"))["machines"]
    return machines


def of_same_versions(names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The recorded machines that had these distributions in the versions that are installed here."""
    here = identity()["versions"]
    for machine in recorded_machines():
        if all(machine["versions"][name] == here[name] for name in names):
            yield machine


def same_bits() -> dict[str, Any] | None:
    """The recorded machine whose answers must come out here to the bit; None where there is none.

    All have this project's processor kernels: without them a network of gated LSTMs rounds otherwise.
    """
    if missing() is not None:
        return None
    here = identity()
    return next((one for one in of_same_versions(RUNTIMES) if one["processor"] == here["processor"]), None)


def same_models() -> dict[str, Any] | None:
    """The recorded machine whose models must come out here to the byte; None where there is none.

    Rewrites fold weights on the processor, whose products round as its instructions do.
    """
    here = identity()
    return next((one for one in of_same_versions(EXPORTERS) if one["processor"] == here["processor"]), None)


def main() -> None:
    """Print this machine's record, and append it if that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--append", action="store_true", help=f"also append it to {RECORDS.name}")
    options = parser.parse_args()
    if (reason := missing()) is not None:
        sys.exit(f"The processor kernels are missing: {reason}.")
    if options.append and same_bits() is not None and same_models() is not None:
        sys.exit(f"{RECORDS.name} holds this processor and these versions already.")
    with tempfile.TemporaryDirectory() as place:
        machine = record(Path(place))
    text = json.dumps(machine, indent=1, ensure_ascii=False, allow_nan=False)
    assert tempfile.gettempdir() not in text, "a path of this machine is in the record"
    print(text)
    if options.append:
        document = json.loads(RECORDS.read_text(encoding="utf-8"))
        document["machines"].append(machine)
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        RECORDS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
