"""The C library opens networks as the Python engine does: the same bits, one cache of engines, the same refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.backends.openvino.operators import kernels_missing
from mmcaf_engine.bundle.bundle import load_bundle, write_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.bundle.golden import GOLDEN_NAME, read_cases
from mmcaf_engine.bundle.signature import SecretKey
from mmcaf_engine.session.session import open_session
from mmcaf_engine.volume import Arrays
from mmcaf_export.placement import place_bundle
from mmcaf_kernels.cpu.extension import extension
from mmcaf_kernels.cpu.openvino.placement import ENDING
from testing_library import call

needs_kernels = pytest.mark.skipif(kernels_missing() is not None, reason=f"no operators here: {kernels_missing()}")


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration with where kernels go."""
    return place_bundle(default_bundle().path, tmp_path_factory.mktemp("placed") / "placed.mmcaf").folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMCAF_KERNELS", raising=False)
    return tmp_path / "cache"


def opened(bundle: Path, **options: object) -> dict[str, Any]:
    """How the library opened a bundle, and "cases": of each stored case, the outputs; or its error."""
    kernels = {} if "kernels" in options or kernels_missing() else {"kernels": str(extension())}
    request = {"bundle": str(bundle), "threads": 1, **kernels, **options}
    found: dict[str, Any] = json.loads(call("mmcaf_testing_run_cases", json.dumps(request)))
    return {**found["opening"], "cases": found["cases"]} if "opening" in found else found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with an engine of the demonstration's network without kernels."""
    folder = tmp_path_factory.mktemp("kept")
    assert opened(default_bundle().path, kernels="", cache=str(folder))["cache"] == "built, kept"
    return folder


def by_python(path: Path) -> tuple[dict[str, Any], Arrays]:
    bundle = load_bundle(path)
    with open_session(bundle, backend="openvino", threads=1) as session:
        cases = read_cases(bundle, "fp32")
        inputs = {spec.name: cases[spec.name] for spec in bundle.manifest.inputs}
        return session.describe(), session.run(inputs, optional=True)


def same_bits(found: dict[str, Any], expected: Arrays) -> bool:
    return all(
        np.array([case[name] for case in found["cases"]], np.float32).tobytes() == array.tobytes()
        for name, array in expected.items()
    )


@needs_kernels
def test_it_loads_what_the_command_line_keeps_and_remembers_its_self_test(cache: Path) -> None:
    about, answers = by_python(default_bundle().path)
    found = opened(default_bundle().path)
    assert (found["cache"], found["cache_hit"], found["remembered"], found["fallback"]) == ("loaded", True, True, None)
    assert found["kernels"] == about["kernels"] and found["errors"] == about["self_test"]["errors"]
    assert same_bits(found, answers)


def test_the_command_line_loads_what_it_keeps(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(default_bundle().path, kernels="", cache=str(kept))
    assert (found["cache"], found["kernels"], found["remembered"]) == ("loaded", {}, True)
    monkeypatch.setenv("MMCAF_CACHE", str(kept))
    monkeypatch.setenv("MMCAF_KERNELS", "0")
    about, answers = by_python(default_bundle().path)
    assert (about["cache"], about["self_test"]["remembered"]) == ("loaded", True)
    assert about["self_test"]["errors"] == found["errors"] and same_bits(found, answers)


@needs_kernels
def test_a_bundle_that_says_where_kernels_go_is_built_as_python_builds_it(placed: Path, cache: Path) -> None:
    found = opened(placed)
    assert (found["cache"], found["fallback"]) == ("built, kept", None) and found["kernels"]
    (entry,) = (cache / "engines").glob("*/entry.json")
    assert json.loads(entry.read_text())["kernels"] == found["kernels"]
    about, answers = by_python(placed)
    assert about["cache"] == "loaded" and about["kernels"] == found["kernels"] and same_bits(found, answers)
    shutil.rmtree(cache)
    about, answers = by_python(placed)
    assert about["cache"] == "built, kept" and same_bits(found, answers)


@needs_kernels
def test_the_same_bundle_says_so_in_the_same_bytes(placed: Path, tmp_path: Path) -> None:
    again = place_bundle(placed, tmp_path / "again.mmcaf")
    assert again.sha256 == load_bundle(placed).sha256 and again.manifest.files.keys() >= {f"model.onnx{ENDING}"}


@needs_kernels
def test_without_that_it_runs_the_operators_of_openvino_and_says_so(kept: Path) -> None:
    found = opened(default_bundle().path, cache=str(kept))
    assert found["kernels"] == {} and "the bundle does not say where they go" in found["fallback"]
    assert found["fallback"] in found["log"][0]


@needs_kernels
@pytest.mark.parametrize(
    ("fact", "value", "why"),
    [
        ("openvino", "2020.1.0-1", "it serves OpenVINO 2020.1.0-1, not"),
        ("placing", "0" * 64, "it serves kernels of the state 00000"),
        ("model", "0" * 64, "it serves the model of SHA-256 00000"),
        ("format", 2, "it is of an unknown format"),
        ("nodes", {"3": ["Softmax", "none"]}, "OpenVINO has read another network"),
        ("edits", [["transpose", 7, [0]]], "an edit names a value that is not made yet"),
        ("edits", [["dance"]], "it has an unknown edit"),
        ("edits", [["convert"]], "an edit is cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)
def test_of_another_state_it_leaves_kernels_out(
    placed: Path, kept: Path, tmp_path: Path, fact: str, value: object, why: str
) -> None:
    folder = shutil.copytree(placed, tmp_path / "work")
    (folder / "manifest.json").unlink()
    file = folder / f"model.onnx{ENDING}"
    with np.load(file) as arrays:
        held = dict(arrays)
    document = json.loads(held["placement"].tobytes()) | {fact: value}
    held["placement"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(file, **held)
    fields = load_bundle(placed).manifest.model_dump(mode="json", exclude={"files"})
    found = opened(write_bundle(folder, fields, tmp_path / "changed.mmcaf").folder, cache=str(kept))
    assert found["kernels"] == {} and why in found["fallback"] and found["fallback"] in found["log"][0]


def test_a_damaged_engine_is_told_and_built_again(kept: Path, cache: Path) -> None:
    shutil.copytree(kept, cache)
    (engine,) = (cache / "engines").glob("*/engine.bin")
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(data)
    found = opened(default_bundle().path, kernels="")
    assert found["cache"].startswith("built again (The kept engine cannot be used: its SHA-256 is ")
    assert found["cache"].endswith(", kept") and "It is built again." in found["log"][0]
    assert opened(default_bundle().path, kernels="")["cache"] == "loaded"


def test_what_others_may_change_is_neither_loaded_nor_kept(cache: Path) -> None:
    (cache / "engines").mkdir(parents=True)
    (cache / "engines").chmod(0o777)
    found = opened(default_bundle().path, kernels="")
    assert "other users may write to the cache folder (mode 777)" in found["cache"] and found["cache"] in (
        f"built, not kept: {line.partition('each time. ')[2]}" for line in found["log"]
    )


def test_wrong_requests_are_refused_in_the_words_of_the_engine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = default_bundle().path
    found = opened(demo, precision="int8")
    assert (found["exit_code"], found["problem"]) == (6, "mmcaf-demo holds no int8 network; it holds fp32.")
    found = opened(demo, precision="fp64")
    assert (found["exit_code"], found["problem"]) == (2, "Unknown precision 'fp64'.")
    found = opened(demo, threads=-1)
    assert (found["exit_code"], found["problem"]) == (2, "-1 threads; at least 1 is needed, or 0 for all cores.")
    found = opened(demo, require_kept_engine=True, kernels="")
    assert found["exit_code"] == 6 and "No engine of mmcaf-demo in fp32 for 1 threads is kept" in found["problem"]
    found = opened(demo, kernels="/nowhere/kernels.so")
    assert found["exit_code"] == 6 and "/nowhere/kernels.so" in found["problem"]
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "much")
    found = opened(demo)
    expected = "$MMCAF_CACHE_LIMIT: expected a whole number of MiB from 0, got 'much'."
    assert (found["exit_code"], found["problem"]) == (2, expected)


def test_where_signatures_are_required_nothing_opens_without_a_key(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", "true")
    folder = shutil.copytree(default_bundle().path, tmp_path / "copy.mmcaf")
    found = opened(folder)
    assert found["exit_code"] == 5 and found["problem"].startswith(f"{folder}: not signed; only bundles")
    key, manifest = SecretKey.new(), folder / "manifest.json"
    (folder / "manifest.json.minisig").write_bytes(key.sign(manifest.read_bytes(), "release 1").file())
    found = opened(folder)
    assert found["exit_code"] == 5 and f"{key.public().name}, which is not trusted here; only" in found["problem"]


def test_a_network_that_answers_otherwise_than_is_stored_does_not_answer(cache: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(default_bundle().path, tmp_path / "work")
    (folder / "manifest.json").unlink()
    with np.load(folder / GOLDEN_NAME) as arrays:
        held = dict(arrays)
    held["logit"] = held["logit"] + np.float32(0.5)
    np.savez(folder / GOLDEN_NAME, **held)
    fields = load_bundle(default_bundle().path).manifest.model_dump(mode="json", exclude={"files"})
    found = opened(write_bundle(folder, fields, tmp_path / "other.mmcaf").folder, kernels="")
    assert found["exit_code"] == 6
    assert "its logit of a stored case is off by 0.5; at most 0.0001 is allowed" in found["problem"]
    assert not [*(cache / "engines").iterdir()]
