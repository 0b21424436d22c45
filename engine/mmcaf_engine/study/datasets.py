"""pydicom data sets in memory as the DICOM files that they would be, so that both are read and checked alike."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from ..cancel import check
from ..errors import StudyError, UsageError
from .faults import doing, printable
from .files import MAX_FILES, Found, Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileMetaDataset

NAME = "data sets"
"""What messages call such a study."""


@contextmanager
def open_datasets(datasets: Sequence[Any]) -> Iterator[Found]:
    """The files of these data sets; each is encoded when its header is read, and the data sets stay as they are.

    Args:
        datasets: pydicom.Dataset, of one instance each. The transfer syntax is that of its file meta; without one, its
            pixels must not be compressed.

    Raises:
        UsageError: none, or something that is no data set.
        StudyError: too many, or one that cannot be encoded.
    """
    if not datasets:
        raise UsageError("study: expected pydicom data sets, got an empty list.", "Give the data sets of one study.")
    if len(datasets) > MAX_FILES:
        raise StudyError(f"{NAME}: {len(datasets)}; at most {MAX_FILES} are read.", "Give those of one study.")
    yield Found("list of data sets", tuple(_source(one, f"data set {at}") for at, one in enumerate(datasets, 1)))


def _source(dataset: Any, name: str) -> Source:
    from pydicom.dataset import Dataset

    if not isinstance(dataset, Dataset):
        raise UsageError(
            f"study: expected pydicom data sets, got {type(dataset).__name__} as {name}.",
            "Give a path, a list of pydicom data sets, or a Volume.",
        )
    check()
    encoded = _encoded(dataset, name)

    def opened() -> BinaryIO:
        return BytesIO(encoded)

    return Source(name, len(encoded), opened, opened)


def _encoded(dataset: "Dataset", name: str) -> bytes:
    from pydicom import dcmwrite

    with doing(f"{name}: encoding it", remedy="Give the data set as it was read, or the path of its file."):
        shallow = copy.copy(dataset)
        shallow.file_meta = _file_meta(dataset, name)
        stream = BytesIO()
        dcmwrite(stream, shallow, enforce_file_format=True)
        return stream.getvalue()


def _file_meta(dataset: "Dataset", name: str) -> "FileMetaDataset":
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.update(getattr(dataset, "file_meta", None) or {})
    _, little = dataset.original_encoding  # of what it was decoded from; None where it was made in memory
    if "TransferSyntaxUID" in meta and little not in (None, meta.TransferSyntaxUID.is_little_endian):
        kinds = {True: "little", False: "big"}
        raise StudyError(
            f"{name}: decoded from {kinds[bool(little)]} endian values, but (0002,0010) TransferSyntaxUID is "
            f"{printable(meta.TransferSyntaxUID.name)}.",
            "Set dataset.file_meta.TransferSyntaxUID to the syntax that the data set came in.",
        )
    if "TransferSyntaxUID" not in meta:
        pixels = dataset.get_item("PixelData") if "PixelData" in dataset else None
        if pixels is not None and getattr(pixels, "is_undefined_length", False):
            raise StudyError(
                f"{name}: its pixels are compressed, and (0002,0010) TransferSyntaxUID is missing from its file meta.",
                "Set dataset.file_meta.TransferSyntaxUID to the syntax that the pixels are in.",
            )
        meta.TransferSyntaxUID = ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "")
    return meta
