"""The C library's own folders: where they are, and what it does when one cannot be made, held or put into place."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from mmcaf_engine.errors import UsageError
from mmcaf_engine.settings import read_settings
from testing_library import call, native_parts

OUT_OF_FILES = """
import ctypes, os, resource, sys
library = ctypes.CDLL(sys.argv[1])
make = library.mmcaf_testing_staging_folder
make.restype = ctypes.c_char_p
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_CPU, (4, 4))
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
print(make(sys.argv[2].encode()).decode())
"""


def test_a_folder_that_cannot_be_opened_is_no_reason_to_make_another(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OUT_OF_FILES, native_parts()._name, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Too many open files" in found.stdout and found.returncode == 0
    assert not [*tmp_path.iterdir()]


def test_only_an_entry_that_is_there_already_counts_as_kept(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    assert call("mmcaf_testing_commit", str(tmp_path), str(target)) == "committed"
    (target / "entry.json").touch()
    assert call("mmcaf_testing_commit", str(tmp_path), str(target)) == "there already"
    assert "No such file" in call("mmcaf_testing_commit", str(tmp_path), str(tmp_path / "missing" / "kept"))
    (tmp_path / "file").touch()
    assert "Not a directory" in call("mmcaf_testing_commit", str(tmp_path), str(tmp_path / "file"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "kept"]


def test_copies_lie_where_no_other_user_can_exchange_them(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    found = json.loads(call("mmcaf_testing_own_parents", str(shared / "copies")))
    assert found["problem"].endswith("above this temporary folder can be written by other users (mode 777).")
    assert found["remedies"][0]["text"] == "Name another one"
    shared.chmod(0o1777)
    assert call("mmcaf_testing_own_parents", str(shared / "copies")) == ""


@pytest.mark.parametrize(
    "named", ["~", "~/", "~/below//twice", "~USER", "~USER/below", "/a/~/b", "~nobody-of-this-name/a"]
)
def test_the_cache_lies_where_the_command_line_has_it(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MMCAF_CACHE", named.replace("USER", pwd.getpwuid(os.getuid()).pw_name))
    found = call("mmcaf_testing_default_cache")
    try:
        assert Path(found) == read_settings().cache
    except UsageError as failure:
        assert json.loads(found)["problem"] == failure.problem
