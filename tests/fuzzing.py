"""Damaged studies, records and manifests, the same for the same seed: what they meet may only be an MmcafError."""

import copy
import io
import json
import shutil
import struct
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.random import Generator
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import jpeg_lossless
from dicom_factory import change, ct_series, ct_slice, enhanced_ct, hounsfield, save, save_dicomdir, save_zip, write
from engine.record.test_fhir import SPEC, STUDY_DATE
from engine.record.test_fhir import bundle as fhir_bundle
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import MmcafError
from mmcaf_engine.record.record import read_record
from mmcaf_engine.study import read_study

KINDS = ("study", "flat record", "FHIR record", "manifest")
SHARES = (0.6, 0.15, 0.15, 0.1)
HOSTILE_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0")
LENGTHS = (0, 1, 3, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
TEXTS = (
    "",
    "\\",
    "\\\\\\",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "9" * 400,
    "0x10",
    "\x1b[2J",
    "ä\ud7ff",
    "../../etc",
    "1.2.PHI",
)
NUMBERS = (0, 1, -1, 2, 255, 4096, 32767, 65535, 2**31 - 1, -(2**31))
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, [], {}, "", "x" * 5000, "\x00", "\u202e", 0, -1, 1e308, -1e308, 1e-320, 2**63, 10**19),
    *([[]], {"": {}}, {"value": 1}, {"value": None, "unit": []}, ["a"] * 300, "0001-01-01", "9999-99-99", "1960-13"),
)


@dataclass
class Outcome:
    """cases by (kind, class of error or "accepted"); foreign: case number and trace of each other exception."""

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    foreign: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest_case: int = -1


@dataclass(frozen=True)
class Sound:
    """What is damaged: files of a study by form, the records, and a bundle's folder."""

    studies: dict[str, bytes]
    medium: Path
    flat: dict[str, Any]
    fhir: dict[str, Any]
    bundle: Path


def run(cases: int, folder: Path, bundle: Path, *, seed: int = 0) -> Outcome:
    """Try `cases` damaged inputs, each drawn from its own number and `seed`; `folder` takes the files."""
    sound = prepare(folder, bundle)
    outcome = Outcome()
    for number in range(cases):
        draw = np.random.default_rng([seed, number])
        kind = KINDS[int(draw.choice(len(KINDS), p=SHARES))]
        attempt = ATTEMPTS[kind](sound, folder, draw)
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                attempt()
            result = "accepted"
        except MmcafError as failure:
            result = type(failure).__name__
        except Exception as failure:
            result = f"foreign {type(failure).__name__}"
            outcome.foreign.append((number, traceback.format_exc()))
        outcome.cases[kind, result] += 1
        if (spent := time.perf_counter() - started) > outcome.slowest_s:
            outcome.slowest_s, outcome.slowest_case = spent, number
    return outcome


def prepare(folder: Path, bundle: Path) -> Sound:
    """Write the sound inputs."""
    values = hounsfield(3, 33, 35)
    studies = {}
    for syntax in (
        *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
        *(RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1),
    ):
        image = ct_slice(values[0])
        if syntax == JPEGLosslessSV1:
            frame = jpeg_lossless.encode((values[0] + 1024).astype(np.uint16), 12, 1)
            image.PixelData = pydicom.encaps.encapsulate([frame])
        elif syntax.is_encapsulated:
            image.compress(syntax)
        image.file_meta.TransferSyntaxUID = syntax
        studies[syntax.keyword] = write(image, folder / "sound").read_bytes()
    studies["enhanced"] = write(enhanced_ct(values), folder / "sound").read_bytes()
    packed = enhanced_ct(values, per_frame=False)
    packed.compress(RLELossless)
    studies["enhanced, compressed"] = write(packed, folder / "sound").read_bytes()
    medium = save(ct_series(values), folder / "medium")
    studies["zip"] = save_zip(medium, folder / "sound.zip").read_bytes()
    studies["stored zip"] = save_zip(medium, folder / "sound.zip", compression=0).read_bytes()
    save_dicomdir(medium / "DICOMDIR", [[f"IM{index:04d}"] for index in range(3)])
    studies["DICOMDIR"] = (medium / "DICOMDIR").read_bytes()
    flat = {"sex": "F", "age": 63, "weight": 71.5, "t_stage": "1b", "n_stage": "2", "m_stage": "0"}
    flat |= {"smoking_history": "former", "patient_id": "PHI-4711"}
    copied = Path(shutil.copytree(bundle, folder / "bundle.mmcaf"))
    return Sound(studies, medium, flat, fhir_bundle(), copied)


def _study(sound: Sound, folder: Path, draw: Generator) -> Callable[[], object]:
    form = str(draw.choice(list(sound.studies)))
    data = sound.studies[form]
    if "zip" not in form and draw.random() < 0.5:
        data = change_elements(data, draw)
    if draw.random() < 0.7 or data == sound.studies[form]:
        data = damage(data, draw)
    path = sound.medium / "DICOMDIR" if form == "DICOMDIR" else folder / "damaged"
    path.write_bytes(data)
    intensity = "stored" if draw.random() < 0.2 else "hounsfield"
    return lambda: read_study(path, intensity=intensity)  # type: ignore[arg-type]


def _record(document: dict[str, Any], folder: Path, draw: Generator) -> Callable[[], object]:
    study_date: date | None = STUDY_DATE if draw.random() < 0.9 else None
    path = folder / "record.json"
    path.write_bytes(_damaged_json(document, draw))
    return lambda: read_record(path, SPEC, study_date=study_date)


def _manifest(sound: Sound, folder: Path, draw: Generator) -> Callable[[], object]:
    manifest = sound.bundle / "manifest.json"
    kept = manifest.with_suffix(".kept")
    if not kept.exists():
        shutil.copy(manifest, kept)
    manifest.write_bytes(_damaged_json(json.loads(kept.read_bytes()), draw))
    return lambda: load_bundle(sound.bundle)


ATTEMPTS: dict[str, Callable[[Sound, Path, Generator], Callable[[], object]]] = {
    "study": _study,
    "flat record": lambda sound, folder, draw: _record(sound.flat, folder, draw),
    "FHIR record": lambda sound, folder, draw: _record(sound.fhir, folder, draw),
    "manifest": _manifest,
}


def damage(data: bytes, draw: Generator) -> bytes:
    """Flip bytes, cut, edit lengths, insert, remove or repeat pieces."""
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        size = max(len(changed), 1)
        at = int(draw.integers(min(size, 700) if draw.random() < 0.5 else size))
        match int(draw.integers(7)):
            case 0 if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << int(draw.integers(8))
            case 1:
                piece = draw.choice(np.array(HOSTILE_BYTES, object))
                changed[at : at + len(piece)] = piece
            case 2 if draw.random() < 0.4:
                del changed[at:]
            case 3:
                del changed[at : at + int(draw.integers(1, 40))]
            case 4:
                changed[at:at] = draw.bytes(int(draw.integers(1, 40)))
            case 5:
                length = int(draw.choice(np.array(LENGTHS, np.uint64)))
                piece = struct.pack("<I", length) if draw.random() < 0.5 else struct.pack("<H", length & 0xFFFF)
                changed[at : at + len(piece)] = piece
            case _:
                piece = bytes(changed[at : at + int(draw.integers(1, 200))])
                to = int(draw.integers(size))
                changed[to:to] = piece
    return bytes(changed)


def change_elements(data: bytes, draw: Generator) -> bytes:
    """Remove, add, swap or spoil elements by their value representation, in the header or in a sequence."""
    image = pydicom.dcmread(io.BytesIO(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(int(draw.integers(1, 4))):
            try:
                _change_element(_some_dataset(image, draw), draw)
            except Exception:
                continue
        written = io.BytesIO()
        try:
            image.save_as(written, enforce_file_format=True)
        except Exception:
            return data
    return written.getvalue()


def _some_dataset(dataset: Dataset, draw: Generator) -> Dataset:
    sequences = [element for element in dataset if element.VR == "SQ" and len(element.value)]
    if not sequences or draw.random() < 0.4:
        return dataset
    items = sequences[int(draw.integers(len(sequences)))].value
    return _some_dataset(items[int(draw.integers(len(items)))], draw)


def _change_element(dataset: Dataset, draw: Generator) -> None:
    elements = [element for element in dataset if element.keyword != "PixelData"]
    element = elements[int(draw.integers(len(elements)))]
    match int(draw.integers(4)):
        case 0:
            del dataset[element.tag]
        case 1:
            other = elements[int(draw.integers(len(elements)))]
            dataset[element.tag].value, dataset[other.tag].value = other.value, element.value
        case 2:
            inner = Dataset()
            change(inner, Rows=1, RescaleSlope=0)
            keywords = ("ModalityLUTSequence", "PerFrameFunctionalGroupsSequence", "PixelMeasuresSequence")
            setattr(dataset, str(draw.choice(keywords)), [inner, copy.deepcopy(inner)])
        case _:
            numeric = element.VR in ("US", "SS", "UL", "SL", "FL", "FD", "IS")
            choices: tuple[Any, ...] = NUMBERS if numeric and draw.random() < 0.8 else TEXTS
            value = choices[int(draw.integers(len(choices)))]
            element._value = [value] * int(draw.integers(2, 9)) if draw.random() < 0.2 else value


def _damaged_json(document: Any, draw: Generator) -> bytes:
    changed = copy.deepcopy(document)
    for _ in range(int(draw.choice([1, 1, 1, 2, 4]))):
        changed = _change_json(changed, draw)
    text = json.dumps(changed, ensure_ascii=bool(draw.integers(2))).encode("utf-8", "surrogatepass")
    return damage(text, draw) if draw.random() < 0.25 else text


def _change_json(node: Any, draw: Generator, depth: int = 0) -> Any:
    """Spoil one value somewhere below."""
    children = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    if isinstance(node, str) and draw.random() < 0.4:
        return node + " x" if draw.random() < 0.5 else node[:-1]
    if isinstance(node, int | float) and draw.random() < 0.4:
        return node * (2, -1, 1.25, 10**6)[int(draw.integers(4))]
    if not children or draw.random() < (0.02 if depth == 0 else 0.15):
        return copy.deepcopy(JSON_VALUES[int(draw.integers(len(JSON_VALUES)))])
    at = children[int(draw.integers(len(children)))]
    match int(draw.integers(8)):
        case 0:
            del node[at]
        case 1 if isinstance(node, dict):
            node[str(draw.choice(np.array(["", "x", at.upper(), f" {at}", "resourceType"])))] = node[at]
        case 1:
            node.insert(at, copy.deepcopy(node[at]))
        case 2:
            other = children[int(draw.integers(len(children)))]
            node[at], node[other] = node[other], node[at]
        case 3:
            for _ in range(int(draw.choice([1, 3, 80]))):
                node[at] = [node[at]] if draw.random() < 0.5 else {"a": node[at]}
        case _:
            node[at] = _change_json(node[at], draw, depth + 1)
    return node
