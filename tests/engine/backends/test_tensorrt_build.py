"""Engines of TensorRT without a GPU: what is built, from which types, and what every wrong input is told."""

import _thread
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from all_precisions import add_all_precisions
from gpu_machines import H200, RTX_4090, machine, running_on
from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt import flavour, timing_cache
from mmcaf_engine.backends.tensorrt.builder import build_engine
from mmcaf_engine.backends.tensorrt.conv_precision import Product, flops_by_precision, share_in
from mmcaf_engine.backends.tensorrt.engine_key import differences, engine_facts
from mmcaf_engine.backends.tensorrt.flavour import CapturedLog, Flavour, find_flavour, install_flavour
from mmcaf_engine.backends.tensorrt.network import parse_network
from mmcaf_engine.backends.tensorrt.targets import choose_targets, supported_targets
from mmcaf_engine.backends.tensorrt.turing import LOWER
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.cache.engines import EngineCache
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.machine.compute_capability import TURING, Target
from mmcaf_engine.manifest import Precision, TensorSpec
from mmcaf_engine.session import build_ahead as ahead
from mmcaf_engine.session import building
from mmcaf_engine.session.build_ahead import build_ahead, key_facts
from mmcaf_engine.session.building import products_of
from refusals import Fact, check_facts, refused
from small_networks import make_convolution_bundle

pytest.importorskip("tensorrt_rtx")

log = logging.getLogger(__name__)
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
TARGETS = ["sm_80", "sm_86", "sm_89", "sm_120"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration bundle in every precision; read it, do not change it."""
    return add_all_precisions(demo_bundle(), tmp_path_factory.mktemp("demo") / "demo.mmcaf")


@pytest.fixture(scope="module")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions, in every precision; read it, do not change it."""
    folder = tmp_path_factory.mktemp("small")
    return add_all_precisions(make_convolution_bundle(folder / "plain.mmcaf"), folder / "small.mmcaf", int8_share=0.5)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


def specs(*tensors: tuple[str, tuple[Any, ...]], kind: str = "volume") -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec.model_validate({"name": name, "kind": kind, "shape": shape}) for name, shape in tensors)


# What is built


@pytest.mark.parametrize(
    ("source", "precision"),
    [
        ("small_source", "fp16"),
        *(pytest.param("demo", precision, marks=pytest.mark.full) for precision in PRECISIONS),
    ],
)
def test_engines_for_every_target_are_found_by_a_session_there(
    source: str, precision: Precision, request: pytest.FixtureRequest
) -> None:
    bundle = load_bundle(request.getfixturevalue(source))
    made = build_ahead(bundle, precision, TARGETS)
    log.info("%s: %.1f MiB in %.1f s", precision, len(made.engine.plan) / 2**20, made.engine.seconds)
    assert [str(target) for target in made.targets] == TARGETS and made.not_kept is None
    cache = EngineCache(cache_folder("engines"), 1 << 40)
    for target in made.targets:
        kept = cache.load(key_facts(bundle, made.flavour, precision, target, None))
        assert kept is not None and bytes(kept.blob) == made.engine.plan
    assert cache.load(key_facts(bundle, made.flavour, precision, Target(12, 1), None)) is None


@pytest.mark.full
@pytest.mark.parametrize(("precision", "fed"), [("fp16", 12), ("int8", 94)], ids=["fp16", "int8"])
def test_turing_gets_an_engine_of_its_own(precision: Precision, fed: int, demo: Path) -> None:
    bundle = load_bundle(demo)
    made = build_ahead(bundle, precision, ["sm_75"])
    log.info("%s: %.1f MiB in %.1f s", precision, len(made.engine.plan) / 2**20, made.engine.seconds)
    assert made.engine.edit is not None and (made.engine.edit.lowered, made.engine.edit.summed) == (fed, 48)
    assert share_in(made.engine.products, precision) == 1.0
    kept = EngineCache(cache_folder("engines"), 1 << 40).load(key_facts(bundle, made.flavour, precision, TURING, None))
    assert kept is not None and bytes(kept.blob) == made.engine.plan


def test_turing_lacks_fp32_convolutions_and_says_so(demo: Path) -> None:
    with refused(BackendError, "sm_75", "FP32 3D convolution") as caught:
        build_ahead(load_bundle(demo), "fp32", ["sm_75"])
    assert caught.value.remedies == LOWER


@pytest.mark.parametrize(
    ("precision", "least"),
    [("fp32", 1.0), ("fp16", 0.9), ("bf16", 0.9), ("int8", 0.9)],
    ids=PRECISIONS,
)
def test_the_demo_computes_in_what_was_asked_for(precision: Precision, least: float, demo: Path) -> None:
    bundle = load_bundle(demo)
    found = products_of(bundle, precision, find_flavour())
    share = share_in(found, precision)
    log.info("%s: %.1f %% of the convolutions' operations, %s", precision, share * 100, flops_by_precision(found))
    assert share >= least
    graph = onnx.load(demo / bundle.manifest.models[precision]).graph
    assert [one.name for one in found if one.operator == "convolution"] == [
        node.name for node in graph.node if node.op_type == "Conv"
    ]
    arithmetic = sum(one.flops for one in found)
    assert bundle.manifest.provenance.flops is not None
    assert 0.9 < arithmetic / bundle.manifest.provenance.flops <= 1.0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_parsed_network_has_the_manifests_inputs_and_outputs(precision: Precision, demo: Path) -> None:
    manifest = load_bundle(demo).manifest
    network = parse_network(find_flavour(), demo / manifest.models[precision], manifest.inputs, manifest.outputs)
    found = {tensor.name: (tensor.dtype.name, tuple(tensor.shape)[1:]) for tensor in network.inputs + network.outputs}
    assert found == {spec.name: ("FLOAT", spec.shape[1:]) for spec in (*manifest.inputs, *manifest.outputs)}
    trt = network.flavour.module
    assert network.definition.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_operands_and_arithmetic_by_hand(small_source: Path) -> None:
    """Of two convolutions only the first is quantised; kernels 3x3x3, 1 to 8 and 8 to 8 channels, 4x16x16 voxels."""
    bundle, found = load_bundle(small_source), find_flavour()
    voxels = 4 * 16 * 16
    flops = {"first": 2 * voxels * 8 * 27, "second": 2 * voxels * 8 * 8 * 27, "seen": 2 * 8, "clinical": 2 * 2}
    expected: dict[Precision, tuple[str, str]] = {
        "fp32": ("FP32", "FP32"),
        "fp16": ("FP16", "FP16"),
        "bf16": ("BF16", "BF16"),
        "int8": ("INT8", "FP32"),
    }
    for precision, (first, second) in expected.items():
        products = products_of(bundle, precision, found)
        assert {one.name: one.flops for one in products} == flops
        convolutions = {one.name: one.operands for one in products if one.operator == "convolution"}
        assert convolutions == {"first": (first, first), "second": (second, second)}
    assert share_in(products, "int8") == pytest.approx(flops["first"] / (flops["first"] + flops["second"]))


@pytest.mark.parametrize(
    ("operands", "precision"),
    [(("INT8", "INT8"), "INT8"), (("INT8", "FP32"), "FP32"), (("FP16", "INT8"), "FP16"), (("FP32", "FP32"), "FP32")],
)
def test_a_product_is_in_int8_only_with_both_operands(operands: tuple[str, str], precision: str) -> None:
    one = Product("encoder.layer1/Conv", "convolution", operands, 10)
    assert (one.precision, one.module) == (precision, "encoder.layer1")
    assert flops_by_precision([one]) == {precision: 10}


def test_no_convolutions_are_all_in_the_precision() -> None:
    assert share_in([Product("head/Gemm", "matrix product", ("FP32", "FP32"), 10)], "fp16") == 1.0


# Building


def test_progress_counts_up_to_each_phases_end(small_source: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    manifest = load_bundle(small_source).manifest
    build_engine(
        find_flavour(),
        small_source / "model.onnx",
        manifest.inputs,
        manifest.outputs,
        precision="fp32",
        targets=(Target(8, 6),),
        progress=lambda *step: seen.append(step),
    )
    last = {phase: (done, total) for phase, done, total in seen}
    assert last and all(done == total > 0 for done, total in last.values())


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A job in the background starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_ends_the_build_and_leaves_nothing(small_source: Path) -> None:
    pressed: list[str] = []

    def press(phase: str, done: int, total: int) -> None:
        if not pressed:
            pressed.append(phase)
            # As by the key, but outside a signal handler: pytest's own, for crashes, gives handlers a stack so small
            # that on some processors the dynamic linker overflows it.
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        build_ahead(load_bundle(small_source), "fp32", ["sm_86"], progress=press)
    assert pressed and list(cache_folder("engines").iterdir()) == []


def test_a_failure_to_show_progress_ends_the_build(small_source: Path) -> None:
    def fail(*step: object) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        build_ahead(load_bundle(small_source), "fp32", ["sm_86"], progress=fail)


def test_what_is_built_again_replaces_what_was_kept(small_source: Path) -> None:
    bundle = load_bundle(small_source)
    made = build_ahead(bundle, "fp32", ["sm_86"])
    (made.kept[0] / "engine.bin").write_bytes(b"damaged")
    made = build_ahead(bundle, "fp32", ["sm_86"])
    assert (made.kept[0] / "engine.bin").read_bytes() == made.engine.plan
    products = json.loads((made.kept[0] / "precision.json").read_text())
    assert [one["name"] for one in products] == ["first", "second", "seen", "clinical"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=["full", "read-only", "denied"])
def test_a_cache_that_cannot_be_written(
    code: int, small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> str:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("mmcaf_engine.cache.engines.new_staging_folder", fail)
    with refused(UsageError, "engines", os.strerror(code)):
        build_ahead(load_bundle(small_source), "fp32", ["sm_86"])
    assert list(cache_folder("engines").iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "facts"),
    [("0", ("cache_limit", 0, "$MMCAF_CACHE_LIMIT")), ("FULL", ("limit", 0.000953674, "MiB"))],
)
def test_an_engine_that_cannot_be_kept(
    limit: str, facts: tuple[Fact, ...], small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "FULL":
        monkeypatch.setattr(ahead, "cache_limit", lambda: 1000)
    else:
        monkeypatch.setenv("MMCAF_CACHE_LIMIT", limit)
    bundle = load_bundle(small_source)
    with refused(UsageError, *facts):
        build_ahead(bundle, "fp32", ["sm_86"])
    made = build_ahead(bundle, "fp32", ["sm_86"], output=tmp_path / "package")
    assert made.kept == () and made.not_kept
    check_facts(made.not_kept, *facts)
    assert (tmp_path / "package" / "engine.plan").read_bytes() == made.engine.plan


def test_a_cache_folder_that_others_may_write_to_is_not_used(small_source: Path, tmp_path: Path) -> None:
    cache_folder("engines").chmod(0o777)
    with refused(UsageError, "engines", "mode 777"):
        build_ahead(load_bundle(small_source), "fp32", ["sm_86"])


# Wrong input


def broken(node: onnx.NodeProto, path: Path, constants: list[onnx.TensorProto] | None = None) -> Path:
    graph = helper.make_graph(
        [node],
        "broken",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants or [],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            helper.make_node("Frobnicate", ["x"], ["y"], name="block.3/Frobnicate"),
            "block.3/Frobnicate (Frobnicate)",
        ),
        (helper.make_node("Det", ["x"], ["y"], name="block.4/Det"), "block.4/Det (Det)"),
        (helper.make_node("Conv", ["x", "gone"], ["y"], name="block.5/Conv"), "block.5/Conv"),
    ],
    ids=["unknown", "unsupported", "missing-weight"],
)
def test_a_node_that_tensorrt_does_not_understand_is_named(node: onnx.NodeProto, said: str, tmp_path: Path) -> None:
    model = broken(node, tmp_path / "model.onnx")
    with refused(BackendError, "model.onnx", said):
        parse_network(find_flavour(), model, specs(("x", ("N", 4, 8, 8))), specs(("y", ("N", 4, 8, 8))))


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    with refused(BackendError, "model.onnx"):
        parse_network(find_flavour(), tmp_path / "model.onnx", (), ())


@pytest.mark.parametrize(
    ("inputs", "outputs", "facts"),
    [
        (specs(("z", ("N", 4))), specs(("y", ("N", 4))), ("inputs", "['x']", "['z']")),
        (specs(("x", ("N", 4))), specs(("w", ("N", 4))), ("outputs", "['y']", "['w']")),
        (specs(("x", ("N", 5))), specs(("y", ("N", 4))), ("x", "[-1, 4]", "['N', 5]")),
        (specs(("x", ("N", 4, 1))), specs(("y", ("N", 4))), ("x", "[-1, 4]", "['N', 4, 1]")),
    ],
    ids=["input", "output", "size", "rank"],
)
def test_another_network_than_the_manifests(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], facts: tuple[Fact, ...], tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], name="relu")],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    with refused(BackendError, *facts):
        parse_network(find_flavour(), tmp_path / "model.onnx", inputs, outputs)


def test_an_output_that_is_not_float32(tmp_path: Path) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], name="cast", to=TensorProto.FLOAT16)
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    with refused(BackendError, "y", "HALF", "float32"):
        parse_network(find_flavour(), tmp_path / "model.onnx", specs(("x", ("N", 4))), specs(("y", ("N", 4))))


def test_a_bundle_without_the_precision(tiny_bundle_source: Path) -> None:
    with refused(BackendError, "tiny", "fp16", "fp32") as caught:
        build_ahead(load_bundle(tiny_bundle_source), "fp16", ["sm_86"])
    assert caught.value.remedies[0].command == "mmcaf quantize BUNDLE --precision fp16"


@pytest.mark.parametrize("name", ["sm86", "86", "8.6", "sm_", "sm_8.6", "sm_86a", "rtx3090", "", "sm_99999", "sm_²8"])
def test_what_is_no_target(name: str) -> None:
    with refused(UsageError, repr(name)):
        Target.parse(name)


@pytest.mark.parametrize("name", ["sm_52", "sm_90", "sm_100"])
def test_a_target_that_the_flavour_does_not_know_is_refused_with_those_it_does(name: str) -> None:
    with refused(UsageError, name, "sm_75", "sm_80", "sm_86", "sm_89", "sm_120"):
        choose_targets(find_flavour("tensorrt_rtx"), ["sm_86", name])


def test_targets_are_sorted_and_each_once() -> None:
    chosen = choose_targets(find_flavour("tensorrt_rtx"), ["sm_120", "SM_86", "sm_86"])
    assert chosen == (Target(8, 6), Target(12, 0)) and [str(target) for target in chosen] == ["sm_86", "sm_120"]


def test_bf16_needs_units_for_it(small_source: Path) -> None:
    with refused(UsageError, "sm_75", "BF16", "sm_80"):
        build_ahead(load_bundle(small_source), "bf16", ["sm_75", "sm_86"])


def test_the_first_gpu_with_bf16_units_may_have_bf16(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "0")
    with refused(UsageError, "would be lost", option="output"):  # What is refused after the units.
        build_ahead(load_bundle(small_source), "bf16", ["sm_80"])


def test_without_a_target_the_gpu_at_hand_is_built_for(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is stood in for; that the engine cannot be loaded to report its layers does not stop the build."""
    gpu = SimpleNamespace(name="RTX A4000", driver="580.65.06", target=Target(8, 6), compute_capability="8.6")
    monkeypatch.setattr(ahead, "first_gpu", lambda: gpu)
    made = build_ahead(load_bundle(small_source), "fp16", [])
    assert made.targets == (Target(8, 6),) and len(made.kept) == 1


def test_a_gpu_that_the_flavour_does_not_know(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="H200", driver="580.65.06", target=Target(9, 0), compute_capability="9.0")
    monkeypatch.setattr(ahead, "first_gpu", lambda: gpu)
    with refused(UsageError, "sm_90", "sm_86") as caught:
        build_ahead(load_bundle(small_source), "fp16", [])
    assert caught.value.remedies[-1].command == install_flavour("tensorrt")


def test_for_the_gpu_at_hand_the_one_that_runs_on_it_builds(
    small_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that are installed."""
    asked: list[str] = []

    def build(flavour: Flavour, *arguments: Any, **options: Any) -> Any:
        asked.append(flavour.name)
        raise BackendError("not here")

    monkeypatch.setattr(building, "build_engine", build)
    for gpu in (H200, RTX_4090):
        with running_on(machine(gpu, tensorrt_rtx=True, tensorrt=True)), refused(BackendError):
            build_ahead(load_bundle(small_source), "fp16", [])
    assert asked == ["tensorrt", "tensorrt_rtx"]
    with running_on(machine(H200, tensorrt_rtx=True)), refused(UsageError, "sm_90", "tensorrt_rtx"):
        build_ahead(load_bundle(small_source), "fp16", [])


def test_a_version_that_is_needed_is_the_one_that_is_named() -> None:
    assert install_flavour("tensorrt", "11.4.0.106").startswith("pip install tensorrt-cu13==11.4.0.106 ")
    assert install_flavour("tensorrt_rtx", "1.6.1.120").startswith("pip install tensorrt-rtx-cu13==1.6.1.120 ")


def test_no_target_and_no_gpu(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "first_gpu", lambda: None)
    monkeypatch.setattr(ahead, "find_gpus", lambda: SimpleNamespace(reason="no NVIDIA driver"))
    with refused(BackendError, "GPU", "NVIDIA driver") as caught:
        build_ahead(load_bundle(small_source), "fp32", [])
    name, which = caught.value.remedies
    assert (name.option, name.value) == ("target", "sm_86") and which.command.startswith("nvidia-smi ")


# Flavours


def stand_in(version: str = "10.13.2.6") -> Any:
    """A module with as much of TensorRT as choosing and logging need."""

    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

    return SimpleNamespace(__version__=version, ILogger=Logger)


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        (None, ["pip install tensorrt-rtx-cu13", "pip install 'tensorrt-cu13>=10'"]),
        ("tensorrt_rtx", ["pip install tensorrt-rtx-cu13"]),
        ("tensorrt", ["pip install 'tensorrt-cu13>=10'"]),
    ],
)
def test_nothing_installed_names_the_command(
    name: str | None, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorrt_rtx", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, None)
    with refused(BackendError, "TensorRT") as caught:
        find_flavour(name)
    given = [remedy.command or "" for remedy in caught.value.remedies]
    assert [one.partition(" 'cuda")[0] for one in given] == commands


def test_the_other_one_is_taken_where_the_first_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in())
    found = find_flavour()
    assert (found.name, found.version, found.major, found.builds_ahead) == ("tensorrt", "10.13.2.6", 10, False)
    assert supported_targets(found) == ()
    with refused(UsageError, "tensorrt", "10.13.2.6", "sm_86", "GPU"):
        choose_targets(found, ["sm_86"])


def test_one_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in("8.6.1"))
    with refused(BackendError, "tensorrt", "8.6.1", 10):
        find_flavour("tensorrt")


def test_no_such_flavour() -> None:
    with refused(BackendError, "'tensorflow'"):
        find_flavour("tensorflow")


def test_errors_reach_those_who_listen_and_only_them(caplog: pytest.LogCaptureFixture) -> None:
    module = stand_in()
    captured = CapturedLog(module)
    severity = module.ILogger.Severity
    with caplog.at_level(logging.DEBUG, logger=flavour.__name__):
        captured.logger.log(severity.ERROR, "before")
        with captured.errors() as outer, captured.errors() as inner:
            captured.logger.log(severity.ERROR, "wrong")
            captured.logger.log(severity.WARNING, "odd")
        captured.logger.log(severity.INTERNAL_ERROR, "after")
    assert outer == inner == ["wrong"]
    assert [record.getMessage() for record in caplog.records] == ["before", "wrong", "odd", "after"]
    assert max(record.levelno for record in caplog.records) == logging.INFO


# Keys


def test_every_fact_changes_the_key() -> None:
    rtx = Flavour("tensorrt_rtx", "1.7.1", None)
    inputs, outputs = specs(("x", ("N", 4))), specs(("y", ("N", 1)))
    base = engine_facts(rtx, "fp16", Target(8, 6), inputs, outputs)
    others = [
        engine_facts(Flavour("tensorrt_rtx", "1.7.2", None), "fp16", Target(8, 6), inputs, outputs),
        engine_facts(rtx, "int8", Target(8, 6), inputs, outputs),
        engine_facts(rtx, "fp16", Target(12, 0), inputs, outputs),
        engine_facts(rtx, "fp16", Target(8, 6), specs(("x", ("N", 5))), outputs),
        engine_facts(rtx, "fp16", Target(8, 6), inputs, specs(("z", ("N", 1)))),
    ]
    assert all(len(differences(other, base)) == 1 for other in others)
    assert differences(others[0], base) == ["version 1.7.2 (1.7.1 is expected)"]
    assert differences(others[2], base) == ["compute capability sm_120 (sm_86 is expected)"]
    assert engine_facts(rtx, "fp16", Target(8, 6), inputs, outputs, gpu="any", driver="1.2") == base


def test_an_engine_of_tensorrt_belongs_to_one_gpu_and_driver() -> None:
    classic = Flavour("tensorrt", "10.13.2", None)
    tensors = specs(("x", ("N", 4)))
    with refused(BackendError, "GPU"):
        engine_facts(classic, "fp16", Target(8, 6), tensors, tensors)
    facts = engine_facts(classic, "fp16", Target(8, 6), tensors, tensors, gpu="RTX A4000", driver="580.65")
    other = engine_facts(classic, "fp16", Target(8, 6), tensors, tensors, gpu="RTX A5000", driver="590.1")
    assert differences(other, facts) == [
        "gpu RTX A5000 (RTX A4000 is expected)",
        "driver 590.1 (580.65 is expected)",
    ]


# Kernel times of TensorRT, whose configuration alone is stood in for


class Times:
    """As much of a builder's configuration as keeping times needs; it refuses what another version wrote."""

    def __init__(self) -> None:
        self.data: bytes | None = None

    def create_timing_cache(self, data: bytes) -> Any:
        return None if data.startswith(b"broken") else SimpleNamespace(data=data, serialize=lambda: data + b"+new")

    def set_timing_cache(self, times: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if times.data.startswith(b"other"):
            return False
        self.data = times.data
        return True

    def get_timing_cache(self) -> Any:
        return None if self.data is None else self.create_timing_cache(self.data)


@pytest.mark.parametrize(
    ("kept", "used"), [(None, b""), (b"times", b"times"), (b"broken", b""), (b"other version", b"")]
)
def test_kernel_times_are_used_or_measured_again(kept: bytes | None, used: bytes) -> None:
    file = timing_cache.timing_cache_file(Flavour("tensorrt", "10.13", None), "RTX A4000", "580")
    if kept is not None:
        file.write_bytes(kept)
    config = Times()
    timing_cache.read_timing_cache(config, file)
    assert config.data == used
    timing_cache.write_timing_cache(config, file)
    assert file.read_bytes() == used + b"+new" and len(list(file.parent.iterdir())) == 1


def test_each_gpu_and_driver_has_its_own_times() -> None:
    classic = Flavour("tensorrt", "10.13", None)
    files = {timing_cache.timing_cache_file(classic, *place) for place in (("A", "1"), ("B", "1"), ("A", "2"))}
    assert len(files) == 3
    assert {file.parent for file in files} == {cache_folder("kernels")}
