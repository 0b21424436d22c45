"""`mmcaf studies`, and the policies of `mmcaf-infer`."""

import json
from pathlib import Path

import pytest

import study_edits as forms
import study_variants as table
from command import Command
from dicom_factory import PHI, ct_series, save
from mmcaf_engine.errors import UsageError
from mmcaf_engine.pipeline import infer
from refusals import check_facts, refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

RECORD = {"sex": "F", "age": 63}


def study(folder: Path, *edits: forms.Edit) -> Path:
    images = ct_series(forms.REFERENCE)
    for edit in edits:
        images = edit(images)
    return save(images, folder / "study")


def test_lists_the_series_and_why_one_is_read(run: Command, tmp_path: Path) -> None:
    path = study(
        tmp_path,
        forms.beside(forms.REFERENCE[:3], SeriesDescription="Premonitoring", ConvolutionKernel="Br40"),
        forms.beside(forms.REFERENCE[:2], SeriesInstanceUID="1.2.3", ImageType=table.LOCALIZER),
    )
    outcome = run("mmcaf", "studies", path, "--modality", "CT")
    assert outcome.code == 0 and outcome.err == ""
    assert '*  1  series 2, CT, 12 x 32 x 34, 2.50 x 0.70 x 0.80 mm, axial, "Chest"' in outcome.out
    assert '   2  series 7, CT, 3 x 32 x 34, 2.50 x 0.70 x 0.80 mm, axial, "Premonitoring", kernel Br40' in outcome.out
    assert "read: best of those that fit" in outcome.out
    assert "not read: covers 5.0 mm, less than half of 27.5 mm" in outcome.out
    assert "left out, files: 2 localizer" in outcome.out
    assert not [word for word in PHI.values() if word in outcome.out]


def test_json_holds_the_same(run: Command, tmp_path: Path) -> None:
    outcome = run("mmcaf", "studies", study(tmp_path, forms.beside(forms.REFERENCE)), "--json")
    found = json.loads(outcome.out)
    assert outcome.code == 0
    assert [entry["number"] for entry in found["series"]] == [1, 2]
    assert [entry["chosen"] for entry in found["series"]] == [False, False]
    assert "2 series could be the volume" in found["problem"]


def test_says_what_tells_volumes_of_one_series_apart(run: Command, tmp_path: Path) -> None:
    path = study(tmp_path, forms.alternating(FlipAngle="60"))
    shown, found = run("mmcaf", "studies", path).out, json.loads(run("mmcaf", "studies", path, "--json").out)
    labels = ["(0018,1314) FlipAngle absent", "(0018,1314) FlipAngle 60"]
    assert [entry["label"] for entry in found["series"]] == labels
    assert all(label in shown for label in labels)


def test_says_when_none_would_be_read(run: Command, tmp_path: Path) -> None:
    outcome = run("mmcaf", "studies", study(tmp_path, forms.beside(forms.REFERENCE)))
    assert "not read: as good as number 2" in outcome.out
    assert "none would be read without --series NUMBER" in outcome.out
    only_reports = study(tmp_path / "other", forms.tagged(ImageType=table.LOCALIZER))
    assert "none can be read: " in run("mmcaf", "studies", only_reports).out


def test_nothing_there_is_a_refused_study(run: Command, tmp_path: Path) -> None:
    outcome = run("mmcaf", "studies", tmp_path)
    outcome.refused(3, "DICOM", "0 files")


@pytest.mark.parametrize(
    ("edit", "option", "said"),
    [
        (forms.without(5), ("--gaps", "interpolate"), table.FILLED),
        (forms.tilt(1), ("--tilt", "resample"), table.STRAIGHTENED),
        (forms.again(5), ("--duplicates", "first"), table.FIRST_KEPT),
    ],
    ids=["gaps", "tilt", "duplicates"],
)
def test_a_refused_study_is_answered_by_the_option_that_the_message_names(
    edit: forms.Edit, option: tuple[str, str], said: str, run: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    path = study(tmp_path, edit)
    (tmp_path / "record.json").write_text(json.dumps(RECORD))
    command = ("mmcaf-infer", path, tmp_path / "record.json", "--bundle", tiny_bundle)
    without = run(*command)
    without.refused(3, "=".join(option))
    answered = run(*command, *option, "--json")
    assert answered.code == 0 and said in answered.err
    assert json.loads(answered.out)["study"]["slices"] == 12
    assert run(*command, *option, "--strict").code == 7
    wrong = run(*command, option[0], "yes")
    assert wrong.code == 2 and f"'yes' is not one of 'refuse', '{option[1]}'" in wrong.err
    with refused(UsageError, option[0].removeprefix("--"), "refuse", option[1], "yes"):
        infer(path, RECORD, bundle=tiny_bundle, **{option[0].removeprefix("--"): "yes"})
    policy = {option[0].removeprefix("--"): option[1]}
    assert infer(path, RECORD, bundle=tiny_bundle, **policy).study.slices == 12


def test_says_what_an_answer_would_refuse(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    path = study(tmp_path, forms.without(5))
    for bundle in ((), ("--bundle", tiny_bundle)):
        outcome = run("mmcaf", "studies", path, *bundle)
        assert outcome.code == 0
        check_facts(outcome.out, "refused", "1 slice missing", -90, -85)
    found = json.loads(run("mmcaf", "studies", path, "--json").out)
    assert found["series"][0]["refused"] == found["problem"]


def test_says_what_is_remarkable(run: Command, tmp_path: Path) -> None:
    outcome = run("mmcaf", "studies", study(tmp_path, forms.copied(5), forms.half_turn))
    assert "remark: " in outcome.out and "1 file is a copy" in outcome.out
    assert table.TURNED in outcome.err
    assert "refused" not in outcome.out
