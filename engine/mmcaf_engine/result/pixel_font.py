"""Short texts as pixels, for pictures that must not need a drawing library."""

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 5, 3
"""Pixels of one character."""

# Five rows of three pixels, top to bottom; each digit is one row as a number from 0 to 7.
_GLYPHS = {
    "A": "25755",
    "B": "65656",
    "C": "34443",
    "D": "65556",
    "E": "74647",
    "F": "74644",
    "G": "34553",
    "H": "55755",
    "I": "72227",
    "J": "11152",
    "K": "55655",
    "L": "44447",
    "M": "57755",
    "N": "65555",
    "O": "25552",
    "P": "65644",
    "Q": "25563",
    "R": "65655",
    "S": "34216",
    "T": "72222",
    "U": "55557",
    "V": "55552",
    "W": "55775",
    "X": "55255",
    "Y": "55222",
    "Z": "71247",
    "0": "75557",
    "1": "26227",
    "2": "61247",
    "3": "61216",
    "4": "55711",
    "5": "74616",
    "6": "34757",
    "7": "71122",
    "8": "75757",
    "9": "75716",
    " ": "00000",
    ".": "00002",
    ",": "00024",
    "-": "00700",
    "_": "00007",
    ":": "02020",
    "/": "11244",
    "(": "12221",
    ")": "42224",
    "+": "02720",
    "=": "07070",
}


def text_mask(text: str, scale: int) -> NDArray[np.bool_]:
    """A text in capitals, [5 * scale, 4 * scale * characters]; what it has no picture for becomes a blank."""
    rows = np.zeros((HEIGHT, (WIDTH + 1) * max(len(text), 1)), bool)
    for at, character in enumerate(text.upper()):
        glyph = _GLYPHS.get(character, _GLYPHS[" "])
        for row, bits in enumerate(glyph):
            for column in range(WIDTH):
                rows[row, (WIDTH + 1) * at + column] = bool(int(bits) >> (WIDTH - 1 - column) & 1)
    return rows.repeat(scale, axis=0).repeat(scale, axis=1)
