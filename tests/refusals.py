"""What a refusal must hold, whatever sentence it is said in: its class, its facts, its remedies.

A fact is what the reader cannot do without: a file name, a tag, a field, a label, a number that came or was expected.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mmcaf_engine.errors import MmcafError, Remedy

Fact = str | int | float

DIRECTORIES = re.compile(r"(?<![\w/.])/(?:[\w.+=@-]+/)+")
"""Of an absolute path. pytest names them after tests and counts them, so that any word or number may stand in one."""

TAG = re.compile(r"\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)")
NUMBER = re.compile(r"(?<![\w.])(?:(?<![-+])[-+])?(?!0\d)\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w|\.\d)")
"""A whole number or decimal that is no part of a name, version, UID, or longer number."""


def numbers(text: str) -> set[float]:
    """Those of a text, without the ones of its tags and directories."""
    bare = TAG.sub(" ", DIRECTORIES.sub("", text))
    return {value for found in NUMBER.findall(bare) for value in (float(found), abs(float(found)))}


def holds(text: str, fact: Fact) -> bool:
    """Whether the text holds a number as a whole, or a string, whose ends are no middle of a word."""
    if isinstance(fact, (int, float)):
        return float(fact) in numbers(text)
    if not fact.strip():
        raise ValueError("every text holds an empty fact")
    searched = text if "/" in fact else DIRECTORIES.sub("", text)
    before = r"(?<!\w)" if re.match(r"\w", fact) else ""
    before += r"(?<!\d\.)" if fact[0].isdigit() else ""
    after = r"(?!\w)" if re.search(r"\w\Z", fact) else ""
    after += r"(?!\.\d)" if fact[-1].isdigit() else ""
    return bool(re.search(before + re.escape(fact) + after, searched))


def check_facts(text: str, *facts: Fact) -> None:
    """Fails, with the whole text, where a fact is not in it."""
    missing = [fact for fact in facts if not holds(text, fact)]
    if missing:
        pytest.fail(f"not in it: {', '.join(map(repr, missing))}\nthe whole text: {text}", pytrace=False)


def check_refusal(
    error: BaseException,
    kind: type[MmcafError],
    *facts: Fact,
    option: str | None = None,
    value: str | None = None,
    command: str | None = None,
) -> None:
    """Fails, with the whole refusal, where it is not of this very class, or lacks a fact or a remedy.

    option, value: of one remedy. command: the one of a remedy, or its first words.
    """
    if type(error) is not kind:
        pytest.fail(f"{kind.__name__} was expected, not {type(error).__name__}: {error}", pytrace=False)
    assert isinstance(error, MmcafError)
    check_facts(error.problem, *facts)
    if not any(_does(remedy, option, value, command) for remedy in error.remedies or (Remedy(),)):
        wanted = ", ".join(repr(one) for one in (option, value, command) if one is not None)
        pytest.fail(f"no remedy of {error.remedies} is {wanted}\nthe whole text: {error}", pytrace=False)
    said = [error.problem, *(part for remedy in error.remedies for part in remedy.to_dict().values())]
    if not "".join(said).replace("\n", "").isprintable():
        pytest.fail(f"control characters in {said}", pytrace=False)


def _does(remedy: Remedy, option: str | None, value: str | None, command: str | None) -> bool:
    return (
        option in (None, remedy.option)
        and value in (None, remedy.value)
        and (command is None or f"{remedy.command} ".startswith(f"{command} "))
    )


@contextmanager
def refused(
    kind: type[MmcafError],
    *facts: Fact,
    option: str | None = None,
    value: str | None = None,
    command: str | None = None,
) -> Iterator[pytest.ExceptionInfo[MmcafError]]:
    """The body must be refused so; see `check_refusal`."""
    with pytest.raises(kind) as caught:
        yield caught
    check_refusal(caught.value, kind, *facts, option=option, value=value, command=command)
