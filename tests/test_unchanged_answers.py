"""What came out at commit 50593ee still comes out: models, outputs and answers of the four examples.

On a processor and with versions that tests/data/answers_50593ee.json records, to the bit; elsewhere within 1e-4, and a
warning says so. `python tests/record_answers.py --append` adds a machine.
"""

import copy
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import record_answers
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.session.session import open_session
from mmcaf_export.report import ExportReport
from record_answers import (
    BACKENDS,
    EXPORTERS,
    RUNTIMES,
    STUDIES,
    answer,
    array_facts,
    model_hashes,
    outputs_of,
    recorded_machines,
    same_bits,
    same_models,
    write_study,
)

ELSEWHERE = 1e-4
"""Of logits, probabilities and attention, where the processor or a runtime is another: float32 sums round otherwise.

It is the bound within which every backend must agree with the source network."""
COMPARED = ("label", "probability", "probabilities", "logit", "threshold", "findings", "windows", "record/features")
"""What of an answer is compared, by the keys that lead to it; what a later result adds is not looked at."""
BUNDLES = ("demo", "demo_export", "liver", "cmasg", "medfusionnet")
FULL = {"demo_export", "liver", "cmasg", "medfusionnet"}
"""What takes longer to export than the others, and is exported in `make test-full` anyway."""

every_backend = pytest.mark.parametrize("backend", BACKENDS)


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[pytest.mark.full] if name in FULL else []) for name in names]
    )


every_bundle = each(BUNDLES)


@pytest.fixture(scope="session")
def bundle(example: Callable[[str], ExportReport]) -> Callable[[str], Path]:
    """The bundle that ships with the engine, or an example that is exported now."""
    return lambda name: demo_bundle() if name == "demo" else example(name.removesuffix("_export")).output


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Path]]:
    """The files that an example answers."""
    folder = tmp_path_factory.mktemp("studies")
    return cache(lambda name: write_study(name, folder / str(STUDIES[name]["kind"])))


def tolerance() -> tuple[dict[str, Any], float]:
    """The recorded machine to compare with, and how far from it an answer may be."""
    machine = same_bits()
    if machine is not None:
        return machine, 0.0
    oldest = recorded_machines()[0]
    warnings.warn(
        f"compared within {ELSEWHERE:g} and not to the bit: no record of "
        f"{record_answers.identity()['processor']['name']} with {installed(RUNTIMES)} and processor kernels",
        stacklevel=2,
    )
    return oldest, ELSEWHERE


def installed(names: tuple[str, ...]) -> str:
    versions = record_answers.identity()["versions"]
    return ", ".join(f"{name} {versions[name]}" for name in names)


def differences(recorded: Any, found: Any, allowed: float, at: str = "") -> list[str]:
    """Where what was found is not what was recorded; keys that were not recorded are left out."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        lost = [f"{at}/{name} is gone" for name in recorded.keys() - found.keys()]
        kept = [name for name in recorded if name in found]
        return lost + [one for key in kept for one in differences(recorded[key], found[key], allowed, f"{at}/{key}")]
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        pairs = enumerate(zip(recorded, found, strict=True))
        return [one for index, (old, new) in pairs for one in differences(old, new, allowed, f"{at}/{index}")]
    numbers = isinstance(recorded, float) and isinstance(found, float)
    if recorded == found or (numbers and abs(recorded - found) <= allowed):
        return []
    return [f"{at} was {recorded!r:.80}, is {found!r:.80}"]


def without_hashes(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: held for key, held in one.items() if key != "sha256"} for name, one in facts.items()}


def picked(document: dict[str, Any]) -> dict[str, Any]:
    """The compared part of an answer."""
    found = {}
    for path in COMPARED:
        held: Any = document
        for key in path.split("/"):
            held = None if held is None else held[key]
        found[path] = held
    return found


@every_bundle
def test_models(name: str, bundle: Callable[[str], Path]) -> None:
    """The shipped bundle holds the very files; an export gives them where processor, torch and onnx are a record's."""
    machine = same_models() if name != "demo" else recorded_machines()[0]
    found = model_hashes(bundle(name))
    recorded = (machine or recorded_machines()[0])["models"][name]
    models = [file for file in recorded if file.endswith((".onnx", ".data"))]
    assert models == sorted(file for file in found if file.endswith((".onnx", ".data")))
    if machine is None:
        warnings.warn(f"no bytes of models compared: no record of it with {installed(EXPORTERS)}", stacklevel=1)
        return
    assert {file: found[file] for file in models} == {file: recorded[file] for file in models}


def rounds_otherwise(path: Path, backend: str) -> bool:
    """Whether kernels run that the recorded machines did not have; without them the very bits must come out."""
    with open_session(load_bundle(path), backend=backend, precision="fp32") as session:
        return not {*session.describe()["kernels"]} <= {"gated_lstm"}


@every_backend
@every_bundle
def test_outputs_of_the_golden_cases(
    name: str, backend: str, bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, allowed = tolerance()
    recorded, found = machine["outputs"][name][backend], outputs_of(bundle(name), backend)
    if rounds_otherwise(bundle(name), backend):
        assert differences(without_hashes(recorded), without_hashes(found), ELSEWHERE) == []
        monkeypatch.setenv("MMCAF_KERNELS", "0")
        found = outputs_of(bundle(name), backend)
    if allowed:
        recorded, found = without_hashes(recorded), without_hashes(found)
    assert differences(recorded, found, allowed) == []


@every_backend
@each(STUDIES)
def test_answers_of_synthetic_studies(
    name: str,
    backend: str,
    bundle: Callable[[str], Path],
    studies: Callable[[str], dict[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, allowed = tolerance()
    recorded, found = picked(machine["answers"][name][backend]), answer(studies(name), bundle(name), backend)
    assert found["engine"]["backend"] == backend and found["engine"]["precision"] == "fp32"
    if rounds_otherwise(bundle(name), backend):
        assert differences(recorded, picked(found), ELSEWHERE) == []
        monkeypatch.setenv("MMCAF_KERNELS", "0")
        found = answer(studies(name), bundle(name), backend)
    assert differences(recorded, picked(found), allowed) == []


def test_every_machine_holds_all_of_it() -> None:
    first, *others = recorded_machines()
    assert first["studies"] == STUDIES and set(first["outputs"]) == set(first["models"]) == set(BUNDLES)
    for machine in others:
        for part in ("models", "outputs", "answers", "version_1", "studies"):
            assert machine[part].keys() == first[part].keys(), part
        assert set(machine) == set(first)


# The comparison itself


def test_a_difference_is_found() -> None:
    recorded = recorded_machines()[0]["outputs"]["liver"]["openvino"]
    assert differences(recorded, recorded, 0.0) == []
    moved = copy.deepcopy(recorded)
    moved["alpha_image"]["values"][3] += 2e-4
    (said,) = differences(recorded, moved, ELSEWHERE)
    assert said.startswith("/alpha_image/values/3 was 0.09908127, is 0.0992812")
    moved["alpha_image"]["values"][3] -= 1.5e-4
    assert differences(recorded, moved, ELSEWHERE) == []
    assert len(differences(recorded, moved, 0.0)) == 1
    del moved["logits"]
    assert differences(recorded, {**moved, "more": {}}, ELSEWHERE) == ["/logits is gone"]
    assert differences([1.0], [1.0, 2.0], 1.0) and differences({"label": "a"}, {"label": "b"}, 1.0)
    assert differences(1.0, float("nan"), ELSEWHERE)


def test_one_bit_changes_the_facts_of_an_array() -> None:
    values = np.linspace(-1, 1, 7, dtype=np.float32)
    other = np.nextafter(values, np.float32(2))
    assert array_facts(values) == array_facts(values.astype(">f4"))
    assert array_facts(values)["sha256"] != array_facts(other)["sha256"]
    assert array_facts(values)["values"] == [float(str(value)) for value in values]
    assert len(array_facts(np.zeros(3000, np.float32))["first_values"]) == 50


def test_another_machine_is_compared_within_a_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another processor, another runtime, or no processor kernels: never silently to the bit, never not at all."""
    machine = recorded_machines()[0]
    here = {name: machine[name] for name in ("processor", "threads", "versions")}
    monkeypatch.setattr(record_answers, "missing", lambda: None)

    def on(**changes: Any) -> None:
        monkeypatch.setattr(record_answers, "identity", lambda: {**here, **changes})

    on()
    assert tolerance() == (machine, 0.0) and same_models() == machine
    others = {
        "processor": {"name": "another", "instructions": []},
        "versions": {**machine["versions"], "onnxruntime": "0.1"},
    }
    for name, value in others.items():
        on(**{name: value})
        with pytest.warns(UserWarning, match="compared within 0.0001 and not to the bit"):
            assert tolerance() == (machine, ELSEWHERE)
        assert same_models() == (None if name == "processor" else machine)
    on(versions={**machine["versions"], "torch": "0.1"})
    assert same_models() is None and same_bits() == machine
    on()
    monkeypatch.setattr(record_answers, "missing", lambda: "not built")
    assert same_bits() is None
