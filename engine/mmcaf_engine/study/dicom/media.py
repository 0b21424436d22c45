"""DICOMDIR: the images that a medium's directory lists (PS3.3 annex F, PS3.10 section 8)."""

from pathlib import Path

from pydicom.uid import MediaStorageDirectoryStorage

from ...errors import StudyError
from ...files import real_path
from ..faults import doing
from ..files import MAX_FILES, Source, file_source
from .instance import Instance
from .tags import Tags

MAX_COMPONENTS = 8
"""PS3.10 section 8.2: a File ID has at most eight components."""

SUFFIXES = (".dcm", ".dicom", ".ima")
"""What DICOM files are usually named by."""


def is_directory_file(instance: Instance) -> bool:
    """Whether a file is a DICOMDIR."""
    return instance.media_class == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in instance.tags


def listed_images(directory: Instance, path: Path) -> tuple[Source, ...]:
    """The files of all IMAGE records, in the DICOMDIR's order.

    Args:
        directory: the parsed DICOMDIR.
        path: where it lies; file names count from its folder.

    Raises:
        StudyError: a listed file is missing, lies outside the folder, or no image is listed.
    """
    root = real_path(path.parent)
    records = directory.tags.items("DirectoryRecordSequence")
    images = [Tags(record, directory.name) for record in records]
    images = [image for image in images if image.text("DirectoryRecordType") == "IMAGE"]
    if not images:
        raise StudyError(f"{path}: lists no image among its {len(records)} records.", "Give the directory of images.")
    if len(images) > MAX_FILES:
        raise StudyError(f"{path}: lists {len(images)} images; at most {MAX_FILES} are read.")
    with doing(f"{path}: looking up the listed images"):
        found = [_locate(root, image.texts("ReferencedFileID"), path) for image in images]
        missing = sum(file is None for file in found)
        if missing:
            raise StudyError(
                f"{path}: {missing} of {len(images)} listed images are not beside it.",
                f"Copy the whole medium, or give the directory of the images: {path.parent}",
            )
        return tuple(file_source(file) for file in found if file is not None)


def _locate(root: Path, components: tuple[str, ...], path: Path) -> Path | None:
    """The file of a File ID under `root`; case, a version ";1" and a suffix may differ from the medium's."""
    if not 1 <= len(components) <= MAX_COMPONENTS or any(
        not component or component in (".", "..") or set(component) & set("/\\:\0") for component in components
    ):
        raise StudyError(
            f"{path}: (0004,1500) ReferencedFileID names a file outside the medium, or none.",
            "Do not trust this medium; give the directory of the images.",
        )
    folder = root
    for at, component in enumerate(components, start=1):
        exact = folder / component
        if not exact.exists():
            if not folder.is_dir():
                return None
            wanted = component.casefold()
            entries = sorted(folder.iterdir())
            alike = [entry for entry in entries if _plain(entry.name) == wanted]
            if at == len(components):
                alike = alike or [entry for entry in entries if _plain(entry.name) in _suffixed(wanted)]
            if len(alike) != 1:
                return None
            exact = alike[0]
        folder = exact
    inside = real_path(folder).is_relative_to(root)
    return folder if inside and folder.is_file() else None


def _suffixed(name: str) -> set[str]:
    """As programs that copy a medium's files rename them; PS3.10 section 8.5 has no suffixes."""
    return {f"{name}{suffix}" for suffix in SUFFIXES}


def _plain(name: str) -> str:
    return name.split(";")[0].rstrip(".").casefold()
