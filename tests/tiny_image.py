"""Bundles for one radiograph, a record or both: logit = 8 * mean(PLACES * image) + table; and radiographs for them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from dicom_factory import PHI, change
from mmcaf_engine.bundle.bundle import write_bundle
from tiny_bundle import ORIGIN
from tiny_places import place_weights, weighted_mean

SIZE = (12, 16)
PLACES = place_weights((3, *SIZE), seed=4)
"""Of mean 1."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STUDY_UID = "1.2.826.0.1.3680043.10.9999.7"


def tiny_image_manifest() -> dict[str, Any]:
    """The manifest's fields, without `files`."""
    return {
        "name": "tiny image",
        "network": {"name": "tiny", "config": {}, "parameters": 1},
        "inputs": [{"name": "image", "kind": "image", "shape": ["N", 3, *SIZE]}],
        "outputs": [{"name": "logit", "kind": "score", "shape": ["N", 1]}],
        "models": {"fp32": "model.onnx"},
        "image": {"size": list(SIZE), "channels": 3, "mean": list(MEAN), "std": list(STD)},
        "labels": ["dark", "bright"],
        "aggregation": {"method": "max"},
        "threshold": 0.5,
        **ORIGIN,
    }


TABLE: dict[str, Any] = {
    "fields": [
        {
            "kind": "number",
            "name": "age",
            "description": "Age",
            "unit": "years",
            "minimum": 0,
            "maximum": 120,
            "lower": 20,
            "upper": 120,
            "dicom": "PatientAge",
        }
    ]
}


def make_tiny_image(output: Path, *, image: bool = True, table: bool = False, **changes: Any) -> Path:
    """Write a bundle that reads an image, the age, or both; `changes` replace fields of the manifest."""
    folder = output.with_name(output.name + ".draft")
    folder.mkdir(parents=True)
    onnx.save(_network(image, table), folder / "model.onnx")
    draw = np.random.default_rng(0)
    case = {"image": draw.normal(size=(2, 3, *SIZE)).astype(np.float32)} if image else {}
    logit = expected(case["image"]) if image else np.zeros((2, 1), np.float32)
    manifest = tiny_image_manifest()
    if not image:
        manifest = {**manifest, "image": None, "inputs": []}
    if table:
        case["table"] = draw.normal(size=(2, 1)).astype(np.float32)
        logit = logit + case["table"]
        manifest["inputs"] = [*manifest["inputs"], {"name": "table", "kind": "table", "shape": ["N", 1]}]
        manifest["table"] = TABLE
    np.savez(folder / "golden.npz", **case, logit=logit)
    return write_bundle(folder, {**manifest, **changes}, output).folder


def expected(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network answers, in numpy."""
    return (8 * weighted_mean(image, PLACES)[:, None]).astype(np.float32)


def stored(rows: int = 33, columns: int = 47, bits: int = 12, seed: int = 0) -> NDArray[np.uint16]:
    """Unlike values everywhere, brighter to the right and below, over the whole range of so many bits."""
    ramp = np.add.outer(np.linspace(0, 0.5, rows), np.linspace(0, 0.4, columns))
    noise = np.random.default_rng(seed).uniform(0, 0.1, (rows, columns))
    return np.floor((ramp + noise) * 2**bits).astype(np.uint16)


def radiograph(values: NDArray[np.integer[Any]] | None = None, *, instance: int = 1, **elements: Any) -> FileDataset:
    """A DX image for presentation, PA, MONOCHROME2 of 12 bits, with a window over all of them.

    Args:
        values: stored, [rows, columns].
        elements: further elements by keyword; None removes one.
    """
    values = stored() if values is None else values
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID(f"{STUDY_UID}.1.{instance}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    change(image, **PHI)
    image.PatientSex, image.PatientAge, image.StudyDate = "F", "063Y", "20240506"
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY_UID, f"{STUDY_UID}.1"
    image.Modality, image.SeriesNumber, image.SeriesDescription = "DX", 1, "Chest"
    image.ImageType = ["DERIVED", "PRIMARY"]
    image.PresentationIntentType, image.ViewPosition = "FOR PRESENTATION", "PA"
    image.PatientOrientation = ["L", "F"]
    image.ImagerPixelSpacing = [0.143, 0.139]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = values.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = int(values.dtype.kind == "i")
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, 0, "US"
    image.WindowCenter, image.WindowWidth = 2048, 4096
    image.PresentationLUTShape = "IDENTITY"
    image.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    change(image, **elements)
    return image


def table_item(entries: NDArray[np.integer[Any]], first: int, bits: int) -> Dataset:
    """An item of a lookup table sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) & 0xFFFF, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


def _network(image: bool, table: bool) -> onnx.ModelProto:
    inputs, terms = [], []
    nodes = []
    if image:
        inputs.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, *SIZE]))
        nodes.append(helper.make_node("Mul", ["image", "places"], ["weighted"]))
        nodes.append(helper.make_node("ReduceMean", ["weighted", "axes"], ["mean"], keepdims=0))
        nodes.append(helper.make_node("Mul", ["mean", "eight"], ["louder"]))
        nodes.append(helper.make_node("Unsqueeze", ["louder", "last"], ["of_image"]))
        terms.append("of_image")
    if table:
        inputs.append(helper.make_tensor_value_info("table", TensorProto.FLOAT, ["N", 1]))
        terms.append("table")
    nodes.append(helper.make_node("Sum", [*terms, "nothing"], ["logit"]))
    constants = {
        "places": PLACES,
        "axes": np.array([1, 2, 3], dtype=np.int64),
        "last": np.array([1], dtype=np.int64),
        "eight": np.array(8, dtype=np.float32),
        "nothing": np.zeros((1, 1), dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny_image",
        inputs,
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if image or name == "nothing"],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
