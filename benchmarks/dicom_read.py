"""Reading a study: 300 slices of 512x512 into the HU volume, against plain pydicom in the same run.

    python benchmarks/dicom_read.py --output benchmarks/results/dicom_read.csv

All read the same files from a warm page cache, in turn (A B C A B C ...), in one process. The baseline is
np.stack([dcmread(file).pixel_array ...]) with slope and intercept applied; for JPEG 2000 the same serial loop, in which
pydicom decodes with pylibjpeg-openjpeg; for JPEG lossless the same loop with imagecodecs' other decoder of it,
jpegsof3, that is, what libjpeg-turbo and the check of its coded data take the place of. A second baseline is the reader
itself with one thread. `parallel_gain` is what two threads gain over one on pure hashing, in the same run: near 1, the
machine was busy, and the JPEG 2000 figure says nothing of threads.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import usage
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import compress
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1
from rows import environment, percentiles, write_rows

from mmcaf_engine.demo.phantom import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom import pixels


def main() -> None:
    """Write the slices, measure both readers in turn, write the rows."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--runs", type=usage.count, default=10)
    asked.add_argument("--slices", type=usage.count, default=300)
    asked.add_argument("--compressed-slices", type=usage.count, default=60, help="JPEG 2000 takes long.")
    asked.add_argument("--syntaxes", nargs="+", choices=SYNTAXES, default=list(SYNTAXES))
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    facts = environment(["numpy", "pydicom", "imagecodecs", "pylibjpeg-openjpeg"])
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for syntax in arguments.syntaxes:
            folder, pack = Path(scratch) / syntax, SYNTAXES[syntax].pack
            count = arguments.slices if pack is None else arguments.compressed_slices
            make_series(folder, count, pack)
            rows += [{**row, **facts} for row in compare(syntax, folder, count, arguments.runs)]
            for row in rows[-3:]:
                print(row)
    write_rows(arguments.output, rows)


def make_series(folder: Path, slices: int, pack: Callable[[pydicom.Dataset], None] | None) -> None:
    """The demonstration's slices, repeated along z until there are enough."""
    source = folder.with_name(folder.name + "-source")
    files = write_series(make_phantom(0), source)
    folder.mkdir()
    for index in range(slices):
        dataset = pydicom.dcmread(files[index % len(files)])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{index + 1}"
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [0.0, 0.0, 1.25 * index]
        dataset.SliceThickness = 1.25
        if pack is not None:
            pack(dataset)
        dataset.save_as(folder / f"{index:04d}.dcm")


def as_jpeg_2000(dataset: pydicom.Dataset) -> None:
    """Compress the pixels by pydicom."""
    compress(dataset, JPEG2000Lossless, generate_instance_uid=False)


def as_jpeg_lossless(dataset: pydicom.Dataset) -> None:
    """Compress the pixels, which pydicom does not."""
    frame = imagecodecs.jpeg8_encode(stored(dataset), lossless=True, bitspersample=dataset.BitsAllocated)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1


def stored(dataset: pydicom.Dataset) -> NDArray[np.integer]:
    """The values as they are stored, unsigned."""
    return dataset.pixel_array.view(np.uint16)


def by_pydicom(dataset: pydicom.Dataset) -> NDArray[np.integer]:
    """The pixels."""
    return dataset.pixel_array


def by_jpegsof3(dataset: pydicom.Dataset) -> NDArray[np.integer]:
    """The pixels of one frame of JPEG lossless."""
    pixels = imagecodecs.jpegsof3_decode(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    return pixels.view(np.int16) if dataset.PixelRepresentation else pixels


@dataclass(frozen=True)
class Syntax:
    """pack: compresses a data set's pixels, None without. decode: how the baseline reads them. decoder: its name."""

    pack: Callable[[pydicom.Dataset], None] | None
    decode: Callable[[pydicom.Dataset], NDArray[np.integer]] = by_pydicom
    decoder: str = "pydicom loop"


SYNTAXES = {
    "explicit little endian": Syntax(None),
    "JPEG 2000 lossless": Syntax(as_jpeg_2000),
    "JPEG lossless": Syntax(as_jpeg_lossless, by_jpegsof3, "pydicom loop, jpegsof3"),
}


def baseline(folder: Path, decode: Callable[[pydicom.Dataset], NDArray[np.integer]]) -> NDArray[np.float64]:
    """What most tools do: every file whole, in turn."""
    datasets = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
    datasets.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    slope, intercept = datasets[0].RescaleSlope, datasets[0].RescaleIntercept
    return np.stack([decode(dataset) for dataset in datasets]) * float(slope) + float(intercept)


def compare(syntax: str, folder: Path, slices: int, runs: int) -> list[dict[str, str]]:
    """The readers in turn; their volumes must be equal, or nothing is reported."""
    decode, decoder = SYNTAXES[syntax].decode, SYNTAXES[syntax].decoder
    ours = read_study(folder).volume.values
    if not np.array_equal(ours, baseline(folder, decode)):
        raise SystemExit(f"{syntax}: the volumes differ; no figure is worth printing")
    readers: dict[str, Callable[[], object]] = {
        "read_study": lambda: read_study(folder),
        "read_study, one thread": lambda: one_thread(folder),
        decoder: lambda: baseline(folder, decode),
    }
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(runs):
        for name, reader in readers.items():
            started = time.perf_counter()
            reader()
            spent[name].append((time.perf_counter() - started) * 1e3)
    gain = parallel_gain()

    def times_slower(name: str) -> str:
        return f"{np.median(np.array(spent[name]) / np.array(spent['read_study'])):.2f}"

    return [
        {
            "case": name,
            "transfer_syntax": syntax,
            "slices": str(slices),
            **percentiles(times),
            "times_slower_than_read_study": times_slower(name),
            "parallel_gain": f"{gain:.2f}",
            "max_abs_difference_hu": "0",
        }
        for name, times in spent.items()
    ]


def one_thread(folder: Path) -> None:
    """Our reader as a serial loop: what its threads gain, apart from what its decoder does."""
    workers, pixels.WORKERS = pixels.WORKERS, 1
    try:
        read_study(folder)
    finally:
        pixels.WORKERS = workers


def parallel_gain() -> float:
    """How much faster two threads hash than one; the median of five."""
    blocks = [bytes(20_000_000)] * 4

    def spent(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            started = time.perf_counter()
            list(pool.map(sha256, blocks))
            return time.perf_counter() - started

    return float(np.median([spent(1) / spent(2) for _ in range(5)]))


if __name__ == "__main__":
    usage.run(main)
