"""`mmcaf evaluate`: groups of studies, operating points, another bundle, and the table of all studies."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from command import Command
from mmcaf_engine.demo import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from several_precisions import add_precisions
from tiny_bundle import make_tiny_bundle
from tiny_liver import make_tiny_liver

ROWS = [
    ("=cmd", "series0", "record0.json", "quiet", "F", "49.5"),
    ("b", "series1", "record1.json", "loud", "M", "50"),
    ("c", "series0", "record1.json", "quiet", "F", "70"),
    ("d", "series1", "record0.json", "loud", "", ""),
    ("e", "series1", "record0.json", "", "M", "80"),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five studies of two phantoms, one without a label, with two further columns; read it, do not change it."""
    folder = tmp_path_factory.mktemp("grouped")
    for seed in (0, 1):
        phantom = make_phantom(seed, size=64)
        write_series(phantom, folder / f"series{seed}")
        (folder / f"record{seed}.json").write_text(json.dumps({"sex": "M", "age": phantom.patient.age}))
    lines = ["id,study,record,label,sex,years", *(",".join(row) for row in ROWS)]
    (folder / "cohort.csv").write_text("\n".join(lines))
    return folder / "cohort.csv"


@pytest.fixture(scope="module")
def several(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("several") / "several.mmcaf"
    return add_precisions(tiny_bundle_source, output, {"int8": 0.05})


def evaluate(run: Command, table: Path, bundle: Path, *options: object) -> dict[str, object]:
    outcome = run("mmcaf", "evaluate", table, "--bundle", bundle, "--backend", "onnxruntime", "--json", *options)
    assert outcome.code == 0, outcome.err
    found: dict[str, object] = json.loads(outcome.out)
    return found


def groups(report: dict[str, object], at: int) -> dict[str, tuple[int, int]]:
    """Group -> its studies, and those of known label with the positive one."""
    column = report["subgroups"][at]  # type: ignore[index]
    return {
        one["name"]: (one["studies"], sum(question["positives"] for question in one["questions"]))
        for one in column["groups"]
    }


def test_subgroups(run: Command, table: Path, several: Path) -> None:
    report = evaluate(run, table, several, "--subgroup", "sex", "--subgroup", "years:50,70")
    assert groups(report, 0) == {"F": (2, 0), "M": (2, 1), "not known": (1, 1)}
    assert groups(report, 1) == {
        "below 50": (1, 0),
        "50 to below 70": (1, 1),
        "70 and above": (2, 0),
        "not known": (1, 1),
    }
    assert report["options"]["subgroups"] == "sex, years:50,70"  # type: ignore[index]
    text = run("mmcaf", "evaluate", table, "--bundle", several, "--subgroup", "sex").out
    assert "\nsex  " in text and "\nnot known  " in text


def test_a_table_of_all_studies(run: Command, table: Path, several: Path, tmp_path: Path) -> None:
    """What a spreadsheet would run is text in it; each answer is the one that `mmcaf-infer` gives."""
    file = tmp_path / "rows.csv"
    options = ("--subgroup", "sex", "--rows", file)
    evaluate(run, table, several, *options)
    data = file.read_bytes()
    assert data.count(b"\r\n") == len(ROWS) + 1
    rows = list(csv.DictReader(data.decode().splitlines()))
    assert [row["id"] for row in rows] == ["'=cmd", "b", "c", "d", "e"]
    assert [row["label"] for row in rows] == ["quiet", "loud", "quiet", "loud", ""]
    study, record = table.parent / "series1", table.parent / "record1.json"
    alone = run("mmcaf-infer", study, record, "--bundle", several, "--json", "--backend", "onnxruntime").out
    answer = json.loads(alone)
    assert float(rows[1]["fp32_probability"]) == answer["positive"]["probability"]
    assert rows[1]["fp32_decided"] == answer["label"]
    for row in rows:
        assert row["fp32_right"] == ("" if not row["label"] else str(int(row["fp32_decided"] == row["label"])))
        assert float(row["int8_probability"]) > float(row["fp32_probability"])
    refused = run(
        "mmcaf", "evaluate", table, "--bundle", several, "--subgroup", "sex", "--subgroup", "years", "--rows", file
    )
    refused.refused(2, str(file), "--force")


def test_refused_studies_are_rows_too(run: Command, table: Path, several: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(table.parent, tmp_path / "broken"))
    (folder / "record0.json").write_text("{")
    broken = folder / "cohort.csv"
    broken.write_text("id,study,record\na,series0,record0.json\nb,series1,record1.json\n")
    evaluate(run, broken, several, "--rows", tmp_path / "rows.csv")
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [(row["id"], bool(row["refused"]), bool(row["fp32_decided"])) for row in rows] == [
        ("b", False, True),
        ("a", True, False),
    ]


def test_operating_points(run: Command, table: Path, several: Path) -> None:
    options = ("--subgroup", "sex")
    rules = ("--operating-point", "youden", "--operating-point", "sensitivity=1")
    report = evaluate(run, table, several, *options, *rules)
    points = report["analysis"]["fp32"][0]["operating_points"]  # type: ignore[index]
    assert [one["rule"] for one in points] == ["youden", "sensitivity=1"]
    assert {one["chosen_on"] for one in points} == {"cohort.csv"}
    assert points[1]["point"]["sensitivity"]["value"] == 1.0
    other = table.parent / "other.csv"
    other.write_text("study,record,label\nseries0,record0.json,loud\nseries1,record1.json,quiet\n")
    report = evaluate(run, table, several, *options, *rules, "--choose-on", other)
    elsewhere = report["analysis"]["fp32"][0]["operating_points"]  # type: ignore[index]
    assert {one["chosen_on"] for one in elsewhere} == {"other.csv"}
    assert elsewhere[0]["point"]["threshold"] != points[0]["point"]["threshold"]


def test_beside_another_bundle(run: Command, table: Path, several: Path, tiny_bundle: Path) -> None:
    options = ("--subgroup", "sex")
    report = evaluate(run, table, several, *options, "--against", tiny_bundle)
    [compared] = report["comparisons"]["against"]  # type: ignore[index]
    assert compared["auroc"]["difference"]["value"] == 0.0
    assert compared["decisions"] == {"only_first": 0, "only_second": 0, "p": 1.0}
    assert compared["studies"] == 4
    assert report["against"]["model"]["bundle_sha256"] and report["against"]["refused"] == []  # type: ignore[index]


def test_another_bundle_decides_by_its_own_threshold(run: Command, table: Path, several: Path, tmp_path: Path) -> None:
    """The same network, which never says the second label."""
    strict = make_tiny_bundle(tmp_path / "strict.mmcaf", threshold=0.9999)
    report = evaluate(run, table, several, "--subgroup", "sex", "--against", strict)
    [compared] = report["comparisons"]["against"]  # type: ignore[index]
    [own] = report["analysis"]["fp32"]  # type: ignore[index]
    right = round(own["decided"]["accuracy"]["value"] * 4)
    found = compared["decisions"]
    assert compared["auroc"]["difference"]["value"] == 0.0
    assert found["only_first"] - found["only_second"] == right - 2 and found["only_first"] + found["only_second"] > 0


def test_halves_of_one_table(run: Command, table: Path, several: Path) -> None:
    """What chooses thresholds may have the same further columns."""
    rules = ("--operating-point", "specificity=1", "--choose-on", table)
    report = evaluate(run, table, several, "--subgroup", "sex", *rules)
    assert report["chosen_on"]["cohort"]["studies"] == 5  # type: ignore[index]
    read = table.parent / "record0.json"
    run("mmcaf", "evaluate", "demo:0-1", "--bundle", several, *rules, "-o", read, "--force").refused(2, "input")


def test_intervals_of_few_studies_are_not_given(run: Command, table: Path, several: Path) -> None:
    few = table.parent / "few.csv"
    few.write_text("study,record,label\nseries0,record0.json,quiet\nseries1,record1.json,loud\n")
    outcome = run("mmcaf", "evaluate", few, "--bundle", several, "--backend", "onnxruntime")
    assert outcome.code == 0 and "(too few)" in outcome.out
    assert "1.000 (1.000 to 1.000)" not in outcome.out and "0.000 (0.000 to 0.000)" not in outcome.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--subgroup", "weight"], ["weight"]),
        (["--subgroup", "sex:1,2"], ["sex", "'F'"]),
        (["--subgroup", "id"], ["id"]),
        (["--subgroup", "years:70,50"], ["years:70,50"]),
        (["--subgroup", "years:nan"], ["years:nan"]),
        (["--operating-point", "best"], ["best"]),
        (["--choose-on", "demo:0-1"], ["operating point"]),
        (["--rows", "-"], ["--rows"]),
    ],
)
def test_wrong_use(run: Command, table: Path, several: Path, options: list[str], says: list[str]) -> None:
    run("mmcaf", "evaluate", table, "--bundle", several, "--subgroup", "sex", *options).refused(2, *says)


def test_a_bundle_with_other_labels_is_no_comparison(run: Command, table: Path, several: Path, tmp_path: Path) -> None:
    other = make_tiny_liver(tmp_path / "liver.mmcaf")
    options = ("--subgroup", "sex", "--against", other)
    run("mmcaf", "evaluate", table, "--bundle", several, *options).refused(2, "quiet, loud", "--against")


def test_a_misspelt_column_is_not_passed_over(run: Command, table: Path, several: Path) -> None:
    misspelt = table.parent / "misspelt.csv"
    misspelt.write_text("study,record,lable,sex\nseries0,record0.json,quiet,F\n")
    run("mmcaf", "evaluate", misspelt, "--bundle", several, "--subgroup", "sex").refused(2, "'lable'")


def test_cells_are_refused_before_a_study_is_read(run: Command, table: Path, several: Path) -> None:
    infinite = table.parent / "infinite.csv"
    infinite.write_text("study,record,years\nseries0,record0.json,50\nseries1,record0.json,inf\n")
    refused = run("mmcaf", "evaluate", infinite, "--bundle", several, "--subgroup", "years:50")
    refused.refused(2, "'inf'")
    assert "studies" not in refused.err.partition("subgroup")[0]
