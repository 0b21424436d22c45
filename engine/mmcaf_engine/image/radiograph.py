"""A DICOM radiograph (DX, CR): its header as a candidate for the image, and its pixels as grey values."""

from collections.abc import Callable

import numpy as np

from ..errors import StudyError
from ..study.dicom.examined import read_examined
from ..study.dicom.header import read_patient
from ..study.dicom.instance import Instance
from ..study.dicom.intensities import exceeds_stored, padding_of, used_bits
from ..study.dicom.kinds import computed_by, is_for_processing, of_another_machine
from ..study.dicom.pixel_format import PixelFormat, read_format
from ..study.dicom.pixels import stored_frames
from ..study.dicom.tags import Tags, describe
from ..study.faults import doing
from ..study.selection.series import OTHER_OBJECTS
from ..study.told import not_square
from ..workers import Scratch
from .candidate import Candidate, Grey, refuse_size
from .grey import GreyScale
from .view import Seen, read_view
from .voi import read_grey_scale

MAX_BITS = 16
"""Of a stored value: every one that occurs is looked up in a scale of grey values."""

UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "image": "SOPInstanceUID"}


def read_radiograph(instance: Instance) -> Candidate:
    """What a file's header says of the image in it; whatever is wrong with it becomes its fault."""
    tags = instance.tags
    matrix, spacing, fault, decode = None, None, None, _nothing
    try:
        other_kind = _other_kind(instance)
        rows, columns = tags.whole("Rows") or 0, tags.whole("Columns") or 0
        matrix = (rows, columns) if rows and columns else None
        if not other_kind:
            spacing = _spacing(tags)
            decode = _planned(instance, rows, columns)
    except StudyError as failure:
        other_kind, fault = "", failure
    uids = {key: tags.label(keyword) for key, keyword in UIDS.items()}
    return Candidate(
        name=instance.name,
        modality=tags.label("Modality"),
        matrix=matrix,
        spacing_mm=spacing,
        view=Seen() if other_kind else read_view(tags),
        decode=decode,
        other_kind=other_kind,
        fault=fault,
        uids={key: uid for key, uid in uids.items() if uid},
        sop_class=tags.label("SOPClassUID"),
        series_number=tags.whole_or_none("SeriesNumber"),
        description=tags.label("SeriesDescription"),
        derived=tags.label("ImageType").startswith("DERIVED"),
        patient=read_patient(instance),
        examined=read_examined(instance),
        instance=instance,
    )


def _other_kind(instance: Instance) -> str:
    """What an instance is that is no radiograph, in words; empty if it can be one."""
    tags = instance.tags
    modality = tags.text("Modality")
    if modality in OTHER_OBJECTS:
        return f"a {OTHER_OBJECTS[modality]}"
    if instance.pixels is None:
        return "an object without pixel data"
    if instance.pixels.keyword != "PixelData":
        return "an image of floating-point pixels"
    frames = tags.whole("NumberOfFrames") or 1
    if frames != 1:
        return f"a multi-frame image: {describe('NumberOfFrames')} is {frames}"
    samples = tags.whole("SamplesPerPixel") or 1
    if samples != 1:
        return f"a colour image: {describe('SamplesPerPixel')} is {samples}"
    if is_for_processing(tags):
        named = "PresentationIntentType" if "PresentationIntentType" in tags else "SOPClassUID"
        return f"an image of raw detector values: {describe(named)} is FOR PROCESSING"
    return ""


def _planned(instance: Instance, rows: int, columns: int) -> Callable[[], Grey]:
    """Check all that the header says of the pixels, and return what decodes them."""
    refuse_size(rows, columns, instance.name)
    pixels = read_format(instance, inverted=True)
    if pixels.bits_stored > MAX_BITS:
        raise instance.tags.refusal("BitsStored", f"is {pixels.bits_stored}; at most {MAX_BITS} are read")
    scale, remarks = read_grey_scale(instance.tags, pixels)
    remarks = (*remarks, *_remarks(instance.tags))
    remarks = (*remarks, *filter(None, [not_square(_spacing(instance.tags))]))
    return lambda: _decode(pixels, scale, remarks)


def _remarks(tags: Tags) -> tuple[str, ...]:
    found = [text] if (text := of_another_machine(tags)) else []
    if word := computed_by(tags.texts("ImageType"), tags.label("Modality")):
        found.append(
            f"{describe('ImageType')} names {word}: it is computed from others, and may not be what is expected"
        )
    if tags.text("LossyImageCompression") == "01":
        found.append("it was compressed with loss before it came here")
    if tags.text("BurnedInAnnotation") == "YES":
        found.append(
            f"there is writing in its pixels ({describe('BurnedInAnnotation')} is YES), which the network sees"
        )
    if shape := tags.label("ShutterShape"):
        found.append(
            f"{describe('ShutterShape')} is {shape}: what lies outside of the shutter is not to be shown, but was left "
            "in its pixels, which the network sees"
        )
    return tuple(found)


def _decode(pixels: PixelFormat, scale: GreyScale, remarks: tuple[str, ...]) -> Grey:
    """The grey values; pixels of padding are black."""
    name = pixels.instance.name
    _, pattern = next(stored_frames(pixels, (0,), Scratch()))
    with doing(f"{name}: rescaling pixels"):
        plane = scale(used_bits(pattern, pixels))
        if exceeds_stored(pattern, pixels):
            remarks = (
                *remarks,
                f"its values have more bits than {describe('BitsStored')} says, and not as overlays have them; those "
                "above were dropped",
            )
        padded = padding_of(pattern, pixels)
        if padded is not None and (bright := int(np.count_nonzero(plane[padded]))):
            share = 100 * bright / plane.size
            remarks = (
                *remarks,
                f"{bright} of its pixels ({share:.1f} %) carry {describe('PixelPaddingValue')}; they were set to black",
            )
            plane[padded] = 0.0
    return Grey(plane, remarks, padded)


def _nothing() -> Grey:
    raise RuntimeError("this file holds no image")


def _spacing(tags: Tags) -> tuple[float, float] | None:
    """mm between rows and between columns: at the patient where calibrated, else at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = tags.numbers(keyword, 2)
        if values is not None and min(values) > 0:
            return values[0], values[1]
    return None
