"""What counts as a finding in what became of a case."""

import traceback
import warnings
from dataclasses import dataclass

from mmcaf_engine.errors import MmcafError, steers

from .case import Answer, Case

MAX_MESSAGE = 8000
"""Characters of one error, with its remedies."""


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    result: "accepted", or the class of the error. finding: why it is one; empty where it is none. trace: of an error.
    """

    result: str
    finding: str = ""
    trace: str = ""


def judge(case: Case) -> Verdict:
    """Try a case. Time and memory are the watchdog's to judge."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = case.attempt()
    except MmcafError as failure:
        said = (str(failure), *map(str, failure.remedies))
        return Verdict(
            type(failure).__name__, _of_text(said, case) or ("a long message" if len(said[0]) > MAX_MESSAGE else "")
        )
    except BaseException as failure:
        if isinstance(failure, KeyboardInterrupt):
            raise
        return Verdict(f"foreign {type(failure).__name__}", "a foreign exception", traceback.format_exc())
    return Verdict("accepted", _of_text(answer.said, case) or _of_answer(answer, case))


def _of_answer(answer: Answer, case: Case) -> str:
    """Another answer than the undamaged input's, with nothing said that is not said of that, too."""
    if case.sound is None or not answer.is_another(case.sound) or set(answer.said) - set(case.sound.said):
        return ""
    return "another answer, and nothing said of it"


def _of_text(said: tuple[str, ...], case: Case) -> str:
    for text in said:
        if steers(text):
            return f"control characters in a message: {text[:300]!r}"
        if found := [secret for secret in case.secrets if secret in text]:
            return f"{found[0]} in a message: {text[:300]!r}"
    return ""
