"""The C library makes of a network's scores what the Python engine makes of them: every field, to the last digit."""

import ctypes
import json
import math
import re
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.bundle.device import device_uid
from mmcaf_engine.bundle.summary import ModelSummary
from mmcaf_engine.errors import BackendError, StrictError, UsageError
from mmcaf_engine.inputs.prepare import Prepared, PreparedSeries
from mmcaf_engine.inputs.windows import Windows
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.record.clinical import Clinical
from mmcaf_engine.record.record import Record
from mmcaf_engine.result.assemble import assemble
from mmcaf_engine.result.branches import branch_scores
from mmcaf_engine.result.created import creation_time
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.result.diagnostics import diagnostics
from mmcaf_engine.result.ensemble import ensemble_of, ensemble_warnings
from mmcaf_engine.result.parts import EngineSummary, Options
from mmcaf_engine.result.result import Result, in_utc
from mmcaf_engine.volume import PatientHeader, SourceImage, StudyFacts
from testing_library import call, fresh_random, native_parts
from tiny_bundle import SLICES, tiny_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
SHA256 = "0123456789abcdef" * 4
CREATED = "2026-11-30T09:08:48Z"
WORDS = ("quiet", "loud", "schrill ü", 'a "quote"', "back\\slash", "次", "é̂ combined", "long " * 20 + "end")
KINDS = ("sigmoid", "softmax", "independent")


def manifest_of(draw: Random, kind: str) -> Manifest:
    labels = draw.sample(WORDS, 2 if kind == "sigmoid" else draw.randint(2, 6))
    scores = 1 if kind == "sigmoid" else len(labels)
    members = draw.choice((0, 0, 2, 3, 5))
    shape = ["N", *([members] if members else []), scores]
    document = tiny_manifest() | {"labels": labels, "activation": kind, "files": FILES}
    document["aggregation"] = {"method": draw.choice(("max", "mean"))}
    if kind == "sigmoid" and draw.random() < 0.4:
        coefficients = [draw.gauss(0, 2) for _ in range(draw.randint(2, 12))]
        document["aggregation"] = {
            "method": "logistic_regression",
            "coefficients": coefficients,
            "intercept": draw.gauss(0, 1),
        }
    document["threshold"] = draw.uniform(0.01, 0.99) if kind == "sigmoid" else None
    if kind == "independent":
        document["thresholds"] = [draw.uniform(0.01, 0.99) for _ in labels]
    document["outputs"] = [{"name": "logit", "kind": "score", "shape": shape}]
    if draw.random() < 0.5:
        document["outputs"].append({"name": "part", "kind": "branch_score", "shape": shape, "optional": True})
        document["branch_scores"] = [{"output": "part", "title": "a part"}]
    if draw.random() < 0.5:
        document["outputs"].append({"name": "share", "kind": "diagnostic", "shape": ["N", 3], "optional": True})
    if members:
        each = [{"checkpoint_sha256": f"{at}" * 64, "checkpoint_format": "none"} for at in range(members)]
        document["ensemble"] = {"members": each, "spread_bound": draw.choice((None, draw.uniform(0.001, 0.4)))}
    document["risk_levels"] = [risk_of(draw, label) for label in draw.sample(labels, draw.randint(0, len(labels)))]
    document["label_codes"] = {labels[0]: {"scheme": "SCT", "value": "123", "meaning": "a code"}}
    document["version"] = draw.choice(("", "2.1"))
    repairs = [{"name": "stem", "description": "the stem is read once"}] if draw.random() < 0.3 else []
    document["provenance"] = document["provenance"] | {"repairs": repairs}
    return Manifest.model_validate(document)


def risk_of(draw: Random, label: str) -> dict[str, Any]:
    cuts = sorted(draw.uniform(0.01, 0.99) for _ in range(draw.randint(1, 4)))
    names = [f"level {at}" for at in range(len(cuts) + 1)]
    return {"label": label, "cuts": cuts, "names": names, "source": draw.choice(WORDS[:3])}


def outputs_of(draw: Random, manifest: Manifest, windows: int) -> dict[str, Any]:
    spread = draw.choice((0.1, 2.0, 30.0))
    rounded = draw.random() < 0.2  # Equal scores decide by their order.
    found = {}
    for spec in manifest.outputs:
        shape = (windows, *(int(axis) for axis in spec.shape[1:]))
        values = np.random.default_rng(draw.getrandbits(32)).normal(0, spread, shape)
        found[spec.name] = (np.round(values) + 0.0 if rounded else values).astype(np.float32)
    return found


def prepared_of(draw: Random, windows: int) -> Prepared:
    starts = tuple(SLICES * at for at in range(windows))
    slices = max(1, SLICES * windows - draw.randint(0, SLICES - 1))
    images: list[SourceImage] = []
    if draw.random() < 0.7:
        images = [SourceImage("1.2.840.1", f"2.25.{at}", frame=draw.choice((None, at + 1))) for at in range(slices)]
        if draw.random() < 0.3:
            images[-1] = SourceImage("", "")
    uids = {name: f"2.25.{at}" for at, name in enumerate(("study", "series")) if draw.random() < 0.7}
    facts = StudyFacts(
        "CT",
        uids,
        PatientHeader(),
        slices,
        (draw.uniform(0.5, 5), 0.7, 1.0),
        tuple(f"a warning {at}." for at in range(draw.randint(0, 1))),
        tuple(images),
        draw.choice(("", "CHEST")),
        ("a remark.",),
    )
    lay = Windows(np.zeros((SLICES * windows, 16, 16), np.float32), SLICES, starts, "SPL")
    record = Record({}, {"sex": draw.random(), "age": draw.gauss(0, 1)}, draw.choice(((), ("age",))))
    clinical = Clinical(record, None, (), ("no id to compare.",), "not_compared", SHA256)
    return Prepared((PreparedSeries("image", facts, lay, "2.25.7", "the only one"),), clinical)


def bundle_of(outputs: dict[str, Any]) -> str:
    """A SHA-256 of its own for each case."""
    return sha256(outputs["logit"].tobytes()).hexdigest()


def given_of(prepared: Prepared, outputs: dict[str, Any], *, strict: bool = False, broken: tuple[str, ...] = ()) -> str:
    """What the library is told of both; `broken`: an output, of whose second window the first value becomes that."""
    [entry] = prepared.series
    facts, clinical = entry.facts, prepared.clinical
    assert isinstance(facts, StudyFacts) and clinical.record is not None
    told = {name: getattr(facts, name) for name in ("modality", "uids", "slices", "spacing_mm", "body_part")}
    told |= {"warnings": facts.warnings, "remarks": facts.remarks}
    told["images"] = [
        [image.sop_class_uid, image.sop_instance_uid, image.frame or 0] for image in facts.images if image
    ]
    series = {"input": entry.input, "source": entry.source, "chosen": entry.chosen, "facts": told}
    series |= {"depth": entry.windows.depth, "starts": entry.windows.starts}
    record = {name: getattr(clinical.record, name) for name in ("features", "cuts", "missing")}
    record |= {name: getattr(clinical, name) for name in ("sha256", "identity", "warnings", "remarks")}
    values = {name: each.reshape(len(each), -1).tolist() for name, each in outputs.items()}
    given = {"outputs": values, "broken": broken, "series": [series], "record": record, "strict": strict}
    return json.dumps({**given, "bundle_sha256": bundle_of(outputs), "bundle_remarks": ["The bundle is strange."]})


def expected(manifest: Manifest, prepared: Prepared, outputs: dict[str, Any], *, strict: bool) -> Result:
    """What the Python engine answers; as `Answerer` does it, but for the session."""
    decision = decision_for(manifest)
    score = decision.aggregate(prepared.starts, outputs["logit"])
    branches = branch_scores(manifest, decision, prepared.starts, outputs)
    told = diagnostics(manifest, outputs)
    ensemble = ensemble_of(manifest, score)
    warnings = (*prepared.study_warnings, *prepared.record_warnings, *ensemble_warnings(ensemble))
    if strict and warnings:
        raise StrictError(f"Not answered, since there are warnings ({len(warnings)}): {' '.join(warnings)}")
    bundle = bundle_of(outputs)
    summary = ModelSummary(manifest.name, manifest.version or None, bundle, device_uid(bundle), None)
    origin = SimpleNamespace(remarks=("The bundle is strange.",))
    engine = EngineSummary("openvino", "fp32", "CPU", "openvino", "1", "a processor", 1, {}, None, None)
    policies: dict[str, Any] = {"gaps": "refuse", "tilt": "refuse", "duplicates": "refuse", "oblique": None}
    return assemble(
        SimpleNamespace(manifest=manifest, summary=summary, origin=origin),  # type: ignore[arg-type]
        prepared,
        score,
        decision.wording(score),
        created=creation_time(CREATED),
        engine=engine,
        options=Options(
            backend="openvino",
            precision="fp32",
            threads=1,
            series=None,
            **policies,
            stride=None,
            row=None,
            allow_id_mismatch=False,
        ),
        warnings=warnings,
        timing_ms={"total": 1.0},
        ensemble=ensemble,
        branch_scores=branches,
        diagnostics=told,
    )


_FRACTION = r"-?\d+(?:\.\d+(?:e-?\d+)?|e-?\d+)"


def comparable(document: dict[str, Any]) -> str:
    """All of a result in the order of its keys, but what differs between two runs."""
    assert "total" in document["timing_ms"]
    return json.dumps({**document, "timing_ms": None})


def answered(manifest: Manifest, given: str) -> str:
    return call("mmcaf_testing_result", manifest.model_dump_json(exclude_none=True), given)


def cases(kind: str, count: int) -> Iterator[tuple[Manifest, Prepared, dict[str, Any]]]:
    draw = fresh_random()
    for _ in range(count):
        manifest, windows = manifest_of(draw, kind), draw.choice((1, 1, 2, 3, 7, 40))
        yield manifest, prepared_of(draw, windows), outputs_of(draw, manifest, windows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_that_of_python(kind: str) -> None:
    for manifest, prepared, outputs in cases(kind, 150):
        found = answered(manifest, given_of(prepared, outputs))
        result = expected(manifest, prepared, outputs, strict=False)
        mine, theirs = comparable(json.loads(found)), comparable(json.loads(result.to_json()))
        if kind == "softmax":  # NumPy's exp and sums may round the last bits otherwise.
            assert spelled(mine) == spelled(theirs)
            assert figures(mine) == pytest.approx(figures(theirs), rel=1e-12, abs=1e-15)
        else:
            assert mine == theirs


def spelled(document: str) -> str:
    """All but the digits of fractions."""
    return re.sub(_FRACTION, "0.0", document)


def figures(document: str) -> list[float]:
    """The fractions, in their order."""
    return [float(one) for one in re.findall(_FRACTION, document)]


def test_it_is_spelled_as_python_spells_it() -> None:
    for manifest, prepared, outputs in cases("independent", 20):
        found = answered(manifest, given_of(prepared, outputs))
        assert found == json.dumps(json.loads(found), ensure_ascii=False)
        assert Result.from_json(found).to_json() == found


def test_strict_refuses_warnings_and_tells_them() -> None:
    refused = 0
    for manifest, prepared, outputs in cases("softmax", 40):
        found = answered(manifest, given_of(prepared, outputs, strict=True))
        try:
            expected(manifest, prepared, outputs, strict=True)
        except StrictError as failure:
            refused += 1
            document = json.loads(found)
            assert (document["error"], document["exit_code"], document["problem"]) == (
                "StrictError",
                7,
                failure.problem,
            )
        else:
            assert "error" not in json.loads(found)
    assert refused


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("output", ["logit", "part", "share"])
def test_what_is_no_number_is_no_answer(output: str, value: float) -> None:
    draw = fresh_random()
    while True:
        manifest = manifest_of(draw, "sigmoid")
        if {spec.name for spec in manifest.outputs} == {"logit", "part", "share"}:
            break
    prepared, outputs = prepared_of(draw, 3), outputs_of(draw, manifest, 3)
    given = given_of(prepared, outputs, broken=(output, str(value)))
    outputs[output].reshape(3, -1)[1, 0] = value
    with pytest.raises(BackendError) as failure:
        expected(manifest, prepared, outputs, strict=False)
    found = json.loads(answered(manifest, given))
    assert (found["exit_code"], found["problem"]) == (6, failure.value.problem)


MOMENTS = (
    "2026-11-30T09:08:48Z",
    "2026-11-30T09:08:48+01:00",
    "2026-11-30 09:08:48.5-05:30",
    "20261130T090848,123456789+0100",
    "2026-11-30T00:30+01",
    "2024-02-29T23:59:59-23:59",
    "2026-11-30T09:08:48",
    "2026-11-30",
    "2025-02-29T09:08:48Z",
    "2026-11-30T24:08:48Z",
    "2026-11-30T09:60:48Z",
    "2026-11-30T09:08:48z",
    "2026-11-30T09:08:48Zx",
    "2026-13-30T09:08:48Z",
    "1899-12-31T23:00:00Z",
    "1899-12-31T23:30:00-01:00",
    "9999-01-01T00:00:00Z",
    "yesterday",
    "",
    "2026-11-30" + "T" * 90,
)


@pytest.mark.parametrize("given", MOMENTS)
def test_a_moment_is_read_as_python_reads_it(given: str) -> None:
    found = call("mmcaf_testing_created", given)
    try:
        moment = in_utc(creation_time(given))
    except UsageError as failure:
        assert json.loads(found) == failure.to_dict()
    else:
        assert found == moment


def test_sums_are_exact_to_the_last_digit() -> None:
    draw, library = fresh_random(), native_parts()
    library.mmcaf_testing_exact_sum.restype = ctypes.c_double
    for _ in range(2000):
        count = draw.randint(1, 30)
        values = [
            draw.choice((-1, 1)) * math.ldexp(draw.choice((1.0, draw.random())), draw.randint(-80, 80))
            for _ in range(count)
        ]
        array = (ctypes.c_double * count)(*values)
        assert library.mmcaf_testing_exact_sum(array, ctypes.c_size_t(count)) == math.fsum(values), values
