"""JSON from untrusted files: what is read, and what is refused at which bound."""

import os
import threading
from pathlib import Path

import pytest

from mmcaf_engine.errors import RecordError
from mmcaf_engine.strict_json import MAX_DEPTH, parse_json, read_json
from refusals import refused


def parsed(text: str, **limits: int) -> object:
    return parse_json(text.encode(), name="record.json", error=RecordError, **limits)


def nested(opening: str, closing: str, levels: int) -> str:
    return opening * levels + "1" + closing * levels


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        ("\ufeff[1]", [1]),
        ("1" * 20, int("1" * 20)),
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    ],
    ids=["all-kinds", "byte-order-mark", "twenty-digits", "a-key-in-two-objects"],
)
def test_what_is_read(text: str, value: object) -> None:
    assert parsed(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1] [2]",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        "[1e999]",
        "[-1e999]",
        "1" * 21,
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": 1, "a": 1, "b": 2}',
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        parsed(text)


def test_a_key_given_twice_is_named_and_found_at_once() -> None:
    with refused(RecordError, "record.json", '"b"', "twice"):
        parsed('{"a": 1, "b": 2, "b": 3, "c": 4}')
    many = ", ".join(f'"{number}": 0' for number in range(200_000))
    with refused(RecordError, '"199999"', "twice"):
        parsed(f'{{{many}, "199999": 1}}')


def test_a_document_of_the_largest_size() -> None:
    assert parsed("[1, 2]", max_bytes=6) == [1, 2]
    with pytest.raises(RecordError):
        parsed("[1, 2]", max_bytes=5)


@pytest.mark.parametrize(
    ("opening", "closing", "levels"),
    [("[", "]", 1), ('{"a": ', "}", 1), ('[{"a": ', "}]", 2)],
    ids=["list", "object", "both"],
)
def test_a_document_of_the_deepest_nesting(opening: str, closing: str, levels: int) -> None:
    most = (MAX_DEPTH - 1) // levels  # The number within is a level of its own.
    assert parsed(nested(opening, closing, most))
    for more in (most + 1, 100_000):
        with pytest.raises(RecordError):
            parsed(nested(opening, closing, more))


def test_bytes_that_are_no_utf_8() -> None:
    with pytest.raises(RecordError):
        parse_json(b'{"a": "\xff"}', name="record.json", error=RecordError)


@pytest.mark.skipif(os.name != "posix", reason="FIFOs of POSIX")
def test_a_stream_is_read_where_the_caller_says_so(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(RecordError):
        read_json(fifo, error=RecordError)
    writer = threading.Thread(target=fifo.write_text, args=('{"age": 63}',))
    writer.start()
    assert read_json(fifo, error=RecordError, streams=True) == {"age": 63}
    writer.join()
