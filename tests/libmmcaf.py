"""The C library as a program calls it, by ctypes: mmcaf.h in Python."""

import ctypes
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine import Study, Volume
from mmcaf_engine.capi.library import c_library
from mmcaf_engine.errors import BackendError

INT16, FLOAT32 = 1, 2
INTENSITIES = ("hounsfield", "rescaled", "stored")

LOG = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)
PROGRESS = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_size_t, c_size_t)
SLICE = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, c_void_p)


class OpenOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("precision", c_char_p),
        ("threads", c_int),
        ("cache", c_char_p),
        ("trusted_key", c_char_p),
        ("kernels", c_char_p),
        ("require_kept_engine", c_int),
        ("log", LOG),
        ("progress", PROGRESS),
        ("user", c_void_p),
    ]


class CVolume(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("input", c_char_p),
        ("values", c_void_p),
        ("type", c_int),
        ("shape", c_size_t * 3),
        ("spacing_mm", c_double * 3),
        ("origin_mm", c_double * 3),
        ("direction", c_double * 9),
        ("intensity", c_int),
    ]


class Instance(Structure):
    _fields_ = [("sop_class_uid", c_char_p), ("sop_instance_uid", c_char_p), ("frame", c_int)]


class AnswerOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("patient_id", c_char_p),
        ("patient_sex", c_char_p),
        ("patient_age_years", c_double),
        ("patient_weight_kg", c_double),
        ("study_uid", c_char_p),
        ("series_uid", c_char_p),
        ("frame_of_reference_uid", c_char_p),
        ("modality", c_char_p),
        ("body_part", c_char_p),
        ("instances", POINTER(Instance)),
        ("instance_count", c_size_t),
        ("first_slice", c_int),
        ("last_slice", c_int),
        ("stride", c_int),
        ("allow_id_mismatch", c_int),
        ("strict", c_int),
        ("deadline_seconds", c_double),
        ("created", c_char_p),
        ("progress", PROGRESS),
        ("user", c_void_p),
        ("tokens", POINTER(c_int64)),
        ("token_count", c_size_t),
        ("view", c_char_p),
    ]


class CError(Structure):
    _fields_ = [("code", c_int), ("kind", c_char_p), ("problem", c_char_p), ("remedy", c_char_p), ("json", c_char_p)]


class RefusedError(Exception):
    """The library refused: its code, and what mmcaf_last_error tells."""

    def __init__(self, code: int, document: dict[str, Any]) -> None:
        super().__init__(document["problem"])
        self.code, self.document = code, document


@cache
def _loaded() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(c_library().file))
    except BackendError:
        return None
    library.mmcaf_last_error.restype = POINTER(CError)
    library.mmcaf_result_probability.restype = c_double
    library.mmcaf_result_label_count.restype = library.mmcaf_result_warning_count.restype = c_size_t
    for name in ("network_json", "result_json", "result_label", "result_decision", "result_warning", "version"):
        getattr(library, f"mmcaf_{name}").restype = c_char_p
    return library


def libmmcaf() -> ctypes.CDLL:
    """The library; without it, the test is skipped."""
    library = _loaded()
    if library is None:
        pytest.skip("the C library was not built; with OpenSSL's headers: pip install --editable .")
    return library


def checked(code: int) -> None:
    """Raises RefusedError: the call failed."""
    if code:
        told = libmmcaf().mmcaf_last_error().contents
        assert told.code == code
        raise RefusedError(code, json.loads(told.json))


def c_volume(volume: Volume, name: str | None = None) -> CVolume:
    """Of a volume, whose values must outlive it."""
    found = CVolume()
    libmmcaf().mmcaf_volume_init(byref(found), c_size_t(ctypes.sizeof(found)))
    values = volume.values
    assert values.flags.c_contiguous
    found.input = None if name is None else name.encode()
    found.values = values.ctypes.data
    found.type = INT16 if values.dtype == np.int16 else FLOAT32
    found.shape[:] = values.shape
    found.spacing_mm[:] = volume.spacing_mm
    found.origin_mm[:] = volume.origin_mm
    found.direction[:] = [part for vector in volume.direction for part in vector]
    found.intensity = INTENSITIES.index(volume.intensity)
    return found


def answer_options(study: Study | None = None, tokens: Sequence[int] = (), **given: Any) -> AnswerOptions:
    """What is known of a study, and what is asked for, by the names of the struct."""
    options = AnswerOptions()
    libmmcaf().mmcaf_answer_options_init(byref(options), c_size_t(ctypes.sizeof(options)))
    if study is not None:
        patient = study.patient
        given = {f"{name}_uid": study.uids.get(name) for name in ("study", "series", "frame_of_reference")} | given
        given = {"patient_id": patient.patient_id, "patient_sex": patient.sex, "modality": study.modality} | given
        given = {"body_part": study.body_part or None} | given
        given |= {} if patient.age is None else {"patient_age_years": patient.age}
        given |= {} if patient.weight is None else {"patient_weight_kg": patient.weight}
        images = [image for image in study.images if image is not None]
        each = [(one.sop_class_uid.encode(), one.sop_instance_uid.encode(), one.frame or 0) for one in images]
        if each:
            options.instances, options.instance_count = (Instance * len(each))(*each), len(each)
    if tokens:
        options.tokens, options.token_count = (c_int64 * len(tokens))(*tokens), len(tokens)
    for name, value in given.items():
        setattr(options, name, value.encode() if isinstance(value, str) else value)
    return options


class Network:
    """An open bundle."""

    def __init__(self, handle: c_void_p) -> None:
        self.handle = handle

    @property
    def json(self) -> dict[str, Any]:
        """What the library tells of it."""
        found: dict[str, Any] = json.loads(libmmcaf().mmcaf_network_json(self.handle))
        return found

    def answer(
        self,
        study: Study | Volume | Mapping[str, Volume],
        record: str | None = None,
        **options: Any,
    ) -> str:
        """The JSON of the result.

        Raises:
            RefusedError: as the library does.
        """
        known = study if isinstance(study, Study) else None
        given = study.volume if isinstance(study, Study) else study
        named = {None: given} if isinstance(given, Volume) else dict(given)
        volumes = [c_volume(volume, name) for name, volume in named.items()]
        array = (CVolume * len(volumes))(*volumes)
        told, result = answer_options(known, **options), c_void_p()
        text = None if record is None else record.encode("utf-8", "surrogatepass")
        answer = libmmcaf().mmcaf_answer_volumes
        checked(answer(self.handle, array, c_size_t(len(volumes)), text, byref(told), byref(result)))
        return taken(result)

    def answer_image(self, plane: NDArray[np.float32], record: str | None = None, **options: Any) -> str:
        """The JSON of the result.

        Raises:
            RefusedError: as the library does.
        """
        told, result = answer_options(**options), c_void_p()
        rows, columns = map(c_size_t, plane.shape)
        text = None if record is None else record.encode()
        pixels = plane.ctypes.data_as(c_void_p)
        image = (self.handle, pixels, rows, columns, text)
        checked(libmmcaf().mmcaf_answer_image(*image, byref(told), byref(result)))
        return taken(result)


def taken(result: c_void_p) -> str:
    """A result's JSON, after holding the other functions against it; the result is freed."""
    library = libmmcaf()
    try:
        text: str = library.mmcaf_result_json(result).decode()
        document = json.loads(text)
        count = library.mmcaf_result_label_count(result)
        labels = [library.mmcaf_result_label(result, c_size_t(at)).decode() for at in range(count)]
        each = [library.mmcaf_result_probability(result, c_size_t(at)) for at in range(count)]
        assert dict(zip(labels, each, strict=True)) == document["probabilities"]
        assert math.isnan(library.mmcaf_result_probability(result, c_size_t(count)))
        decision = library.mmcaf_result_decision(result)
        assert (decision and decision.decode()) == (None if document["findings"] else document["label"])
        warnings = [
            library.mmcaf_result_warning(result, c_size_t(at)).decode()
            for at in range(library.mmcaf_result_warning_count(result))
        ]
        assert warnings == document["warnings"]
        return text
    finally:
        library.mmcaf_free_result(result)


@contextmanager
def opened(bundle: Path, **options: Any) -> Iterator[Network]:
    """A bundle, open in one thread unless `options` say otherwise, by the names of the struct.

    Raises:
        RefusedError: as the library does.
    """
    library, given, handle = libmmcaf(), OpenOptions(), c_void_p()
    library.mmcaf_open_options_init(byref(given), c_size_t(ctypes.sizeof(given)))
    for name, value in {"threads": 1, **options}.items():
        setattr(given, name, value.encode() if isinstance(value, str) else value)
    checked(library.mmcaf_open(str(bundle).encode(), byref(given), byref(handle)))
    try:
        yield Network(handle)
    finally:
        library.mmcaf_free_network(handle)
