"""Arguments that cannot be meant, of each function of mmcaf.h: refused with a code and a message."""

import ctypes
import math
from ctypes import byref, c_char_p, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmmcaf import (
    LOG,
    PROGRESS,
    SLICE,
    Instance,
    Network,
    c_volume,
    checked,
    libmmcaf,
    opened,
)
from wrong_calls import (
    BACKEND,
    CANCELLED,
    DEADLINE,
    GOOD,
    KEPT,
    OK,
    RECORD,
    STRICT,
    STUDY,
    USAGE,
    answer,
    last_problem,
    refused,
    volume_with,
)


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("type", ctypes.c_int),
        ("data", c_void_p),
        ("shape", ctypes.POINTER(c_int64)),
        ("rank", c_size_t),
    ]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"type": 0}, USAGE),
        ({"type": 3}, USAGE),
        ({"intensity": 7}, USAGE),
        ({"intensity": 2}, USAGE),
        ({"struct_size": 0}, USAGE),
        ({"struct_size": 2**40}, USAGE),
        ({"shape": (0, 20, 20)}, STUDY),
        ({"shape": (5, 0, 20)}, STUDY),
        ({"shape": (2**40, 2**40, 2)}, USAGE),
        ({"spacing_mm": (math.nan, 1, 1)}, STUDY),
        ({"spacing_mm": (2.5, 0, 1)}, STUDY),
        ({"spacing_mm": (2.5, -1, 1)}, STUDY),
        ({"spacing_mm": (math.inf, 1, 1)}, STUDY),
        ({"origin_mm": (math.nan, 0, 0)}, STUDY),
        ({"direction": (0,) * 9}, STUDY),
        ({"direction": (0, 0, 1, 0, 0, 1, 1, 0, 0)}, STUDY),
        ({"direction": (0, 0, math.nan, 0, 1, 0, 1, 0, 0)}, STUDY),
        ({"input": b"mask"}, USAGE),
    ],
    ids=str,
)
def test_a_volume_that_cannot_be_meant(network: Network, members: dict[str, Any], code: int) -> None:
    assert answer(network, volume_with(**members)) == code


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_voxel_that_is_no_number(network: Network, value: float) -> None:
    values = KEPT.values.astype(np.float32)
    values[4, 3, 2] = value
    found = volume_with(values=values.ctypes.data, type=2)
    assert answer(network, found) == STUDY


def test_a_volume_of_one_value(network: Network) -> None:
    values = np.zeros((5, 20, 20), np.int16)
    assert answer(network, volume_with(values=values.ctypes.data)) == STUDY


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"stride": -1}, USAGE),
        ({"first_slice": 3, "last_slice": 2}, USAGE),
        ({"first_slice": 4, "last_slice": 99}, USAGE),
        ({"first_slice": -1}, USAGE),
        ({"deadline_seconds": -1.0}, USAGE),
        ({"deadline_seconds": math.nan}, USAGE),
        ({"deadline_seconds": 1e-9}, DEADLINE),
        ({"created": "yesterday"}, USAGE),
        ({"created": "2026-01-01T00:00:00"}, USAGE),
        ({"instance_count": 2}, USAGE),
        ({"struct_size": 3}, USAGE),
        ({"patient_sex": "X"}, STUDY),
        ({"series_uid": b"Universit\xe4t"}, USAGE),
        ({"body_part": b"CHEST\x1b[2J"}, USAGE),
        ({"patient_id": b"p\xed\xa0\x80"}, USAGE),
        ({"modality": b"CT\xc2\x85"}, USAGE),
        ({"view": b"from behind"}, USAGE),
        ({"token_count": 2}, USAGE),
        ({"tokens": [1, 2]}, RECORD),
        ({"patient_age_years": math.inf}, STUDY),
        ({"progress": PROGRESS(lambda *_: 1)}, CANCELLED),
    ],
    ids=lambda given: given if isinstance(given, int) else "-".join(given),
)
def test_options_that_cannot_be_meant(network: Network, options: dict[str, Any], code: int) -> None:
    assert answer(network, c_volume(KEPT), **options) == code


@pytest.mark.parametrize(
    "record",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"sex": "F", "age": NaN}',
        b'{"sex": "F"}',
        b'{"resourceType": "Bundle"}',
        b"sex,age\nF,61\n",
    ],
)
def test_a_record_that_cannot_be_read(network: Network, record: bytes | None) -> None:
    assert answer(network, c_volume(KEPT), record) == RECORD


def test_a_record_of_another_patient_is_refused_and_can_be_allowed_but_not_strictly(network: Network) -> None:
    record = b'{"sex": "F", "age": 61, "patient_id": "one"}'
    assert answer(network, c_volume(KEPT), record, patient_id="other") == RECORD
    assert answer(network, c_volume(KEPT), record, patient_id="other", allow_id_mismatch=1) == OK
    assert answer(network, c_volume(KEPT), record, patient_id="other", allow_id_mismatch=1, strict=1) == STRICT


def test_slices_that_do_not_come_end_the_call(network: Network) -> None:
    library, result = libmmcaf(), c_void_p(1)
    series = volume_with(values=None)
    ending = SLICE(lambda _user, index, _slice: int(index == 2))
    arguments = (network.handle, byref(series), ending, None, GOOD, None, byref(result))
    assert library.mmcaf_answer_series(*arguments) == CANCELLED
    assert result.value is None
    assert (
        library.mmcaf_answer_series(network.handle, byref(c_volume(KEPT)), ending, None, None, None, byref(result))
        == USAGE
    )


def test_an_image_for_a_network_of_volumes(network: Network) -> None:
    plane, result = np.ones((8, 8), np.float32), c_void_p(1)
    pixels = plane.ctypes.data_as(c_void_p)
    for rows in (8, 0, 2**40):
        code = libmmcaf().mmcaf_answer_image(
            network.handle, pixels, c_size_t(rows), c_size_t(8), GOOD, None, byref(result)
        )
        assert code in (USAGE, STUDY) and result.value is None


def tensor(named: str, values: np.ndarray[Any, Any], **members: Any) -> Tensor:
    shape = (c_int64 * values.ndim)(*values.shape)
    found = Tensor(named.encode(), 3 if values.dtype == np.int64 else 2, values.ctypes.data, shape, values.ndim)
    found.kept = values  # As long as what points to it.
    for member, value in members.items():
        setattr(found, member, value)
    return found


IMAGE, TABLE = np.ones((1, 1, 4, 16, 16), np.float32), np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [tensor("image", IMAGE)],
        [tensor("image", IMAGE), tensor("image", IMAGE)],
        [tensor("image", IMAGE), tensor("table", TABLE), tensor("mask", TABLE)],
        [tensor("image", IMAGE[:, :, :2].copy()), tensor("table", TABLE)],
        [tensor("image", IMAGE), tensor("table", TABLE.astype(np.int64))],
        [tensor("image", IMAGE), tensor("table", TABLE, type=1)],
        [tensor("image", IMAGE), tensor("table", TABLE, rank=99)],
        [tensor("image", IMAGE), tensor("table", TABLE, data=None)],
        [tensor("image", IMAGE), tensor("table", TABLE, name=None)],
        [tensor("image", np.full_like(IMAGE, np.nan)), tensor("table", TABLE)],
    ],
    ids=["none", "one", "twice", "more", "shape", "type", "int16", "axes", "null", "nameless", "nan"],
)
def test_tensors_that_are_not_the_networks(network: Network, inputs: list[Tensor]) -> None:
    library, outputs = libmmcaf(), c_void_p(1)
    given = (Tensor * len(inputs))(*inputs)
    assert library.mmcaf_run(network.handle, given, c_size_t(len(inputs)), byref(outputs)) in (USAGE, BACKEND)
    assert outputs.value is None and last_problem()


def test_tensors_in_and_out(network: Network) -> None:
    library, outputs = libmmcaf(), c_void_p()
    given = (Tensor * 2)(tensor("image", IMAGE), tensor("table", TABLE))
    checked(library.mmcaf_run(network.handle, given, c_size_t(2), byref(outputs)))
    library.mmcaf_tensor_at.restype, library.mmcaf_tensor_count.restype = ctypes.POINTER(Tensor), c_size_t
    assert library.mmcaf_tensor_count(outputs) == 1
    found = library.mmcaf_tensor_at(outputs, c_size_t(0)).contents
    assert found.name == b"logit" and found.shape[: found.rank] == [1, 1]
    assert not library.mmcaf_tensor_at(outputs, c_size_t(1))
    library.mmcaf_free_tensors(outputs)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"precision": "fp17"}, USAGE),
        ({"precision": "int8"}, BACKEND),
        ({"threads": -1}, USAGE),
        ({"struct_size": 1}, USAGE),
        ({"trusted_key": "RWQ"}, USAGE),
        ({"trusted_key": ""}, USAGE),
        ({"kernels": "/nowhere/libmmcaf_openvino.so"}, BACKEND),
        ({"require_kept_engine": 1}, BACKEND),
        ({"progress": PROGRESS(lambda *_: 1)}, CANCELLED),
    ],
    ids=lambda given: given if isinstance(given, int) else "-".join(given),
)
def test_opening_that_cannot_be_meant(bundle: Path, options: dict[str, Any], code: int) -> None:
    with refused(code), opened(bundle, **{"cache": "", **options}):
        pass


def test_the_log_says_nothing_of_a_patient(bundle: Path) -> None:
    lines: list[str] = []
    log = LOG(lambda _user, _level, message: lines.append(message.decode()))
    with opened(bundle, cache="", log=log) as network:
        answer(network, c_volume(KEPT), b'{"sex": "F", "age": 61, "patient_id": "Meier"}', patient_id="Meier")
        answer(network, c_volume(KEPT), b'{"sex": "F", "age": 61, "patient_id": "Meier"}', patient_id="Huber")
    assert not [line for line in lines if "Meier" in line or "Huber" in line]


@pytest.mark.parametrize("member", ["series_uid", "body_part", "patient_id", "created"])
def test_text_that_is_no_utf_8_is_named(network: Network, member: str) -> None:
    assert answer(network, c_volume(KEPT), **{member: b"Lunge \xe4"}) == USAGE
    assert last_problem() == f"{member} is not UTF-8 at byte 7."


@pytest.mark.parametrize("frame", [-1, -(2**31)])
def test_frames_count_from_1(network: Network, frame: int) -> None:
    each = (Instance * 5)(*[Instance(b"1.2", b"2.25.%d" % at, frame) for at in range(5)])
    assert answer(network, c_volume(KEPT), instances=each, instance_count=5) == USAGE
    assert "mmcaf_instance.frame" in last_problem()
