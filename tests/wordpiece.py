"""WordPiece as its authors describe it, in plain Python: basic tokenisation, then the longest piece from the left.

After J. Devlin and others, "BERT: Pre-training of Deep Bidirectional Transformers" (NAACL 2019), and the Unicode
categories that its basic tokenisation names. Slow, and without any of the engine's code.
"""

import unicodedata

CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def pieces(text: str, vocabulary: set[str], *, lowercase: bool) -> list[str]:
    """The word pieces of a text; [UNK] for a word that the vocabulary cannot spell."""
    return [piece for word in words(text, lowercase=lowercase) for piece in split(word, vocabulary)]


def words(text: str, *, lowercase: bool) -> list[str]:
    """Words, and each punctuation mark and CJK character alone."""
    cleaned = "".join(clean(character) for character in text)
    if lowercase:
        cleaned = unicodedata.normalize("NFD", cleaned)
        cleaned = "".join(character for character in cleaned if unicodedata.category(character) != "Mn").lower()
    apart = "".join(f" {character} " if is_punctuation(character) else character for character in cleaned)
    return apart.split()


def clean(character: str) -> str:
    category, code = unicodedata.category(character), ord(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if code in (0, 0xFFFD) or category in ("Cc", "Cf"):
        return ""
    return f" {character} " if any(first <= code <= last for first, last in CJK) else character


def is_punctuation(character: str) -> bool:
    """As BERT has it: all ASCII that is no letter, digit or blank, and Unicode's P categories."""
    code = ord(character)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_mark or unicodedata.category(character).startswith("P")


def split(word: str, vocabulary: set[str]) -> list[str]:
    if len(word) > 100:
        return ["[UNK]"]
    found: list[str] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        end = next((at for at in range(len(word), start, -1) if prefix + word[start:at] in vocabulary), None)
        if end is None:
            return ["[UNK]"]
        found.append(prefix + word[start:end])
        start = end
    return found
