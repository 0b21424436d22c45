"""Whether a network is for the part of the body that a series says was examined."""

from ...errors import Remedy, StudyError
from ...manifest import BodyPartRule
from ..dicom.tags import describe


def check_body_part(rule: BodyPartRule | None, body_part: str, name: str) -> tuple[str, ...]:
    """Compare what was examined with the manifest's rule.

    Args:
        rule: None accepts all.
        body_part: BodyPartExamined (0018,0015), as the header has it; empty where it does not say.
        name: how messages call the study.

    Returns:
        A warning, where the rule asks for one.

    Raises:
        StudyError: the rule refuses it.
    """
    verdict = "accepted" if rule is None else rule.verdict(body_part)
    if rule is None or verdict == "accepted":
        return ()
    read = f"; this network is for {', '.join(rule.accepted)}" if rule.accepted else ""
    said = f"{name}: {describe('BodyPartExamined')} is {body_part}"
    if verdict == "refused":
        raise StudyError(f"{said}, which this network refuses{read}.", Remedy("Send the study that it is for."))
    return (f"{said}, which this network was not made for{read}.",)
