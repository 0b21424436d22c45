"""`mmcaf doctor` where something is broken: it is said once, and what this machine would run is said all the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from command import Command
from mmcaf_engine.bundle.bundle import MANIFEST_NAME, load_bundle
from mmcaf_engine.session.session import open_session

Break = Callable[[pytest.MonkeyPatch, Path, Path], str]
"""Breaks something, given a folder for the configuration and a sound bundle; returns what must be said, once."""


def config(text: str, said: str) -> Break:
    def write(patch: pytest.MonkeyPatch, folder: Path, bundle: Path) -> str:
        (folder / "mmcaf-infer").mkdir()
        (folder / "mmcaf-infer" / "config.toml").write_text(text)
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        return said

    return write


def variable(name: str, value: str, said: str) -> Break:
    def change(patch: pytest.MonkeyPatch, folder: Path, bundle: Path) -> str:
        patch.setenv(name, value)
        return said

    return change


def damaged(file: str, content: bytes, said: str) -> Break:
    def write(patch: pytest.MonkeyPatch, folder: Path, bundle: Path) -> str:
        (bundle / file).write_bytes(content)
        patch.setenv("MMCAF_BUNDLE", str(bundle))
        return said

    return write


def no_cache_folder(patch: pytest.MonkeyPatch, folder: Path, bundle: Path) -> str:
    (folder / "file").touch()
    patch.setenv("MMCAF_CACHE", str(folder / "file" / "cache"))
    return "cannot make the cache folder"


def damaged_trust_store(patch: pytest.MonkeyPatch, folder: Path, bundle: Path) -> str:
    (folder / "mmcaf-infer").mkdir()
    (folder / "mmcaf-infer" / "trusted.json").write_text("{}}")
    patch.setenv("XDG_CONFIG_HOME", str(folder))
    return "trusted.json: not JSON"


BROKEN: dict[str, Break] = {
    "unknown key": config("chache = '/x'", "unknown key 'chache'"),
    "not TOML": config("bundle =", "not TOML"),
    "wrong type": config("cache = 3", "expected a path in quotes"),
    "wrong variable": variable("MMCAF_CACHE_LIMIT", "-3", "expected a whole number of MiB"),
    "no such bundle": variable("MMCAF_BUNDLE", "/nowhere/lung.mmcaf", "no such"),
    "damaged model": damaged("model.onnx", b"", "0 bytes"),
    "damaged manifest": damaged(MANIFEST_NAME, b"{", "not JSON"),
    "no cache": no_cache_folder,
    "not signed": variable("MMCAF_REQUIRE_SIGNATURE", "1", "not signed"),
    "a damaged trust store": damaged_trust_store,
}


@pytest.fixture(autouse=True)
def of_backends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("_packages", "_decoders", "_gpus"):  # Slow, and the same here.
        monkeypatch.setattr(f"mmcaf_engine.checkup.doctor.{other}", list)


@pytest.fixture(scope="module")
def taken(tiny_bundle_source: Path) -> str:
    """What a session takes here, which no bundle decides."""
    with open_session(load_bundle(tiny_bundle_source)) as session:
        return f"{session.backend} {session.precision} on {session.device}"


@pytest.mark.parametrize("broken", BROKEN)
def test_it_is_said_once_and_what_would_run_too(
    broken: str, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Path, taken: str
) -> None:
    (tmp_path / "config").mkdir()
    said = BROKEN[broken](monkeypatch, tmp_path / "config", tiny_bundle)
    outcome = run("mmcaf", "doctor")
    problems = broken != "no cache"
    assert outcome.code == (6 if problems else 0)
    shown = " ".join(f"{outcome.out} {outcome.err}".split())
    assert shown.count(said) == 1, shown
    assert outcome.out.startswith(("PROBLEM bundle default:", "PROBLEM settings ")) is problems
    listed = run("mmcaf", "doctor", "--all").out
    assert " ".join(listed.split()).count(said) == 1, listed
    assert shown.count("PROBLEM") == problems and ("1 problem(s)" in shown) is problems
    assert "warning" not in outcome.err
    assert f"will run auto: {taken}, " in shown


FILED = {
    "unknown key": "settings config.toml",
    "wrong variable": "settings cache_limit",
    "a damaged trust store": "settings trusted keys",
    "damaged manifest": "bundle default",
}


@pytest.mark.parametrize("broken", FILED)
@pytest.mark.parametrize("quick", [False, True], ids=["doctor", "quick check"])
def test_it_is_filed_under_what_is_broken(
    broken: str,
    quick: bool,
    run: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_bundle: Path,
) -> None:
    """Once, although what reads it is refused as well."""
    monkeypatch.setattr("mmcaf_engine.checkup.quick_check.MEASURE_SECONDS", 0.0)
    (tmp_path / "config").mkdir()
    said = BROKEN[broken](monkeypatch, tmp_path / "config", tiny_bundle)
    monkeypatch.setenv("COLUMNS", "72")
    outcome = run("mmcaf", "doctor", *(["--quick-check"] if quick else []))
    shown = " ".join(outcome.out.split())
    assert outcome.code == 6 and shown.count("PROBLEM") == 1 == shown.count(said), outcome.out
    assert shown.startswith(f"PROBLEM {FILED[broken]}: ") and f": {FILED[broken]}." in outcome.err
    assert all(len(line) <= 72 or len(line.removesuffix(" \\").split()) <= 2 for line in outcome.out.splitlines())


def test_where_no_bundle_is_sound_that_is_said_once_too(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not even the demonstration is."""
    (tmp_path / MANIFEST_NAME).write_text("{")
    monkeypatch.setattr("mmcaf_engine.bundle.default.demo_bundle", lambda: tmp_path)
    outcome = run("mmcaf", "doctor")
    shown = " ".join(outcome.out.split())
    assert outcome.code == 6 and shown.count("not JSON") == 1
    assert "will run auto: not known until there is a sound bundle" in shown


@pytest.mark.parametrize("columns", [40, 60, 79])
def test_a_narrow_terminal(columns: int, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_BUNDLE", str(tmp_path / "there-is-none.mmcaf"))
    monkeypatch.setenv("COLUMNS", str(columns))
    listed = run("mmcaf", "doctor", "--all").out.splitlines()
    lines = run("mmcaf", "doctor").out.splitlines()
    assert all(len(line) <= columns or len(line.split()) <= 2 for line in [*lines, *listed])
    monkeypatch.setenv("COLUMNS", "100")
    wide = run("mmcaf", "doctor").out.split()
    assert {word for line in lines[:-1] for word in line.split()} - {"\\"} <= {*wide}
