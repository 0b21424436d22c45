"""DICOM elements that are not what they say: sequences in text elements, confused VRs, lengths, delimiters, doubles.

What a reader must not do is answer from such a file as if it were another: where the undamaged form answers otherwise,
a warning or a refusal must come.
"""

from collections.abc import Callable
from pathlib import Path

from numpy.random import Generator

from dicom_factory import ct_slice, enhanced_ct, write

from .case import Case, Maker, answer_of_study, choose
from .elements import PIXELS, UNDEFINED, Element, File, all_sets, copied, encode, encoded, nested, parse
from .files import SECRETS, VALUES

VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"OB", b"OD", b"OF", b"OL"),
    *(b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"SV", b"TM", b"UC", b"UI", b"UL", b"UN", b"UR", b"US"),
    *(b"UT", b"UV", b"ZZ", b"\0\0", b"??", b"  "),
)
TEXT_VRS = {b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"LT", b"PN", b"SH", b"ST", b"TM", b"UI", b"UT"}
PATIENT = (0x00100010, 0x00100020, 0x00100030)
"""What names the patient stays in elements that name it, so that it must never come out."""
CHARACTER_SETS = (
    b"ISO_IR 100",
    b"ISO_IR 192",
    b"\\ISO 2022 IR 87",
    b"GB18030 ",
    b"ISO_IR 13\\ISO 2022 IR 159",
    b"NONE",
    b"\\\\",
)
IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1\0"

Change = Callable[[list[Element], int, Generator], str]
"""Spoils the element at a place of a data set, and says how."""


def odd_elements(folder: Path) -> Maker:
    """A slice and a multi-frame image whose elements are spoilt by the changes below."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "damaged"
    images = {
        "slice": ct_slice(VALUES[0]),
        "frames": enhanced_ct(VALUES),
        "shared": enhanced_ct(VALUES, per_frame=False),
    }
    files, sound = {}, {}
    for form, image in images.items():
        write(image, path)
        files[form], sound[form] = parse(path.read_bytes()), answer_of_study(path, "hounsfield")
        if encode(files[form]) != path.read_bytes():
            raise ValueError("the file is not what its tree is written as")

    def make(draw: Generator) -> Case:
        form = choose(draw, list(files))
        file = File(files[form].head, copied(files[form].elements))
        implicit = draw.random() < 0.25
        if implicit != (draw.random() < 0.05):  # else its head says the other
            file.head = _in_implicit(file.head)
        done = []
        for _ in range(int(choose(draw, (1, 1, 1, 2, 3)))):
            at = choose(draw, all_sets(file.elements))
            # Most that matters is the pixels' and the places': the rest of a header is skipped unseen.
            if at:
                done.append(choose(draw, CHANGES)(at, int(draw.integers(len(at))), draw))
        if draw.random() < 0.1:
            file.tail = encoded([choose(draw, file.elements)])
        data = encode(file, implicit=implicit)
        path.write_bytes(data)
        what = f"{form}{', implicit' if implicit else ''}: {', '.join(done)}"
        return Case(lambda: answer_of_study(path, "hounsfield"), what, data, sound[form], SECRETS)

    return make


def _in_implicit(head: bytes) -> bytes:
    """The same file meta, saying implicit little endian, whose shorter name is padded to the same length."""
    return head.replace(EXPLICIT, IMPLICIT.ljust(len(EXPLICIT), b"\0"))


def _other_vr(elements: list[Element], at: int, draw: Generator) -> str:
    elements[at].vr = choose(draw, VRS)
    return f"VR {elements[at].vr!r} of {elements[at].tag:08X}"


def _sequence_as_text(elements: list[Element], at: int, draw: Generator) -> str:
    """The bytes of a sequence as the value of a text, with or without its VR."""
    one = elements[at]
    depth = int(choose(draw, (1, 2, 5, 60, 3000)))
    inner = encoded([nested(0x00081140, depth, undefined=bool(draw.integers(2)))])
    if one.tag in PATIENT or one.tag == PIXELS:
        return "nothing"
    one.value = inner[8:] if draw.random() < 0.5 else inner
    one.vr = one.vr if draw.random() < 0.7 else choose(draw, (b"LO", b"UT", b"UN", b"SQ"))
    one.length = UNDEFINED if draw.random() < 0.2 else None
    return f"a sequence {depth} deep as text of {one.tag:08X}"


def _text_becomes_sequence(elements: list[Element], at: int, draw: Generator) -> str:
    depth = int(choose(draw, (1, 3, 40, 400, 3000)))
    if elements[at].tag in PATIENT or elements[at].tag == PIXELS:
        return "nothing"
    elements[at] = nested(elements[at].tag, depth, undefined=bool(draw.integers(2)))
    if draw.random() < 0.3:
        elements[at].vr = choose(draw, (b"LO", b"UN", b"DS", b"OB"))
    return f"{elements[at].tag:08X} a sequence {depth} deep"


def _sequence_becomes_text(elements: list[Element], at: int, draw: Generator) -> str:
    sequences = [one for one in elements if one.items]
    if not sequences:
        return "nothing"
    one = choose(draw, sequences)
    one.value = choose(draw, (b"", b"1\\2\\3 ", b"x" * 40, b"\xfe\xff\x00\xe0" + b"\xff" * 4))
    one.vr = choose(draw, (b"SQ", b"LO", b"UN", b"DS"))
    return f"text as {one.tag:08X}"


def _length(elements: list[Element], at: int, draw: Generator) -> str:
    one = elements[at]
    size = len(encoded([one])) - 8
    one.length = int(choose(draw, (0, 1, size - 2, size + 2, size + 1, 0xFFFE, 0xFFFF, 0x7FFFFFFF, UNDEFINED)))
    return f"length {one.length} of {one.tag:08X}"


def _undefined(elements: list[Element], at: int, draw: Generator) -> str:
    """Undefined length, with or without an end; of sequences, and of what may have none."""
    elements[at].undefined, elements[at].ended = True, bool(draw.integers(2))
    return f"undefined length of {elements[at].tag:08X}{'' if elements[at].ended else ' without end'}"


def _repeated(elements: list[Element], at: int, draw: Generator) -> str:
    """The same tag again, with the same or another value; PS3.5 7.1 allows each once."""
    twin = copied([elements[at]])[0]
    if isinstance(twin.value, bytes) and draw.random() < 0.6 and twin.tag not in PATIENT:
        twin.value = choose(draw, (b"", b"2 ", b"0 ", b"1\\1 ", twin.value[::-1], twin.value + b"\0\0"))
    elements.insert(int(draw.integers(len(elements) + 1)) if draw.random() < 0.4 else at + 1, twin)
    return f"{twin.tag:08X} again"


def _elsewhere(elements: list[Element], at: int, draw: Generator) -> str:
    """Out of the order of tags."""
    one = elements.pop(at)
    elements.insert(int(draw.integers(len(elements) + 1)), one)
    return f"{one.tag:08X} elsewhere"


def _stray(elements: list[Element], at: int, draw: Generator) -> str:
    """A delimiter, a group length, a private element or one of no group."""
    tag = choose(draw, (0xFFFEE00D, 0xFFFEE0DD, 0xFFFEE000, 0x00080000, 0x00090010, 0x00000000, 0xFFFCFFFC, 0x00020010))
    value = choose(draw, (b"", b"\0\0\0\0", b"1.2.840.10008.1.2 "))
    elements.insert(at, Element(tag, choose(draw, (b"UL", b"UN", b"LO", b"\0\0", b"SQ")), value))
    return f"{tag:08X} before {elements[at + 1].tag:08X}"


def _gone(elements: list[Element], at: int, draw: Generator) -> str:
    return f"without {elements.pop(at).tag:08X}" if elements[at].tag not in PATIENT[1:] else "nothing"


def _moved_in(elements: list[Element], at: int, draw: Generator) -> str:
    """An element into an item of a sequence beside it, where it means nothing."""
    sequences = [one for one in elements if one.items and one is not elements[at]]
    if not sequences or elements[at].tag in PATIENT:
        return "nothing"
    one = elements.pop(at)
    choose(draw, sequences).items[0].append(one)
    return f"{one.tag:08X} into a sequence"


def _character_set(elements: list[Element], at: int, draw: Generator) -> str:
    name = choose(draw, CHARACTER_SETS)
    elements.insert(0, Element(0x00080005, b"CS", name + b" " * (len(name) % 2)))
    return f"character set {name!r}"


def _unknown_sequence(elements: list[Element], at: int, draw: Generator) -> str:
    """VR UN of undefined length, whose content is in implicit VR (PS3.5 6.2.2, note 4)."""
    sequences = [one for one in elements if one.items]
    if not sequences:
        return "nothing"
    one = choose(draw, sequences)
    one.value = encoded([one], implicit=True)[8:]
    one.vr, one.undefined, one.ended = b"UN", True, bool(draw.integers(4))
    return f"{one.tag:08X} as UN"


CHANGES: tuple[Change, ...] = (
    *(_other_vr, _other_vr, _sequence_as_text, _sequence_as_text, _text_becomes_sequence, _sequence_becomes_text),
    *(_length, _undefined, _repeated, _elsewhere, _stray, _gone, _moved_in, _character_set, _unknown_sequence),
)
