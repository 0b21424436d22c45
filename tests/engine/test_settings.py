"""Settings: the environment before config.toml, each wrong value told by name, and no home folder that is no crash."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command import Command
from import_rules import PACKAGES
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.errors import UsageError
from mmcaf_engine.session.session import open_session
from mmcaf_engine.settings import KEYS, child_environment, config_file, debug, read_settings
from refusals import Fact, refused

MIB = 2**20


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of ours, and an empty home folder."""
    for name in (
        "MMCAF_BUNDLE",
        "MMCAF_CACHE",
        "MMCAF_CACHE_LIMIT",
        "MMCAF_OPEN_TIMEOUT",
        "MMCAF_DEBUG",
        "MMCAF_REQUIRE_SIGNATURE",
        "MMCAF_ALLOW_OLDER_RELEASE",
        "MMCAF_KERNELS",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / ".config" / "mmcaf-infer" / "config.toml"
    file.parent.mkdir(parents=True)
    return file


def without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user id that the system does not know, in a container."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", home)


def test_nothing_set(tmp_path: Path) -> None:
    found = read_settings()
    assert found.bundle is None and found.cache_limit == 8192 * MIB and not debug()
    assert found.open_timeout == 60
    assert not found.require_signature and not found.allow_older_release and found.kernels
    assert found.cache == tmp_path / ".cache" / "mmcaf-infer"
    assert found.config == tmp_path / ".config" / "mmcaf-infer" / "config.toml"
    assert found.origins == dict.fromkeys(KEYS, "default")


def test_the_file(config: Path, tmp_path: Path) -> None:
    config.write_text(
        '\ufeffbundle = "lung.mmcaf"  # beside this file\ncache = "~/kept"\ncache_limit = 20\nopen_timeout = 7\n'
        "require_signature = true\nallow_older_release = true\nkernels = false"
    )
    found = read_settings()
    assert found.bundle == config.parent / "lung.mmcaf"
    assert found.cache == tmp_path / "kept" and cache_folder("engines") == tmp_path / "kept" / "engines"
    assert (found.cache_limit, found.open_timeout) == (20 * MIB, 7)
    assert found.require_signature and found.allow_older_release and not found.kernels
    assert found.origins == dict.fromkeys(KEYS, str(config))


def test_a_bundle_is_relative_to_the_file_and_not_to_where_one_stands(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('bundle = "../models/lung.mmcaf"')
    monkeypatch.chdir(tmp_path)
    assert read_settings().bundle == config.parent / ".." / "models" / "lung.mmcaf"


def test_the_environment_comes_first(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_OPEN_TIMEOUT", "0")
    config.write_text('bundle = "a.mmcaf"\ncache = "/a"\ncache_limit = 1\nopen_timeout = 5\nrequire_signature = true')
    monkeypatch.setenv("MMCAF_BUNDLE", "~/b.mmcaf")
    monkeypatch.setenv("MMCAF_CACHE", "b")
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "0")
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", "0")
    monkeypatch.setenv("MMCAF_ALLOW_OLDER_RELEASE", "true")
    monkeypatch.setenv("MMCAF_KERNELS", "0")
    found = read_settings()
    assert (found.bundle, found.cache, found.cache_limit) == (tmp_path / "b.mmcaf", Path("b"), 0)
    assert found.open_timeout == 0
    assert (found.require_signature, found.allow_older_release, found.kernels) == (False, True, False)
    assert found.origins == {name: f"$MMCAF_{name.upper()}" for name in KEYS}


def test_an_empty_variable_is_none(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("cache_limit = 3")
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert read_settings().cache_limit == 3 * MIB and read_settings().cache is not None


def test_xdg_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/of-mine")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/not/valid")
    found = read_settings()
    assert found.cache == Path("/var/tmp/of-mine/mmcaf-infer")
    assert found.config == tmp_path / ".config" / "mmcaf-infer" / "config.toml"


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ('bundel = "lung.mmcaf"', ("'bundel'", "bundle", "cache", "cache_limit")),
        ('bundle = "a"\n[engine]\nthreads = 3', ("'engine'", "bundle")),
        ("a = 1\nb = 2\nc = 3", (3, "'a'", "'b'", "'c'")),
        ('"\\u001b[2J" = 1', ("'\\x1b[2J'", "bundle")),
        ("bundle = 3", ("bundle", 3)),
        ('bundle = ""', ("bundle", "''")),
        ("bundle = ['lung.mmcaf']", ("bundle", "list")),
        ("bundle.path = 'lung.mmcaf'", ("bundle", "table")),
        ('bundle = "a\\u0000b"', ("bundle", "'a\\x00b'")),
        ("cache = true", ("cache", "true")),
        ('cache = "~nobody-of-this-name/x"', ("cache", "home folder")),
        ('cache_limit = "8 GiB"', ("cache_limit", "MiB", 0, "'8 GiB'")),
        ("open_timeout = -1", ("open_timeout", "seconds", 0, -1)),
        ("cache_limit = -1", ("cache_limit", "MiB", 0, -1)),
        ("cache_limit = 1.5", ("cache_limit", "MiB", 0, 1.5)),
        ("cache_limit = nan", ("cache_limit", "MiB", 0, "nan")),
        ("cache_limit = true", ("cache_limit", "MiB", 0, "true")),
        (f"cache_limit = {'9' * 18}", ("cache_limit", "MiB", 0, "999999999999999999")),
        (f"cache_limit = {'9' * 5000}", ("TOML",)),
        ("cache_limit = 2026-11-21", ("cache_limit", "MiB", 0, "datetime.date(2026, 11, 21)")),
        ("cache_limit", ("TOML",)),
        ("require_signature = 1", ("require_signature", "true or false", 1)),
        ('require_signature = "false"', ("require_signature", "true or false", "'false'")),
        ("cache_limit = 1\ncache_limit = 2", ("TOML",)),
        ("\x00", ("TOML",)),
        ("a = " + "[" * 5000, ("nested",)),
        ("#" * 70_000, ("64 KiB",)),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_wrong_file_is_told_by_name(config: Path, text: str, facts: tuple[Fact, ...]) -> None:
    config.write_text(text)
    with refused(UsageError, str(config), *facts) as caught:
        read_settings()
    assert len(str(caught.value)) < 500 and caught.value.exit_code == 2


def test_a_file_that_is_not_text(config: Path) -> None:
    config.write_bytes(b'bundle = "\xff"')
    with refused(UsageError, str(config), "UTF-8"):
        read_settings()


@pytest.mark.skipif(os.name != "posix", reason="FIFOs of POSIX")
def test_a_pipe_in_place_of_the_file_does_not_hang(config: Path) -> None:
    os.mkfifo(config)
    with refused(UsageError, str(config), "file"):
        read_settings()


def test_a_folder_in_place_of_the_file(config: Path) -> None:
    config.mkdir()
    with refused(UsageError, str(config), "directory"):
        read_settings()


def test_a_file_that_cannot_be_read(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    config.write_text("cache_limit = 1")
    monkeypatch.setattr(os, "open", refuse)
    with refused(UsageError, str(config), "Permission denied"):
        read_settings()


@pytest.mark.parametrize("text", ["-1", "8 GiB", "1.5", "\u0663", "9" * 30, "\x1b[2J"])
def test_a_wrong_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", text)
    with refused(UsageError, "$MMCAF_CACHE_LIMIT", "MiB", 0, command="export") as caught:
        read_settings()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_wrong_settings_stop_every_backend(config: Path, tiny_bundle: Path, backend: str) -> None:
    """Also where the bundle is named, and nothing would be kept."""
    config.write_text("chache = '/x'")
    with refused(UsageError, str(config), "'chache'"):
        open_session(load_bundle(tiny_bundle), backend=backend)


@pytest.mark.parametrize("text", ["yes", "TRUE ", "2", "\x1b[2J"])
def test_a_switch_that_is_neither_on_nor_off(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", text)
    with refused(UsageError, "$MMCAF_REQUIRE_SIGNATURE", 1, 0, command="export") as caught:
        read_settings()
    assert str(caught.value).isprintable()


# Without a home folder


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    without_home(monkeypatch)
    found = read_settings()
    assert found.cache is None and found.config is None and config_file() is None
    with refused(UsageError, "home folder", command="export"):
        cache_folder("engines")


def test_without_a_home_folder_variables_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_home(monkeypatch)
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "set"))
    found = read_settings()
    assert found.cache == tmp_path / "kept" and found.config == tmp_path / "set" / "mmcaf-infer" / "config.toml"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_without_a_home_folder_it_answers_and_says_so(
    tiny_bundle: Path, backend: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_home(monkeypatch)
    with open_session(load_bundle(tiny_bundle), backend=backend) as session:
        assert session.describe()["self_test"]["remembered"] is False
    assert "this user has no home folder" in caplog.text


@pytest.mark.parametrize("command", [("cache", "list"), ("cache", "clear"), ("doctor",)])
def test_commands_without_a_home_folder(
    run: Command, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    without_home(monkeypatch)
    outcome = run("mmcaf", *command)
    assert outcome.code in (0, 2, 6) and "this user has no home folder" in outcome.out + outcome.err
    assert "Traceback" not in outcome.err and "internal error" not in outcome.err


NO_HOME = """
import os
from mmcaf_engine.settings import read_settings
os.setgroups([])
os.setgid(54321)
os.setuid(54321)
print(read_settings().cache, read_settings().config)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may become another user")
def test_a_user_whom_the_system_does_not_know() -> None:
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES["mmcaf_engine"].parent)}
    done = subprocess.run([sys.executable, "-B", "-c", NO_HOME], env=known, capture_output=True, text=True, check=False)
    assert done.stdout == "None None\n", done.stderr


# Doctor


def test_doctor_shows_the_file_and_what_holds(
    run: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(f'cache = "{tmp_path / "kept"}"')
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "7")
    listed = run("mmcaf", "doctor", "--all").out
    subjects = [line.split()[2].removesuffix(":") for line in listed.splitlines() if " settings " in line]
    assert subjects == ["config.toml", *KEYS, "trusted"]
    words = " ".join(listed.split())
    for said in (
        "settings config.toml: ~/.config/mmcaf-infer/config.toml ok",
        "settings bundle: the demonstration (default) ok",
        f"settings cache: ~/kept ({config}) ok",
        "settings cache_limit: 7 MiB of engines ($MMCAF_CACHE_LIMIT) ok",
    ):
        assert said in words


def test_doctor_calls_a_wrong_file_a_problem(run: Command, config: Path) -> None:
    config.write_text("chache = '/x'")
    outcome = run("mmcaf", "doctor")
    assert outcome.code == 6 and "unknown key 'chache'" in outcome.out and "Traceback" not in outcome.err
    assert run("mmcaf", "doctor", "--quick-check").code == 6


# One place


def test_a_child_has_the_same_environment_but_for_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "0")
    made = child_environment(tmp_path)
    assert made["MMCAF_CACHE"] == str(tmp_path) and made["MMCAF_CACHE_LIMIT"] == "8192"
    assert made | {"MMCAF_CACHE_LIMIT": "0"} == {**os.environ, "MMCAF_CACHE": str(tmp_path)}


OTHERS = {
    "mmcaf_engine/settings.py": "ours",
    "mmcaf_engine/backends/onnxruntime/backend.py": "switches ONNX Runtime's telemetry off before its import",
    "mmcaf_engine/service/notify.py": "asks where systemd wants to be told",
    "mmcaf_kernels/launch.py": "asks whether Triton interprets its kernels",
}
"""Files that may touch the environment, and why."""


def test_nothing_else_reads_the_environment() -> None:
    found = set()
    for package, folder in PACKAGES.items():
        for file in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                named = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
                names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else [named]
                if {"environ", "getenv", "environb"} & set(names):
                    found.add(f"{package}/{file.relative_to(folder).as_posix()}")
    assert found == set(OTHERS)


def test_no_engine_is_cached_where_the_file_says_so(config: Path) -> None:
    config.write_text("cache_limit = 0")
    assert read_settings().cache_limit == 0
    config.write_text(f"cache_limit = {10**11 - 1}")
    assert read_settings().cache_limit == (10**11 - 1) * MIB


def test_a_home_folder_without_its_whole_path_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "somewhere")
    found = read_settings()
    assert (found.cache, found.config, config_file()) == (None, None, None)


@pytest.mark.parametrize("kind", ["file", "variable"])
def test_a_long_value_is_not_shown_whole(kind: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "file":
        config.write_text(f"cache_limit = '{'x' * 5000}'")
    else:
        monkeypatch.setenv("MMCAF_CACHE_LIMIT", "x" * 5000)
    with pytest.raises(UsageError) as caught:
        read_settings()
    assert "x" * 61 not in str(caught.value)
