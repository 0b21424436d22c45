"""Public names that are imported on first use."""

import sys
from pathlib import Path

import pytest

import mmcaf_engine
from mmcaf_engine.lazy import imported


def test_every_public_name_is_there() -> None:
    assert all(getattr(mmcaf_engine, name) is not None for name in mmcaf_engine.__all__)


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="module 'mmcaf_engine' has no attribute 'inferr'"):
        _ = mmcaf_engine.inferr  # type: ignore[attr-defined]
    assert not hasattr(mmcaf_engine, "inferr")


@pytest.mark.parametrize(
    ("below", "raised", "said"),
    [
        ("import nothing_of_this_name", ModuleNotFoundError, "No module named 'nothing_of_this_name'"),
        ("import sys\nsys.no_such_thing", ImportError, "module 'sys' has no attribute 'no_such_thing'"),
        ("1 / 0", ZeroDivisionError, "division by zero"),
        ("", ImportError, "has no attribute 'entry'"),
    ],
    ids=["missing package", "attribute", "other", "no such name"],
)
def test_what_went_wrong_below_is_said(
    below: str, raised: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from package import name` takes an AttributeError for a missing name, and says no more than that."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "broken_below"
    package.mkdir()
    (package / "home.py").write_text(below)
    (package / "__init__.py").write_text(
        "from mmcaf_engine.lazy import imported\n"
        "def __getattr__(name):\n    return imported(__name__, {'entry': 'home'}, name)\n"
    )
    try:
        with pytest.raises(raised, match=said):
            from broken_below import entry  # type: ignore[import-not-found]  # noqa: F401
    finally:
        for name in [name for name in sys.modules if name.startswith("broken_below")]:
            del sys.modules[name]
    with pytest.raises(AttributeError):
        imported("broken_below", {"entry": "home"}, "other")
