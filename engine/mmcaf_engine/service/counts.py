"""How many instances of a study an archive has: by C-FIND (PS3.4 C) or QIDO-RS (PS3.18 10.6)."""

import json
import urllib.parse
from collections.abc import Callable
from typing import Any

from ..errors import ServiceError
from .config import Config, Destination
from .dimse.carrier import StoreCarrier
from .http_carriers import Caller

Count = Callable[[str], int | None]
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_NUMBER = "00201208"
"""Number of Study Related Instances (0020,1208)."""


def counter_for(config: Config) -> Count:
    """What asks the archive that the configuration names; without one, nobody knows.

    Raises:
        ServiceError: a certificate or token of it cannot be read.
    """
    name = config.completeness.count_from
    archive = next((one for one in config.destination if one.name == name), None)
    if archive is None:
        return lambda study: None
    if archive.kind == "dicomweb":
        return _by_qido(archive)
    return _by_find(archive, "MMCAF" if config.dicom is None else config.dicom.ae_title)


def _by_find(archive: Destination, ae_title: str) -> Count:
    carrier = StoreCarrier(archive, ae_title, timeout_s=10.0)

    def count(study: str) -> int | None:
        from pydicom.dataset import Dataset

        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = study
        query.NumberOfStudyRelatedInstances = None
        return _number([found.get("NumberOfStudyRelatedInstances") for found in carrier.find(query, STUDY_ROOT_FIND)])

    return count


def _by_qido(archive: Destination) -> Count:
    caller = Caller(archive)

    def count(study: str) -> int | None:
        query = urllib.parse.urlencode({"StudyInstanceUID": study, "includefield": _NUMBER})
        status, answer = caller.get(f"studies?{query}")
        if status is None or status >= 400:
            raise ServiceError(f"{archive.name} does not answer how many images a study has.")
        try:
            found = json.loads(answer) if answer.strip() else []
        except json.JSONDecodeError:
            raise ServiceError(f"{archive.name} answers QIDO-RS with what is no JSON.") from None
        items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
        return _number([_first(item.get(_NUMBER)) for item in items])

    return count


def _first(element: Any) -> Any:
    value = element.get("Value") if isinstance(element, dict) else None
    return value[0] if isinstance(value, list) and value else None


def _number(values: list[Any]) -> int | None:
    """The largest that an archive says of one study; None where it says none."""
    numbers = [int(value) for value in values if value is not None and str(value).strip().isdecimal()]
    return max(numbers, default=None)
