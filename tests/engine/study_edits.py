"""Edits of a study for tests: from a series' images to others, and the places where they are written."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from dicom_factory import (
    INTERCEPT,
    SERIES_UID,
    change,
    compress,
    ct_series,
    ct_slice,
    enhanced_ct,
    hounsfield,
    raw,
    relay,
    save,
    save_dicomdir,
    save_zip,
    write,
)

Images = list[FileDataset]
Edit = Callable[[Images], Images]
Values = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]

ROWS, COLUMNS, SLICES, SPACING = 32, 34, 12, 2.5
REFERENCE = hounsfield(SLICES, ROWS, COLUMNS, seed=7)
"""[D, H, W], HU."""
CONSTANT = np.full_like(REFERENCE, 1024)
FLAT = (REFERENCE % 200 + INTERCEPT).astype(np.int16)
"""Stored in eight bits."""
STORAGE = "1.2.840.10008.5.1.4.1.1"
"""Root of the SOP classes (PS3.4 B.5)."""

# Edits: order and orientation


def reverse(images: Images) -> Images:
    return images[::-1]


def shuffle(images: Images) -> Images:
    return [images[index] for index in np.random.default_rng(3).permutation(len(images))]


def renumber(images: Images) -> Images:
    """InstanceNumber against the positions."""
    for number, image in enumerate(images):
        image.InstanceNumber = (number * 7) % len(images) + 1
    return images


def unnumber(images: Images) -> Images:
    for image in images:
        del image.InstanceNumber
    return images


def _laid(images: Images, lay: Callable[[NDArray[Any]], NDArray[Any]], orientation: list[int]) -> Images:
    """Store slices in another orientation; corners follow, so that the patient stays."""
    for image in images:
        x, y, z = image.ImagePositionPatient
        pixels = raw(image)
        far_x = orientation[0] + orientation[3] < 0
        far_y = orientation[1] + orientation[4] < 0
        corner = [x + 0.8 * (COLUMNS - 1) * far_x, y + 0.7 * (ROWS - 1) * far_y, z]
        spacing = [0.8, 0.7] if orientation[0] == 0 else [0.7, 0.8]
        relay(
            image,
            lay(pixels),
            12,
            ImageOrientationPatient=orientation,
            ImagePositionPatient=corner,
            PixelSpacing=spacing,
        )
    return images


def half_turn(images: Images) -> Images:
    return _laid(images, lambda pixels: pixels[::-1, ::-1], [-1, 0, 0, 0, -1, 0])


def feet_first(images: Images) -> Images:
    """Columns run to the patient's right."""
    return _laid(images, lambda pixels: pixels[:, ::-1], [-1, 0, 0, 0, 1, 0])


def prone(images: Images) -> Images:
    """Rows run to the front."""
    return _laid(images, lambda pixels: pixels[::-1], [1, 0, 0, 0, -1, 0])


def sideways(images: Images) -> Images:
    return _laid(images, lambda pixels: pixels.T, [0, 1, 0, 1, 0, 0])


def quarter_turn(images: Images) -> Images:
    """Columns run to the back, rows to the right."""
    return _laid(images, lambda pixels: pixels.T[::-1], [0, 1, 0, -1, 0, 0])


def leaning(degrees: float) -> NDArray[np.float64]:
    """Turn about the patient's left-right axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


def turn(degrees: float) -> Edit:
    """Slices and the line that they lie on, turned together: an oblique series."""

    def edit(images: Images) -> Images:
        matrix = leaning(degrees)
        for image in images:
            cosines = np.asarray(image.ImageOrientationPatient, float).reshape(2, 3)
            change(
                image,
                ImageOrientationPatient=np.round(cosines @ matrix.T, 7).ravel().tolist(),
                ImagePositionPatient=np.round(matrix @ np.asarray(image.ImagePositionPatient, float), 7).tolist(),
            )
        return images

    return edit


def plane(orientation: list[int], axis: int) -> Edit:
    """Sagittal or coronal slices."""

    def edit(images: Images) -> Images:
        for index, image in enumerate(images):
            position = [0.0, 0.0, 0.0]
            position[axis] = SPACING * index
            change(image, ImageOrientationPatient=orientation, ImagePositionPatient=position)
        return images

    return edit


SAGITTAL, CORONAL = plane([0, 1, 0, 0, 0, -1], 0), plane([1, 0, 0, 0, 0, -1], 1)


# Edits: positions


def without(*indices: int) -> Edit:
    return lambda images: [image for index, image in enumerate(images) if index not in indices]


def again(*indices: int, other: int = 0) -> Edit:
    """Repeat slices under another UID and a later number; `other` is added to their pixels."""

    def edit(images: Images) -> Images:
        copies = []
        for index in indices:
            copy = ct_slice(raw(images[index]).astype(np.int32) + INTERCEPT + other, index)
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
                setattr(copy, keyword, images[index][keyword].value)
            copies.append(change(copy, InstanceNumber=index + 101, SOPInstanceUID=f"{copy.SOPInstanceUID}.9"))
        return copies + images

    return edit


def copied(*indices: int, edit: Edit | None = None, **elements: Any) -> Edit:
    """Further files of some images, with their UIDs; with these elements, or edited so."""

    def copies(images: Images) -> Images:
        made = [change(copy.deepcopy(images[index]), **elements) for index in indices]
        for index, image in zip(indices, edit(made) if edit else made, strict=True):
            images = [*images, change(image, SOPInstanceUID=images[index].SOPInstanceUID)]
        return images

    return copies


def moved(index: int, by: Sequence[float]) -> Edit:
    def edit(images: Images) -> Images:
        position = np.asarray(images[index].ImagePositionPatient, float) + by
        images[index].ImagePositionPatient = position.tolist()
        return images

    return edit


def without_position(index: int) -> Edit:
    def edit(images: Images) -> Images:
        del images[index].ImagePositionPatient
        return images

    return edit


def tilt(pixels: float, table: bool = True) -> Edit:
    """Shear by `pixels` rows from slice to slice; whole ones here, so that undoing them is exact.

    Args:
        table: slices lean and the table moves along z, as scanners do; else upright slices drift.
    """

    def edit(images: Images) -> Images:
        lean = np.degrees(np.arctan2(0.7 * pixels, SPACING)) if table else 0.0
        matrix = leaning(lean)
        for index, image in enumerate(images):
            rows = (index - len(images) // 2) * pixels
            stored = raw(image).astype(np.float64)
            at = np.arange(ROWS) + rows
            near, part = np.floor(at).astype(int), (at - np.floor(at))[:, None]
            air = np.full((1, COLUMNS), -1000 - INTERCEPT)
            padded = np.concatenate([air, stored, air])
            pick = [padded[np.clip(near + more, -1, ROWS) + 1] for more in (0, 1)]
            relay(image, np.rint(pick[0] * (1 - part) + pick[1] * part).astype(np.uint16), 12)
            straight = np.array([-30.0, -20.0, index * SPACING - 100])
            position = matrix @ straight + rows * 0.7 * matrix[:, 1]
            cosines = [1.0, 0.0, 0.0, *matrix[:, 1]]
            change(
                image,
                ImagePositionPatient=np.round(position, 7).tolist(),
                ImageOrientationPatient=np.round(cosines, 7).tolist(),
            )
        return images

    return edit


def straightened(values: NDArray[np.int16], pixels: int) -> NDArray[np.int16]:
    """What a sheared and restored volume keeps: rows that left the field of view are air."""
    kept = values.copy()
    for index in range(len(values)):
        rows = (index - len(values) // 2) * pixels
        at = np.arange(values.shape[1])
        kept[index, (at < rows) | (at >= values.shape[1] + rows)] = -1000
    return kept


def filled(values: NDArray[np.int16], first: int, last: int) -> NDArray[np.int16]:
    """The volume with slices first to last interpolated between those beside them."""
    result = values.copy()
    steps = last - first + 2
    for index in range(first, last + 1):
        weight = (index - first + 1) / steps
        result[index] = np.rint(values[first - 1] * (1 - weight) + values[last + 1] * weight)
    return result


# Edits: pixels


def each(function: Callable[[FileDataset], FileDataset]) -> Edit:
    return lambda images: [function(image) for image in images]


def tagged(**elements: Any) -> Edit:
    def edit(images: Images) -> Images:
        for image in images:
            change(image, **elements)
        return images

    return edit


def changed(*indices: int, **elements: Any) -> Edit:
    """Some images with other elements."""

    def edit(images: Images) -> Images:
        for index in indices:
            change(images[index], **elements)
        return images

    return edit


def alternating(every: int = 2, **elements: Any) -> Edit:
    """Every second image, or third, with other elements."""
    return lambda images: changed(*range(1, len(images), every), **elements)(images)


def numbered(keyword: str) -> Edit:
    """Every image with a number of its own."""

    def edit(images: Images) -> Images:
        for number, image in enumerate(images, start=1):
            change(image, **{keyword: number})
        return images

    return edit


def rescale_per_slice(images: Images) -> Images:
    """Another intercept in every slice, as some PET-CTs send."""
    for index, image in enumerate(images):
        relay(image, raw(image) + np.uint16(index), 12, RescaleIntercept=INTERCEPT - index)
    return images


def half_slope(images: Images) -> Images:
    return [relay(image, raw(image) * np.uint16(2), 16, RescaleSlope=0.5) for image in images]


def inverted(images: Images) -> Images:
    for image in images:
        relay(image, 4095 - raw(image), 12)
    return images


def signed(bits: int) -> Edit:
    """Hounsfield units as they are."""
    return each(lambda image: relay(image, raw(image).astype(np.int16) + INTERCEPT, bits, RescaleIntercept=0))


def allocated(bits: int) -> Edit:
    """8 or 32 bits a pixel, as derived images have."""
    kind = {8: np.uint8, 32: np.uint32}[bits]
    return each(lambda image: relay(image, raw(image).astype(kind), min(bits, 16), BitsAllocated=bits))


def overlay_bits(images: Images) -> Images:
    """Graphics in the unused bits, as before 2004."""
    return [relay(image, raw(image) | np.uint16(0xA000), 12) for image in images]


def padded(images: Images) -> Images:
    """The first row is outside the field of view."""
    for image in images:
        pixels = raw(image).copy()
        pixels[0] = 63536
        relay(image, pixels, 12, PixelPaddingValue=63536)
    return images


def cut_corners(images: Images) -> Images:
    """The first row is outside the field of view, by a value far below air that nothing declares."""
    for image in images:
        values = raw(image).astype(np.int16) + INTERCEPT
        values[0] = -2000
        relay(image, values, 16, RescaleIntercept=0)
    return images


def air_first_row(values: NDArray[np.int16]) -> NDArray[np.int16]:
    result = values.copy()
    result[:, 0] = -1000
    return result


def far_below_first_row(values: NDArray[np.int16]) -> NDArray[np.int16]:
    result = values.copy()
    result[:, 0] = -2000
    return result


def comma(keyword: str, text: str) -> Edit:
    """A number written as in most of Europe."""

    def edit(images: Images) -> Images:
        tag = Tag(keyword)
        written = text.encode().ljust(len(text) + len(text) % 2)
        for image in images:
            image._dict[tag] = RawDataElement(tag, "DS", len(written), written, 0, False, True)
        return images

    return edit


def lookup_table(images: Images) -> Images:
    table = Dataset()
    change(table, LUTDescriptor=[4096, 0, 16], ModalityLUTType="HU", LUTData=np.arange(4096, dtype="<u2").tobytes())
    return tagged(RescaleSlope=None, RescaleIntercept=None, ModalityLUTSequence=[table])(images)


def encoded(syntax: str) -> Edit:
    return each(lambda image: compress(image, syntax))


def cut_sign(images: Images) -> Images:
    """Signed 12 bits, with zeros in the unused bits of negative values too (PS3.5 8.1.1)."""
    return [relay(image, raw(image).view(np.int16) & np.int16(0x0FFF), 12) for image in images]


WORDS: dict[UID, Callable[[NDArray[Any]], bytes]] = {
    JPEGLSLossless: lambda words: bytes(imagecodecs.jpegls_encode(words)),
    JPEG2000Lossless: lambda words: bytes(
        imagecodecs.jpeg2k_encode(words, level=0, reversible=True, codecformat="j2k")
    ),
    JPEGLosslessSV1: lambda words: bytes(imagecodecs.ljpeg_encode(words)),
}


def whole_words(syntax: UID, end: bytes = b"") -> Edit:
    """Compressed as 16 bits a sample, whatever BitsStored says, as DCMTK does it; `end` follows the end marker."""

    def encode(image: FileDataset) -> FileDataset:
        image.PixelData = encapsulate([_ending(WORDS[syntax](raw(image)), end)])
        image.file_meta.TransferSyntaxUID = syntax
        return image

    return each(encode)


def _ending(frame: bytes, end: bytes) -> bytes:
    """The frame with an end that makes its length even, thanks to a comment (ISO/IEC 10918-1 B.2.4.5) if need be."""
    if end and (len(frame) + len(end)) % 2:
        frame = frame[:2] + b"\xff\xfe\0\3x" + frame[2:]
    return frame + end


def enhanced(images: Images, *, per_frame: bool = True, legacy: bool = False, syntax: str = "") -> Images:
    """The same slices as one multi-frame file, in the order in which they come."""
    image = enhanced_ct(np.stack([raw(single).astype(np.int32) + INTERCEPT for single in images]), per_frame=per_frame)
    for item, single in zip(image.PerFrameFunctionalGroupsSequence, images, strict=True):
        item.PlanePositionSequence[0].ImagePositionPatient = single.ImagePositionPatient
    if legacy:
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID(f"{STORAGE}.2.2")
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        for item in image.PerFrameFunctionalGroupsSequence:
            del item.CTImageFrameTypeSequence
    return [compress(image, syntax) if syntax else image]


def without_groups(images: Images) -> Images:
    image = enhanced(images)[0]
    del image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence
    return [image]


# Other series in the study


def beside(values: NDArray[np.int16], edit: Edit | None = None, **elements: Any) -> Edit:
    """Add a second series, number 7."""

    def added(images: Images) -> Images:
        others = ct_series(values, series_uid=f"{SERIES_UID}.7", **{"SeriesNumber": 7, **elements})
        return images + (edit(others) if edit else others)

    return added


def second_acquisition(images: Images) -> Images:
    """Another phase at the same positions, in the same series."""
    phase = ct_series(REFERENCE[::-1], AcquisitionNumber=2)
    for image in phase:
        change(image, SOPInstanceUID=f"{image.SOPInstanceUID}.2", InstanceNumber=image.InstanceNumber + 50)
    return tagged(AcquisitionNumber=1)(images) + phase


# Places


def folder(images: Images, root: Path, pattern: str = "IM{:04d}") -> Path:
    return save(images, root / "study", pattern)


def nested(images: Images, root: Path) -> Path:
    save(images[:4], root / "study" / "a", "{}")
    save(images[4:], root / "study" / "b" / "c", "{}.whatever")
    (root / "study" / "b" / "README.txt").write_text("not an image")
    return root / "study"


def zipped(images: Images, root: Path) -> Path:
    return save_zip(nested(images, root), root / "study.zip", prefix="any/../folder/")


def medium(images: Images, root: Path) -> Path:
    save(images, root / "IMAGES", "IM{}")
    return save_dicomdir(root / "DICOMDIR", [("IMAGES", f"IM{number}") for number in range(len(images))])


def medium_folder(images: Images, root: Path) -> Path:
    return medium(images, root).parent


def one_file(images: Images, root: Path) -> Path:
    return write(images[0], root / "image")


def bare(images: Images, root: Path, syntax: UID = ImplicitVRLittleEndian) -> Path:
    """Data sets without preamble and file meta."""
    (root / "study").mkdir()
    for number, image in enumerate(images):
        del image.file_meta, image.preamble
        path = root / "study" / f"IM{number}"
        dcmwrite(path, image, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=False)
    return root / "study"


def cut_short(images: Images, root: Path) -> Path:
    last = sorted(bare(images, root).iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-100])
    return root / "study"


Place = Callable[[Images, Path], Path]
