"""DICOMDIR: the files that a medium lists, in spite of other letters, and none that lies outside."""

from pathlib import Path

import pytest

from dicom_factory import ct_series, hounsfield, save, save_dicomdir
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield(3)


def medium(root: Path, *components: str, name: str = "IM{:04d}") -> Path:
    """A medium of three images in its folder IMAGES; the first is listed by these components."""
    save(ct_series(VALUES), root / "medium" / "IMAGES", name)
    others = [["IMAGES", name.format(at)] for at in (1, 2)]
    return save_dicomdir(root / "medium" / "DICOMDIR", [list(components), *others])


@pytest.mark.parametrize(
    ("components", "name"),
    [
        (("IMAGES", "IM0000"), "IM{:04d}"),
        (("images", "im0000"), "IM{:04d}"),
        (("IMAGES", "IM0000"), "im{:04d}"),
        (("IMAGES", "IM0000"), "IM{:04d};1"),
        (("IMAGES", "IM0000"), "IM{:04d}."),
        (("IMAGES", "IM0000"), "IM{:04d}.dcm"),
        (("IMAGES", "IM0000"), "im{:04d}.DCM"),
        (("IMAGES", "IM0000"), "IM{:04d}.ima;1"),
    ],
    ids=[
        *("as-listed", "listed-in-small", "written-in-small", "with-a-version", "with-a-dot"),
        *("with-a-suffix", "with-a-suffix-in-small", "with-a-suffix-and-a-version"),
    ],
)
def test_listed_files_are_found(components: tuple[str, ...], name: str, tmp_path: Path) -> None:
    directory = medium(tmp_path, *components, name=name)
    assert (read_study(directory).volume.values == VALUES).all()


@pytest.mark.parametrize(
    "components",
    [
        ("..", "outside"),
        ("IMAGES", "..", "..", "outside"),
        ("IMAGES", ".", "IM0000"),
        ("", "IM0000"),
        ("/outside",),
        ("IMAGES/IM0000",),
        ("..\\outside",),
        ("C:outside",),
        tuple("ABCDEFGHI"),
        ("LINK", "IM0000"),
        ("LINKED",),
        ("IMAGES",),
        ("IMAGES", "IM0009"),
        ("IM0000", "IM0000"),
    ],
    ids=repr,
)
def test_what_is_not_on_the_medium_is_refused(components: tuple[str, ...], tmp_path: Path) -> None:
    outside = save(ct_series(VALUES), tmp_path / "elsewhere")
    (outside / "IM0000").rename(tmp_path / "outside")
    (outside / "IM0001").rename(outside / "IM0000")
    directory = medium(tmp_path, *components)
    (directory.parent / "LINK").symlink_to(outside)
    (directory.parent / "LINKED").symlink_to(tmp_path / "outside")
    with pytest.raises(StudyError):
        read_study(directory)


def test_a_name_that_two_files_could_be_is_none(tmp_path: Path) -> None:
    directory = medium(tmp_path, "IMAGES", "IM0000", name="IM{:04d}.dcm")
    (directory.parent / "IMAGES" / "im0000.ima").write_bytes((directory.parent / "IMAGES" / "IM0000.dcm").read_bytes())
    with pytest.raises(StudyError):
        read_study(directory)


def test_a_folder_has_no_suffix(tmp_path: Path) -> None:
    directory = medium(tmp_path, "IMAGES", "IM0000")
    (directory.parent / "IMAGES").rename(directory.parent / "IMAGES.dcm")
    with pytest.raises(StudyError):
        read_study(directory)


def test_a_link_within_the_medium(tmp_path: Path) -> None:
    directory = medium(tmp_path, "LINK", "IM0000")
    (directory.parent / "LINK").symlink_to("IMAGES")
    assert (read_study(directory).volume.values == VALUES).all()
