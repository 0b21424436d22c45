"""What was prepared for a session on a lent GPU must be whole and for this machine, before any step."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from kernels.gpu_sessions import fatbin, kernels_json, prepared, told
from kernels.scripts import BENCHMARKS

LIST, KERNELS, WHEEL = "made-by-gpu-session.json", "cubin/kernels.json", "wheels/pydicom-1.0-py3-none-any.whl"


def empty(carry: Path) -> None:
    shutil.rmtree(carry)
    carry.mkdir()


def prepare_with(name: str, content: bytes) -> Callable[[Path], None]:
    """A file with another content, and a list that says so: as it would have been prepared."""

    def change(carry: Path) -> None:
        (carry / name).write_bytes(content)
        sys.modules["gpu_session_carried"].write_list(carry)

    return change


def rewrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda carry: (carry / name).write_bytes(content)


def prepared_for_python_2(carry: Path) -> None:
    empty(carry)
    prepared(carry, python="cp27-cp27m-manylinux1_x86_64")


def replaced_by_a_pipe(carry: Path) -> None:
    (carry / "msdc.fatbin").unlink()
    os.mkfifo(carry / "msdc.fatbin")


def without(name: str) -> Callable[[Path], None]:
    """As where it could not be made."""

    def remove(carry: Path) -> None:
        (carry / name).unlink()
        sys.modules["gpu_session_carried"].write_list(carry)

    return remove


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "nothing was prepared there"),
    "an empty folder": (empty, "nothing was prepared there"),
    "an empty list": (lambda carry: (carry / LIST).write_text(""), "the preparation did not end"),
    "a list of something else": (lambda carry: (carry / LIST).write_text("[1]"), "damaged"),
    "no networks": (lambda carry: shutil.rmtree(carry / "network"), "network/few_slices-off.json: missing"),
    "no fatbin was made": (without("msdc.fatbin"), "msdc.fatbin: missing"),
    "no wheel was fetched": (without("wheels/onnx_ir-1.0-py3-none-any.whl"), "wheels/onnx-ir: missing"),
    "a cut wheel": (lambda carry: (carry / WHEEL).write_text("junk"), f"{WHEEL}: damaged, 4 bytes instead of"),
    "a strange wheel": (
        lambda carry: (carry / "wheels" / "junk-1-py3-none-any.whl").touch(),
        "junk-1-py3-none-any.whl: not of",
    ),
    "a cut list of kernels": (rewrite(KERNELS, b"["), f"{KERNELS}: damaged, 1 bytes instead of"),
    "other inputs": (rewrite("network/inputs.npz", b"network/INPUTS.npz"), "inputs.npz: damaged, its bytes are others"),
    "a pipe": (replaced_by_a_pipe, "msdc.fatbin: not a file"),
    "a fatbin for others": (
        prepare_with("msdc.fatbin", fatbin(75, 89)),
        "msdc.fatbin: compiled for sm_75, sm_89; not for",
    ),
    "no fatbin": (prepare_with("msdc.fatbin", fatbin(90)[:-1]), "msdc.fatbin: not a fatbin"),
    "binaries for others": (
        prepare_with(KERNELS, kernels_json(89).encode()),
        "cubin: compiled for sm_89; not for this GPU, of",
    ),
    "another version's list": (prepare_with(KERNELS, b"[{}]"), "kernels.json: not written by this version"),
    "another Python's wheels": (prepared_for_python_2, "cp27m-manylinux1_x86_64.whl: not for this Python"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_what_was_carried_must_be_whole_and_for_this_machine(
    session: ModuleType, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, said = DAMAGES[case]
    damage(tmp_path / "carry")
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))
    assert status == 2 and said in words and not (tmp_path / "out").exists()
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"gpu_session.sh prepare --carry {tmp_path / 'carry'} --python {python} --target sm_90\n" in words


def test_the_script_says_it_too(tmp_path: Path) -> None:
    """Also by a link to it."""
    link = tmp_path / "session"
    link.symlink_to(BENCHMARKS / "gpu_session.sh")
    given = [link, "1", "--carry", tmp_path / "none", "--out", tmp_path]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(list(map(str, given)), capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and "gpu_session.sh prepare" in done.stderr


def test_all_that_is_wrong_is_named_at_once(
    session: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "carry" / "msdc.fatbin").unlink()
    (tmp_path / "carry" / "cubin" / "kernels.json").write_text("")
    assert told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))[1].count("\n") == 3


@pytest.mark.parametrize(("capability", "works"), [((9, 0), True), ((8, 9), False), ((7, 5), True), ((7, 0), False)])
def test_code_runs_on_gpus_of_its_major_version_that_are_not_older(
    session: ModuleType, capability: tuple[int, int], works: bool, tmp_path: Path
) -> None:
    assert (sys.modules["gpu_session_carried"].faults(tmp_path / "carry", capability) == []) is works


def test_only_packages_that_are_missing_are_unpacked(session: ModuleType, tmp_path: Path) -> None:
    for wheel in (tmp_path / "carry" / "wheels").iterdir():
        wheel.unlink()
    for name in ("numpy", "a_package_that_nobody_has"):
        with zipfile.ZipFile(tmp_path / "carry" / "wheels" / f"{name}-9.9-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
    site = session.unpacked(tmp_path / "carry", tmp_path / "site")
    assert [file.name for file in site.iterdir()] == ["a_package_that_nobody_has.py"]
