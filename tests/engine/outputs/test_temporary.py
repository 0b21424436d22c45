"""Temporary folders, and what is said where the system has no place for any, as in a read-only container."""

import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from import_rules import packages
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.cancel import opening_within
from mmcaf_engine.checkup.quick_check import _disk
from mmcaf_engine.errors import UsageError
from mmcaf_engine.outputs import new_temporary_folder, temporary_folder
from mmcaf_engine.profile.run import profile_bundle
from mmcaf_engine.session.building import _scratch
from refusals import refused

NAME_ONE = "export TMPDIR=/path/to/folder"


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no file system can be written to; the cache's folder cannot either."""

    def none(*_: object, **__: object) -> NoReturn:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    for name in ("mkdtemp", "gettempdir"):
        monkeypatch.setattr(tempfile, name, none)
    monkeypatch.setenv("MMCAF_CACHE", "/dev/null")


def test_a_folder_is_of_this_user_alone_and_gone_after_the_block() -> None:
    with pytest.raises(ZeroDivisionError), temporary_folder() as folder:
        (folder / "within").mkdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        raise ZeroDivisionError
    assert not folder.exists()


def test_where_there_is_no_place_for_any(read_only: None, tiny_bundle: Path) -> None:
    """It is no fault of a backend, and no bug."""
    for call in (
        new_temporary_folder,
        lambda: open_session(load_bundle(tiny_bundle), backend="onnxruntime"),
        lambda: open_session(load_bundle(tiny_bundle), backend="openvino"),
        lambda: profile_bundle(load_bundle(tiny_bundle), runs=1),
    ):
        with refused(UsageError, "temporary files", "/tmp", command=NAME_ONE):
            call()  # type: ignore[operator]
    with opening_within(60), refused(UsageError, "temporary files", command=NAME_ONE), _scratch():
        pass
    assert "temporary" not in str(_disk())


def test_nothing_else_makes_temporary_folders() -> None:
    """Else a full or read-only disk would end in another error there."""
    makers = [
        str(file)
        for folder in packages(Path(__file__).parents[3]).values()
        for file in folder.rglob("*.py")
        if any(word in file.read_text(encoding="utf-8") for word in ("mkdtemp", "TemporaryDirectory"))
        and folder.name != "mmcaf_kernels"
    ]
    assert [Path(one).name for one in makers] == ["temporary.py"]
