"""What the C library and the engine make of one study and record, side by side."""

import ctypes
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.errors import MmcafError
from mmcaf_engine.inputs.prepare import Prepared, prepare
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.volume import PatientHeader, SourceImage, Study, Volume
from testing_library import native_parts

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz", "vocabulary.txt")}


@dataclass
class Given:
    """A study and a record as a caller has them.

    volumes: input -> volume. record: as bytes. images: UIDs of each volume's slices. streamed: slice by slice.
    """

    manifest: dict[str, Any]
    volumes: dict[str, Volume] = field(default_factory=dict)
    record: bytes | None = None
    patient: PatientHeader = field(default_factory=PatientHeader)
    images: tuple[SourceImage, ...] = ()
    uids: dict[str, str] = field(default_factory=dict)
    body_part: str = ""
    modality: str | None = None
    slices: tuple[int, int] | None = None
    stride: int | None = None
    allow_id_mismatch: bool = False
    streamed: bool = False
    plane: NDArray[np.float32] | None = None
    tokens: list[int] | None = None
    vocabulary: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The manifest with files."""
        return {**self.manifest, "format_version": 2, "files": FILES}


def by_engine(given: Given) -> tuple[Prepared | MmcafError, Manifest]:
    """What the engine prepares, or refuses."""
    manifest = _valid(json.dumps(given.document))
    spec = manifest.preprocessing
    modality = given.modality or ("" if spec is None else spec.modality)
    studies = {
        name: Study(volume, modality, given.uids, given.patient, images=given.images, body_part=given.body_part)
        for name, volume in given.volumes.items()
    }
    try:
        return (
            prepare(
                studies or None,
                given.record,
                manifest,
                stride=given.stride,
                slices=given.slices,
                allow_id_mismatch=given.allow_id_mismatch,
            ),
            manifest,
        )
    except MmcafError as refusal:
        return refusal, manifest


@lru_cache(maxsize=4)
def _valid(document: str) -> Manifest:
    return Manifest.model_validate(json.loads(document))


def by_library(given: Given) -> dict[str, Any]:
    """The same by the C library; of a refusal, what `MmcafError.to_dict` gives."""
    arrays = [np.ascontiguousarray(volume.values) for volume in given.volumes.values()]
    request = {
        "manifest": given.document,
        "volumes": [_volume(given, name, volume) for name, volume in given.volumes.items()],
        "header": {
            "patient_id": given.patient.patient_id,
            "sex": given.patient.sex,
            "age": _number(given.patient.age),
            "weight": _number(given.patient.weight),
            "modality": given.modality,
            "body_part": given.body_part,
            "study_uid": given.uids.get("study"),
            "frame_of_reference_uid": given.uids.get("frame_of_reference"),
        },
        "slices": given.slices,
        "stride": given.stride or 0,
        "allow_id_mismatch": given.allow_id_mismatch,
        "plane": None,
        "tokens": given.tokens,
        "vocabulary": given.vocabulary,
    }
    if given.plane is not None:
        arrays = [np.ascontiguousarray(given.plane, np.float32)]
        request["plane"] = list(given.plane.shape)
    library = native_parts()
    library.mmcaf_testing_prepare.restype = ctypes.c_void_p
    record = given.record
    pointers = (ctypes.c_void_p * max(len(arrays), 1))(*(array.ctypes.data for array in arrays))
    text = library.mmcaf_testing_prepare(
        ctypes.c_char_p(json.dumps(request).encode()),
        ctypes.c_char_p(record),
        ctypes.c_int64(-1 if record is None else len(record)),
        pointers,
    )
    try:
        found: dict[str, Any] = json.loads(ctypes.string_at(text))
        return found
    finally:
        library.mmcaf_testing_free(ctypes.c_void_p(text))


def _volume(given: Given, name: str, volume: Volume) -> dict[str, Any]:
    return {
        "input": name,
        "type": str(volume.values.dtype),
        "shape": list(volume.values.shape),
        "spacing_mm": [_number(float(value)) for value in volume.spacing_mm],
        "origin_mm": [_number(float(value)) for value in volume.origin_mm],
        "direction": [[_number(float(value)) for value in row] for row in volume.direction],
        "intensity": volume.intensity,
        "series_uid": given.uids.get("series"),
        "images": [
            {"class": image.sop_class_uid, "uid": image.sop_instance_uid, "frame": image.frame or 0}
            for image in given.images
        ],
        "streamed": given.streamed,
    }


def _number(value: float | None) -> float | str | None:
    return value if value is None or np.isfinite(value) else str(value)


def arrays_of(window: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The inputs of one window, as the library told them."""
    return {
        name: np.frombuffer(bytes.fromhex(one["bytes"]), np.int64 if one["whole"] else np.float32).reshape(one["shape"])
        for name, one in window.items()
    }


def check_alike(given: Given) -> str:
    """The library prepares or refuses what the engine does, with the same bits and the same words.

    Returns:
        The name of the error, or "prepared".
    """
    expected, manifest = by_engine(given)
    found = by_library(given)
    if isinstance(expected, MmcafError):
        told = expected.to_dict()
        assert "error" in found, f"the library prepares what the engine refuses: {told['problem']}"
        assert (found["error"], found["exit_code"]) == (told["error"], told["exit_code"]), (found, told)
        assert found["problem"] == told["problem"]
        return type(expected).__name__
    assert "error" not in found, f"the engine prepares what the library refuses: {found}"
    assert tuple(found["starts"]) == expected.starts
    for at, window in enumerate(found["windows"]):
        arrays = expected.inputs(at, manifest)
        own = arrays_of(window)
        assert set(own) == set(arrays)
        for name, array in arrays.items():
            assert own[name].dtype == array.dtype
            np.testing.assert_array_equal(own[name], array, err_msg=name)
    assert tuple(found["study_warnings"]) == expected.study_warnings
    assert tuple(found["remarks"]) == expected.remarks
    assert tuple(found["record_warnings"]) == expected.record_warnings
    assert (found["identity"], found["sha256"]) == (expected.clinical.identity, expected.clinical.sha256)
    for told, series in zip(found["series"], expected.series, strict=True):
        assert (told["input"], told["source"]) == (series.input, series.source)
        assert tuple(told["images"]) == tuple(image.sop_instance_uid for image in series.facts.images if image)
        assert tuple(told["spacing_mm"]) == series.facts.spacing_mm
        assert told["before"] == series.windows.before
        assert series.placement is not None
        np.testing.assert_allclose(told["origin_mm"], series.placement.origin_mm, atol=1e-9)
        np.testing.assert_allclose(told["direction"], series.placement.direction, atol=1e-12)
    return "prepared"
