"""Every function of mmcaf.h called wrongly: a code and a message, and nothing else happens."""

import ctypes
import json
import math
import threading
from ctypes import byref, c_size_t, c_void_p
from pathlib import Path

import pytest

from libmmcaf import (
    PROGRESS,
    AnswerOptions,
    CVolume,
    Network,
    OpenOptions,
    c_volume,
    checked,
    libmmcaf,
    opened,
)
from wrong_calls import (
    DEADLINE,
    GOOD,
    KEPT,
    OK,
    RECORD,
    USAGE,
    answer,
    last_problem,
    volume_with,
)


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
        library.mmcaf_answer_image(network.handle, None, c_size_t(4), c_size_t(4), None, None, byref(result)) == USAGE
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
    ):
        library[f"mmcaf_{name}"](None)
    for name in ("open_options", "volume", "answer_options"):
        library[f"mmcaf_{name}_init"](None, c_size_t(64))
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
    library.mmcaf_open_options_init(byref(given), c_size_t(ctypes.sizeof(given)))
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


@pytest.mark.parametrize("name", ["open_options", "volume", "answer_options"])
def test_defaults_are_written_into_the_struct_that_the_program_has(name: str) -> None:
    """Neither behind a shorter one, nor is the rest of a longer one left as it was."""
    struct = {"open_options": OpenOptions, "volume": CVolume, "answer_options": AnswerOptions}[name]
    for size in (0, 8, ctypes.sizeof(struct) - 8, ctypes.sizeof(struct), ctypes.sizeof(struct) + 16):
        space = ctypes.create_string_buffer(b"\xa5" * (size + 32), size + 32)
        libmmcaf()[f"mmcaf_{name}_init"](space, c_size_t(size))
        assert space.raw[size:] == b"\xa5" * 32
        if size >= 8:
            assert int.from_bytes(space.raw[:8], "little") == size
        assert not any(space.raw[ctypes.sizeof(struct) : size])


@pytest.mark.parametrize("change", [-8, 8])
def test_a_struct_of_another_header_is_refused(network: Network, change: int) -> None:
    size = ctypes.sizeof(AnswerOptions) + change
    assert answer(network, c_volume(KEPT), struct_size=size) == USAGE
    assert f"struct_size is {size}" in last_problem() and "mmcaf_answer_options" in last_problem()
    assert answer(network, volume_with(struct_size=ctypes.sizeof(CVolume) + change)) == USAGE


def test_volumes_of_two_headers_are_refused(network: Network) -> None:
    volumes, result = (CVolume * 2)(c_volume(KEPT), c_volume(KEPT)), c_void_p(1)
    volumes[1].struct_size += 8
    code = libmmcaf().mmcaf_answer_volumes(network.handle, volumes, c_size_t(2), GOOD, None, byref(result))
    assert code == USAGE and result.value is None
