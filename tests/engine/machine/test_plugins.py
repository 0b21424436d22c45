"""What is said of other packages: short, on one line, without what could change a terminal."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine.plugins import guard, origin, raised


def point(name: str | None, version: str = "1.0") -> Any:
    dist = None if name is None else SimpleNamespace(name=name, version=version)
    return SimpleNamespace(dist=dist)


def test_where_an_entry_point_is_from() -> None:
    assert origin(point("acme", "2.1")) == "acme 2.1"
    assert origin(point("acme\x1b[31m", "2\n1")) == "acme [31m 2 1"
    assert origin(EntryPoint("name", "module:attribute", "group")) == "a package of unknown name"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (ValueError("\n  first"), "ValueError: first"),
        (KeyError(), "KeyError"),
        (RuntimeError("\x1b[2J"), "RuntimeError: [2J"),
    ],
    ids=["lines", "blanks", "nothing", "escapes"],
)
def test_the_first_line_of_what_it_raised(failure: Exception, said: str) -> None:
    assert raised(failure) == said
    assert len(raised(ValueError("x" * 1000))) < 250


class Asked:
    """What a base class inherits."""

    def name(self) -> str:
        raise NotImplementedError


class Base(Asked):
    """What another package derives from."""


def test_what_a_base_class_inherits_is_guarded_too() -> None:
    class Other(Base):
        def name(self) -> str:
            return 3  # type: ignore[return-value]

    Other.__module__ = "elsewhere"
    guard(Other, Base, "Other of elsewhere 1")
    with pytest.raises(BackendError, match="Other of elsewhere 1 failed in name: expected str, got int"):
        Other().name()
