"""No markup that a network's labels, a study, a record or the name of a file hold becomes part of an answer's page."""

import html
import json
from dataclasses import replace

import pytest

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.pipeline import answer_study
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.deidentify import deidentify
from pages import HOSTILE, Reader, refuse_any_request
from tiny_bundle import SIZE, make_tiny_bundle

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # as at import, which pytest undoes

LABEL = "<script>a(1)</script><img src=x onerror=a(2)>"
FILE = "<script>b(1)<script>"


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """Of a bundle, a study and a record whose every text tries to be more than that."""
    folder = tmp_path_factory.mktemp("hostile")
    bundle = make_tiny_bundle(
        folder / "tiny.mmcaf",
        name=HOSTILE,
        version="<b>1</b>",
        format_version=2,
        labels=["quiet", LABEL],
        label_codes={LABEL: {"scheme": "<b>", "value": "</td>", "meaning": "</title>"}},
        intended_use=HOSTILE,
    )
    images = ct_series(
        hounsfield(6, SIZE, SIZE),
        SeriesDescription=LABEL,
        StudyDescription=LABEL,
        ProtocolName=LABEL,
        PatientName=LABEL,
        BodyPartExamined="</STYLE><B>",
        Manufacturer=LABEL,
    )
    study = save(images, folder / FILE)
    record = folder / f"{FILE}.json"
    record.write_text(json.dumps({"sex": "F", "age": 63, LABEL: LABEL}))
    return answer_study(study, record, bundle=bundle, backend="onnxruntime", threads=1)


@pytest.mark.parametrize("hidden", [False, True], ids=["whole", "deidentified"])
def test_no_text_becomes_markup(answer: Answer, hidden: bool) -> None:
    found = replace(answer, result=deidentify(answer.result)) if hidden else answer
    page = found.to_html()
    refuse_any_request(page)
    assert html.escape(LABEL) in page and html.escape(HOSTILE) in page
    assert "<script" not in page and "onerror=a" not in {key for _, a in Reader(page).elements for key in a}
    assert page.count("</title>") == page.count("</style>") == 1
    warned = [warning for warning in found.result.warnings if LABEL[:20] in warning]
    assert warned  # an unknown key of the record is named
