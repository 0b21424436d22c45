"""The key slices of an answer with words and a circle, as a Grayscale Softcopy Presentation State (PS3.3 A.33.1)."""

from collections.abc import Sequence
from copy import deepcopy
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ...volume import SourceImage
from ..decisions.statements import in_words
from ..key_slices import KeySlice
from ..placed_map import PlacedMap
from .heat_map import said_of
from .objects import Objects, as_name, highdicom

if TYPE_CHECKING:
    from pydicom import Dataset

KIND = "presentation state"
SERIES_NUMBER = 9005
LAYER = "MMCAF"
_LONGEST_TEXT = 1024
"""Characters of ST."""
_TEXT_BOX = (0.02, 0.02, 0.98, 0.12)
"""Left, top, right and bottom of the words, as shares of what is displayed."""
_PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def presentation_states(objects: Objects, keys: Sequence[KeySlice], maps: Sequence[PlacedMap]) -> list[bytes]:
    """One for each input, ready to be saved: grey values are shown as the header of its first image says.

    The circle is around the part with the highest value of the heat map in that slice, where there is one.

    Args:
        keys: of which those are shown that were made of one image.

    Raises:
        BackendError: highdicom is not installed.
    """
    shown = [(key, key.image) for key in keys if key.image is not None]
    inputs = dict.fromkeys(key.input for key, _ in shown)
    return [
        _state(objects, [one for one in shown if one[0].input == name], maps, at) for at, name in enumerate(inputs, 1)
    ]


def _state(
    objects: Objects, shown: Sequence[tuple[KeySlice, SourceImage]], maps: Sequence[PlacedMap], number: int
) -> bytes:
    hd = highdicom()
    layer = hd.pr.GraphicLayer(layer_name=LAYER, order=1, description="RESEARCH, unverified")
    images: dict[str, Dataset] = {}
    annotations = []
    for key, source in shown:
        image = images[source.sop_instance_uid] = deepcopy(objects.image(source))
        image.SamplesPerPixel = 1  # no network reads colour
        if source.position_mm is not None:
            image.ImagePositionPatient = list(source.position_mm)
        annotations.append(_annotation(objects, key, image, layer, _circle(key, image, maps)))
    inverse = next(iter(images.values())).get("PhotometricInterpretation") == "MONOCHROME1"
    shape = hd.PresentationLUTShapeValues.INVERSE if inverse else hd.PresentationLUTShapeValues.IDENTITY
    made: Dataset = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=list(images.values()),
        content_label=LAYER,
        content_description="RESEARCH, unverified: slices that the answer is shown by",
        graphic_layers=[layer],
        graphic_annotations=annotations,
        presentation_lut_transformation=hd.PresentationLUTTransformation(presentation_lut_shape=shape),
        device_serial_number=objects.serial,
        **objects.arguments(KIND, SERIES_NUMBER) | {"instance_number": number},
    )
    _shape_pixels(made, next(iter(images.values())))
    made.Laterality = None  # of type 2C, whose condition nobody can tell
    made.PresentationCreationDate, made.PresentationCreationTime = objects.date, objects.time
    return objects.finished(made, KIND)


def _shape_pixels(made: "Dataset", image: "Dataset") -> None:
    """Pixels are shown as high and wide as the image has them (PS3.3 C.10.4); highdicom says that they are square."""
    at_detector = image.get("ImagerPixelSpacing") or image.get("PixelAspectRatio")
    for area in made.DisplayedAreaSelectionSequence:
        if spacing := image.get("PixelSpacing"):
            del area.PresentationPixelAspectRatio
            area.PresentationPixelSpacing = list(spacing)
        elif at_detector and min(map(float, at_detector)) > 0:
            high, wide = (Fraction(str(one)) for one in at_detector)
            area.PresentationPixelAspectRatio = [*(high / wide).limit_denominator(1000).as_integer_ratio()]


def _annotation(
    objects: Objects, key: KeySlice, image: "Dataset", layer: Any, circle: tuple[float, float, float] | None
) -> Any:
    hd = highdicom()
    words, circles = f"RESEARCH, unverified. {in_words(objects.result)}", []
    if circle is not None and key.drawn is not None:
        column, row, radius = circle
        beside = column - radius if column >= radius else column + radius
        circles = [
            hd.pr.GraphicObject(
                graphic_type=hd.pr.GraphicTypeValues.CIRCLE,
                graphic_data=np.array([[column, row], [beside, row]]),
                units=hd.pr.AnnotationUnitsValues.PIXEL,
            )
        ]
        words += f" Circle: highest value in this slice of: {said_of(key.drawn)}."
    text = hd.pr.TextObject(
        text_value=as_name(words, _LONGEST_TEXT),
        units=hd.pr.AnnotationUnitsValues.DISPLAY,
        bounding_box=_TEXT_BOX,
    )
    return hd.pr.GraphicAnnotation(
        referenced_images=[image], graphic_layer=layer, graphic_objects=circles or None, text_objects=[text]
    )


def _circle(key: KeySlice, image: "Dataset", maps: Sequence[PlacedMap]) -> tuple[float, float, float] | None:
    """Column and row of its middle, and its radius, in pixels of the image from its upper left corner; None without."""
    if key.drawn is None or (part := key.part) is None or not part.max() > key.drawn.floor:
        return None
    if (placed := next((one for one in maps if one.map is key.drawn), None)) is not None:
        return _in_patient(key, image, placed)
    row, column = np.unravel_index(int(np.argmax(part)), part.shape)
    tall, wide = image.Rows / part.shape[0], image.Columns / part.shape[1]
    return (float(column) + 0.5) * wide, (float(row) + 0.5) * tall, max(tall, wide) / 2


def _in_patient(key: KeySlice, image: "Dataset", placed: PlacedMap) -> tuple[float, float, float] | None:
    """By the image's own plane (PS3.3 C.7.6.2.1.1), whichever way its rows and columns run."""
    found = placed.highest(key.number)
    if found is None or any(not image.get(keyword) for keyword in _PLANE):
        return None
    (top, bottom), (left, right) = found
    point = np.array(placed.place(key.number + 0.5, (top + bottom) / 2, (left + right) / 2))
    along = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = map(float, image.PixelSpacing)
    from_corner = along @ (point - np.array(image.ImagePositionPatient, float))
    _, between_rows, between_columns = placed.placement.spacing_mm
    radius_mm = max((bottom - top) * between_rows, (right - left) * between_columns) / 2
    return from_corner[0] / column_mm + 0.5, from_corner[1] / row_mm + 0.5, radius_mm / column_mm
