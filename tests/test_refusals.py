"""A refusal that lacks anything of what a test asks of it fails that test, in words that show the whole of it."""

import pytest

from mmcaf_engine.errors import BackendError, MmcafError, Remedy, StudyError, UnsupportedNetworkError, UsageError
from refusals import Fact, check_facts, holds, refused

PROBLEM = (
    "/tmp/pytest-of-x/pytest-7/test_age0/IM0005.dcm: (0028,0030) PixelSpacing of the image is -0.50 mm; 3 slices and "
    "2.5 mm were expected, at most 1e+06, for t2 of 1.2.840.5"
)
REMEDIES = (
    Remedy("Accept interpolation", option="gaps", value="interpolate"),
    Remedy("See the series", option="series", command="mmcaf studies /tmp/here"),
    "Send it again.",
)
Failed = pytest.fail.Exception


def refuse() -> None:
    raise StudyError(PROBLEM, *REMEDIES)


@pytest.mark.parametrize(
    "fact",
    [
        3,
        2.5,
        0.5,
        -0.5,
        1_000_000,
        "IM0005.dcm",
        "PixelSpacing",
        "(0028,0030)",
        "2.5 mm",
        "3 slices",
        "t2",
        "1.2.840.5",
    ],
)
def test_facts_that_are_there(fact: Fact) -> None:
    with refused(StudyError, fact) as caught:
        refuse()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "fact",
    # of a name, of a decimal, of a tag, of a UID, of a directory; of a word, of a number, of another case
    [
        5,
        2,
        50,
        28,
        30,
        840,
        7,
        4,
        "IM0005.dc",
        "IM",
        "age",
        "5 mm",
        "2.5 m",
        "slice",
        "pixelspacing",
        "1.2.840",
        "test_age0",
    ],
)
def test_facts_that_are_not_there(fact: Fact) -> None:
    with pytest.raises(Failed, match="not in it: ") as caught, refused(StudyError, "IM0005.dcm", fact):
        refuse()
    assert repr(fact) in str(caught.value) and PROBLEM in str(caught.value)


def test_every_missing_fact_is_named() -> None:
    with pytest.raises(Failed, match=r"not in it: 4, 'IM0006'\n"):
        check_facts(PROBLEM, 3, 4, "IM0006")


def test_a_path_is_found_as_a_whole() -> None:
    assert holds(PROBLEM, "/tmp/pytest-of-x/pytest-7/test_age0/IM0005.dcm")
    assert not holds(PROBLEM, "/tmp/pytest-of-x/pytest-8/test_age0/IM0005.dcm")


def test_a_fact_of_a_remedy_is_none_of_the_problem() -> None:
    with pytest.raises(Failed, match="not in it: 'interpolate'"), refused(StudyError, "interpolate"):
        refuse()


@pytest.mark.parametrize("fact", ["", " "])
def test_an_empty_fact_is_a_mistake(fact: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        holds(PROBLEM, fact)


@pytest.mark.parametrize(
    "asked",
    [
        {"option": "gaps"},
        {"option": "gaps", "value": "interpolate"},
        {"value": "interpolate"},
        {"option": "series"},
        {"command": "mmcaf studies"},
        {"command": "mmcaf studies /tmp/here"},
        {"option": "series", "command": "mmcaf studies"},
    ],
)
def test_remedies_that_are_there(asked: dict[str, str]) -> None:
    with refused(StudyError, **asked):
        refuse()


@pytest.mark.parametrize(
    "asked",
    [
        {"option": "gap"},
        {"option": "gaps", "value": "refuse"},
        {"option": "series", "value": "interpolate"},
        {"option": "gaps", "command": "mmcaf studies"},
        {"command": "mmcaf stud"},
        {"command": "studies"},
    ],
)
def test_remedies_that_are_not_there(asked: dict[str, str]) -> None:
    with pytest.raises(Failed, match="no remedy of") as caught, refused(StudyError, **asked):
        refuse()
    assert PROBLEM in str(caught.value) and "mmcaf studies /tmp/here" in str(caught.value)


def test_a_refusal_without_remedies_has_none() -> None:
    with pytest.raises(Failed, match="no remedy"), refused(StudyError, "slow", option="gaps"):
        raise StudyError("slow.")
    with refused(StudyError, "slow"):
        raise StudyError("slow.")


@pytest.mark.parametrize(
    ("kind", "came"),
    [(MmcafError, StudyError), (BackendError, UnsupportedNetworkError)],
    ids=["the base", "a parent"],
)
def test_a_parent_is_another_class(kind: type[MmcafError], came: type[MmcafError]) -> None:
    with pytest.raises(Failed, match=f"{kind.__name__} was expected, not {came.__name__}: slow"), refused(kind, "slow"):
        raise came("slow.")


def test_another_class_is_let_through() -> None:
    with pytest.raises(StudyError), refused(UsageError, 3):
        refuse()


def test_no_refusal_at_all_fails() -> None:
    with pytest.raises(Failed, match="DID NOT RAISE"), refused(StudyError):
        pass


@pytest.mark.parametrize("steering", ["\x1b[2J", "\x07", "\u202e"], ids=["escape", "bell", "direction"])
@pytest.mark.parametrize("place", ["problem", "remedy"])
def test_control_characters_fail(place: str, steering: str) -> None:
    """Errors spell them out, so they are put in behind their back."""
    remedy = Remedy(command="mmcaf")
    error = StudyError("a file", remedy)
    if place == "problem":
        error.problem = f"a{steering} file"
    else:
        object.__setattr__(remedy, "command", f"mmcaf {steering}")
        error.remedies = (remedy,)
    with pytest.raises(Failed, match="control characters"), refused(StudyError, "file"):
        raise error


def test_a_list_has_lines() -> None:
    with refused(StudyError, 2, "series"):
        raise StudyError("2 series:\n  CT\n  MR")
