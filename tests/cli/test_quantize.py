"""`mmcaf quantize`: what the new bundle holds and says, and what every wrong input is told."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from command import Command
from mmcaf_engine.backends.availability import Availability
from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.backends.torch.backend import TorchBackend
from mmcaf_engine.bundle.accuracy import parse_accuracy
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.golden import read_raw_case
from mmcaf_engine.bundle.sealed import SIGNATURE_NAME
from mmcaf_engine.demo import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.errors import BackendError, ExportError
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session.self_test import TOLERANCE
from mmcaf_engine.session.session import open_session
from mmcaf_export import onnx_files
from mmcaf_export.precision import attempts, int8
from mmcaf_export.precision.costs import Family
from mmcaf_export.precision.layers import Layer
from mmcaf_export.precision.quantize import quantize_bundle
from processor_units import give_units
from raw_cases import with_raw_case
from refusals import check_facts
from signed_bundles import OF_A_STRANGER
from small_networks import make_convolution_bundle
from tiny_bundle import make_tiny_mr

IMPOSSIBLE = {"probability_difference": 1e-9, "flips": 0.0, "auroc_loss": 0.0}


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer gains by INT8, however little there is to gain in so small a network."""
    monkeypatch.setattr(int8, "worthwhile", lambda layers, _family: {layer.node: layer.flops / 1e9 for layer in layers})


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Its self-test takes seconds in a process that has not made a program yet; one full test has it."""
    if "torch" not in request.node.name:
        absent = Availability(False, "left out")
        monkeypatch.setattr(TorchBackend, "availability", classmethod(lambda kind: absent))


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of three small studies, and one of them alone; read them, do not change them."""
    folder = tmp_path_factory.mktemp("studies")
    rows = ["study,record,label"]
    for seed in range(3):
        phantom = make_phantom(seed, size=64)
        write_series(phantom, folder / f"series{seed}")
        record = {"sex": phantom.patient.sex, "age": phantom.patient.age}
        (folder / f"record{seed}.json").write_text(json.dumps(record))
        rows.append(f"series{seed},record{seed}.json,{seed % 2}")
    (folder / "cohort.csv").write_text("\n".join(rows))
    (folder / "one.csv").write_text("\n".join(rows[:2]))
    return folder / "cohort.csv"


def make(tmp_path: Path, **bounds: Mapping[str, float]) -> Path:
    return make_convolution_bundle(tmp_path / "small.mmcaf", accuracy_bounds=bounds)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def held(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "manifest.json").read_text())["models"])


@pytest.mark.parametrize("version", [1, 2])
def test_a_bundle_keeps_its_format_version_and_its_raw_case(
    run: Command, studies: Path, version: int, tmp_path: Path
) -> None:
    plain = make_convolution_bundle(tmp_path / "plain.mmcaf", format_version=version)
    source, output = with_raw_case(plain, tmp_path / "raw.mmcaf"), tmp_path / "new.mmcaf"
    done = run("mmcaf", "quantize", source, "-o", output, "--calibration", studies)
    assert done.code == 0, done.err
    assert json.loads((output / "manifest.json").read_text())["format_version"] == version
    before, after = read_raw_case(load_bundle(source)), read_raw_case(load_bundle(output))
    assert before is not None and after is not None
    assert np.array_equal(after.probabilities, before.probabilities) and not before.own
    assert 0 < np.abs(after.own["int8"] - before.probabilities).max() < 0.1
    verified = run("mmcaf", "verify", output, "--backend", "onnxruntime")
    assert verified.code == 0 and "int8: 2 golden cases within" in verified.out


def test_a_new_bundle(run: Command, studies: Path, tmp_path: Path) -> None:
    source, output = make(tmp_path), tmp_path / "new" / "small8.mmcaf"
    before = content(source)
    done = run("mmcaf", "quantize", source, "-o", output, "--calibration", studies)
    assert done.code == 0, done.err
    assert content(source) == before
    assert "layers:" not in done.err and "%" not in done.err, "no progress goes to a pipe"
    first, *rest = done.out.splitlines()
    assert str(output) in first and "fp32, int8" in first
    assert any("2 layers, 0 left in FP32" in line for line in rest)
    assert any("compared with FP32 on cohort.csv, 3 studies" in line for line in rest)

    bundle = load_bundle(output)
    bundle.verify()
    network = onnx.load(output / held(output)["int8"])
    onnx.checker.check_model(network, full_check=True)
    assert sum(node.op_type == "QuantizeLinear" for node in network.graph.node) == 2
    facts = parse_accuracy((output / "accuracy.json").read_bytes()).precisions["int8"]
    assert facts.passed and 0 < facts.max_probability_difference < 0.1

    shown = json.loads(run("mmcaf", "inspect", output, "--json").out)
    origin = shown["manifest"]["provenance"]["int8"]
    assert (origin["calibration"], origin["layers"], origin["kept"]) == ("cohort.csv", 2, {})
    assert origin["method"] in ("minmax", "percentile", "entropy")
    assert run("mmcaf", "inspect", output).code == 0
    tested = run("mmcaf", "verify", output)
    assert tested.code == 0 and "int8: 2 golden cases within" in tested.out, tested.err


def test_its_session_answers(run: Command, studies: Path, tmp_path: Path) -> None:
    """The self-test passes, and the answer is near FP32's but not FP32's."""
    source = make(tmp_path)
    assert run("mmcaf", "quantize", source, "--calibration", studies).code == 0
    bundle = load_bundle(source)
    with np.load(source / "golden.npz") as golden:
        feed = {name: golden[name] for name in ("image", "table")}
        exact = golden["logit"]
        assert "logit@int8" in golden
    for backend in ("openvino", "onnxruntime"):
        with open_session(bundle, backend=backend, precision="int8") as session:
            assert session.describe()["self_test"]
            found = session.run(feed)["logit"]
        assert (found != exact).any()
        np.testing.assert_allclose(found, exact, rtol=0, atol=0.1)


def test_in_place(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path)
    before = content(source)
    (source / SIGNATURE_NAME).write_bytes(OF_A_STRANGER)
    done = run("mmcaf", "quantize", source, "--calibration", studies, "--method", "minmax")
    assert done.code == 0 and "not signed any more" in done.out and f"mmcaf sign {source} --key FILE" in done.out
    after = content(source)
    assert after["model.onnx"] == before["model.onnx"] and after["manifest.json"] != before["manifest.json"]
    assert set(after) == {*before, "model.int8.onnx", "accuracy.json"}
    assert json.loads(after["manifest.json"])["provenance"]["int8"]["method"] == "minmax"
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".small")] == []


def test_again_gives_the_same_network(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path)
    arguments = ("mmcaf", "quantize", source, "--calibration", studies, "--method", "percentile")
    assert run(*arguments).code == 0
    (source / SIGNATURE_NAME).write_bytes(OF_A_STRANGER)
    first = content(source)
    again = run(*arguments)
    assert again.code == 0 and "not signed" not in again.out, "which is of this manifest still"
    assert content(source) == first


def test_every_precision(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path)
    chosen = [part for name in ("int8", "fp16", "bf16") for part in ("--precision", name)]
    done = run("mmcaf", "quantize", source, *chosen, "--calibration", studies, "--method", "minmax")
    assert done.code == 0, done.err
    assert set(held(source)) == {"fp32", "fp16", "bf16", "int8"}
    facts = parse_accuracy((source / "accuracy.json").read_bytes()).precisions
    assert set(facts) == {"fp16", "bf16", "int8"}
    assert 0 < facts["fp16"].max_probability_difference < facts["bf16"].max_probability_difference < 0.02
    units = OpenVinoBackend.can_run("bf16").available
    for precision, expected in {
        "int8": ["openvino", None],  # in ONNX Runtime, as ONNX defines it
        "bf16": [None, *(["openvino"] if units else [])],
    }.items():
        judged = facts[precision].judged or ()  # type: ignore[index]
        assert [one.configuration.backend for one in judged] == expected
        assert all(one.max_probability_difference < 0.02 and one.flips == 0 for one in judged)
    with open_session(load_bundle(source), backend="openvino", precision="int8") as session:
        assert session.precision == "int8"
    if units:
        with open_session(load_bundle(source), backend="openvino", precision="bf16") as session:
            assert session.describe()["self_test"]["passed"] and session.run_self_test().max_abs_error < 0.02


def test_a_network_with_kernels_is_judged_with_and_without_them(
    run: Command, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = OpenVinoBackend.describe
    kernels = {True: {"groupnorm_act": 2}, False: {}}
    monkeypatch.setattr(
        OpenVinoBackend, "describe", lambda one: {**described(one), "kernels": kernels[one.own_kernels]}
    )
    source = make(tmp_path)
    assert run("mmcaf", "quantize", source, "--calibration", studies, "--method", "minmax").code == 0
    judged = parse_accuracy((source / "accuracy.json").read_bytes()).precisions["int8"].judged or ()
    assert [(one.configuration.backend, one.configuration.kernels) for one in judged] == [
        ("openvino", ("groupnorm_act",)),
        ("openvino", ()),
        (None, ()),
    ]


def test_what_one_backend_gets_wrong_fails_the_gate(
    run: Command, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's INT8 is the bundle's own answer, beside which ONNX Runtime's passes the self-test."""
    infer = OnnxRuntimeBackend._infer

    def off(self: Backend, window: Any) -> Any:
        answer = infer(self, window)
        return answer if self.precision != "int8" else {name: value + 0.05 for name, value in answer.items()}

    monkeypatch.setattr(OnnxRuntimeBackend, "_infer", off)
    source = make(tmp_path, int8={"probability_difference": 0.008, "flips": 1.0, "auroc_loss": 1.0})
    done = run("mmcaf", "quantize", source, "--calibration", studies, "--method", "minmax")
    done.refused(5, "in onnxruntime, a probability differs", "Nothing was written")


def test_for_a_gpu(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path)
    done = run("mmcaf", "quantize", source, "--for", "gpu", "--calibration", studies, "--method", "minmax")
    assert done.code == 0, done.err
    assert json.loads((source / "manifest.json").read_text())["provenance"]["int8"]["processor"] == "gpu"
    wrong = run("mmcaf", "quantize", source, "--for", "tpu")
    assert wrong.code == 2 and "cpu, gpu" in wrong.err


@pytest.mark.parametrize(("target", "family"), [("cpu", "avx512-vnni"), ("neon", "neon")])
def test_for_a_family_of_processors(
    run: Command, studies: Path, tmp_path: Path, target: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the machine at hand decides, but what is asked for; the bundle says it."""
    asked: list[str] = []

    def every(layers: Sequence[Layer], chosen: Family | None) -> dict[str, float]:
        asked.append(chosen.name if chosen is not None else "gpu")
        return {layer.node: 1.0 for layer in layers}

    monkeypatch.setattr(int8, "worthwhile", every)
    source = make(tmp_path)
    done = run("mmcaf", "quantize", source, "--for", target, "--calibration", studies, "--method", "minmax")
    assert done.code == 0, done.err
    origin = load_bundle(source).manifest.provenance.int8
    assert origin is not None and origin.family == family and asked == [family]


def test_another_cohort_judges(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path)
    one = studies.with_name("one.csv")
    done = run("mmcaf", "quantize", source, "--calibration", one, "--cohort", studies, "--method", "minmax")
    assert done.code == 0 and "on cohort.csv, 3 studies" in done.out
    assert json.loads((source / "manifest.json").read_text())["provenance"]["int8"]["calibration"] == "one.csv"


def test_weights_in_a_file_of_their_own(
    run: Command, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 1000)
    source = make(tmp_path)
    assert run("mmcaf", "quantize", source, "--calibration", studies, "--method", "minmax").code == 0
    assert (source / "model.int8.onnx.data").stat().st_size > 1000
    assert run("mmcaf", "verify", source).code == 0


def test_bounds_that_nothing_keeps(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path, int8=IMPOSSIBLE)
    before = content(source)
    refused = run("mmcaf", "quantize", source, "--calibration", studies, "--method", "minmax")
    assert refused.code == 5
    message = refused.error()
    assert "int8" in message and "bounds" in message and "Nothing was written" in message
    assert "; most by " in message or ", most by " in message, "which layers move the logit"
    assert "0 labels changed" in refused.err, "what was measured is said all the same"
    assert content(source) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".small")] == []


def test_one_fails_and_one_passes(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path, int8=IMPOSSIBLE)
    chosen = ("--precision", "int8", "--precision", "fp16")
    done = run("mmcaf", "quantize", source, *chosen, "--calibration", studies, "--method", "minmax")
    assert done.code == 0 and "int8 was not written" in done.out
    assert set(held(source)) == {"fp32", "fp16"} and not (source / "model.int8.onnx").exists()
    assert json.loads((source / "manifest.json").read_text())["provenance"]["int8"] is None
    assert run("mmcaf", "verify", source).code == 0


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_layers_stay_in_fp32_until_the_bounds_are_kept(
    run: Command, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    monkeypatch.setattr(attempts, "LOGIT_BUDGETS", (10.0, 10.0, *(0.04 / 2**halved for halved in range(8))))
    options = ("--precision", precision, "--calibration", studies)
    free = make(tmp_path / "free")
    assert run("mmcaf", "quantize", free, *options).code == 0
    worst = parse_accuracy((free / "accuracy.json").read_bytes()).precisions[precision].max_probability_difference
    bound = {"probability_difference": 0.9 * worst, "flips": 0.0, "auroc_loss": 0.0}
    bounded = make(tmp_path / "bounded", **{precision: bound})
    done = run("mmcaf", "quantize", bounded, *options)
    assert done.code == 0 and f"{precision}: a probability differs" in done.err
    assert done.err.count(f"making {precision} again") == done.err.count("comparing with FP32") - 1 > 0
    assert (
        0
        < parse_accuracy((bounded / "accuracy.json").read_bytes()).precisions[precision].max_probability_difference
        <= 0.9 * worst
    )
    made = getattr(load_bundle(bounded).manifest.provenance, precision)
    assert made.layers > 0 and made.kept and f"{len(made.kept)} left in FP32" in done.out
    assert all(reason.startswith("moves the logit by ") for reason in made.kept.values())
    model = onnx.load(bounded / f"model.{precision}.onnx")
    makers = {node.output[0]: node for node in model.graph.node}
    changing = {"int8": "DequantizeLinear", "bf16": "Cast"}[precision]
    for node in model.graph.node:
        if node.op_type == "Conv":
            fed = makers.get(node.input[0])
            lowered = fed is not None and fed.op_type == changing and node.name not in made.kept
            assert lowered == (node.name not in made.kept), node.name
    assert run("mmcaf", "verify", bounded).code == 0
    shown = run("mmcaf", "inspect", bounded)
    assert all(f"{node}: {reason}" in shown.out for node, reason in made.kept.items())
    # Made once more without a bound that matters, nothing is left to say of it.
    document = json.loads((bounded / "manifest.json").read_text())
    document["accuracy_bounds"][precision]["probability_difference"] = 1.0
    (bounded / "manifest.json").write_text(json.dumps(document))
    assert run("mmcaf", "quantize", bounded, *options).code == 0
    again = getattr(load_bundle(bounded).manifest.provenance, precision)
    assert again is None if precision == "bf16" else len(again.kept) < len(made.kept)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--precision", "fp32"), 2, ["fp32", "fp16", "bf16", "int8"]),
        (("--precision", "int4"), 2, ["int4", "fp16", "bf16", "int8"]),
        (("--precision", "INT8"), 2, ["INT8", "fp16", "bf16", "int8"]),
        (("--method", "mse"), 2, ["'mse'", "minmax", "percentile", "entropy"]),
        (("-o", "{source}"), 2, ["--force"]),
        (("--calibration", "nowhere.csv"), 2, ["nowhere.csv"]),
        (("--calibration", "demo:9-1"), 2, ["demo:9-1"]),
        (("--cohort", "nowhere.csv"), 2, ["nowhere.csv"]),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_wrong_arguments(
    run: Command, studies: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, says: list[str]
) -> None:
    source = make(tmp_path)
    before = content(source)
    given = [argument.format(source=source) for argument in arguments]
    calibration = [] if "--calibration" in given else ["--calibration", studies]
    refused = run("mmcaf", "quantize", source, *given, *calibration)
    refused.refused(code, *says)
    assert content(source) == before


def test_an_existing_output_is_replaced_with_force(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make(tmp_path)
    output = make_convolution_bundle(tmp_path / "old.mmcaf")
    options = ("--force", "--calibration", studies, "--method", "minmax")
    done = run("mmcaf", "quantize", source, "-o", output, *options, "--json", "-q")
    assert done.code == 0 and set(held(output)) == {"fp32", "int8"} and set(held(source)) == {"fp32"}
    report = json.loads(done.out)
    assert (report["bundle"], report["written"], report["refused"], done.err) == (str(output), ["int8"], {}, "")
    assert report["bundle_sha256"] == load_bundle(output).sha256 and len(report["layers"]["int8"]["lowered"]) == 2
    onto_itself = run("mmcaf", "quantize", source, "-o", source, *options)
    onto_itself.refused(2, str(source), "input")


@pytest.mark.parametrize("damage", ["missing", "no bundle", "changed weights"])
def test_a_bundle_that_is_refused(run: Command, studies: Path, tmp_path: Path, damage: str) -> None:
    source = tmp_path / "nowhere.mmcaf"
    if damage == "no bundle":
        source.mkdir()
    elif damage == "changed weights":
        source = make(tmp_path)
        model = source / "model.onnx"
        model.write_bytes(model.read_bytes()[:-1] + b"\0")
    refused = run("mmcaf", "quantize", source, "--calibration", studies)
    refused.refused(5, str(source))


def test_studies_that_cannot_be_read(run: Command, studies: Path, tmp_path: Path) -> None:
    """One is named and left out; with none left there is nothing to go by."""
    (tmp_path / "broken.dcm").write_bytes(b"not DICOM")
    table = tmp_path / "table.csv"
    record = studies.with_name("record0.json")
    table.write_text(f"study,record\n{studies.with_name('series0')},{record}\nbroken.dcm,{record}\n")
    source = make(tmp_path)
    done = run("mmcaf", "quantize", source, "--calibration", table, "--method", "minmax")
    assert done.code == 0 and "broken.dcm is left out of the calibration" in done.err
    table.write_text(f"study,record\nbroken.dcm,{record}\n")
    before = content(source)
    refused = run("mmcaf", "quantize", source, "--calibration", table, "--method", "minmax")
    assert refused.code == 3 and "broken.dcm" in refused.err
    assert content(source) == before


def test_a_precision_that_would_never_answer_is_not_sealed(
    run: Command, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes the gate, whose bounds are of probabilities, and would fail the self-test of every session."""
    monkeypatch.setitem(TOLERANCE, "bf16", 1e-7)
    source = make(tmp_path, bf16={"probability_difference": 1.0, "flips": 1.0, "auroc_loss": 1.0})
    chosen = ("--precision", "bf16", "--precision", "fp16")
    done = run("mmcaf", "quantize", source, *chosen, "--calibration", studies)
    assert done.code == 0 and set(held(source)) == {"fp32", "fp16"}
    [said] = [line for line in done.out.splitlines() if "bf16 was not written" in line]
    assert "every value rounded" in said
    check_facts(said, "self-test", "logit", "1e-07")
    facts = parse_accuracy((source / "accuracy.json").read_bytes()).precisions["bf16"]
    assert not facts.passed and all("self-test" in reason for reason in facts.reasons)


@pytest.mark.parametrize(
    ("wrong", "processor"),
    [(OnnxRuntimeBackend, "cpu"), pytest.param(OpenVinoBackend, "gpu", marks=pytest.mark.full)],
)
def test_it_is_tested_in_every_backend_that_offers_it(
    run: Command,
    studies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: type[Backend],
    processor: str,
) -> None:
    """But for a GPU's INT8, which no backend of the processor but the one that judges has to answer."""
    infer = wrong._infer

    def off(self: Backend, window: Any) -> Any:
        answer = infer(self, window)
        return answer if self.precision != "int8" else {name: value + 0.25 for name, value in answer.items()}

    monkeypatch.setattr(wrong, "_infer", off)
    source = make(tmp_path)
    done = run("mmcaf", "quantize", source, "--calibration", studies, "--method", "minmax", "--for", processor)
    if processor == "gpu":
        assert done.code == 0 and "int8" in held(source)
        return
    done.refused(5, "int8", "onnxruntime", "self-test", "0.1", "Nothing was written")
    assert set(held(source)) == {"fp32"}


@pytest.mark.full
def test_torch_is_one_of_them(run: Command, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchBackend, "_infer", lambda backend, window: {"logit": np.ones((1, 1), np.float32)})
    done = run("mmcaf", "quantize", make(tmp_path), "--precision", "fp16", "--calibration", studies)
    done.refused(5, "fp16", "torch", "self-test")


class StopError(Exception):
    """In the middle of the work."""


def _calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every window that a backend answers."""
    calls: list[str] = []
    for kind in (OpenVinoBackend, OnnxRuntimeBackend):
        real = kind._infer

        def infer(self: Any, window: Any, real: Any = real) -> Any:
            calls.append(self.name)
            return real(self, window)

        monkeypatch.setattr(kind, "_infer", infer)
    return calls


@pytest.mark.parametrize(
    ("precision", "phase", "at"),
    [("int8", "studies", 2), pytest.param("int8", "ways to take ranges", 1, marks=pytest.mark.full)],
    ids=["studies", "ranges"],
)
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, phase: str, at: int
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    kept, told = tmp_path / "cache" / "measurements", list[str]()
    whole, source = make(tmp_path / "whole"), make(tmp_path / "broken")
    given: dict[str, Any] = {"precisions": (precision,), "calibration": str(studies), "method": "minmax"}
    calls = _calls(monkeypatch)
    quantize_bundle(whole, **given)
    unbroken, left = len(calls), list(kept.iterdir())
    assert not left, "of what has come to its end nothing is kept"

    def stop(seen: str, done: int, total: int) -> None:
        if (seen, done) == (phase, at):
            raise StopError

    calls.clear()
    with pytest.raises(StopError):
        quantize_bundle(source, **given, progress=stop)
    before = len(calls)
    [journal] = kept.iterdir()
    with journal.open("ab") as stream:
        stream.write(b'\n["cut short", ')
    calls.clear()
    quantize_bundle(source, **given, tell=told.append)
    assert any("going on from an interrupted run" in line for line in told)
    assert len(calls) < unbroken and before + len(calls) <= unbroken + int8.SENSITIVITY_WINDOWS
    assert content(source) == content(whole) and not list(kept.iterdir())


@pytest.mark.parametrize(
    ("precision", "layers"),
    [
        ("int8", {"calibration windows", "windows", "ways to take ranges"}),
        pytest.param("bf16", {"layers in BF16"}, marks=pytest.mark.full),
    ],
    ids=["int8", "bf16"],
)
def test_progress_in_every_phase(studies: Path, tmp_path: Path, precision: str, layers: set[str]) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    source = make(tmp_path, bf16=IMPOSSIBLE)
    with nullcontext() if precision == "int8" else pytest.raises(ExportError):
        quantize_bundle(
            source,
            precisions=(precision,),
            calibration=str(studies),
            method="minmax",
            progress=lambda phase, done, total: seen.setdefault(phase, []).append((done, total)),
        )
    assert {"calibration studies", "studies", "self-tests"} | layers == set(seen)
    assert all(0 < done <= total for steps in seen.values() for done, total in steps)
    assert all(steps[-1][0] == steps[-1][1] for steps in seen.values())


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_network_that_the_demonstration_does_not_fit(run: Command, tmp_path: Path, precision: str) -> None:
    source = make_tiny_mr(tmp_path / "mr.mmcaf")
    outcome = run("mmcaf", "quantize", source, "--precision", precision)
    outcome.refused(2, "tiny", "demo:50000-50031", "--calibration=COHORT.csv", "first line is study,record, and")


def test_a_calibration_of_which_no_study_can_be_used(run: Command, studies: Path, tmp_path: Path) -> None:
    source = make_tiny_mr(tmp_path / "mr.mmcaf")
    outcome = run("mmcaf", "quantize", source, "--calibration", studies)
    outcome.refused(3, "cohort.csv", 3, "series0", "--calibration=COHORT.csv")


@pytest.mark.parametrize("units", [True, False], ids=["BF16 units", "none"])
def test_int8_with_bf16_maps(
    run: Command, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, units: bool
) -> None:
    """Judged as it runs where the processor has the units, and with rounded values elsewhere; FP32 answers always."""
    has_units = OpenVinoBackend.can_run("bf16").available
    give_units(monkeypatch, *(["BF16"] if units else []))
    source = make(tmp_path)
    chosen = ("--precision", "int8", "--precision", "int8-bf16")
    done = run("mmcaf", "quantize", source, *chosen, "--calibration", studies, "--method", "minmax")
    assert done.code == 0, done.err
    assert set(held(source)) == {"fp32", "int8", "int8-bf16"}
    facts = parse_accuracy((source / "accuracy.json").read_bytes()).precisions["int8-bf16"]
    judged = [one.configuration for one in facts.judged or ()]
    assert [one.backend for one in judged] == ["openvino", None] and {one.between for one in judged} == {"bf16"}
    assert facts.passed and 0 < facts.max_probability_difference < 0.1
    entry = load_bundle(source).manifest.provenance.int8_bf16
    assert entry is not None and (entry.between, entry.layers) == ("bf16", 2)
    network = onnx.load(source / "model.int8-bf16.onnx")
    onnx.checker.check_model(network, full_check=True)
    assert sum(node.op_type == "Cast" for node in network.graph.node) > 0
    assert "2 layers, ranges by minmax of cohort.csv, bf16 maps" in run("mmcaf", "inspect", source).out
    assert run("mmcaf", "verify", source).code == 0
    if units and has_units:
        with open_session(load_bundle(source), backend="openvino", precision="int8-bf16") as session:
            assert session.run_self_test().max_abs_error < 0.02
    elif not units:
        with pytest.raises(BackendError, match="no BF16 units"):
            open_session(load_bundle(source), precision="int8-bf16")
