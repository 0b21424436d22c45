"""Reading the headers of Enhanced MR images, against pydicom's dcmread of the same files in the same run.

    python benchmarks/enhanced.py --output benchmarks/results/enhanced.csv

The files are like those of Siemens XA30: one multi-frame image for each series, a dozen functional groups in every
frame, and private sequences among them that nobody reads. They are written twice: with sequences of undefined length,
as scanners write them, which pydicom takes apart while it reads, and of defined length, which it takes apart where they
are asked for. Read in turn (A B C A B C ...) from a warm page cache, in one process: our headers and candidates;
dcmread without pixels; and dcmread with each frame's place, orientation and spacing. Ours looks at all that tells
volumes apart.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import usage
from pydicom.dataset import Dataset, FileDataset
from rows import environment, percentiles, write_rows

from mmcaf_engine.study.reading import open_headers

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "engine")]

from dicom_factory import change, enhanced_ct, write  # noqa: E402

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
PRIVATE = "SIEMENS MR SDI 02"
GROUPS: dict[str, dict[str, Any]] = {
    "MREchoSequence": {"EffectiveEchoTime": 3.0},
    "MRImagingModifierSequence": {"MagnetizationTransfer": "NONE", "TransmitterFrequency": 123.2},
    "MRFOVGeometrySequence": {"InPlanePhaseEncodingDirection": "ROW", "PercentSampling": 100.0},
    "MRAveragesSequence": {"NumberOfAverages": 1.0},
    "MRTransmitCoilSequence": {"TransmitCoilName": "Body", "TransmitCoilType": "BODY"},
    "MRReceiveCoilSequence": {"ReceiveCoilName": "Head", "ReceiveCoilType": "MULTICOIL"},
    "MRTimingAndRelatedParametersSequence": {"RepetitionTime": 2000.0, "FlipAngle": 15.0, "EchoTrainLength": 1},
    "MRImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "M", "NONE"], "PixelPresentation": "MONOCHROME"},
    "FrameVOILUTSequence": {"WindowCenter": 400, "WindowWidth": 800},
    "MRDiffusionSequence": {"DiffusionBValue": 0.0, "DiffusionDirectionality": "NONE"},
}
"""What is the same in every frame."""


def main() -> None:
    """Write the files, read them in turn, write the rows."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--files", type=usage.count, default=21)
    asked.add_argument("--frames", type=usage.count, default=40)
    asked.add_argument("--runs", type=usage.count, default=10)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    facts = environment(["numpy", "pydicom"])
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for form in ("undefined", "defined"):
            folder = Path(scratch) / form
            folder.mkdir()
            for number in range(arguments.files):
                write(image(number, arguments.frames, undefined=form == "undefined"), folder / f"{number:03d}.dcm")
            for row in compare(folder, arguments.runs):
                rows.append({"sequences": f"{form} length", "files": str(arguments.files), **row, **facts})
                print(rows[-1])
    write_rows(arguments.output, rows)


def image(number: int, frames: int, *, undefined: bool) -> FileDataset:
    """One image of a series of its own."""
    values = np.random.default_rng(number).integers(0, 900, (frames, 64, 64)).astype(np.int16)
    made = enhanced_ct(values, Modality="MR", SOPClassUID=ENHANCED_MR, SeriesInstanceUID=f"1.2.3.{number}")
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.1"
    made.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    _private(made.SharedFunctionalGroupsSequence[0], 60, b"x" * 150_000)
    for at, frame in enumerate(made.PerFrameFunctionalGroupsSequence, start=1):
        for keyword, elements in GROUPS.items():
            setattr(frame, keyword, [change(Dataset(), **elements)])
        place: dict[str, Any] = {"StackID": "1", "InStackPositionNumber": at, "DimensionIndexValues": [1, at]}
        frame.FrameContentSequence = [change(Dataset(), FrameAcquisitionNumber=1, **place)]
        _private(frame, 20)
    if undefined:
        _delimited(made)
    return made


def _private(holder: Dataset, texts: int, protocol: bytes = b"") -> None:
    """A sequence of the vendor's, of one item."""
    inner = Dataset()
    block = inner.private_block(0x21, PRIVATE, create=True)
    for number in range(texts):
        block.add_new(number + 1, "LO", f"value {number}")
    if protocol:
        block.add_new(0xF0, "OB", protocol)
    holder.private_block(0x21, PRIVATE, create=True).add_new(0xFE, "SQ", [inner])


def _delimited(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _delimited(item)


def ours(folder: Path) -> int:
    """Every header, and the candidates that they make."""
    with open_headers(folder) as headers:
        return sum(entry.slices for entry in headers.catalogue.candidates)


def whole(folder: Path) -> int:
    """Every data set without its pixels, as dcmread leaves it."""
    return sum(int(pydicom.dcmread(file, stop_before_pixels=True).NumberOfFrames) for file in sorted(folder.iterdir()))


def places(folder: Path) -> int:
    """The same, and of each frame where it lies."""
    found = []
    for file in sorted(folder.iterdir()):
        for frame in pydicom.dcmread(file, stop_before_pixels=True).PerFrameFunctionalGroupsSequence:
            place = frame.PlanePositionSequence[0].ImagePositionPatient
            along = frame.PlaneOrientationSequence[0].ImageOrientationPatient
            found.append((place, along, frame.PixelMeasuresSequence[0].PixelSpacing))
    return len(found)


READERS: dict[str, Callable[[Path], int]] = {"ours": ours, "dcmread": whole, "dcmread and places": places}


def compare(folder: Path, runs: int) -> list[dict[str, str]]:
    """The readers in turn; they must find as many frames, or nothing is reported."""
    if len({read(folder) for read in READERS.values()}) != 1:
        raise SystemExit("the readers find other numbers of frames; no figure is worth printing")
    spent: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(runs):
        for name, read in READERS.items():
            started = time.perf_counter()
            read(folder)
            spent[name].append((time.perf_counter() - started) * 1e3)

    def times(name: str, other: str) -> str:
        return f"{np.median(np.array(spent[name]) / np.array(spent[other])):.2f}"

    return [
        {
            "reader": name,
            **percentiles(milliseconds),
            "times_dcmread": times(name, "dcmread"),
            "times_dcmread_and_places": times(name, "dcmread and places"),
        }
        for name, milliseconds in spent.items()
    ]


if __name__ == "__main__":
    usage.run(main)
