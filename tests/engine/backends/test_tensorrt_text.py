"""TensorRT with text inputs: engines for texts of any length, and a runner that gives each window its own."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fake_cuda import IMAGE, SCHEDULES, TABLE, DataType, FakeGpu, OnGpu, Schedule
from mmcaf_engine.backends.device_arrays import device_array
from mmcaf_engine.backends.tensorrt.builder import build_engine
from mmcaf_engine.backends.tensorrt.engine_key import engine_facts
from mmcaf_engine.backends.tensorrt.flavour import Flavour, find_flavour
from mmcaf_engine.backends.tensorrt.loading import Place
from mmcaf_engine.backends.tensorrt.network import parse_network
from mmcaf_engine.backends.tensorrt.runner import Runner
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cache.engines import ENGINES, EngineCache
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.manifest import TensorSpec
from mmcaf_engine.session.build_ahead import build_ahead, key_facts
from mmcaf_engine.session.trusting import trust_package
from refusals import refused
from tiny_bert import bert_network
from tiny_report import BUCKETS, make_tiny_report

TOKENS = TensorSpec(name="input_ids", kind="tokens", dtype="int64", shape=("N", "L"))
MASK = TensorSpec(name="attention_mask", kind="token_mask", dtype="int64", shape=("N", "L"))
LOGITS = TensorSpec(name="logit", kind="score", shape=("N", 3))
INPUTS = (
    TensorSpec(name="image", kind="volume", shape=("N", *IMAGE[1:])),
    TOKENS,
    TensorSpec(name="table", kind="table", shape=("N", *TABLE[1:])),
)
OUTPUTS = (TensorSpec(name="logit", kind="score", shape=("N", 1)),)
LENGTHS = (4, 8, 16)
PLACE = Place("model.onnx in fp32", "8.9", "580.65")


def runner(gpu: FakeGpu) -> Runner:
    return Runner(gpu.flavour, gpu.cuda(), b"plan", INPUTS, OUTPUTS, PLACE, lengths=LENGTHS)


def windows(lengths: tuple[int, ...]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        {
            "image": rng.integers(-9, 9, IMAGE).astype(np.float32),
            "input_ids": rng.integers(0, 99, (1, length)),
            "table": rng.integers(-9, 9, TABLE).astype(np.float32),
        }
        for length in lengths
    ]


def expected(window: dict[str, Any]) -> float:
    return float(window["image"].sum() + 2 * window["table"].sum() + 3 * window["input_ids"].sum())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rtx", [True, False], ids=["rtx", "classic"])
def test_each_window_has_a_text_of_its_own_length(schedule: Schedule, rtx: bool) -> None:
    gpu = FakeGpu(schedule, rtx=rtx, longest=16)
    opened = runner(gpu)
    given = windows((16, 1, 5, 16, 8))
    assert [answer["logit"].item() for answer in opened.run(given)] == [expected(window) for window in given]
    opened.close()


def test_every_length_is_warmed_up_and_no_graph_pretends_to_hold_for_all() -> None:
    gpu = FakeGpu(longest=16)
    opened = runner(gpu)
    assert gpu.launches == ["plain"] * (2 * len(LENGTHS))
    assert opened.graph == "plain launches: a graph would hold for texts of one length alone"
    opened.close()


def test_tokens_in_the_gpus_memory_are_read_where_they_lie() -> None:
    gpu = FakeGpu(longest=16)
    opened = runner(gpu)
    (window,) = windows((6,))
    there = {**window, "input_ids": device_array(OnGpu(gpu, window["input_ids"]), "input_ids")}
    gpu.calls.clear()
    assert opened.run([there])[0]["logit"].item() == expected(window)
    assert gpu.calls.count("cudaMemcpyAsync") == 3  # Two inputs and the output.
    opened.close()


def test_an_engine_whose_tokens_are_of_another_type_is_refused() -> None:
    gpu = FakeGpu(longest=16)
    gpu.flavour.module.Engine.types = {"input_ids": DataType.FLOAT}
    with refused(BackendError, "input_ids", "FLOAT", "[1, -1]", "INT64", "['N', 'L']"):
        runner(gpu)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "model.onnx"
    onnx.save(bert_network(longest=16), path)
    return path


@pytest.fixture(scope="module")
def rtx() -> Flavour:
    return find_flavour("tensorrt_rtx")


@pytest.mark.parametrize("target", [Target(8, 9), Target(12, 0)], ids=str)
def test_an_engine_is_built_for_texts_of_any_length(bert: Path, rtx: Flavour, target: Target) -> None:
    made = build_engine(rtx, bert, (TOKENS, MASK), (LOGITS,), precision="fp32", targets=(target,), lengths=LENGTHS)
    assert len(made.plan) > 10_000 and made.targets == (target,)


def test_a_network_with_a_fixed_length_is_refused(bert: Path, rtx: Flavour, tmp_path: Path) -> None:
    model = onnx.load(bert)
    for entry in model.graph.input:
        entry.type.tensor_type.shape.dim[1].dim_value = 16
    onnx.save(model, tmp_path / "fixed.onnx")
    with refused(BackendError, "input_ids", "[-1, 16]", "['N', 'L']"):
        parse_network(rtx, tmp_path / "fixed.onnx", (TOKENS, MASK), (LOGITS,))


def test_a_bundle_is_built_ahead_and_found_by_its_lengths(rtx: Flavour, tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_report(tmp_path / "tiny.mmcaf"))
    made = build_ahead(bundle, "fp32", ["sm_89"])
    assert len(made.kept) == 1
    facts = key_facts(bundle, rtx, "fp32", Target(8, 9), None)
    assert facts["lengths"] == list(BUCKETS)
    assert EngineCache(made.kept[0].parent, 2**30).load(facts) is not None


def test_a_packages_engine_is_found_by_its_lengths(
    rtx: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(make_tiny_report(tmp_path / "tiny.mmcaf"))
    package = build_ahead(bundle, "fp32", ["sm_89"], output=tmp_path / "engine").package
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "of another machine"))
    assert package is not None
    trust_package(package.folder, package.fingerprint)
    facts = key_facts(bundle, rtx, "fp32", Target(8, 9), None)
    assert EngineCache(ENGINES.folder(), 2**30).load(facts) is not None


def test_lengths_are_part_of_an_engines_key(rtx: Flavour) -> None:
    facts = [
        engine_facts(rtx, "fp32", Target(8, 9), (TOKENS, MASK), (LOGITS,), lengths=one) for one in (LENGTHS, (4, 16))
    ]
    assert facts[0] != facts[1]
