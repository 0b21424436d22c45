"""WordPiece: from a report to the numbers of its word pieces, cut to what the network reads and padded to a bucket.

The text is split at blanks and punctuation, each CJK character alone, and every word into the longest pieces of the
vocabulary from its start (Devlin and others, "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019;
Wu and others, "Google's Neural Machine Translation System", 2016). The `tokenizers` library does it; what it could
download is never asked for.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..errors import BackendError, BundleError, Remedy, printable
from ..files import read_bounded
from ..machine.installation import install_command
from ..manifest.text import TextSpec

START, END, PADDING, UNKNOWN = "[CLS]", "[SEP]", "[PAD]", "[UNK]"
"""Pieces that every vocabulary has, at whatever number."""

CONTINUED = "##"
"""How a piece that continues a word begins."""

LONGEST_WORD = 100
"""A longer word is unknown as a whole, as in BERT's own tokeniser."""

LONGEST_SHOWN = 40
"""Characters of a word as `TokenisedText.words` has it; of a longer one, so many and three dots."""

MAX_VOCABULARY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class TokenisedText:
    """A report as a network reads it.

    ids: numbers of [CLS], the word pieces, [SEP] and [PAD], int64 [1, L]; L is the smallest bucket that holds them.
    mask: 1 where there is one of the report and 0 at [PAD], int64 [1, L].
    kept, cut: word pieces that the network reads, and that were left out at the end. unknown: of those kept, [UNK].
    words: the words and punctuation marks that the kept pieces are of, as the report has them, in its order.
    word_of: of each kept piece, the number of its word.
    """

    ids: NDArray[np.int64] = field(repr=False)
    mask: NDArray[np.int64] = field(repr=False)
    kept: int
    cut: int
    unknown: int = 0
    words: tuple[str, ...] = field(default=(), repr=False)
    word_of: tuple[int, ...] = field(default=(), repr=False)


class Tokenizer:
    """Turns reports into word pieces; safe to call from several threads.

    What a report spells like a special piece is text as all else: no report can end itself.

    Args:
        spec: the manifest's `text`.
        vocabulary: the file that it names.
        content: what that holds, where it was read already.

    Raises:
        BundleError: the vocabulary is missing, not UTF-8, holds a piece twice, or lacks one of the special pieces.
        BackendError: the library is not installed.
    """

    def __init__(self, spec: TextSpec, vocabulary: Path, content: bytes | None = None) -> None:
        try:
            from tokenizers import Tokenizer as Pipeline
            from tokenizers.models import WordPiece
            from tokenizers.normalizers import BertNormalizer
            from tokenizers.pre_tokenizers import BertPreTokenizer
        except ImportError as failure:
            raise BackendError(
                f"A network that reads a report needs the package tokenizers, which cannot be imported ({failure}).",
                Remedy("Install it", command=install_command("text")),
            ) from None

        self.spec = spec
        self.numbers = read_vocabulary(vocabulary, content)
        self._pipeline: Any = Pipeline(
            WordPiece(
                self.numbers,
                unk_token=UNKNOWN,
                continuing_subword_prefix=CONTINUED,
                max_input_chars_per_word=LONGEST_WORD,
            )
        )
        self._pipeline.normalizer = BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=spec.lowercase, lowercase=spec.lowercase
        )
        self._pipeline.pre_tokenizer = BertPreTokenizer()

    def __len__(self) -> int:
        """Pieces of the vocabulary."""
        return len(self.numbers)

    def tokenise(self, report: str) -> TokenisedText:
        """[CLS], the first word pieces that max_tokens leaves room for, [SEP], then [PAD]."""
        for marker in self.spec.remove:
            report = report.replace(marker, " ")
        found = self._pipeline.encode(report, add_special_tokens=False)
        count = len(found.ids)
        found.truncate(self.spec.max_tokens - 2)
        read: list[int] = found.ids
        tokens = [self.numbers[START], *read, self.numbers[END]]
        length = next(bucket for bucket in self.spec.buckets if bucket >= len(tokens))
        ids = np.full((1, length), self.numbers[PADDING], np.int64)
        ids[0, : len(tokens)] = tokens
        mask = np.zeros((1, length), np.int64)
        mask[0, : len(tokens)] = 1
        unknown = read.count(self.numbers[UNKNOWN])
        return TokenisedText(ids, mask, len(read), count - len(read), unknown, *_words(report, found))


def _words(report: str, found: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The words that pieces are of, each on one line and without control characters, and of each piece which."""
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(found.word_ids, found.offsets, strict=True):
        first, last = spans.get(word, (start, end))
        spans[word] = min(first, start), max(last, end)
    number = {word: at for at, word in enumerate(spans)}
    words = tuple(printable(report[start:end], LONGEST_SHOWN) for start, end in spans.values())
    return words, tuple(number[word] for word in found.word_ids)


def open_tokenizer(bundle: Bundle) -> Tokenizer | None:
    """The tokeniser of a bundle's network; None if it reads no text.

    Raises:
        BundleError: the vocabulary is damaged; see `Tokenizer`.
        BackendError: the library that splits texts is not installed.
    """
    text = bundle.manifest.text
    if text is None:
        return None
    return Tokenizer(text, bundle.shown / text.vocabulary, bundle.read(text.vocabulary, MAX_VOCABULARY_BYTES))


def read_vocabulary(path: Path, content: bytes | None = None) -> dict[str, int]:
    """Word piece -> its number, that of its line from 0.

    Args:
        content: as of `Tokenizer`.

    Raises:
        BundleError: as for `Tokenizer`.
    """
    data = read_bounded(path, error=BundleError, max_bytes=MAX_VOCABULARY_BYTES) if content is None else content
    if len(data) > MAX_VOCABULARY_BYTES:
        raise BundleError(f"{path}: above {MAX_VOCABULARY_BYTES} bytes, more than a vocabulary is read.")
    try:
        lines = data.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as failure:
        raise BundleError(
            f"{path}: not UTF-8 text at offset {failure.start}; a WordPiece vocabulary was expected."
        ) from (None)
    pieces = [line.removesuffix("\r") for line in lines]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    if len(numbers) != len(pieces):
        twice = next(number for number, piece in enumerate(pieces) if numbers[piece] != number)
        raise BundleError(
            f"{path}: lines {twice + 1} and {numbers[pieces[twice]] + 1} hold the same word piece.",
            "Take the vocabulary that the network was trained with.",
        )
    lacking = [piece for piece in (PADDING, UNKNOWN, START, END) if piece not in numbers]
    if lacking:
        raise BundleError(
            f"{path}: {len(pieces)} lines without {', '.join(lacking)}; a WordPiece vocabulary was expected, one piece "
            "on each line.",
            "Take the vocab.txt that the network was trained with.",
        )
    return numbers
