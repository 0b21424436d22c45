"""A bundle's files are changed while they are read: what answers is what was hashed, or nothing does."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends_here import backends
from engine.bundle.test_bundle import zip_folder
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.bundle import hashing
from mmcaf_engine.bundle.bundle import load_bundle, write_bundle
from mmcaf_engine.cache.engines import ENGINES
from mmcaf_engine.checkup.verify import verify_bundle
from mmcaf_engine.errors import BundleError, MmcafError
from mmcaf_engine.outputs import remove
from mmcaf_engine.record.tokenizer import open_tokenizer
from mmcaf_engine.session.choice import backend_for
from mmcaf_engine.session.copies import hold
from mmcaf_engine.session.session import open_session
from mmcaf_engine.session.tune import one_window
from mmcaf_engine.volume import Arrays
from refusals import Fact, refused
from tampering import forge, tampered, with_weights_beside
from tiny_bundle import tiny_manifest
from tiny_parts import make_tiny_parts
from tiny_report import make_tiny_report

MODEL = "model.onnx"
EVERY = pytest.mark.parametrize("backend", list(backends()))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


def forget_engines() -> None:
    for item in ENGINES.items():
        assert remove(item.path)


def answer(folder: Path, backend: str) -> Arrays:
    bundle = load_bundle(folder)
    with open_session(bundle, backend=backend, threads=1) as session:
        return session.run(one_window(bundle))


def assert_same(found: Arrays, expected: Arrays) -> None:
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def swap_once_hashed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Let the model be another one as soon as it was hashed; gives the names of what was hashed since."""
    names: list[str] = []
    check = hashing.check_digest

    def then_swap(digest: str, name: str, *rest: Any, **named: Any) -> None:
        check(digest, name, *rest, **named)
        names.append(name)
        if name == MODEL:
            (folder / MODEL).write_bytes(tampered((folder / MODEL).read_bytes()))

    monkeypatch.setattr(hashing, "check_digest", then_swap)
    return names


def pass_self_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the golden cases did not show what was changed."""
    found = "mmcaf_engine.session.self_test.largest_errors"
    monkeypatch.setattr(found, lambda manifest, infer, cases: {spec.name: 0.0 for spec in manifest.outputs})


@EVERY
def test_what_was_swapped_once_it_was_hashed_neither_answers_nor_is_kept(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    genuine, expected = (tiny_bundle / MODEL).read_bytes(), answer(tiny_bundle, backend)
    forget_engines()
    with monkeypatch.context() as patch:
        names = swap_once_hashed(patch, tiny_bundle)
        pass_self_tests(patch)
        assert_same(answer(tiny_bundle, backend), expected)
        assert MODEL in names and (tiny_bundle / MODEL).read_bytes() != genuine
    (tiny_bundle / MODEL).write_bytes(genuine)
    assert_same(answer(tiny_bundle, backend), expected)


@EVERY
def test_a_second_session_of_one_bundle_reads_the_model_anew(tiny_bundle: Path, backend: str) -> None:
    bundle = load_bundle(tiny_bundle)
    open_session(bundle, backend=backend, threads=1).close()
    forget_engines()
    (tiny_bundle / MODEL).write_bytes(tampered((tiny_bundle / MODEL).read_bytes()))
    with refused(BundleError, "tiny.mmcaf", MODEL, "SHA-256"):
        open_session(bundle, backend=backend, threads=1)


def test_golden_cases_are_read_anew(tiny_bundle: Path) -> None:
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as session:
        assert session.run_self_test().passed
        data = bytearray((tiny_bundle / "golden.npz").read_bytes())
        data[len(data) // 2] ^= 1
        (tiny_bundle / "golden.npz").write_bytes(data)
        with refused(BundleError, "tiny.mmcaf", "golden.npz", "SHA-256"):
            session.run_self_test()


def test_the_vocabulary_is_read_anew(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    bundle = load_bundle(make_tiny_report(tmp_path / "report.mmcaf"))
    assert bundle.manifest.text is not None and open_tokenizer(bundle) is not None
    vocabulary = bundle.folder / bundle.manifest.text.vocabulary
    vocabulary.write_bytes(vocabulary.read_bytes().swapcase())
    with refused(BundleError, "report.mmcaf", vocabulary.name, "SHA-256"):
        open_tokenizer(bundle)


def test_whoever_opens_a_backend_gets_what_was_hashed(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, expected = load_bundle(tiny_bundle), answer(tiny_bundle, "onnxruntime")
    window = one_window(bundle)
    with open_session(bundle, backend="onnxruntime", threads=1) as session:
        choice = session.choice
        with monkeypatch.context() as patch:
            swap_once_hashed(patch, tiny_bundle)
            layers = session.layers()
            with layers:
                assert_same(layers.infer(window), expected)
        with refused(BundleError, MODEL, "SHA-256"):
            session.layers().open()
    with refused(BundleError, MODEL, "SHA-256"), backend_for(bundle, choice, threads=1):
        pass
    with refused(BundleError, MODEL, "SHA-256"):
        verify_bundle(bundle)


@contextmanager
def swapping(place: Path, contents: list[bytes]) -> Iterator[None]:
    """Another file at a place every moment, until the block ends."""
    files = [place.with_name(f"{number}.swapped") for number in range(len(contents))]
    end = threading.Event()

    def swap() -> None:
        at = 0
        while not end.is_set():
            file = files[at % len(files)]
            file.write_bytes(contents[at % len(files)])
            file.replace(place)
            at += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_a_model_that_changes_all_the_time(tiny_bundle: Path) -> None:
    genuine, expected = (tiny_bundle / MODEL).read_bytes(), answer(tiny_bundle, "onnxruntime")
    bundle, outcomes = load_bundle(tiny_bundle), []
    window = one_window(bundle)
    with swapping(tiny_bundle / MODEL, [genuine, tampered(genuine)]):
        for _ in range(60):
            try:
                with open_session(bundle, backend="onnxruntime", threads=1) as session:
                    assert_same(session.run(window), expected)
                    outcomes.append("answered")
            except BundleError:
                outcomes.append("refused")
    assert {"answered", "refused"} == set(outcomes)


@EVERY
def test_weights_beside_a_model_answer_as_those_within(tiny_bundle: Path, backend: str) -> None:
    expected = answer(tiny_bundle, backend)
    model, weights = with_weights_beside((tiny_bundle / MODEL).read_bytes(), f"{MODEL}.data")
    forge(tiny_bundle, MODEL, model)
    forge(tiny_bundle, f"{MODEL}.data", weights)
    assert_same(answer(tiny_bundle, backend), expected)
    (tiny_bundle / f"{MODEL}.data").write_bytes(bytes(len(weights)))
    forget_engines()
    with refused(BundleError, "tiny.mmcaf", f"{MODEL}.data", "SHA-256"):
        answer(tiny_bundle, backend)


def test_what_was_loaded_from_other_weights_is_released(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, weights = with_weights_beside((tiny_bundle / MODEL).read_bytes(), f"{MODEL}.data")
    forge(tiny_bundle, MODEL, model)
    forge(tiny_bundle, f"{MODEL}.data", weights)
    (tiny_bundle / f"{MODEL}.data").write_bytes(weights[::-1])
    bundle = load_bundle(tiny_bundle)
    released: list[OnnxRuntimeBackend] = []
    monkeypatch.setattr(OnnxRuntimeBackend, "_close", lambda self: released.append(self))
    with refused(BundleError, "tiny.mmcaf", f"{MODEL}.data", "SHA-256"):
        open_session(bundle, backend="onnxruntime", threads=1)
    assert len(released) == 1 and not released[0].is_open


PLACES: dict[str, Callable[[Path], tuple[str, Path]]] = {
    "not listed": lambda folder: ("other.data", folder / "other.data"),
    "beside the bundle": lambda folder: ("../other.data", folder.parent / "other.data"),
    "an absolute path": lambda folder: (str(folder / "other.data"), folder / "other.data"),
    "by a detour": lambda folder: (f"../{folder.name}/{MODEL}.data", folder / f"{MODEL}.data"),
    "another listed file": lambda folder: ("golden.npz", folder / "unread.data"),
    "no name": lambda folder: ("", folder / "unread.data"),
    "back slashes": lambda folder: (".\\model.onnx.data", folder / ".\\model.onnx.data"),
}


@EVERY
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_weights_that_are_not_listed_are_never_read(
    tiny_bundle: Path, place: Callable[[Path], tuple[str, Path]], backend: str
) -> None:
    location, file = place(tiny_bundle)
    model, weights = with_weights_beside((tiny_bundle / MODEL).read_bytes(), location)
    file.write_bytes(weights)
    forge(tiny_bundle, MODEL, model)
    facts: tuple[Fact, ...] = ("tiny.mmcaf", MODEL, repr(location), "weights")
    with refused(BundleError, *facts):
        open_session(load_bundle(tiny_bundle), backend=backend)
    (tiny_bundle / "manifest.json").unlink()
    file.unlink()
    with refused(BundleError, "new.mmcaf", *facts[1:]):
        write_bundle(tiny_bundle, tiny_manifest(), tiny_bundle.with_name("new.mmcaf"))
    assert not tiny_bundle.with_name("new.mmcaf").exists()


def test_a_damaged_model_is_no_foreign_error(tiny_bundle: Path) -> None:
    forge(tiny_bundle, MODEL, b"\x3a\xff\x01location")
    with refused(BundleError, MODEL, "not an ONNX model"):
        open_session(load_bundle(tiny_bundle), backend="onnxruntime")


@EVERY
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_what_a_runtime_says_of_its_copy_is_said_of_the_bundle(
    tiny_bundle: Path, tmp_path: Path, backend: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy lies in a folder that nobody can find again; its path may be long enough to hide the reason."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / ("long" * 40)))
    forge(tiny_bundle, MODEL, b"no model")
    shown = tiny_bundle if form == "folder" else zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    with pytest.raises(MmcafError) as caught:
        open_session(load_bundle(shown), backend=backend)
    said = f"{caught.value}{caught.value.__cause__}"
    assert MODEL in said and ".staging" not in said and "longlong" not in said
    named = re.findall(rf'[^\s"]*/{MODEL}', caught.value.problem)  # Some runtimes name none.
    assert set(named) <= {f"{shown}/{MODEL}"}


def test_the_copy_of_a_part_is_named_so_too(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_parts(tmp_path / "parts.mmcaf"))
    told = []
    for failure in (ValueError("a", 3), BundleError("b", "Do so.")):
        with pytest.raises(type(failure)) as caught, hold(bundle, "fp32")(bundle.folder / "model.text.onnx") as copy:
            failure.args = (f"{copy} and {copy.parent}/other", *failure.args[1:])
            if isinstance(failure, MmcafError):
                failure.problem = failure.args[0]
            raise failure
        told.append(str(caught.value.args[0]))
        assert caught.value.args[1:] == failure.args[1:] and len(caught.value.args) == 2
    assert told == [f"{bundle.folder}/model.text.onnx and {bundle.folder}/other"] * 2
    assert str(caught.value) == f"{told[0]} Do so."
