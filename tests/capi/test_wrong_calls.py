"""Every function of mmcaf.h called wrongly: a code and a message, and nothing else happens."""

import ctypes
import json
import math
import shutil
import threading
import zipfile
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_double, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmmcaf import (
    LOG,
    PROGRESS,
    SLICE,
    AnswerOptions,
    CVolume,
    Network,
    OpenOptions,
    RefusedError,
    answer_options,
    c_volume,
    checked,
    libmmcaf,
    opened,
    taken,
)
from mmcaf_engine import Volume
from mmcaf_engine.bundle.bundle import load_unjudged, write_bundle
from mmcaf_engine.bundle.signature import SecretKey
from shared import Shared
from tiny_bundle import make_draft, make_tiny_bundle, tiny_manifest

OK, USAGE, STUDY, RECORD, BUNDLE, BACKEND, STRICT = 0, 2, 3, 4, 5, 6, 7
DEADLINE, CANCELLED = 124, 130
GOOD = b'{"sex": "F", "age": 61}'


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("type", ctypes.c_int),
        ("data", c_void_p),
        ("shape", ctypes.POINTER(c_int64)),
        ("rank", c_size_t),
    ]


@pytest.fixture(scope="module")
def bundle(shared: Shared) -> Path:
    libmmcaf()
    return shared("tiny-for-c", lambda folder: make_tiny_bundle(folder / "tiny.mmcaf"))


@pytest.fixture(scope="module")
def network(bundle: Path) -> Iterator[Network]:
    with opened(bundle, cache="") as network:
        yield network


def study() -> Volume:
    rng = np.random.default_rng(5)
    return Volume(rng.integers(-200, 800, (5, 20, 20), dtype=np.int16), "hounsfield", (2.5, 1.0, 1.0))


def refused(code: int, *words: str) -> Any:
    """The block is refused with this code, and these words are in what is said."""
    return pytest.raises(
        RefusedError, check=lambda failure: failure.code == code and all(one in str(failure) for one in words)
    )


def last_problem() -> str:
    return str(libmmcaf().mmcaf_last_error().contents.problem.decode())


def volume_with(**members: Any) -> CVolume:
    found = c_volume(KEPT)
    for name, value in members.items():
        if isinstance(value, tuple):
            getattr(found, name)[:] = value
        else:
            setattr(found, name, value)
    return found


KEPT = study()


def answer(network: Network | None, volume: CVolume | None, record: bytes | None = GOOD, **options: Any) -> int:
    """The code of mmcaf_answer_volume, of which nothing is left behind where it refuses."""
    library, result = libmmcaf(), c_void_p(1)
    told = answer_options(**options)
    handle = None if network is None else network.handle
    given = None if volume is None else byref(volume)
    code: int = library.mmcaf_answer_volume(handle, given, record, byref(told), byref(result))
    if code == OK:
        library.mmcaf_free_result(result)
    else:
        assert result.value is None
        told_error = library.mmcaf_last_error().contents
        assert told_error.code == code and told_error.problem and json.loads(told_error.json)["exit_code"] == code
    return code


def test_null_is_a_wrong_call_and_nothing_is_written_through_it(network: Network) -> None:
    library, handle = libmmcaf(), c_void_p(1)
    assert library.mmcaf_open(None, None, byref(handle)) == USAGE
    assert handle.value is None
    assert library.mmcaf_open(b"x", None, None) == USAGE
    assert "network is NULL" in last_problem()
    assert library.mmcaf_answer_volume(network.handle, byref(c_volume(KEPT)), None, None, None) == USAGE
    assert answer(None, c_volume(KEPT)) == USAGE
    assert answer(network, None) == USAGE
    assert answer(network, volume_with(values=None)) == USAGE
    result = c_void_p(1)
    assert library.mmcaf_answer_volumes(network.handle, None, c_size_t(2), None, None, byref(result)) == USAGE
    assert (
        library.mmcaf_answer_series(
            network.handle, byref(volume_with(values=None)), None, None, None, None, byref(result)
        )
        == USAGE
    )
    assert (
        library.mmcaf_answer_image(
            network.handle, None, c_size_t(4), c_size_t(4), None, None, c_size_t(0), None, byref(result)
        )
        == USAGE
    )
    assert result.value is None
    assert library.mmcaf_run(network.handle, None, c_size_t(1), byref(result)) == USAGE
    assert library.mmcaf_run(None, None, c_size_t(0), byref(result)) == USAGE
    assert library.mmcaf_run(network.handle, None, c_size_t(0), None) == USAGE


def test_functions_without_a_code_take_null() -> None:
    library = libmmcaf()
    for name in (
        "free_network",
        "free_result",
        "free_tensors",
        "open_options_default",
        "volume_default",
        "answer_options_default",
    ):
        library[f"mmcaf_{name}"](None)
    assert library.mmcaf_network_json(None) is None
    assert library.mmcaf_result_json(None) is None
    assert library.mmcaf_result_label(None, c_size_t(0)) is None
    assert library.mmcaf_result_decision(None) is None
    assert library.mmcaf_result_warning(None, c_size_t(0)) is None
    assert library.mmcaf_result_label_count(None) == library.mmcaf_result_warning_count(None) == 0
    assert math.isnan(library.mmcaf_result_probability(None, c_size_t(0)))
    library.mmcaf_tensor_at.restype, library.mmcaf_tensor_count.restype = c_void_p, c_size_t
    assert library.mmcaf_tensor_at(None, c_size_t(0)) is None
    assert library.mmcaf_tensor_count(None) == 0


def test_a_closed_network_is_known_to_be_closed(bundle: Path) -> None:
    with opened(bundle, cache="") as network:
        assert answer(network, c_volume(KEPT)) == OK
    assert answer(network, c_volume(KEPT)) == USAGE
    assert "not open" in last_problem()
    assert libmmcaf().mmcaf_network_json(network.handle) is None
    libmmcaf().mmcaf_free_network(network.handle)


@pytest.mark.parametrize("number", [2, 2**40 + 1, 2**63])
def test_what_never_was_a_network_is_none(number: int) -> None:
    assert answer(Network(c_void_p(number)), c_volume(KEPT)) == USAGE


def test_closing_waits_for_an_answer_and_refuses_later_ones(bundle: Path) -> None:
    inside, go_on, codes = threading.Event(), threading.Event(), []
    library, handle, given = libmmcaf(), c_void_p(), OpenOptions()
    library.mmcaf_open_options_default(byref(given))
    given.cache, given.threads = b"", 1
    checked(library.mmcaf_open(str(bundle).encode(), byref(given), byref(handle)))

    def within(*_: object) -> int:
        inside.set()
        go_on.wait(30)
        return 0

    progress, network = PROGRESS(within), Network(handle)
    answering = threading.Thread(target=lambda: codes.append(answer(network, c_volume(KEPT), progress=progress)))
    answering.start()
    assert inside.wait(30)
    closing = threading.Thread(target=lambda: library.mmcaf_free_network(handle))
    closing.start()
    go_on.set()
    answering.join(60)
    closing.join(60)
    assert codes == [OK] and not closing.is_alive()
    assert answer(network, c_volume(KEPT)) == USAGE


def test_a_deadline_also_ends_the_waiting_for_another_threads_answer(network: Network) -> None:
    inside, go_on, codes = threading.Event(), threading.Event(), []

    def within(*_: object) -> int:
        inside.set()
        go_on.wait(30)
        return 0

    progress = PROGRESS(within)
    answering = threading.Thread(target=lambda: codes.append(answer(network, c_volume(KEPT), progress=progress)))
    answering.start()
    assert inside.wait(30)
    assert answer(network, c_volume(KEPT), deadline_seconds=0.2) == DEADLINE
    assert not codes
    go_on.set()
    answering.join(60)
    assert codes == [OK]


def test_a_callback_that_uses_the_network_that_calls_it_is_refused(bundle: Path) -> None:
    codes, problems = [], []
    with opened(bundle, cache="") as network:

        def within(*_: object) -> int:
            codes.append(answer(network, c_volume(KEPT)))
            problems.append(last_problem())
            return 0

        assert answer(network, c_volume(KEPT), progress=PROGRESS(within)) == OK
    assert set(codes) == {USAGE}
    assert all("callback" in one for one in problems)


def test_a_network_that_is_freed_by_its_own_callback_ends_after_the_answer(bundle: Path) -> None:
    with opened(bundle, cache="") as network:

        def within(*_: object) -> int:
            libmmcaf().mmcaf_free_network(network.handle)
            return 0

        assert answer(network, c_volume(KEPT), progress=PROGRESS(within)) == OK
        assert answer(network, c_volume(KEPT)) == USAGE


def test_threads_share_a_network_with_the_same_bits_and_errors_of_their_own(network: Network) -> None:
    first = json.loads(network.answer(KEPT, GOOD.decode()))["probabilities"]
    found: list[object] = []

    def ask(at: int) -> None:
        for _ in range(5):
            if at % 2:
                found.append(json.loads(network.answer(KEPT, GOOD.decode()))["probabilities"] == first)
            else:
                age = 200 + at
                code = answer(network, c_volume(KEPT), f'{{"sex": "F", "age": {age}}}'.encode())
                found.append(code == RECORD and str(age) in last_problem())

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


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
            network.handle, pixels, c_size_t(rows), c_size_t(8), GOOD, None, c_size_t(0), None, byref(result)
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


# Bundles.


def test_no_bundle(tmp_path: Path) -> None:
    with refused(BUNDLE, "no such bundle"), opened(tmp_path / "none.mmcaf"):
        pass
    (tmp_path / "text.zip").write_text("no zip")
    with refused(BUNDLE, "text.zip"), opened(tmp_path / "text.zip"):
        pass


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.npz"])
def test_a_bundle_with_one_bit_changed(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 0x80
    (copy / name).write_bytes(data)
    with refused(BUNDLE), opened(copy, cache=""):
        pass


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.npz"])
def test_a_bundle_that_lacks_a_file_or_has_a_link_for_one(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    (copy / name).unlink()
    with refused(BUNDLE, name), opened(copy, cache=""):
        pass
    if name != "manifest.json":
        (copy / name).symlink_to(bundle / name)
        with refused(BUNDLE, name), opened(copy, cache=""):
            pass


def test_a_newer_format_is_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**document, "format_version": 3, "speed": "high"}))
    with refused(BUNDLE, "bundle format 3", "up to 2"), opened(copy):
        pass


def test_an_unknown_field_is_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**document, "speed": "high"}))
    with refused(BUNDLE, "speed"), opened(copy):
        pass


def test_only_what_a_key_has_signed_is_opened_with_it(bundle: Path, tmp_path: Path) -> None:
    key, other = SecretKey.new(), SecretKey.new()
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    with refused(BUNDLE, "signed"), opened(copy, cache="", trusted_key=str(key.public())):
        pass
    sealed = (copy / "manifest.json").read_bytes()
    (copy / "manifest.json.minisig").write_bytes(key.sign(sealed, "release 1").file())
    with opened(copy, cache="", trusted_key=str(key.public())) as network:
        assert network.json["signed_by"] is not None
    with refused(BUNDLE, key.public().name), opened(copy, cache="", trusted_key=str(other.public())):
        pass
    with opened(copy, cache="") as network:
        assert any(key.public().name in one for one in json.loads(network.answer(KEPT, GOOD.decode()))["remarks"])
    (copy / "manifest.json.minisig").write_bytes(key.sign(sealed + b" ", "release 1").file())
    with refused(BUNDLE, "altered"), opened(copy, cache="", trusted_key=str(key.public())):
        pass


@pytest.mark.parametrize("fault", ["compressed", "twice", "cut", "altered"])
def test_a_zip_that_is_no_bundles(bundle: Path, tmp_path: Path, fault: str) -> None:
    file = tmp_path / "tiny.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if fault == "compressed" else zipfile.ZIP_STORED) as archive:
        for name in sorted(one.name for one in bundle.iterdir()):
            data = (bundle / name).read_bytes()
            archive.writestr(name, data[:-1] + b"?" if fault == "altered" and name == "model.onnx" else data)
        if fault == "twice":
            archive.writestr("MANIFEST.json", "{}")
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    with refused(BUNDLE, "tiny.zip"), opened(file, cache=""):
        pass


def test_a_zip_answers_as_its_folder_does(network: Network, tmp_path: Path) -> None:
    packed = write_bundle(make_draft(tmp_path / "draft"), tiny_manifest(), tmp_path / "tiny.zip")
    assert load_unjudged(packed.shown)
    with opened(tmp_path / "tiny.zip", cache="") as zipped:
        first, second = (json.loads(one.answer(KEPT, GOOD.decode())) for one in (network, zipped))
    assert first["probabilities"] == second["probabilities"]


def test_options_of_an_older_program_are_taken(network: Network) -> None:
    """Of members that it does not know, the library takes the defaults, whatever lies behind the struct."""
    told = answer_options(created="2026-01-01T00:00:00+00:00")
    told.struct_size = AnswerOptions.deadline_seconds.offset
    told.deadline_seconds = -1.0
    result = c_void_p()
    checked(libmmcaf().mmcaf_answer_volume(network.handle, byref(c_volume(KEPT)), GOOD, byref(told), byref(result)))
    assert not json.loads(taken(result))["created"].startswith("2026-01-01")
    assert c_double(told.deadline_seconds).value == -1.0
