"""A session opens its backend with the engine that is kept, or builds, tests and keeps one."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.cache.engines import ENGINES
from mmcaf_engine.cancel import CancelToken
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.outputs import remove
from mmcaf_engine.session.opening import Opening, open_backend
from mmcaf_engine.session.session import Session, open_session


@pytest.fixture
def bundle(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    return load_bundle(tiny_bundle)


def opened(bundle: Bundle) -> dict[str, Any]:
    with open_session(bundle, backend="openvino", threads=1) as session:
        return session.describe()


def test_an_engine_that_is_built_again_is_tested_again(bundle: Bundle) -> None:
    first = opened(bundle)
    assert (first["cache"], first["self_test"]["remembered"]) == ("built, kept", False)
    kept = opened(bundle)
    assert (kept["cache"], kept["self_test"]["remembered"]) == ("loaded", True)
    for item in ENGINES.items():
        assert remove(item.path)
    again = opened(bundle)
    assert (again["cache"], again["self_test"]["remembered"]) == ("built, kept", False)


def test_an_engine_with_kernels_is_built_again_where_they_are_missing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And found again where they are back: it is kept by what its kernels were built from."""
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_fingerprint", lambda: "0123456789ab-avx2")
    assert [opened(bundle)["cache"] for _ in range(2)] == ["built, kept", "loaded"]
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_fingerprint", lambda: "none")
    assert opened(bundle)["cache"] == "built, kept"
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_fingerprint", lambda: "0123456789ab-avx2")
    assert opened(bundle)["cache"] == "loaded"


def test_the_kernels_of_a_kept_engine_are_known_without_asking_the_runtime(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def kernels(compiled: Any) -> dict[str, int]:
        asked.append(compiled)
        return {"msdc": 3, "max_pool": len(asked)}

    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_in", kernels)
    assert opened(bundle)["cache"] == "built, kept"
    asked.clear()
    kept = opened(bundle)
    assert (kept["cache"], kept["kernels"]) == ("loaded", {"msdc": 3, "max_pool": 1}) and not asked


def test_the_kernels_of_an_engine_are_asked_for_where_they_were_not_recorded(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(bundle)
    (item,) = ENGINES.items()
    entry = item.path / "entry.json"
    recorded = json.loads(entry.read_text())
    assert recorded.pop("kernels") == {}
    entry.write_text(json.dumps(recorded))
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_in", lambda compiled: {"msdc": 3})
    found = opened(bundle)
    assert (found["cache"], found["kernels"]) == ("loaded", {"msdc": 3})


def test_the_kernels_of_an_engine_that_is_refused_are_not_those_of_the_one_built_then(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_in", lambda compiled: {"msdc": 3})
    opened(bundle)

    def refuse(backend: OpenVinoBackend, engine: Any) -> None:
        raise RuntimeError("of another build")

    monkeypatch.setattr(OpenVinoBackend, "_import", refuse)
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_in", lambda compiled: {"max_pool": 1})
    found = opened(bundle)
    assert found["cache"].startswith("built again") and found["kernels"] == {"max_pool": 1}


def test_an_engine_of_the_same_bytes_is_tested_again_too(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells it from the one that has passed; what counts is that it was built anew."""
    monkeypatch.setattr(OpenVinoBackend, "_export", lambda backend, output: output.write(b"the same"))
    for _ in range(2):
        found = opened(bundle)
        assert (found["cache"], found["self_test"]["remembered"]) == ("built, kept", False)
        for item in ENGINES.items():
            assert remove(item.path)


def test_a_session_that_nobody_waits_for_any_more_is_closed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, closed, token = threading.Event(), threading.Event(), CancelToken()

    def slow(bundle: Bundle, backend: Backend, **given: Any) -> Opening:
        opening = open_backend(bundle, backend, **given)
        token.cancel()
        go_on.wait(30)
        return opening

    monkeypatch.setattr("mmcaf_engine.session.session.open_backend", slow)
    monkeypatch.setattr(Session, "close", lambda session: closed.set())
    with pytest.raises(CancelledError):
        open_session(bundle, backend="onnxruntime", cancel=token)
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(30)


def test_an_unusable_engine_that_stays_is_in_the_way_of_a_new_one(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(bundle)
    [item] = ENGINES.items()
    [engine] = [file for file in item.path.rglob("*") if file.is_file() and file.suffix != ".json"]
    engine.write_bytes(b"damaged")
    monkeypatch.setattr("mmcaf_engine.session.opening.EngineCache.remove", lambda cache, facts: False)
    found = opened(bundle)
    assert not found["cache_hit"] and found["self_test"]["passed"]
    assert found["cache"].startswith("built again (") and found["cache"].endswith("the old one is in the way")
    assert engine.read_bytes() == b"damaged"
