"""A heat map as DICOM: a Parametric Map of its values (PS3.3 A.75), or a fractional Segmentation (A.51) in its place.

It lies in the patient as the study does, in the study's own slices. It is cropped to what it covers, and a pixel is as
many of the study's as are needed to keep it small: a map has far fewer parts than pixels.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from ...volume import SourceImage
from ..explain import ExplanationMap
from ..placed_map import PlacedMap, Sampled, sampled
from .objects import Objects, as_name, highdicom

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code

PARAMETRIC, FRACTIONAL = "parametric map", "segmentation"
SERIES_NUMBER = {PARAMETRIC: 9003, FRACTIONAL: 9004}
MOST_BYTES = 4 << 20
"""Of the values of one map, as float32; a Segmentation has a quarter of it."""
_LEAST = 1e-6


def parametric_map(objects: Objects, placed: PlacedMap, number: int) -> bytes:
    """The values as they are, ready to be saved.

    Args:
        number: of the instance in its series.

    Raises:
        BackendError: highdicom is not installed.
    """
    from pydicom.sr.codedict import codes

    hd, cut, one = highdicom(), sampled(placed, MOST_BYTES), placed.map
    highest = max(float(one.values.max()), _LEAST)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=one.method.upper()[:16],
        lut_explanation=said_of(placed.map),
        unit=codes.UCUM.NoUnits,
        value_range=(min(float(one.values.min()), 0.0), highest),
        slope=1.0,
        intercept=0.0,
        quantity_definition=_quantity(placed),
    )
    width = max(highest - one.floor, _LEAST)
    window = hd.VOILUTTransformation(
        window_center=one.floor + width / 2,
        window_width=width,
        voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,  # the one in which a width may be below 1
    )
    made: Dataset = hd.pm.ParametricMap(
        pixel_array=cut.values,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        content_label="HEAT MAP",
        content_qualification=hd.ContentQualificationValues.RESEARCH,
        **_shared(objects, placed, cut, PARAMETRIC, number),
    )
    made.Laterality = None  # of type 2C, whose condition nobody can tell
    return _finished(objects, placed, made, PARAMETRIC)


def segmentation(objects: Objects, placed: PlacedMap, number: int) -> bytes:
    """From the floor, 0, to the highest value, 255: a strength, and no probability of anything.

    Args, Raises: as `parametric_map`.
    """
    from pydicom.sr.codedict import codes

    hd, cut, one, model = highdicom(), sampled(placed, MOST_BYTES), placed.map, objects.result.model
    highest = max(float(one.values.max()) - one.floor, _LEAST)
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=said_of(placed.map),
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=_quantity(placed),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=as_name(model.name),
            family=codes.DCM.ArtificialIntelligence,
            version=objects.version,
        ),
        tracking_uid=objects.uid(f"{FRACTIONAL} {number} segment"),
        tracking_id=said_of(placed.map),
    )
    made: Dataset = hd.seg.Segmentation(
        pixel_array=np.clip((cut.values - one.floor) / highest, 0, 1)[..., np.newaxis],
        segmentation_type=hd.seg.SegmentationTypeValues.FRACTIONAL,
        fractional_type=hd.seg.SegmentationFractionalTypeValues.PROBABILITY,
        segment_descriptions=[segment],
        omit_empty_frames=False,
        content_label="HEAT MAP",
        **_shared(objects, placed, cut, FRACTIONAL, number),
    )
    return _finished(objects, placed, made, FRACTIONAL)


def _shared(objects: Objects, placed: PlacedMap, cut: Sampled, kind: str, number: int) -> dict[str, Any]:
    """What both say of where they lie and what they were made from."""
    hd = highdicom()
    _, rows, columns = placed.placement.direction
    return objects.arguments(kind, SERIES_NUMBER[kind]) | {
        "source_images": _sources(objects, placed, cut),
        "instance_number": number,
        "device_serial_number": objects.serial,
        "content_description": said_of(placed.map),
        "pixel_measures": hd.PixelMeasuresSequence(
            pixel_spacing=cut.spacing_mm,
            slice_thickness=placed.placement.spacing_mm[0],
            spacing_between_slices=placed.placement.spacing_mm[0],
        ),
        "plane_orientation": hd.PlaneOrientationSequence(
            coordinate_system=hd.CoordinateSystemNames.PATIENT, image_orientation=(*columns, *rows)
        ),
        "plane_positions": [
            hd.PlanePositionSequence(coordinate_system=hd.CoordinateSystemNames.PATIENT, image_position=position)
            for position in cut.positions_mm
        ],
    }


def _sources(objects: Objects, placed: PlacedMap, cut: Sampled) -> "list[Dataset]":
    """The images of the slices that it covers, each in its place.

    highdicom wants all functional groups of an image of several frames; in place of each frame it gets an image of one,
    which `_finished` names again.
    """
    from pydicom.uid import CTImageStorage

    all_images = objects.sources[placed.map.input].images
    images = [image for at in cut.slices if (image := all_images[at]) is not None]
    _, rows, columns = placed.placement.direction
    found = []
    for image in images or [image for image in all_images if image is not None][:1]:
        one = deepcopy(objects.image(image))
        if image.position_mm is not None:
            one.ImagePositionPatient = list(image.position_mm)
        if image.frame is not None:
            one.pop("NumberOfFrames", None)
            one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, _stand_in(objects, image)
            one.ImageOrientationPatient = [*columns, *rows]
            one.SliceThickness, *spacing = placed.placement.spacing_mm
            one.PixelSpacing = spacing
        found.append(one)
    return found


def _stand_in(objects: Objects, image: SourceImage) -> str:
    return objects.uid(f"frame {image.frame} of {image.sop_instance_uid}")


def _name_frames(objects: Objects, made: "Dataset", images: Sequence[SourceImage | None]) -> None:
    """Put frames in the place of what stood for them."""
    stood = {_stand_in(objects, image): image for image in images if image is not None and image.frame is not None}
    named = [*made.ReferencedSeriesSequence]
    for series in named:
        once = {}
        for item in series.ReferencedInstanceSequence:
            _name(item, stood)
            once[item.ReferencedSOPInstanceUID] = item
        series.ReferencedInstanceSequence = list(once.values())
    for frame in made.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence") or ():
            for item in derivation.SourceImageSequence:
                if (image := _name(item, stood)) is not None:
                    item.ReferencedFrameNumber = image.frame


def _name(item: "Dataset", stood: Mapping[str, SourceImage]) -> SourceImage | None:
    image = stood.get(item.ReferencedSOPInstanceUID)
    if image is not None:
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    return image


def said_of(drawn: ExplanationMap) -> str:
    """What a map is, and what it is not, within 64 characters."""
    whose = "" if drawn.label is None else f" for {drawn.label}"
    return as_name(f"{'Heat map' if drawn.localises else 'Heat map, not a localisation'}: {drawn.title}{whose}")


def _quantity(placed: PlacedMap) -> "Code":
    """PS3.16 CID 218."""
    from pydicom.sr.codedict import codes

    found: Code = codes.DCM.GradientWeightedClassActivation if placed.map.method == "gradcam" else codes.DCM.Saliency
    return found


def _finished(objects: Objects, placed: PlacedMap, made: "Dataset", kind: str) -> bytes:
    """With an identifier of its own dimensions, which highdicom draws at random."""
    _name_frames(objects, made, objects.sources[placed.map.input].images)
    organisation = objects.uid(f"{kind} dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    return objects.finished(made, kind)
