"""Whether a network is for the part of the body that a series says was examined."""

import re
from collections.abc import Iterable

from ...errors import Remedy, StudyError
from ...manifest import BodyPartRule
from ..dicom.examined import Examined
from ..dicom.tags import describe
from ..notes import NONE, Notes

_SPLIT = re.compile(r"[\W_]+")
_FILLERS = {"and", "of", "the", "with"}
"""Words that stand between the parts of "Head and Neck", for HEADNECK."""


def check_body_part(rule: BodyPartRule | None, examined: Iterable[Examined], name: str) -> Notes:
    """Compare what was examined with the manifest's rule.

    What BodyPartExamined and the coded region say is judged by the rule. Texts that people write warn at most: where
    one names a part that the rule refuses or warns of, and none that it accepts.

    Args:
        rule: None accepts all.
        examined: what the images of one series say.
        name: how messages call the study.

    Returns:
        Warnings, where the rule asks for them; a remark where nothing says what was examined.

    Raises:
        StudyError: the rule refuses it.
    """
    if rule is None:
        return NONE
    said = sorted({(keyword, part) for one in examined for keyword, part in _told(one) if part})
    texts = sorted({(keyword, text) for one in examined for keyword, text in one.texts})
    read = f"; this network is for {', '.join(rule.accepted)}" if rule.accepted else ""
    warnings = []
    for keyword, part in said:
        verdict = rule.verdict(part)
        told = f"{name}: {describe(keyword)} is {part}"
        if verdict == "refused":
            raise StudyError(f"{told}, which this network refuses{read}.", Remedy("Send the study that it is for."))
        if verdict == "warned":
            warnings.append(f"{told}, which this network was not made for{read}.")
    for keyword, text in texts:
        others = [part for part in (*rule.refused, *rule.warned) if names(text, part)]
        if others and not any(names(text, part) for part in rule.accepted):
            warnings.append(
                f"{name}: {describe(keyword)} names {', '.join(others)}, which this network was not made for{read}."
            )
    named = any(names(text, part) for _, text in texts for part in (*rule.accepted, *rule.warned, *rule.refused))
    if said or named:
        return Notes(tuple(warnings))
    return Notes(remarks=(f"{name}: nothing in its header says which part of the body was examined{read}.",))


def names(text: str, part: str) -> bool:
    """Whether a text holds a part of the body as a word, or as words that together are one, such as "head and neck"."""
    words = [word for word in _SPLIT.split(text.casefold()) if word and word not in _FILLERS]
    wanted = "".join(_SPLIT.split(part.casefold()))
    runs = ("".join(words[first:last]) for first in range(len(words)) for last in range(first + 1, len(words) + 1))
    return wanted in runs


def _told(one: Examined) -> tuple[tuple[str, str], ...]:
    return ("BodyPartExamined", one.part), ("AnatomicRegionSequence", one.region)
