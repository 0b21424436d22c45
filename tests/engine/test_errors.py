"""Errors: one exit code for each kind, and what is said of them in each form."""

import pytest

from mmcaf_engine import errors
from mmcaf_engine.errors import MmcafError, Remedy, StudyError, paragraph, printable, program

EXIT_CODES = {
    "UsageError": 2,
    "StudyError": 3,
    "RecordError": 4,
    "BundleError": 5,
    "ExportError": 5,
    "BackendError": 6,
    "UnsupportedNetworkError": 6,
    "StrictError": 7,
    "ServiceError": 9,
    "DeadlineError": 124,
    "CancelledError": 130,
}


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_every_kind_has_its_exit_code(name: str, code: int) -> None:
    failure = getattr(errors, name)("Problem.")
    assert failure.exit_code == code
    assert failure.to_dict() == {"error": name, "exit_code": code, "problem": "Problem.", "remedies": []}


@pytest.mark.parametrize(
    ("remedy", "said", "fields"),
    [
        (Remedy("Accept it", option="gaps", value="interpolate"), "Accept it: gaps=interpolate", 3),
        (Remedy("Leave it out", option="report"), "Leave it out: report", 2),
        (Remedy("See.", command="mmcaf doctor"), "See: mmcaf doctor", 2),
        (Remedy("Set", option="cache", value="x", command="y"), "Set: cache=x; y", 4),
        (Remedy(command="mmcaf doctor"), "mmcaf doctor", 1),
        (Remedy("Send it again."), "Send it again.", 1),
        (Remedy(), "", 0),
    ],
    ids=["option", "flag", "command", "both", "command-alone", "text-alone", "nothing"],
)
def test_a_remedy_in_words_and_as_fields(remedy: Remedy, said: str, fields: int) -> None:
    assert str(remedy) == said
    assert len(remedy.to_dict()) == fields and all(remedy.to_dict().values())


def test_an_error_is_its_problem_and_what_helps() -> None:
    failure = StudyError("Two came. ", Remedy("Choose", option="series", value="2"), "", "Or send one.")
    assert failure.problem == "Two came."
    assert [str(one) for one in failure.remedies] == ["Choose: series=2", "Or send one."]
    assert str(failure) == "Two came. Choose: series=2. Or send one."
    assert str(MmcafError("Alone.")) == "Alone."


def test_a_paragraph_of_sentences() -> None:
    assert paragraph("Run it: mmcaf doctor", "", "Sure?", "Or: --x") == "Run it: mmcaf doctor. Sure? Or: --x"
    assert paragraph("", "") == ""


def test_a_command_can_be_pasted() -> None:
    assert program("studies", "a folder/$x", 3) == "mmcaf studies 'a folder/$x' 3"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        (" a\n\tb  c ", "a b c"),
        ("\x1b[31mred\x07", "[31mred"),
        ("right\u202eleft\x00", "right left"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 7 + "..."),
    ],
    ids=["plain", "blanks", "escapes", "direction", "as-long-as-allowed", "too-long"],
)
def test_foreign_text_is_shown_on_one_line(text: str, shown: str) -> None:
    assert printable(text, 10) == shown
    assert len(printable(text, 10)) <= 10
