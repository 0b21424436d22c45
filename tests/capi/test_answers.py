"""What the C library answers is what the Python engine answers: the whole JSON but for the time that it took.

Python answers first, and keeps an engine with this project's kernels, which the library loads.
"""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_factory import hounsfield
from libmmcaf import RefusedError, opened
from mmcaf_engine import Answerer, Result, Study, Volume, infer, load_bundle, open_session
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.errors import MmcafError
from mmcaf_engine.image import open_image
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.study.given import StudyFiles
from mmcaf_engine.volume import PatientHeader, SourceImage
from record_answers import write_study
from tiny_bundle import SIZE, make_tiny_bundle
from tiny_ensemble import make_tiny_ensemble
from tiny_image import make_tiny_image, radiograph
from tiny_liver import INPUTS, make_tiny_liver
from tiny_report import make_tiny_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmcaf_export.report import ExportReport

CREATED = "2026-11-30T09:08:48Z"
RECORD = '{"sex": "F", "age": 63, "patient_id": "p1"}'
LUNG = (
    '{"patient_id": "p1", "sex": "M", "age": 61, "weight": 70, "t_stage": "2a", "n_stage": "1", "m_stage": "0", '
    '"smoking_history": "former"}'
)
CT = "1.2.840.10008.5.1.4.1.1.2"
ALIKE = 1e-6
"""Of probabilities: both run the same engine, so that they differ in nothing as a rule."""


def volume(slices: int = 6, size: int = SIZE, seed: int = 0) -> Volume:
    return Volume(hounsfield(slices, size, size, seed), "hounsfield", (2.5, 0.7, 0.7), (-10.0, -20.0, 30.0))


def study(of: Volume, **changes: Any) -> Study:
    patient = PatientHeader("p1", "F", 63.0, 70.0, date(2024, 5, 6))
    uids = {"study": "2.25.1", "series": "2.25.2", "frame_of_reference": "2.25.3"}
    images = tuple(SourceImage(CT, f"2.25.4.{at}") for at in range(len(of.values)))
    return replace(Study(of, "CT", uids, patient, images=images, body_part="CHEST"), **changes)


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Without the time that it took."""
    assert document["timing_ms"]["total"] > 0
    return {**document, "timing_ms": None}


def alike(found: str, result: Result) -> None:
    """Both say the same in the same order, and their numbers are alike."""
    told, said = comparable(json.loads(found)), comparable(json.loads(result.to_json()))
    _alike(told, said, "result")
    assert Result.from_json(found).to_json() == found


def _alike(found: Any, said: Any, path: str) -> None:
    if isinstance(said, dict):
        assert list(found) == list(said), path
        for name in said:
            _alike(found[name], said[name], f"{path}.{name}")
    elif isinstance(said, list):
        assert len(found) == len(said), path
        for at, pair in enumerate(zip(found, said, strict=True)):
            _alike(*pair, f"{path}[{at}]")
    elif isinstance(said, float):
        assert found == pytest.approx(said, abs=ALIKE), path
    else:
        assert found == said, path


def python(bundle: Path, of: Any, record: str | None, **options: Any) -> Result:
    given = None if record is None else record.encode()
    return infer(of, given, bundle=bundle, backend="openvino", threads=1, created=CREATED, **options)


@pytest.mark.parametrize("known", [True, False], ids=["known", "bare"])
@pytest.mark.parametrize("slices", [3, 4, 9])
def test_of_the_tiny_network(slices: int, known: bool, tmp_path: Path) -> None:
    bundle, of = make_tiny_bundle(tmp_path / "tiny.mmcaf"), volume(slices)
    given = study(of) if known else of
    record = RECORD if known else '{"sex": "F", "age": 63}'
    result = python(bundle, given, record)
    with opened(bundle) as network:
        alike(network.answer(given, record, created=CREATED), result)


def test_of_the_demonstration() -> None:
    """With the engine that Python has built and kept, kernels and all."""
    of = study(volume(30, 64))
    result = python(demo_bundle(), of, LUNG)
    with opened(demo_bundle(), require_kept_engine=1) as network:
        assert network.json["engine"]["cache_hit"]
        alike(network.answer(of, LUNG, created=CREATED), result)


def test_of_several_series(tmp_path: Path) -> None:
    bundle = make_tiny_liver(tmp_path / "liver.mmcaf")
    of = {name: replace(volume(10, 20, seed), intensity="rescaled") for seed, name in enumerate(INPUTS)}
    result = python(bundle, of, None)
    with opened(bundle) as network:
        alike(network.answer(of, created=CREATED), result)


def test_of_an_ensemble_that_disagrees(tmp_path: Path) -> None:
    bundle = make_tiny_ensemble(tmp_path / "three.mmcaf", spread_bound=0.01)
    result = python(bundle, volume(), RECORD)
    with opened(bundle) as network:
        assert result.ensemble is not None and result.warnings
        alike(network.answer(volume(), RECORD, created=CREATED), result)
        with pytest.raises(RefusedError) as refused:
            network.answer(volume(), RECORD, created=CREATED, strict=1)
    with pytest.raises(MmcafError) as failure:
        python(bundle, volume(), RECORD, strict=True)
    assert refused.value.code == failure.value.exit_code == 7
    assert refused.value.document == failure.value.to_dict()


def test_of_slices_that_are_asked_for(tmp_path: Path) -> None:
    bundle, of = make_tiny_bundle(tmp_path / "tiny.mmcaf"), study(volume(20))
    result = python(bundle, of, RECORD, slices="5-12", stride=2)
    with opened(bundle) as network:
        found = network.answer(of, RECORD, created=CREATED, first_slice=5, last_slice=12, stride=2)
        alike(found, result)


def plane_of(study: StudyFiles, manifest: Manifest) -> NDArray[np.float32]:
    """An image as grey values from 0 to 255, [rows, columns]."""
    assert manifest.image is not None
    with open_image(study, manifest.image) as image:
        plane, _ = image.read(None)
    return np.ascontiguousarray(plane, dtype=np.float32)


def alike_but_for_files(found: dict[str, Any], said: dict[str, Any]) -> None:
    """Of an image, whose file the library does not see."""
    assert list(found) == list(said)
    for part in ("label", "probability", "probabilities", "positive", "findings", "windows", "labels", "model"):
        _alike(found[part], said[part], part)
    for part in ("engine", "warnings", "disclaimer"):
        _alike(found[part], said[part], part)


@pytest.mark.parametrize("threshold", [0.01, 0.99], ids=["present", "absent"])
def test_of_a_radiograph_with_independent_labels(threshold: float, tmp_path: Path) -> None:
    kind = {"activation": "independent", "labels": ["mass"], "threshold": None, "thresholds": [threshold]}
    bundle, image = load_bundle(make_tiny_image(tmp_path / "image.mmcaf", **kind)), [radiograph()]
    result = python(bundle.folder, image, None)
    with opened(bundle.folder) as network:
        found = network.answer_image(plane_of(image, bundle.manifest), modality="DX", view="frontal", created=CREATED)
    alike_but_for_files(json.loads(found), json.loads(result.to_json()))


@pytest.mark.full
def test_of_the_liver_example(example: "Callable[[str], ExportReport]") -> None:
    bundle = example("liver").output
    inputs = [spec.name for spec in load_bundle(bundle).manifest.volumes]
    of = {name: replace(volume(12, 40, seed), intensity="rescaled") for seed, name in enumerate(inputs)}
    result = python(bundle, of, None)
    with opened(bundle) as network:
        alike(network.answer(of, created=CREATED), result)


def test_the_view_is_that_of_the_network(tmp_path: Path) -> None:
    bundle, image = load_bundle(make_tiny_image(tmp_path / "image.mmcaf")), [radiograph()]
    plane = plane_of(image, bundle.manifest)
    with opened(bundle.folder, cache="") as network:
        known = json.loads(network.answer_image(plane, modality="DX", view="frontal"))
        assert not [remark for remark in known["remarks"] if "view" in remark]
        unknown = json.loads(network.answer_image(plane, modality="DX"))
        (remark,) = [remark for remark in unknown["remarks"] if "view" in remark]
        assert remark.endswith("since the caller did not say; it was taken to be frontal.")
        with pytest.raises(RefusedError, match="a lateral view came; a frontal one was expected") as refused:
            network.answer_image(plane, modality="DX", view="lateral")
        assert refused.value.code == 3


def test_of_a_volume_and_its_report(tmp_path: Path) -> None:
    bundle, of = make_tiny_report(tmp_path / "report.mmcaf"), study(volume())
    record = json.loads(RECORD)
    said = json.dumps(record | {"findings": "The lungs are clear. No effusion is seen."})
    with open_session(load_bundle(bundle), backend="openvino", threads=1) as session:
        answer = Answerer(session).answer(of, said.encode(), created=CREATED)
    text = answer.prepared.clinical.text
    assert text is not None
    tokens = text.ids[text.mask.astype(bool)].tolist()
    with opened(bundle) as network:
        found = json.loads(network.answer(of, RECORD, tokens=tokens, created=CREATED))
        with pytest.raises(RefusedError, match="The report is not in the record") as refused:
            network.answer(of, RECORD, created=CREATED)
    _alike(found["probabilities"], answer.result.to_dict()["probabilities"], "probabilities")
    assert found["findings"] and refused.value.code == 4


def test_blanks_around_the_patient_are_no_other_patient(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.mmcaf")
    with opened(bundle, cache="") as network:
        found = json.loads(network.answer(volume(), RECORD, patient_id=" p1 "))
    assert found["record"]["identity"] == "matched"


@pytest.mark.full
@pytest.mark.parametrize("name", ["medfusionnet", "cmasg"])
def test_of_a_radiograph_and_its_report(name: str, example: "Callable[[str], ExportReport]", tmp_path: Path) -> None:
    """The library takes grey values and the report's tokens where Python reads files, and says nothing of these."""
    bundle = load_bundle(example(name).output)
    files = write_study(name, tmp_path / "study")
    report = {"report": files["report"]} if "report" in files else {}
    with open_session(bundle, backend="openvino", threads=1) as session:
        answer = Answerer(session).answer(files["study"], files["record"], created=CREATED, **report)
    text = answer.prepared.clinical.text
    assert text is not None
    tokens = text.ids[text.mask.astype(bool)].tolist()
    record = files["record"].read_text() if bundle.manifest.table is not None else None
    with opened(bundle.folder) as network:
        found = json.loads(network.answer_image(plane_of(files["study"], bundle.manifest), record, tokens=tokens))
    said = json.loads(answer.result.to_json())
    alike_but_for_files(found, said)
    for part in ("features", "missing"):
        _alike(found["record"][part], said["record"][part], part)


@pytest.mark.parametrize(
    ("given", "record", "code"),
    [
        ({}, '{"sex": "F", "age": 63, "patient_id": "another"}', 4),
        ({}, '{"sex": "F"}', 4),
        ({"created": "yesterday"}, RECORD, 2),
    ],
)
def test_refusals_are_those_of_python(given: dict[str, Any], record: str, code: int, tmp_path: Path) -> None:
    bundle, of = make_tiny_bundle(tmp_path / "tiny.mmcaf"), study(volume())
    with opened(bundle) as network, pytest.raises(RefusedError) as refused:
        network.answer(of, record, **{"created": CREATED, **given})
    with pytest.raises(MmcafError) as failure:
        infer(of, record.encode(), bundle=bundle, backend="openvino", threads=1, **given)
    assert refused.value.code == failure.value.exit_code == code
    assert refused.value.document["problem"] == failure.value.problem
