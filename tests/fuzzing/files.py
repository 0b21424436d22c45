"""DICOM files in every form, damaged byte by byte or element by element, whatever they are made of."""

import copy
import io
import os
import warnings
from pathlib import Path
from typing import Any

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
from dicom_factory import (
    PHI,
    change,
    ct_series,
    ct_slice,
    enhanced_ct,
    hounsfield,
    save,
    save_dicomdir,
    save_zip,
    write,
)
from mmcaf_engine.volume import Intensity

from .case import Answer, Case, Maker, answer_of_study, choose
from .octets import damage

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
SECRETS = tuple(PHI.values())
VALUES = hounsfield(3, 33, 35)
_CHECKED = ("zip", "stored zip")
"""Forms that hold a checksum of every byte."""


def studies(folder: Path) -> dict[str, bytes]:
    """Sound files by form; `folder` takes what they are made from."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for syntax in (
        *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
        *(RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1),
    ):
        image = ct_slice(VALUES[0])
        if syntax == JPEGLosslessSV1:
            frame = jpeg_lossless.encode((VALUES[0] + 1024).astype("u2"), 12, 1)
            image.PixelData = pydicom.encaps.encapsulate([frame])
        elif syntax.is_encapsulated:
            image.compress(syntax, generate_instance_uid=False)
        image.file_meta.TransferSyntaxUID = syntax
        found[syntax.keyword] = write(image, folder / "sound").read_bytes()
    found["enhanced"] = write(enhanced_ct(VALUES), folder / "sound").read_bytes()
    packed = enhanced_ct(VALUES, per_frame=False)
    packed.compress(RLELossless, generate_instance_uid=False)
    found["enhanced, compressed"] = write(packed, folder / "sound").read_bytes()
    return found


def any_study(folder: Path) -> Maker:
    """Any bytes or elements of any form, among them a zip and a DICOMDIR."""
    forms = studies(folder)
    medium = save(ct_series(VALUES), folder / "medium")
    for file in medium.iterdir():
        os.utime(file, (0, 1e9))  # which a zip holds
    forms["zip"] = save_zip(medium, folder / "sound.zip").read_bytes()
    forms["stored zip"] = save_zip(medium, folder / "sound.zip", compression=0).read_bytes()
    save_dicomdir(medium / "DICOMDIR", [[f"IM{index:04d}"] for index in range(3)])
    forms["DICOMDIR"] = (medium / "DICOMDIR").read_bytes()
    path = folder / "damaged"
    sound: dict[tuple[str, Intensity], Answer] = {}
    for form in _CHECKED:
        path.write_bytes(forms[form])
        for kind in ("stored", "hounsfield"):
            intensity: Intensity = "stored" if kind == "stored" else "hounsfield"
            sound[form, intensity] = answer_of_study(path, intensity)

    def make(draw: Generator) -> Case:
        form = choose(draw, list(forms))
        data = forms[form]
        if "zip" not in form and draw.random() < 0.5:
            data = change_elements(data, draw)
        if draw.random() < 0.7 or data == forms[form]:
            data = damage(data, draw)
        target = medium / "DICOMDIR" if form == "DICOMDIR" else path
        target.write_bytes(data)
        intensity: Intensity = "stored" if draw.random() < 0.2 else "hounsfield"
        return Case(
            lambda: answer_of_study(target, intensity), f"{form}, bytes", data, sound.get((form, intensity)), SECRETS
        )

    return make


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
    named = {"PatientName", "PatientID", "PatientBirthDate"}  # They stay where they are, and must not come out.
    elements = [element for element in dataset if element.keyword != "PixelData" and element.keyword not in named]
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
            setattr(dataset, choose(draw, keywords), [inner, copy.deepcopy(inner)])
        case _:
            numeric = element.VR in ("US", "SS", "UL", "SL", "FL", "FD", "IS")
            choices: tuple[Any, ...] = NUMBERS if numeric and draw.random() < 0.8 else TEXTS
            value = choices[int(draw.integers(len(choices)))]
            element._value = [value] * int(draw.integers(2, 9)) if draw.random() < 0.2 else value
