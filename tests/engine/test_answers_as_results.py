"""What a result says of each kind of answer: by its schema, once and again, and that it can be made again from it."""

import html
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from dicom_factory import ct_series, enhanced_ct, hounsfield, save, write
from mmcaf_engine import Answerer, Result, Study, Volume, infer, load_bundle, open_session
from mmcaf_engine.errors import UsageError
from mmcaf_engine.pipeline import AnswerOptions
from mmcaf_engine.result.codes import private_code
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.parts import Evidence, LabelCode, Options
from mmcaf_engine.result.schema import result_schema
from mmcaf_engine.volume import PatientHeader, SourceImage
from pages import Reader, refuse_any_request
from refusals import refused
from tiny_bundle import SIZE, make_tiny_bundle
from tiny_image import make_tiny_image, radiograph
from tiny_liver import INPUTS, make_tiny_liver
from tiny_pictures import png
from tiny_report import make_tiny_report, report_manifest

SCHEMA = Draft202012Validator(result_schema())
RECORD: dict[str, Any] = {"sex": "F", "age": 63}
TOLD = {**RECORD, "findings": "new nodule", "impression": ""}
HU = hounsfield(6, SIZE, SIZE)
Answer = Callable[..., Any]


@pytest.fixture(scope="module")
def answerers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Answerer]]:
    folder = tmp_path_factory.mktemp("bundles")
    code = {"scheme": "SCT", "value": "17621005", "meaning": "Normal"}
    bundles = {
        "binary": make_tiny_bundle(
            folder / "binary.mmcaf", format_version=2, version="1.4", label_codes={"quiet": code}
        ),
        "binary-quiet": make_tiny_bundle(folder / "quiet.mmcaf", threshold=0.999),
        "multiclass": make_tiny_liver(folder / "liver.mmcaf"),
        "image": make_tiny_image(folder / "image.mmcaf"),
        "record-alone": make_tiny_image(folder / "record.mmcaf", image=False, table=True),
        "one": make_tiny_report(folder / "one.mmcaf", thresholds=[0.5, 0.95, 0.9]),
        "several": make_tiny_report(folder / "several.mmcaf"),
        "none": make_tiny_report(folder / "none.mmcaf", thresholds=[0.9, 0.95, 0.9]),
        "report-optional": make_tiny_report(
            folder / "optional.mmcaf", text={**report_manifest()["text"], "missing": "empty"}
        ),
    }
    with ExitStack() as stack:
        yield {
            name: Answerer(stack.enter_context(open_session(load_bundle(bundle), backend="onnxruntime", threads=1)))
            for name, bundle in bundles.items()
        }


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("studies")
    (folder / "image.png").write_bytes(png((radiograph().pixel_array >> 4).astype(np.uint8)))
    return {
        "series": save(ct_series(HU), folder / "series"),
        "frames": write(enhanced_ct(HU), folder / "frames.dcm"),
        "holed": save([one for at, one in enumerate(ct_series(hounsfield(30, SIZE, SIZE))) if at != 7], folder / "gap"),
        "radiograph": write(radiograph(), folder / "radiograph.dcm"),
        "picture": folder / "image.png",
        "array": Volume(HU, "hounsfield", (2.5, 0.7, 0.7)),
        "phases": {name: Volume(hounsfield(8, 12, 10), "rescaled", (3.0, 1.0, 1.0)) for name in INPUTS},
    }


KINDS: dict[str, tuple[str, str | None, Any]] = {
    "loud": ("binary", "series", RECORD),
    "quiet": ("binary-quiet", "series", RECORD),
    "frames": ("binary", "frames", RECORD),
    "array": ("binary", "array", RECORD),
    "multiclass": ("multiclass", "phases", None),
    "radiograph": ("image", "radiograph", None),
    "picture": ("image", "picture", None),
    "record-alone": ("record-alone", None, {"age": 63}),
    "one": ("one", "series", TOLD),
    "several": ("several", "series", TOLD),
    "none": ("none", "series", TOLD),
}


def answered(kind: str, answerers: dict[str, Answerer], studies: dict[str, Any], **options: Any) -> Any:
    bundle, study, record = KINDS[kind]
    return answerers[bundle].answer(None if study is None else studies[study], record, **options)


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_every_answer_is_what_the_schema_says(
    kind: str, answerers: dict[str, Answerer], studies: dict[str, Any]
) -> None:
    """And says what version 1 did not; read back, it is the same; so is one without the patient."""
    result = answered(kind, answerers, studies).result
    document = json.loads(result.to_json())
    SCHEMA.validate(document)
    assert [name for name, value in document.items() if value is None and name not in MAY_BE_NULL] == []
    for part in ("engine", "options", "software", "model"):
        assert [name for name, value in document[part].items() if value is None and name not in MAY_BE_NULL] == []
    assert Result.from_json(result.to_json()) == result
    hidden = deidentify(result)
    SCHEMA.validate(json.loads(hidden.to_json()))
    assert Result.from_json(hidden.to_json()) == hidden


MAY_BE_NULL = {"positive", "record", "probability", "fallback", "accuracy", "signed_by", "version"}
MAY_BE_NULL |= {"series", "oblique", "stride", "slices", "row", "attention"}


@every_kind
def test_the_probability_is_the_labels_own(kind: str, answerers: dict[str, Answerer], studies: dict[str, Any]) -> None:
    answer = answered(kind, answerers, studies)
    result = answer.result
    present = [finding.label for finding in result.findings if finding.present]
    alone = result.label if len(present) == 1 or not result.findings else None
    assert result.probability == (None if alone is None else result.probabilities[alone])
    assert (result.probability is None) == (kind in ("several", "none"))
    if result.positive is not None:
        assert (result.label == result.positive.label) == (result.positive.probability >= result.positive.threshold)
        assert result.positive.probability == result.probabilities[result.positive.label]
    labels = answer.bundle.manifest.labels
    of = alone or max(present or labels, key=lambda name: result.probabilities[name])
    for window in result.windows:
        assert 0 <= window.probability <= result.probabilities[of] + 1e-12 or kind == "quiet"
    if kind == "quiet":
        assert min(window.probability for window in result.windows) == result.probability
    elif result.windows:
        assert max(window.probability for window in result.windows) == pytest.approx(result.probabilities[of])


SAID = {
    "loud": "loud",
    "quiet": "quiet",
    "multiclass": "synthetic lesion 2",
    "radiograph": "bright",
    "one": "nodule",
    "several": "nodule, effusion",
    "none": "none above its threshold",
}


@pytest.mark.parametrize(("kind", "label"), SAID.items())
def test_label_and_probability_are_what_the_network_said(
    kind: str, label: str, answerers: dict[str, Answerer], studies: dict[str, Any]
) -> None:
    """Reckoned here from the network's outputs: of the windows, the highest score of label 1 or of each label counts,
    or of several labels the surest window.
    """
    answer = answered(kind, answerers, studies)
    manifest, labels = answer.bundle.manifest, answer.bundle.manifest.labels
    scores = answer.outputs[manifest.score.name].astype(np.float64)
    chances, shares = 1 / (1 + np.exp(-scores.max(axis=0))), np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if manifest.threshold is not None:
        (of_one,) = chances
        probability = of_one if of_one >= manifest.threshold else 1 - of_one
        said = labels[int(of_one >= manifest.threshold)]
    elif manifest.thresholds:
        present = [at for at, limit in enumerate(manifest.thresholds) if chances[at] >= limit]
        said = ", ".join(labels[at] for at in present) or label
        probability = chances[present[0]] if len(present) == 1 else None
    else:
        surest = shares[shares.max(axis=1).argmax()]
        said, probability = labels[int(surest.argmax())], surest.max()
    for result in (answer.result, Result.from_json(answer.result.to_json())):
        printed, _, number = f"{result.label} {result.probability}".rpartition(" ")
        assert printed == said == label
        assert number == "None" if probability is None else float(number) == pytest.approx(probability, rel=1e-6)


@every_kind
def test_every_answer_is_a_page(kind: str, answerers: dict[str, Answerer], studies: dict[str, Any]) -> None:
    """With a picture of what was read, and the self-test that the session passed; the same for the same answer."""
    first, second = (answered(kind, answerers, studies, created="2026-11-30T09:08:48Z") for _ in range(2))
    page = first.to_html()
    assert page == second.to_html()
    refuse_any_request(page)
    said = " ".join(" ".join(Reader(page).texts).split())
    assert html.escape(first.result.label) in page and "passed: " in said and "stored cases" in said
    assert ("src=" in page) == (kind != "record-alone")
    values = [] if kind in ("multiclass", "radiograph", "picture") else ["63"]
    assert [value for value in values if value not in said.split()] == []
    hidden = replace(first, result=deidentify(first.result)).to_html()
    uids = first.result.study.uids
    assert [kind for kind in uids if kind != "frame_of_reference" and uids[kind] not in page] == []
    assert not any(uid in hidden for uid in uids.values())


def test_labels_have_codes_and_the_bundle_an_identity(answerers: dict[str, Answerer], studies: dict[str, Any]) -> None:
    result = answered("loud", answerers, studies).result
    assert result.labels == {"quiet": LabelCode("SCT", "17621005", "Normal"), "loud": private_code("loud")}
    assert private_code("loud") == LabelCode("99MMCAF", "DB1A60BBFF220D09", "loud") != private_code("Loud")
    long = private_code("a\\b" * 40)
    assert len(long.meaning) == 64 and "\\" not in long.meaning and len(long.value) == 16
    assert result.model.version == "1.4" and answered("quiet", answerers, studies).result.model.version is None
    uids = {answered(kind, answerers, studies).result.model.device_uid for kind in ("loud", "frames", "quiet")}
    assert len(uids) == 2 and all(uid.startswith("2.25.") and len(uid) <= 44 for uid in uids)


def test_a_report_that_is_missing_is_said(answerers: dict[str, Answerer], studies: dict[str, Any]) -> None:
    record = answerers["report-optional"].answer(studies["series"], RECORD).result.record
    assert record.missing == ("report",) and record.features["word_pieces"] == 0
    assert answered("several", answerers, studies).result.record.missing == ()


def test_two_runs_differ_in_the_moment_alone(answerers: dict[str, Answerer], studies: dict[str, Any]) -> None:
    for kind in ("loud", "several", "radiograph"):
        first, second = (
            json.loads(answered(kind, answerers, studies, created=created).result.to_json())
            for created in ("2026-11-30T09:08:48Z", "2026-11-30T09:08:49Z")
        )
        assert {name for name in first if first[name] != second[name]} == {"created", "timing_ms"}


# Options


NO_CHANGE = {
    *(
        "heatmap",
        "heatmap_over",
        "announce",
        "dicom_objects",
        "replaces",
        "progress",
        "cancel",
        "deadline",
        "watch",
        "created",
        "strict",
    ),
}
"""Options that no answer depends on, beside its `created`."""
INPUTS_THEMSELVES = {"report"}
OF_INFER = {"backend", "precision", "threads"}


def test_options_hold_all_that_the_answer_depends_on() -> None:
    """Whoever adds an option says here which it is."""
    assert {part.name for part in fields(Options)} == OF_INFER | (
        AnswerOptions.__annotations__.keys() - NO_CHANGE - INPUTS_THEMSELVES
    )
    assert get_type_hints(infer).keys() - {"return", "study", "record", "options"} == OF_INFER | {
        *("bundle", "session", "open_timeout")
    }


# When


@pytest.mark.parametrize(
    ("created", "shown"),
    [
        ("2026-11-30T09:08:48Z", "2026-11-30T09:08:48Z"),
        ("2026-11-30T10:08:48+01:00", "2026-11-30T09:08:48Z"),
        ("2026-11-30 09:08:48.25+00:00", "2026-11-30T09:08:48.250000Z"),
        (datetime(2026, 11, 30, 9, 8, 48, tzinfo=timezone(timedelta(hours=-5))), "2026-11-30T14:08:48Z"),
    ],
    ids=["utc", "offset", "fraction", "datetime"],
)
def test_when_it_was_made_can_be_said(created: Any, shown: str, answerers: dict[str, Answerer]) -> None:
    result = answerers["record-alone"].answer({"age": 63}, created=created).result
    assert json.loads(result.to_json())["created"] == shown


def test_without_that_it_is_now(answerers: dict[str, Answerer]) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    created = answerers["record-alone"].answer({"age": 63}).result.created
    assert created is not None and before <= created <= datetime.now(UTC) and created.microsecond == 0


@pytest.mark.parametrize(
    "created",
    [
        "now",
        "",
        "2026-13-01T00:00:00Z",
        "2026-11-30T09:08:48",
        "2026-11-30",
        datetime(2026, 11, 30),
        3,
        "0001-01-01T00:00:00+14:00",
        "0999-05-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ],
    ids=[
        *("word", "empty", "month-13", "no-zone", "date", "naive", "number", "before-all", "of-three-figures"),
        "after-all-elsewhere",
    ],
)
def test_what_is_no_moment_is_refused_before_the_work(created: Any, answerers: dict[str, Answerer]) -> None:
    with refused(UsageError, "created"):
        answerers["record-alone"].answer({"age": "none"}, created=created)


# Evidence


def test_evidence_is_in_slice_order(answerers: dict[str, Answerer], studies: dict[str, Any]) -> None:
    images = ct_series(HU)
    found = answered("loud", answerers, studies).result.evidence
    assert found == tuple(Evidence("image", one.SOPClassUID, one.SOPInstanceUID, None) for one in images)
    frames = answered("frames", answerers, studies).result.evidence
    assert [one.frame for one in frames] == [1, 2, 3, 4, 5, 6] and len({one.sop_instance_uid for one in frames}) == 1
    holed = answerers["binary"].answer(studies["holed"], RECORD, gaps="interpolate").result
    assert holed.study.slices == 30 and len(holed.evidence) == 29
    (one,) = answered("radiograph", answerers, studies).result.evidence
    assert one == Evidence("image", radiograph().SOPClassUID, radiograph().SOPInstanceUID, None)


@pytest.mark.parametrize(
    ("kind", "named"), [("array", "image:"), ("picture", "image:"), ("multiclass", ", ".join(INPUTS))]
)
def test_without_dicom_images_there_is_none_and_a_remark(
    kind: str, named: str, answerers: dict[str, Answerer], studies: dict[str, Any]
) -> None:
    result = answered(kind, answerers, studies).result
    assert result.evidence == ()
    (remark,) = [one for one in result.remarks if "evidence" in one]
    assert remark.startswith(named)


def test_without_a_study_there_is_none_and_nothing_to_say(
    answerers: dict[str, Answerer], studies: dict[str, Any]
) -> None:
    result = answered("record-alone", answerers, studies).result
    assert result.evidence == () and result.remarks == ()


def test_an_image_without_a_uid_is_no_evidence(answerers: dict[str, Answerer]) -> None:
    images = [SourceImage("1.2", f"1.2.{at}") for at in range(5)]
    study = Study(
        Volume(HU, "hounsfield", (2.5, 0.7, 0.7)), "CT", {}, PatientHeader(), images=(*images, SourceImage("", ""))
    )
    result = answerers["binary"].answer(study, RECORD).result
    assert [one.sop_instance_uid for one in result.evidence] == [one.sop_instance_uid for one in images]
    assert any("evidence" in remark for remark in result.remarks)
