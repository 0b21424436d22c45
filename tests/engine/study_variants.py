"""The table of study variants: one volume in every form and with every fault, each with its expected outcome.

Edits that keep the anatomy combine freely, so that most pairs expect the reference volume itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_factory import (
    STUDY_UID,
    ct_series,
)
from refusals import Fact
from study_edits import (
    CONSTANT,
    CORONAL,
    FLAT,
    REFERENCE,
    SAGITTAL,
    SPACING,
    STORAGE,
    Edit,
    Images,
    Place,
    Values,
    again,
    air_first_row,
    allocated,
    alternating,
    bare,
    beside,
    changed,
    comma,
    copied,
    cut_corners,
    cut_short,
    cut_sign,
    encoded,
    enhanced,
    far_below_first_row,
    feet_first,
    filled,
    folder,
    half_slope,
    half_turn,
    inverted,
    lookup_table,
    medium,
    medium_folder,
    moved,
    nested,
    numbered,
    one_file,
    overlay_bits,
    padded,
    prone,
    quarter_turn,
    renumber,
    rescale_per_slice,
    reverse,
    second_acquisition,
    shuffle,
    sideways,
    signed,
    straightened,
    tagged,
    tilt,
    turn,
    unnumber,
    whole_words,
    without,
    without_groups,
    without_position,
    zipped,
)

TURNED = "rotated or mirrored"
FILLED = "interpolated linearly between their neighbours"
STRAIGHTENED = "the gantry was tilted by"
FIRST_KEPT = "the first of each was kept"
BELOW = "408 pixels (3.1 %) lie below -1500 HU"
PADDING = "carry (0028,0120) PixelPaddingValue"
CHOSEN = "To read another, name it"


@dataclass(frozen=True)
class Variant:
    """One study, and what reading it must give.

    build: writes the study under a folder and returns the path to read.
    expected: the volume [D, H, W]; None where the study is refused.
    tolerance: largest difference, HU; 0 but where values are resampled or compressed with loss.
    refused: the facts of the refusal.
    remedy: the option and value of one of its remedies.
    warnings, remarks: a part of each, in order.
    spacing: between the slices, mm.
    options: of `read_study`.
    """

    id: str
    build: Callable[[Path], Path]
    expected: Values | None = None
    tolerance: float = 0.0
    refused: tuple[Fact, ...] = ()
    remedy: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    spacing: float = SPACING


def variant(
    name: str, *edits: Edit, place: Place = folder, values: NDArray[np.int16] = REFERENCE, **expected: Any
) -> Variant:
    """Edits in order, then a place; the reference volume is expected unless something else is said."""

    def build(root: Path) -> Path:
        images: Images = ct_series(values, spacing=SPACING)
        for edit in edits:
            images = edit(images)
        return place(images, root)

    if "refused" not in expected:
        expected.setdefault("expected", values)
    return Variant(name, build, **expected)


TURNS: dict[str, Edit] = {
    "half-turn": half_turn,
    "feet-first": feet_first,
    "prone": prone,
    "sideways": sideways,
    "quarter-turn": quarter_turn,
}
ORDERS: dict[str, Edit] = {"reversed": reverse, "shuffled": shuffle, "misnumbered": renumber, "unnumbered": unnumber}
SYNTAXES: dict[str, UID] = {
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-lossless": JPEGLossless,
    "jpeg-lossless-sv1": JPEGLosslessSV1,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
}
PIXELS: dict[str, Edit] = {
    "rescale-per-slice": rescale_per_slice,
    "half-slope": half_slope,
    "signed-16": signed(16),
    "signed-12": signed(12),
}
PLACES: dict[str, Place] = {
    "nested": nested,
    "zip": zipped,
    "dicomdir": medium,
    "folder-of-dicomdir": medium_folder,
    "odd-suffix": partial(folder, pattern="{}.1.2.840"),
}
WHOLE = {"jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless, "jpeg-lossless-sv1": JPEGLosslessSV1}
GAPS_ACCEPTED = {"option": "gaps", "value": "interpolate"}
FIRST_ACCEPTED = {"option": "duplicates", "value": "first"}
TILT_ACCEPTED = {"option": "tilt", "value": "resample"}
SERIES_CHOSEN = {"option": "series", "value": "1"}
OBLIQUE_ACCEPTED = {"option": "oblique", "value": "accept"}
ACCEPTED = {"oblique": "accept"}
MR = tagged(Modality="MR", SOPClassUID=f"{STORAGE}.4")
LEANS = "degrees off the patient's long axis; they were taken as they lie, as accepted"
GAPS, TILT, FIRST = {"gaps": "interpolate"}, {"tilt": "resample"}, {"duplicates": "first"}
SHEARED = straightened(REFERENCE, 1)
LOCALIZER = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
DERIVED = ["DERIVED", "SECONDARY", "AXIAL"]
REPEATED = again(5)
EARLY = {"AcquisitionDate": "20240506", "AcquisitionTime": "100000"}
LATE = {"AcquisitionDate": "20240506", "AcquisitionTime": "101500"}
OTHER: dict[str, dict[str, Any]] = {
    "acquisitions": {"AcquisitionNumber": 2},
    "kernels": {"ConvolutionKernel": "Br64"},
    "energies": {"KVP": "140"},
    "contrast-phases": {"ContrastBolusAgent": "IOHEXOL"},
    "echoes": {"EchoTime": "80"},
    "phases": {"TemporalPositionIdentifier": "2"},
    "image-types": {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "ENERGY_PROP_WT"]},
    "thicknesses": {"SliceThickness": "5"},
    "descriptions": {"SeriesDescription": "Chest lung"},
    "flip-angles": {"FlipAngle": "60"},
    "series-numbers": {"SeriesNumber": 7},
    "comments": {"ImageComments": "arterial"},
}
"""What sets two volumes apart whose slices lie between one another's."""
CONTRADICTION: dict[str, Any] = {"refused": ("(0008,0018) SOPInstanceUID", "IM0005", "IM0012")}
GAP: dict[str, Any] = {"refused": (1, -90, -85, 5, 2.5), "remedy": GAPS_ACCEPTED}

SINGLE = [
    variant("plain"),
    *(variant(name, edit) for name, edit in ORDERS.items()),
    *(variant(name, edit, warnings=(TURNED,)) for name, edit in TURNS.items()),
    variant("oblique-4-degrees", turn(4)),
    *(variant(name, edit) for name, edit in PIXELS.items()),
    variant("allocated-8", allocated(8), values=FLAT),
    variant("allocated-32", allocated(32)),
    variant("overlay-bits", overlay_bits),
    variant(
        "values-beyond-the-stored-bits",
        tagged(BitsStored=8, HighBit=7),
        expected=(REFERENCE + 1024) % 256 - 1024,
        warnings=("12 slices have more bits than (0028,0101) BitsStored",),
    ),
    variant("undeclared-padding", cut_corners, expected=far_below_first_row(REFERENCE), warnings=(BELOW,)),
    variant(
        "undeclared-padding-in-one-slice",
        without(*range(1, 12)),
        cut_corners,
        expected=far_below_first_row(REFERENCE)[:1],
        warnings=("a single slice came", "34 pixels (3.1 %)"),
    ),
    variant("decimal-comma", comma("PixelSpacing", "0,7\\0,8"), refused=("(0028,0030) PixelSpacing", "decimal comma")),
    variant("decimal-comma-of-a-rescale", comma("RescaleIntercept", "-1024,0"), refused=("RescaleIntercept", "comma")),
    variant("padding", padded, expected=air_first_row(REFERENCE), warnings=(PADDING,)),
    *(variant(name, encoded(syntax)) for name, syntax in SYNTAXES.items()),
    *(variant(f"overlay-bits-whole-words-{name}", overlay_bits, whole_words(syntax)) for name, syntax in WHOLE.items()),
    *(
        variant(f"signed-12-whole-words-{name}", signed(12), cut_sign, whole_words(syntax))
        for name, syntax in WHOLE.items()
    ),
    variant("signed-12-sign-cut-off", signed(12), cut_sign),
    variant("signed-12-sign-extended-whole-words", signed(12), whole_words(JPEGLSLossless)),
    variant(
        "padding-whole-words",
        padded,
        whole_words(JPEGLSLossless),
        expected=air_first_row(REFERENCE),
        warnings=(PADDING,),
    ),
    variant("fill-after-the-end-jpeg-ls", whole_words(JPEGLSLossless, b"\xff")),
    variant("fill-after-the-end-jpeg-lossless", whole_words(JPEGLosslessSV1, b"\xff")),
    variant("blank-after-the-end", whole_words(JPEGLSLossless, b" ")),
    variant("fill-and-zeros-after-the-end", whole_words(JPEGLosslessSV1, b"\xff\xff\0")),
    variant("text-after-the-end", whole_words(JPEGLSLossless, b"text"), refused=("FFD9",)),
    variant("htj2k-constant", encoded(HTJ2KLossless), values=CONSTANT),
    variant("jpeg-ls-near-lossless", encoded(JPEGLSNearLossless), tolerance=2.0),
    variant(
        "jpeg-2000-lossy",
        tagged(LossyImageCompression="01"),
        encoded(JPEG2000),
        values=CONSTANT,
        warnings=("compressed with loss",),
    ),
    *(variant(name, place=place) for name, place in PLACES.items()),
    variant("no-preamble-implicit", place=bare, warnings=("lack the preamble",)),
    variant(
        "no-preamble-explicit", place=partial(bare, syntax=ExplicitVRLittleEndian), warnings=("lack the preamble",)
    ),
    variant("enhanced", enhanced, place=one_file),
    variant("enhanced-shared", partial(enhanced, per_frame=False), place=one_file),
    variant("enhanced-legacy-converted", partial(enhanced, legacy=True), place=one_file),
    variant("multi-frame-without-groups", without_groups, place=one_file, refused=(12, "(5200,9230)")),
    variant("monochrome1", tagged(PhotometricInterpretation="MONOCHROME1"), refused=("MONOCHROME1",)),
    variant("colour", tagged(SamplesPerPixel=3), refused=(12, "colour")),
    variant("modality-lut", lookup_table, refused=("(0028,3000) ModalityLUTSequence", "RescaleSlope")),
    variant(
        "negative-slope", tagged(RescaleSlope=-1, RescaleIntercept=1024), refused=("(0028,1053) RescaleSlope is -1",)
    ),
    variant("no-rescale", tagged(RescaleIntercept=None), refused=("(0028,1052) RescaleIntercept", "missing")),
    # Positions
    variant("one-missing", without(5), **GAP),
    variant("one-missing-interpolated", without(5), expected=filled(REFERENCE, 5, 5), warnings=(FILLED,), options=GAPS),
    variant("two-missing", without(5, 6), refused=(2, -90, -82.5, "10%", 12), options=GAPS),
    variant("first-and-last-gone", without(0, 11), expected=REFERENCE[1:-1]),
    variant("irregular", moved(5, [0, 0, 0.9]), refused=(2, 11, 2.5, 0.1), options=GAPS),
    variant("repeated", REPEATED, refused=(1, 13, "IM0000", "IM0006", -87.5), remedy=FIRST_ACCEPTED),
    variant("repeated-first", REPEATED, warnings=(FIRST_KEPT,), options=FIRST),
    variant(
        "repeated-with-other-pixels",
        again(5, 8, other=1),
        warnings=(FIRST_KEPT, "2 of the 2 repeated slices differ"),
        options=FIRST,
    ),
    variant("repeated-aside", again(5), moved(0, [2, 0, 0]), refused=(1, 13, "2.0 mm", "in-plane"), options=FIRST),
    variant("all-at-one-place", tagged(ImagePositionPatient=[0, 0, 0]), refused=(11, 12, "all"), options=FIRST),
    variant("tilted", tilt(1), refused=("15.6 degrees",), remedy=TILT_ACCEPTED),
    variant("tilted-resampled", tilt(1), expected=SHEARED, warnings=(f"{STRAIGHTENED} 15.6",), options=TILT),
    variant(
        "tilted-back-resampled",
        tilt(-1),
        expected=straightened(REFERENCE, -1),
        warnings=(f"{STRAIGHTENED} 15.6",),
        options=TILT,
    ),
    variant("drift-resampled", tilt(1, table=False), expected=SHEARED, warnings=(STRAIGHTENED,), options=TILT),
    variant("tilted-too-far", tilt(2.2), refused=("31.6 degrees", "30 degrees"), options=TILT),
    variant("oblique-30-degrees", turn(30), refused=("axial", "30.0 degrees", 5), options=TILT),
    variant("oblique-12-degrees", turn(12), refused=("axial", "12.0 degrees", 5), options=ACCEPTED),
    *(
        variant(
            f"mr-oblique-{degrees}-degrees",
            MR,
            turn(degrees),
            refused=("axial", f"{abs(degrees)}.0 degrees", 5),
            remedy=OBLIQUE_ACCEPTED,
        )
        for degrees in (6, -12, 20)
    ),
    *(
        variant(f"mr-oblique-{degrees}-degrees-accepted", MR, turn(degrees), warnings=(LEANS,), options=ACCEPTED)
        for degrees in (6, -12, 20)
    ),
    variant("mr-oblique-4-degrees-accepted", MR, turn(4), options=ACCEPTED),
    variant("mr-oblique-21-degrees", MR, turn(21), refused=("axial", "21.0 degrees", 5, 20), options=ACCEPTED),
    variant("mr-sagittal-accepted", MR, SAGITTAL, refused=("axial", "90.0 degrees", 5), options=ACCEPTED),
    variant("sagittal", SAGITTAL, refused=("axial", "90.0 degrees", 5)),
    variant("coronal", CORONAL, refused=("axial", "90.0 degrees", 5)),
    variant("one-shifted", moved(5, [2, 0, 0]), refused=("IM0005", "in-plane", "2.0 mm")),
    variant("one-without-position", without_position(5), refused=("(0020,0032) ImagePositionPatient", 1, 12, "IM0005")),
    variant(
        "no-orientation",
        tagged(ImageOrientationPatient=None),
        refused=("(0020,0037) ImageOrientationPatient", 12),
    ),
    variant("one-slice", without(*range(1, 12)), expected=REFERENCE[:1], warnings=("a single slice came",)),
    # Copies
    variant("copied", copied(5), remarks=("1 file is a copy of others, first IM0012",)),
    variant("all-copied", copied(*range(12)), remarks=("12 files are copies of others, first IM0012",)),
    variant("copied-and-compressed", copied(3, 5, edit=encoded(RLELossless)), remarks=("2 files are copies",)),
    variant("copied-twice", copied(5), copied(5), remarks=("2 files are copies",)),
    variant("copied-with-other-pixels", copied(5, edit=signed(16)), **CONTRADICTION),
    variant("copied-and-inverted", copied(5, edit=inverted), **CONTRADICTION, options=FIRST),
    variant("copied-for-another", copied(5, PatientID="PHI-4712"), refused=("(0010,0020) PatientID", "IM0005")),
    variant("copied-with-another-slope", copied(5, RescaleSlope=2), refused=("(0028,1053) RescaleSlope",)),
    variant("one-uid-for-all", tagged(SOPInstanceUID="1.2.3"), remarks=("12 images share",)),
    variant("no-instance-uid", tagged(SOPInstanceUID=None)),
    # Series
    variant("with-localizer", beside(REFERENCE[:1], ImageType=LOCALIZER)),
    variant("with-dose-report", beside(REFERENCE[:1], Modality="SR", SOPClassUID=f"{STORAGE}.88.67", PixelData=None)),
    variant("with-secondary-capture", beside(REFERENCE[:1], SOPClassUID=f"{STORAGE}.7")),
    variant(
        "with-structure-set", beside(REFERENCE[:1], Modality="RTSTRUCT", SOPClassUID=f"{STORAGE}.481.3", PixelData=None)
    ),
    variant("with-segmentation", beside(REFERENCE, Modality="SEG", SOPClassUID=f"{STORAGE}.66.4")),
    variant("with-pet", beside(REFERENCE, Modality="PT"), warnings=("PT, not CT",), options={"modality": "CT"}),
    variant("with-coronal", beside(REFERENCE, CORONAL), warnings=("coronal",)),
    variant("with-derived", beside(REFERENCE, ImageType=DERIVED), warnings=("derived images",)),
    variant("with-shorter", beside(REFERENCE[:9]), warnings=("fewer slices than 12",)),
    variant("with-fragment", beside(REFERENCE[:3]), warnings=("covers 5.0 mm, less than half of 27.5 mm",)),
    variant("with-oblique", beside(REFERENCE, turn(20)), warnings=("oblique by 20.0 degrees",)),
    variant("with-wider-spacing", beside(REFERENCE, spacing=5.0), warnings=("wider spacing than 2.50 mm",)),
    variant(
        "with-one-slice-fewer", beside(REFERENCE[:-1]), refused=(2, "12 slices", "11 slices"), remedy=SERIES_CHOSEN
    ),
    variant("with-its-equal", beside(REFERENCE), refused=(2, "series 2", "12 slices"), remedy=SERIES_CHOSEN),
    variant("with-its-equal-chosen", beside(REFERENCE[::-1]), expected=REFERENCE[::-1], options={"series": "2"}),
    *(
        variant(f"two-{name}-alternating", alternating(**elements), refused=(2, "6 slices"), remedy=SERIES_CHOSEN)
        for name, elements in OTHER.items()
    ),
    variant(
        "two-kernels-alternating-chosen",
        alternating(ConvolutionKernel="Br64"),
        expected=REFERENCE[::2],
        spacing=5.0,
        warnings=("lie 5 mm apart",),
        options={"series": "1"},
    ),
    variant(
        "three-kernels-alternating",
        alternating(ConvolutionKernel="Br64"),
        alternating(3, ConvolutionKernel="Hr40"),
        refused=(3, 11, 2, "(0018,1210) ConvolutionKernel"),
    ),
    variant("one-slice-of-another-energy", changed(5, KVP=140), refused=(2, 1, "(0018,0060) KVP"), options=GAPS),
    variant("one-slice-of-another-image-type", changed(5, ImageType=DERIVED), warnings=("(0008,0008) ImageType",)),
    variant("two-kernels-in-blocks", changed(*range(6), ConvolutionKernel="Br64"), warnings=("2 blocks",)),
    variant("two-acquisitions-in-blocks", changed(*range(6), AcquisitionNumber=2), remarks=("2 blocks",)),
    variant("an-acquisition-for-each-slice", numbered("AcquisitionNumber")),
    variant("two-scans-in-blocks", changed(*range(6), **EARLY), changed(*range(6, 12), **LATE), remarks=("2 blocks",)),
    variant(
        "two-energies",
        second_acquisition,
        tagged(AcquisitionNumber=1),
        changed(*range(12), KVP=140),
        refused=(2, "(0018,0060) KVP 140"),
        remedy=SERIES_CHOSEN,
    ),
    variant("no-series-uid", tagged(SeriesInstanceUID=None), remarks=("12 files carry no (0020,000E)",)),
    variant(
        "two-series-without-uid",
        alternating(SeriesNumber=7),
        tagged(SeriesInstanceUID=None),
        refused=(2, "series 2", "series 7", "6 slices"),
        remedy=SERIES_CHOSEN,
    ),
    variant("two-phases", second_acquisition, refused=(2, "12 slices"), remedy=SERIES_CHOSEN),
    variant("two-phases-chosen", second_acquisition, options={"series": "1"}),
    # What headers say beside positions and pixels
    *(
        variant(
            f"image-type-{word.lower()}",
            tagged(ImageType=["DERIVED", "PRIMARY", "AXIAL", word]),
            warnings=(f"names {said}",),
        )
        for word, said in (("MIP", "MIP"), ("CT_SOM5 MONO_E", "MONO"), ("SOFT-TISSUE_VNC", "VNC"))
    ),
    variant("image-type-of-a-reformatted-series", tagged(ImageType=["DERIVED", "SECONDARY", "MPR"])),
    variant("image-type-topogram", tagged(ImageType=["ORIGINAL", "PRIMARY", "TOPOGRAM"]), refused=("12 localizers",)),
    variant("of-mr-by-its-class", tagged(SOPClassUID=f"{STORAGE}.4"), warnings=("SOPClassUID is that of MR images",)),
    variant("of-a-class-of-its-own", tagged(SOPClassUID="1.2.3.4")),
    variant(
        "every-second-gone",
        tagged(SliceThickness=5, SpacingBetweenSlices=2.5),
        without(*range(1, 12, 2)),
        expected=REFERENCE[::2],
        spacing=5.0,
        warnings=("SpacingBetweenSlices is 2.5 mm, but the slices lie 5 mm apart",),
    ),
    variant("spacing-told", tagged(SpacingBetweenSlices=-2.5)),
    variant("gap-told-as-spacing", tagged(SliceThickness=2, SpacingBetweenSlices=0.5), warnings=("lie 2.5 mm apart",)),
    variant("tilt-told-of-upright-slices", tagged(GantryDetectorTilt=12), warnings=("Tilt is 12 degrees",)),
    variant("tilt-told", turn(4), tagged(GantryDetectorTilt=-4)),
    variant("half-of-what-was-acquired", tagged(ImagesInAcquisition=24), remarks=("12 images came",)),
    variant("all-that-was-acquired", tagged(ImagesInAcquisition=12)),
    variant("two-studies", beside(REFERENCE[:3], StudyInstanceUID=f"{STUDY_UID}.8"), refused=(2, "patients")),
    variant("two-patients", beside(REFERENCE[:3], PatientID="PHI-4712"), refused=(2, "patients")),
]


def _pairs() -> list[Variant]:
    pairs = [
        variant(f"{turned}+{packed}", TURNS[turned], encoded(SYNTAXES[packed]), warnings=(TURNED,))
        for turned, packed in zip([*TURNS] * 2, SYNTAXES, strict=False)
    ]
    pairs += [
        variant(f"{pixel}+{packed}", PIXELS[pixel], encoded(SYNTAXES[packed]))
        for pixel in ("half-slope", "signed-16")
        for packed in ("rle", "jpeg-lossless-sv1", "jpeg-ls", "jpeg-2000", "deflated")
    ]
    pairs += [
        variant(f"{order}+{where}", ORDERS[order], place=PLACES[where])
        for order, where in zip(ORDERS, PLACES, strict=False)
    ]
    pairs += [
        variant(
            f"missing+{turned}",
            TURNS[turned],
            without(5),
            expected=filled(REFERENCE, 5, 5),
            warnings=(FILLED, TURNED),
            options=GAPS,
        )
        for turned in TURNS
    ]
    pairs += [
        variant(
            f"missing+{packed}",
            without(3),
            encoded(SYNTAXES[packed]),
            expected=filled(REFERENCE, 3, 3),
            warnings=(FILLED,),
            options=GAPS,
        )
        for packed in ("rle", "jpeg-ls", "big-endian")
    ]
    pairs += [
        variant(f"repeated+{name}", again(2), edit, warnings=(FIRST_KEPT,), options=FIRST)
        for name, edit in {"reversed": reverse, "shuffled": shuffle, "rle": encoded(RLELossless)}.items()
    ]
    both = straightened(REFERENCE, 1)
    return [
        *pairs,
        variant(
            "missing+repeated",
            again(2),
            without(6),  # the copy stands first
            expected=filled(REFERENCE, 5, 5),
            warnings=(FIRST_KEPT, FILLED),
            options={**GAPS, **FIRST},
        ),
        variant(
            "missing+repeated-refused",
            again(2),
            without(6),
            refused=(1, -90, -85, 5, 2.5),
            remedy=GAPS_ACCEPTED,
            options=FIRST,
        ),
        variant(
            "missing+tilted",
            tilt(1),
            without(5),
            expected=filled(both, 5, 5),
            warnings=(STRAIGHTENED, FILLED),
            options={**GAPS, **TILT},
        ),
        variant(
            "missing+tilted-refused", tilt(1), without(5), refused=("15.6 degrees",), remedy=TILT_ACCEPTED, options=GAPS
        ),
        variant(
            "repeated+tilted",
            tilt(1),
            REPEATED,
            expected=both,
            warnings=(FIRST_KEPT, STRAIGHTENED),
            options={**TILT, **FIRST},
        ),
        variant("tilted+reversed", tilt(1), reverse, expected=both, warnings=(STRAIGHTENED,), options=TILT),
        variant("tilted+rle", tilt(1), encoded(RLELossless), expected=both, warnings=(STRAIGHTENED,), options=TILT),
        variant(
            "tilted+irregular",
            tilt(1),
            moved(5, [0, 0, 0.9]),
            refused=(2, 11, 2.5, 0.1),
            options={**TILT, **GAPS},
        ),
        variant(
            "missing+oblique", turn(4), without(5), expected=filled(REFERENCE, 5, 5), warnings=(FILLED,), options=GAPS
        ),
        variant("missing+derived-beside", without(5), beside(REFERENCE, ImageType=DERIVED), **GAP),
        variant(
            "missing+shorter-beside",
            without(5),
            beside(REFERENCE[:8]),
            expected=filled(REFERENCE, 5, 5),
            warnings=(CHOSEN, FILLED),
            options=GAPS,
        ),
        variant("localizer+feet-first", feet_first, beside(REFERENCE[:1], ImageType=LOCALIZER), warnings=(TURNED,)),
        variant(
            "pet+zip", beside(REFERENCE, Modality="PT"), place=zipped, warnings=(CHOSEN,), options={"modality": "CT"}
        ),
        variant("padding+rle", padded, encoded(RLELossless), expected=air_first_row(REFERENCE), warnings=(PADDING,)),
        variant(
            "padding+big-endian",
            padded,
            encoded(ExplicitVRBigEndian),
            expected=air_first_row(REFERENCE),
            warnings=(PADDING,),
        ),
        variant("enhanced+shuffled", shuffle, enhanced, place=one_file),
        variant("enhanced+rle", partial(enhanced, syntax=RLELossless), place=one_file),
        variant("enhanced+jpeg-2000", partial(enhanced, syntax=JPEG2000Lossless), place=one_file),
        variant(
            "enhanced+missing",
            without(5),
            enhanced,
            place=one_file,
            expected=filled(REFERENCE, 5, 5),
            warnings=(FILLED,),
            options=GAPS,
        ),
        variant("enhanced+repeated", again(5), enhanced, place=one_file, refused=(1, 13), remedy=FIRST_ACCEPTED),
        variant("no-preamble+feet-first", feet_first, place=bare, warnings=("lack the preamble", TURNED)),
        variant(
            "no-preamble+cut-short",
            place=cut_short,
            refused=("PixelData", "2076 bytes", 2176),
        ),
    ]


PAIRS = _pairs()
VARIANTS = SINGLE + PAIRS
