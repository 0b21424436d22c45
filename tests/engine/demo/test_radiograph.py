"""Synthetic chest radiographs: seeded, their findings drawn and reported, and the same pixels in the file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import apply_voi_lut

from mmcaf_engine.demo import CHEST_FINDINGS, CHEST_LABELS, ChestStudy, chest_patient, chest_record, chest_study
from mmcaf_engine.demo.radiograph import FIELD_MM
from mmcaf_engine.demo.radiograph_plane import Plane, blur, ellipsoid, near, tube
from mmcaf_engine.demo.report import chest_report
from mmcaf_engine.demo.write_dx import write_chest, write_dx

SIZE = 96
SEEDS = range(300, 312)


@pytest.fixture(scope="module")
def studies() -> dict[tuple[int, str], ChestStudy]:
    """Each seed without any finding, under "", and with each of them alone."""
    return {
        (seed, name): chest_study(seed, size=SIZE, findings=(name,) if name else ())
        for seed in SEEDS
        for name in ("", *CHEST_FINDINGS)
    }


def plain(study: ChestStudy) -> NDArray[np.float64]:
    """Pixels without what the stretch to 12 bits makes of other pixels."""
    values = study.pixels.astype(np.float64)
    return (values - np.median(values)) / values.std()


def test_a_seed_fixes_everything() -> None:
    first, again, other = (chest_study(seed, size=SIZE) for seed in (7, 7, 8))
    assert first.pixels.tobytes() == again.pixels.tobytes() != other.pixels.tobytes()
    assert (first.patient, first.report, first.window) == (again.patient, again.report, again.window)
    assert first.patient == chest_patient(7) and first.report == chest_report(first.patient)
    assert first.pixels.dtype == np.uint16 and first.pixels.shape == (SIZE, SIZE) and first.pixels.max() <= 4095


def test_the_anatomy_does_not_depend_on_the_grid() -> None:
    coarse, fine = chest_study(7, size=80), chest_study(7, size=160)
    assert coarse.patient == fine.patient and coarse.report == fine.report
    assert coarse.spacing_mm == pytest.approx(2 * fine.spacing_mm, rel=1e-4)
    shrunk = fine.pixels.reshape(80, 2, 80, 2).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), coarse.pixels.ravel())[0, 1] > 0.98


def test_patients_can_be_asked_for() -> None:
    own, other = chest_patient(3), chest_patient(3, findings=("Nodule", "Effusion"))
    assert other.names == ("Effusion", "Nodule") and other.label == 1
    assert (own.age, own.sex, own.view, own.width) == (other.age, other.sex, other.view, other.width)
    assert chest_patient(3, findings=()).label == 0
    with pytest.raises(ValueError, match=r"\['Fracture'\]: expected some of Cardiomegaly"):
        chest_patient(3, findings=("Fracture",))
    with pytest.raises(ValueError, match="at least 32 each"):
        chest_study(3, size=16)


def test_findings_occur_together_and_follow_the_record() -> None:
    patients = [chest_patient(seed) for seed in range(3000)]
    present = np.array([patient.present for patient in patients])
    assert (present.mean(axis=0) > 0.06).all() and (present.mean(axis=0) < 0.3).all()
    labels = np.array([patient.label for patient in patients])
    assert 0.5 < labels.mean() < 0.65 and len(CHEST_LABELS) == 2
    together = np.corrcoef(present.T)
    pairs = {("Cardiomegaly", "Effusion"), ("Mass", "Nodule")}
    assert all(together[CHEST_FINDINGS.index(a), CHEST_FINDINGS.index(b)] > 0.15 for a, b in pairs)
    ages = np.array([patient.age for patient in patients])
    heart, collapsed = present[:, 0], present[:, CHEST_FINDINGS.index("Pneumothorax")]
    assert ages[heart].mean() > ages[~heart].mean() + 8 > ages[collapsed].mean() + 15
    bedside = np.array([patient.view == "AP" for patient in patients])
    assert 0.25 < bedside.mean() < 0.4 and present[bedside].mean() > 1.5 * present[~bedside].mean()


@pytest.mark.parametrize("name", CHEST_FINDINGS)
def test_a_finding_is_drawn_where_it_belongs(studies: dict[tuple[int, str], ChestStudy], name: str) -> None:
    """Against the same person without: denser, but for air; and nothing else moves."""
    changed, signs, heights = [], [], []
    for seed in SEEDS:
        with_it, without = studies[seed, name], studies[seed, ""]
        difference = plain(with_it) - plain(without)
        strong = np.abs(difference) > 0.12
        changed.append(strong.mean())
        if strong.any():
            rows, columns = np.nonzero(strong)
            signs.append(float(np.sign(difference[strong]).mean()))
            heights.append(float(rows.mean() / SIZE))
            sides = with_it.patient.findings[0].sides
            if name != "Cardiomegaly" and len(sides) == 1 and strong.mean() > 0.01:
                assert (columns.mean() > SIZE / 2) == (sides[0] == "left"), seed
    assert np.mean(np.array(changed) > 0.0004) > 0.8, changed
    assert max(changed) < 0.5
    middle = float(np.median(heights))
    if name == "Pneumothorax":
        assert middle < 0.45
    else:
        assert np.median(signs) > 0
    if name == "Effusion":
        assert middle > 0.6


@pytest.mark.parametrize("name", CHEST_FINDINGS[1:])
def test_the_slightest_findings_hardly_show(name: str) -> None:
    """Of a finding of low severity little is seen, so that no network can be perfect."""
    slight, severe = [], []
    for seed in range(400, 440):
        finding = chest_patient(seed, findings=(name,)).findings[0]
        if 0.15 <= finding.severity <= 0.75:
            continue
        pair = [chest_study(seed, size=64, findings=chosen) for chosen in ((name,), ())]
        change = float(np.abs(plain(pair[0]) - plain(pair[1])).mean())
        (slight if finding.severity < 0.5 else severe).append(change)
    assert slight and severe and np.median(severe) > 1.8 * np.median(slight)


def test_large_hearts_begin_where_others_end() -> None:
    with_it, without = (
        np.array([chest_patient(seed, findings=names).heart_ratio for seed in range(400)])
        for names in (("Cardiomegaly",), ())
    )
    assert np.quantile(with_it, 0.05) < np.quantile(without, 0.97) < np.quantile(with_it, 0.3)
    severity = [chest_patient(seed, findings=("Cardiomegaly",)).findings[0].severity for seed in range(400)]
    assert np.corrcoef(severity, with_it)[0, 1] > 0.99


def test_a_bedside_view_widens_the_heart() -> None:
    from mmcaf_engine.demo.radiograph_anatomy import make_chest

    seen = {"PA": [], "AP": []}
    for seed in range(200):
        patient = chest_patient(seed)
        chest = make_chest(patient, np.random.default_rng(1))
        seen[patient.view].append(chest.heart / chest.width / patient.heart_ratio)
    assert np.median(seen["AP"]) > 1.1 * np.median(seen["PA"])


def test_reports_tell_much_but_not_all() -> None:
    """Findings are named more often where they are, and left out or denied in some; some reports say nothing."""
    words = {
        "Cardiomegaly": "cardiomegaly",
        "Effusion": "effusion",
        "Mass": "mass",
        "Nodule": "nodule",
        "Pneumothorax": "pneumothorax",
        "Consolidation": "consolidation",
    }
    patients = [chest_patient(seed) for seed in range(1500)]
    said = [chest_report(patient).impression.lower() for patient in patients]
    for name, word in words.items():
        named = np.array([re.search(rf"(?<!possible )\b{word}\b", text) is not None for text in said])
        there = np.array([name in patient.names for patient in patients])
        assert 0.3 < named[there].mean() < 0.85, name
        assert named[~there].mean() < 0.08, name
    clear = np.array(["no acute" in text or "normal chest" in text for text in said])
    healthy = np.array([patient.label == 0 for patient in patients])
    assert clear[healthy].mean() > 0.4 and 0.03 < clear[~healthy].mean() < 0.3


def test_reports_are_plain_english_of_a_small_vocabulary() -> None:
    words: set[str] = set()
    for seed in range(600):
        report = chest_report(chest_patient(seed))
        assert report.findings and report.impression
        assert report.text == f"FINDINGS: {report.findings}\nIMPRESSION: {report.impression}\n"
        assert report.fields() == {"findings": report.findings, "impression": report.impression}
        assert report.fields(("impression",)) == {"impression": report.impression}
        assert report.fields(("report", "addendum")) == {"report": report.text}
        for sentence in re.split(r"(?<=\.) ", f"{report.findings} {report.impression}"):
            assert sentence[0].isupper() or sentence[0].isdigit(), sentence
            assert sentence.endswith(".") and "{" not in sentence, sentence
        words |= set(re.findall(r"[a-z]+", report.text.lower()))
    assert 120 < len(words) < 320


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    study = chest_study(5, size=SIZE)
    image, record, report = write_chest(study, tmp_path)
    assert (image.name, record.name, report.name) == ("study.dcm", "record.json", "report.txt")
    assert json.loads(record.read_text()) == chest_record(study.patient)
    assert report.read_text(encoding="utf-8") == study.report.text
    ds = dcmread(image)
    assert ds.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert (ds.Modality, ds.BodyPartExamined, ds.PresentationIntentType) == ("DX", "CHEST", "FOR PRESENTATION")
    assert ds.ViewPosition == study.patient.view and list(ds.PatientOrientation) == ["L", "F"]
    assert (ds.PatientID, ds.PatientSex) == (study.patient.patient_id, study.patient.sex)
    assert ds.PatientAge == f"{study.patient.age:03d}Y"
    assert [float(value) for value in ds.ImagerPixelSpacing] == [study.spacing_mm] * 2
    assert float(ds.ImagerPixelSpacing[0]) * SIZE == pytest.approx(FIELD_MM, rel=1e-4)
    assert "PixelSpacing" not in ds and ds.BurnedInAnnotation == "NO"
    assert "not a patient" in ds.ImageComments


def test_both_photometric_interpretations_show_the_same(tmp_path: Path) -> None:
    """What a viewer makes of the file is the window of the pixels, dense tissue bright, however it is stored."""
    seen = set()
    for seed in range(12):
        study = chest_study(seed, size=64)
        ds = dcmread(write_dx(study, tmp_path / f"{seed}.dcm"))
        seen.add(ds.PhotometricInterpretation)
        assert ds.PhotometricInterpretation == ("MONOCHROME1" if study.inverted else "MONOCHROME2")
        shown = apply_voi_lut(ds.pixel_array, ds) / 4095.0
        shown = 1.0 - shown if study.inverted else shown
        centre, width = study.window
        expected = np.clip((study.pixels - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)
        assert np.abs(shown - expected).max() < 1e-6, seed
    assert seen == {"MONOCHROME1", "MONOCHROME2"}


def test_files_repeat_byte_for_byte(tmp_path: Path) -> None:
    study = chest_study(2, size=SIZE)
    for name in ("first", "again"):
        write_chest(study, tmp_path / name)
    for file in ("study.dcm", "record.json", "report.txt"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_shapes_are_those_of_geometry() -> None:
    plane = Plane.centred(81, 1.0)
    ball = ellipsoid(plane, (10.0, -5.0), (20.0, 20.0))
    row, column = np.unravel_index(int(ball.argmax()), ball.shape)
    assert (float(plane.z[row, 0]), float(plane.x[0, column])) == (10.0, -5.0)
    assert ball.sum() == pytest.approx(2.0 / 3.0 * np.pi * 20.0**2, rel=0.01)
    turned = ellipsoid(plane, (0.0, 0.0), (30.0, 10.0), angle=np.pi / 2)
    assert np.abs(turned - ellipsoid(plane, (0.0, 0.0), (10.0, 30.0))).max() < 1e-3
    layer = np.full(plane.shape, 9.0, np.float32)
    near(layer, plane, np.array([(0.0, -30.0), (0.0, 30.0)]), np.full(2, 6.0))
    assert layer[40, 40] == 0 and layer[40 - 6, 40] == pytest.approx(1.0) and layer[0, 0] == 9
    assert float(tube(layer)[:, 40].sum() * 6.0) == pytest.approx(np.pi * 36.0, rel=0.03)
    spike = np.zeros((41, 41), np.float32)
    spike[20, 20] = 1.0
    smooth = blur(spike, 3.0)
    assert smooth.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(smooth, smooth.T) and np.allclose(smooth, smooth[::-1])
