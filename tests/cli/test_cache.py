"""`mmcaf cache list | clear`: what they print and remove, and what they leave alone."""

import json
import os
from pathlib import Path

import pytest

from command import Command
from engine.bundle.test_bundle import zip_folder
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.checkup.kept import cached_items
from mmcaf_engine.demo.phantom import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.outputs import new_staging_folder
from mmcaf_engine.outputs.leftovers import let_go

DAY = 86400


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMCAF_CACHE_LIMIT", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def filled(own_cache: Path, tiny_bundle: Path, tmp_path: Path) -> Path:
    """A cache with one engine, two self-tests and one unpacked bundle, and files that are none of these."""
    bundle = load_bundle(zip_folder(tiny_bundle, tmp_path / "tiny.zip"))
    for backend in ("openvino", "onnxruntime"):
        open_session(bundle, backend=backend, threads=2).close()
    for kind in ("engines", "self-tests", "bundles"):
        (own_cache / kind / "notes.txt").write_text("mine")
    (own_cache / "notes.txt").write_text("mine")
    return own_cache


def test_list(run: Command, filled: Path) -> None:
    outcome = run("mmcaf", "cache", "list")
    assert outcome.code == 0 and outcome.err == ""
    for said in ("tiny, openvino fp32, 2 threads", "tiny, onnxruntime fp32", "8,192.0 MiB"):
        assert said in outcome.out
    assert f"1 engine, 2 self-tests, 1 unpacked bundle in {filled}" in outcome.out
    assert "notes" not in outcome.out


def test_list_as_json(run: Command, filled: Path) -> None:
    document = json.loads(run("mmcaf", "cache", "list", "--json").out)
    assert document["folder"] == str(filled) and document["engines_limit_bytes"] == 8 * 2**30
    assert sorted(item["kind"] for item in document["items"]) == ["bundles", "engines", "self-tests", "self-tests"]
    assert document["total_bytes"] == sum(item["bytes"] for item in document["items"]) > 0
    assert all(item["last_used"].endswith("+00:00") for item in document["items"])


def test_list_of_nothing(run: Command, own_cache: Path) -> None:
    outcome = run("mmcaf", "cache", "list")
    assert outcome.code == 0 and f"nothing in {own_cache}" in outcome.out
    assert not own_cache.exists()


def test_list_says_what_it_does_not_recognise(run: Command, filled: Path) -> None:
    (item,) = cached_items(("engines",))
    (item.path / "entry.json").write_text("{")
    assert "not recognised" in run("mmcaf", "cache", "list").out


def test_clear_everything(run: Command, filled: Path) -> None:
    size = sum(item.size for item in cached_items()) / 2**20
    outcome = run("mmcaf", "cache", "clear")
    assert outcome.code == 0
    assert outcome.out == f"removed 1 engine, 2 self-tests, 1 unpacked bundle; {size:.1f} MiB freed\n"
    assert cached_items() == [] and len(list(filled.rglob("notes.txt"))) == 4


def test_clear_one_kind(run: Command, filled: Path) -> None:
    assert run("mmcaf", "cache", "clear", "--kind", "engines").out.startswith("removed 1 engine;")
    assert {item.kind for item in cached_items()} == {"self-tests", "bundles"}


def test_clear_what_is_old(run: Command, filled: Path) -> None:
    for item in cached_items(("self-tests",)):
        os.utime(item.path, (item.last_used - 3 * DAY, item.last_used - 3 * DAY))
    assert run("mmcaf", "cache", "clear", "--older-than", "4").out.startswith("removed nothing;")
    assert run("mmcaf", "cache", "clear", "--older-than", "2.5").out.startswith("removed 2 self-tests;")
    assert {item.kind for item in cached_items()} == {"engines", "bundles"}


def test_what_was_cleared_is_made_again(run: Command, filled: Path, tmp_path: Path) -> None:
    run("mmcaf", "cache", "clear")
    with open_session(load_bundle(tmp_path / "tiny.zip"), backend="openvino") as session:
        assert session.describe()["cache"] == "built, kept"


def test_what_cannot_be_removed_is_said(run: Command, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcaf_cli.cache.remove", lambda path: False)
    outcome = run("mmcaf", "cache", "clear", "--kind", "engines")
    assert outcome.code == 2 and outcome.out.startswith("removed nothing;")
    assert "error: 1 engine could not be removed" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [[], ["empty"], ["clear", "--kind", "patients"], ["clear", "--older-than", "-1"], ["clear", "--older-than", "x"]],
    ids=["no-command", "unknown-command", "unknown-kind", "negative-age", "text-age"],
)
def test_wrong_usage(run: Command, filled: Path, arguments: list[str]) -> None:
    before = cached_items()
    outcome = run("mmcaf", "cache", *arguments)
    assert outcome.code == 2 and outcome.out == "" and "mmcaf cache" in outcome.err
    assert cached_items() == before


@pytest.mark.parametrize("command", ["list", "clear"])
@pytest.mark.skipif(os.name != "posix", reason="access rights of POSIX")
def test_a_cache_that_others_may_write_to(run: Command, filled: Path, command: str) -> None:
    (filled / "engines").chmod(0o777)
    outcome = run("mmcaf", "cache", command)
    outcome.refused(2, str(filled / "engines"), "mode 777")


def test_a_wrong_limit(run: Command, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "lots")
    outcome = run("mmcaf", "cache", "list")
    outcome.refused(2, "$MMCAF_CACHE_LIMIT", "MiB", "'lots'")


def test_a_rebuilt_engine_is_one_line_on_stderr(run: Command, filled: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    phantom = make_phantom(0, size=64)
    write_series(phantom, tmp_path / "series")
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"sex": phantom.patient.sex, "age": phantom.patient.age}))
    answer = ("mmcaf-infer", tmp_path / "series", record, "--bundle", tiny_bundle, "--backend", "openvino")
    first = run(*answer, "--threads", 2)
    for item in cached_items(("engines",)):
        (item.path / "engine.bin").write_bytes(b"")
    again = run(*answer, "--threads", 2)
    (line,) = [line for line in again.err.splitlines() if "kept engine" in line]
    assert line.startswith("warning: The kept engine cannot be used: it has 0 bytes") and "built again" in line
    assert again.code == first.code == 0 and "kept engine" not in first.err


def test_what_a_living_process_writes_stays(run: Command, filled: Path) -> None:
    draft = new_staging_folder(filled / "engines")
    (draft / "engine.bin").write_bytes(b"half of it")
    outcome = run("mmcaf", "cache", "clear")
    assert outcome.code == 0 and (draft / "engine.bin").exists()
    assert "1 engine left, which another process is writing" in outcome.out and "1 engine, 2 self-tests" in outcome.out
    left = json.loads(run("mmcaf", "cache", "clear", "--json").out)["left"]
    assert [item["path"] for item in left] == [str(draft)]
    let_go(draft)
    assert "removed 1 engine" in run("mmcaf", "cache", "clear").out and not draft.exists()
