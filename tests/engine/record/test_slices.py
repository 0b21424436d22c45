"""The slices of a lesion, as a record of each form names them."""

import json
from typing import Any

import pytest

from engine.record.test_record import GOOD, SPEC
from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import TextSpec
from mmcaf_engine.record.csv_rows import Choice
from mmcaf_engine.record.encode import UnusableValueError
from mmcaf_engine.record.record import Record, read_record
from mmcaf_engine.record.slices import NamedSlices, SliceImages, SliceSpan, read_named
from refusals import refused

UIDS = ("1.2.840.1.7", "1.2.840.1.9")


def read(given: Any) -> Record:
    return read_record({**GOOD, "lesion_slices": given}, SPEC, lesion="lesion_slices")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([40, 52], SliceSpan(40, 52)),
        ("40-52", SliceSpan(40, 52)),
        (" 7 - 7 ", SliceSpan(7, 7)),
        (list(UIDS), SliceImages(UIDS)),
        (" ".join(UIDS), SliceImages(UIDS)),
        ("; ".join(UIDS), SliceImages(UIDS)),
        (f" {UIDS[0]} ", SliceImages(UIDS[:1])),
        (None, None),
    ],
    ids=str,
)
def test_forms(given: Any, named: NamedSlices | None) -> None:
    assert read(given).lesion == named
    assert named is None or read_named(given) == named


@pytest.mark.parametrize(
    "given",
    ["", "40", "40-", "52-40", "0-3", "12-Apr", "1.2-1.3", [], [40], [40, 52, 60], [52, 40], [40.0, 52.0], [True, 2]]
    + [["40", "52"], [*UIDS, 3], {"first": 1}, 40, True, [f"1.2.{'3' * 64}"]],
    ids=str,
)
def test_what_names_no_slices(given: Any) -> None:
    with refused(RecordError, "record", "lesion_slices", "40-52", "SOPInstanceUIDs"):
        read(given)
    with pytest.raises(UnusableValueError):
        read_named(given)


def test_it_is_named_with_whatever_else_is_wrong() -> None:
    with refused(RecordError, "2 fields", "lesion_slices", "age"):
        read_record({**GOOD, "age": "old", "lesion_slices": "x"}, SPEC, lesion="lesion_slices")


@pytest.mark.parametrize("key", ["lesion_slices", "Lesion-Slices", "LESION SLICES"])
def test_in_json_and_in_a_row_of_a_table(key: str) -> None:
    document = json.dumps({**GOOD, key: [40, 52]}).encode()
    assert read_record(document, SPEC, lesion="lesion_slices").lesion == SliceSpan(40, 52)
    table = (
        f"patient_id;sex;age;weight;t_stage;{key}\nA;M;55;80;1b;40-52\nB;M;55;80;1b;\nC;M;55;80;1b;{' '.join(UIDS)}\n"
    )
    for row, named in ((1, SliceSpan(40, 52)), (2, None), (3, SliceImages(UIDS))):
        found = read_record(table.encode(), SPEC, lesion="lesion_slices", choice=Choice(row))
        assert found.lesion == named and found.warnings == ()


def test_it_may_be_all_that_a_table_tells() -> None:
    """Of a network that reads a report, which comes beside it."""
    text = TextSpec(lowercase=True, max_tokens=8, buckets=(8,), fields=("findings",))
    found = read_record(b"lesion_slices\n40-52\n", None, text=text, lesion="lesion_slices")
    assert found.lesion == SliceSpan(40, 52) and found.report is None


def test_a_network_that_reads_none_says_so() -> None:
    found = read_record({**GOOD, "lesion_slices": "40-52"}, SPEC)
    assert found.lesion is None and any("lesion_slices" in warning for warning in found.warnings)


def test_images_are_not_shown() -> None:
    assert UIDS[0] not in repr(read(list(UIDS)))
