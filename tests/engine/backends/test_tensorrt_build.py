"""Engines of TensorRT that are built without a GPU: for which they are kept, and how building ends."""

import _thread
import errno
import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt.builder import build_engine
from mmcaf_engine.backends.tensorrt.conv_precision import share_in
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.backends.tensorrt.turing import LOWER
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.cache.engines import EngineCache
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.machine.compute_capability import TURING, Target
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session import build_ahead as ahead
from mmcaf_engine.session.build_ahead import build_ahead, key_facts
from refusals import Fact, check_facts, refused

pytest.importorskip("tensorrt_rtx")


log = logging.getLogger(__name__)


PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")


TARGETS = ["sm_80", "sm_86", "sm_89", "sm_120"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


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


def test_a_bundle_without_the_precision(tiny_bundle_source: Path) -> None:
    with refused(BackendError, "tiny", "fp16", "fp32") as caught:
        build_ahead(load_bundle(tiny_bundle_source), "fp16", ["sm_86"])
    assert caught.value.remedies[0].command == "mmcaf quantize BUNDLE --precision fp16"


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


# What is kept


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
