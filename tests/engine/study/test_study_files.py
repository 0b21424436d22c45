"""What lies at a path: files that are no images, archives, links, limits; and that nothing leaks."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dicom_factory import PHI, ct_series, ct_slice, hounsfield, save, save_zip, write
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import files, read_study
from mmcaf_engine.study.dicom import instance
from refusals import Fact, check_facts, refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield()


def refusal(path: Path) -> str:
    with refused(StudyError) as caught:
        read_study(path)
    message = caught.value.problem
    assert path.name in message or "IM000" in message
    assert not [word for word in PHI.values() if word in message]
    assert caught.value.remedy
    return message


def study(folder: Path) -> Path:
    return save(ct_series(VALUES), folder / "study")


def test_refuses_a_path_that_is_not_there(tmp_path: Path) -> None:
    check_facts(refusal(tmp_path / "absent"), "no such file")


@pytest.mark.parametrize("content", [b"", b"patient notes", b"\0" * 128 + b"DICO" + b"\0" * 99], ids=len)
def test_refuses_a_file_that_is_not_dicom(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.dcm"
    path.write_bytes(content)
    check_facts(refusal(path), "notes.dcm", "DICM", 128, f"{len(content)} bytes")


def test_refuses_a_directory_without_images(tmp_path: Path) -> None:
    for name in ("a.txt", "b.pdf"):
        (tmp_path / name).write_text("x")
    check_facts(refusal(tmp_path), "DICOM", "2 files", "directory")


def test_refuses_an_empty_directory(tmp_path: Path) -> None:
    check_facts(refusal(tmp_path), "DICOM", "0 files")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a Unix thing")
def test_neither_waits_for_a_pipe_nor_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    check_facts(refusal(tmp_path / "pipe"), "neither")
    os.mkfifo(study(tmp_path) / "pipe")
    assert np.array_equal(read_study(tmp_path / "study").volume.values, VALUES)


def test_files_that_pose_as_dicom_are_worth_a_warning(tmp_path: Path) -> None:
    folder = study(tmp_path)
    (folder / "notes.DCM").write_text("no image")
    (folder / "IM0005").write_bytes(b"")
    (folder / "viewer.exe").write_text("no image")
    assert read_study(folder).warnings == (
        f"{folder}: 2 files named like DICOM are not and were skipped, first IM0005.",
    )


def test_links_out_of_the_directory_are_not_followed(tmp_path: Path) -> None:
    folder = study(tmp_path)
    save(ct_series(hounsfield(9)), tmp_path / "elsewhere")
    (folder / "file").symlink_to(tmp_path / "elsewhere" / "IM0000")
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "again").symlink_to(folder / "IM0000")
    (folder / "circle").symlink_to(folder / "circle")
    result = read_study(folder)
    assert np.array_equal(result.volume.values, VALUES)
    assert result.warnings == (f"{folder}: 2 symbolic links lead out of the directory and were skipped.",)


def test_the_path_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(study(tmp_path))
    assert np.array_equal(read_study(tmp_path / "link").volume.values, VALUES)


def test_refuses_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 4)
    check_facts(refusal(study(tmp_path)), "4 files")


# Damaged files


@pytest.mark.parametrize("kept", [132, 140, 200, 400], ids=lambda kept: f"{kept}-bytes")
def test_refuses_a_truncated_header(kept: int, tmp_path: Path) -> None:
    path = write(ct_slice(VALUES[0]), tmp_path / "slice")
    path.write_bytes(path.read_bytes()[:kept])
    refusal(path)


def test_refuses_a_damaged_file_among_sound_ones(tmp_path: Path) -> None:
    """It may be a slice at the end of the series, where its absence would not show."""
    folder = study(tmp_path)
    (folder / "IM0004").write_bytes((folder / "IM0004").read_bytes()[:140])
    check_facts(refusal(folder), "IM0004")


def test_a_slice_cut_short_anywhere_is_never_left_out_in_silence(tmp_path: Path) -> None:
    folder = study(tmp_path)
    sound = (folder / "IM0004").read_bytes()
    for kept in range(0, len(sound), 7):
        (folder / "IM0004").write_bytes(sound[:kept])
        try:
            assert read_study(folder).warnings, f"{kept} bytes"
        except StudyError as failure:
            assert "IM0004" in str(failure), f"{kept} bytes"


def test_any_bytes_give_a_study_error(tmp_path: Path) -> None:
    """Damage a file in many places: it is read or refused, and never fails otherwise."""
    sound = write(ct_slice(VALUES[0]), tmp_path / "slice").read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(sound)
        for at in draw.integers(132, len(data), 6):
            data[at] = draw.integers(256)
        (tmp_path / "slice").write_bytes(data)
        try:
            read_study(tmp_path / "slice")
        except StudyError as failure:
            assert not [word for word in PHI.values() if word in str(failure)]


def test_refuses_a_deflated_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "MAX_INFLATED_BYTES", 500)
    image = ct_slice(VALUES[0])
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    check_facts(refusal(write(image, tmp_path / "slice")), 500)


# Zips


def test_refuses_a_zip_of_garbage(tmp_path: Path) -> None:
    (tmp_path / "study.zip").write_bytes(b"PK\x03\x04" + bytes(range(256)))
    refusal(tmp_path / "study.zip")


def test_refuses_a_zip_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.dcm").write_text("no image")
    check_facts(refusal(save_zip(tmp_path / "notes", tmp_path / "a.zip")), "DICOM", "1 files", "zip")


def test_refuses_a_truncated_zip(tmp_path: Path) -> None:
    path = save_zip(study(tmp_path), tmp_path / "study.zip")
    path.write_bytes(path.read_bytes()[:-30])
    check_facts(refusal(path), "damaged")


def test_refuses_a_zip_with_a_damaged_member(tmp_path: Path) -> None:
    path = save_zip(study(tmp_path), tmp_path / "study.zip", compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    at = data.index((VALUES[2] + 1024).astype("<u2").tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    check_facts(refusal(path), "damaged")


def test_refuses_an_encrypted_zip(tmp_path: Path) -> None:
    path = save_zip(study(tmp_path), tmp_path / "study.zip")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    check_facts(refusal(path), "encrypted")


def test_refuses_a_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.dcm", b"\0" * (files.RATIO_FROM_BYTES + 1))
    assert path.stat().st_size < 100_000
    check_facts(refusal(path), "200 times")


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        ("MAX_FILES", 4, (5, 4)),
        ("MAX_MEMBER_BYTES", 500, ("member", 500)),
        ("MAX_UNPACKED_BYTES", 2000, ("zip", 2000)),
    ],
)
def test_refuses_a_zip_beyond_a_limit(
    limit: str, value: int, expected: tuple[Fact, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_zip(study(tmp_path), tmp_path / "study.zip")
    monkeypatch.setattr(files, limit, value)
    check_facts(refusal(path), *expected)


def test_a_member_that_understates_its_size_is_not_read_beyond_it(tmp_path: Path) -> None:
    path = save_zip(study(tmp_path), tmp_path / "study.zip")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (600).to_bytes(4, "little")
    path.write_bytes(data)
    refusal(path)


def test_a_zip_leaves_nothing_on_disk(tmp_path: Path) -> None:
    path = save_zip(study(tmp_path), tmp_path / "study.zip", prefix="../../outside/")
    before = sorted(tmp_path.parent.rglob("*"))
    assert np.array_equal(read_study(path).volume.values, VALUES)
    assert sorted(tmp_path.parent.rglob("*")) == before


# Leaks


def test_folder_names_stay_out_of_messages(tmp_path: Path) -> None:
    """Archives of clinics name folders after patients."""
    images = ct_series(VALUES)
    del images[1].ImagePositionPatient
    path = save_zip(save(images, tmp_path / "study"), tmp_path / "study.zip", prefix="DOE^JANE/")
    check_facts(refusal(path), "(0020,0032) ImagePositionPatient", 1, 5, "IM0001")


def test_nothing_of_the_header_reaches_the_terminal(tmp_path: Path) -> None:
    """pydicom quotes values that it finds odd."""
    path = write(ct_slice(VALUES[0], FrameOfReferenceUID="1.2.PHI"), tmp_path / "slice")
    data = path.read_bytes()
    data = data.replace(b"19610203", b"PHI-birt").replace(b"063Y", b"PHI!").replace(b"71.5", b"PHI?")
    path.write_bytes(data)
    code = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG)\n"
        "from mmcaf_engine.study import read_study\n"
        "study = read_study(sys.argv[1])\n"
        "assert study.patient.age is None and study.patient.weight is None\n"
        "print(study.patient, study.warnings)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "PHI" not in done.stdout + done.stderr
    assert "DOE" not in done.stdout + done.stderr


@pytest.mark.parametrize("suffix", [".dcm.gz", ".zip", ".crdownload"])
def test_files_that_hold_others_or_are_not_whole_are_told(suffix: str, tmp_path: Path) -> None:
    """The slices at an end of the series may lie in them, which leaves no gap."""
    folder = save(ct_series(hounsfield(5)), tmp_path / "study")
    (folder / f"rest{suffix}").write_bytes(b"PK\x03\x04 or another")
    (folder / "read-me.txt").write_bytes(b"nothing of images")
    told = [text for text in read_study(folder).warnings if "packed or unfinished" in text]
    assert len(told) == 1 and f"1 packed or unfinished files were skipped, first rest{suffix}" in told[0]
