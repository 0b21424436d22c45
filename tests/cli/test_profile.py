"""`mmcaf profile` and `mmcaf doctor --quick-check`: what they print and write, and what every wrong input is told."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import profile_reports
from command import Command
from mmcaf_cli.profile_text import WIDTH, render
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.checkup.check import Check
from mmcaf_engine.errors import Remedy
from mmcaf_engine.profile.compare import compare, judge
from mmcaf_engine.profile.report import ProfileReport
from refusals import Fact


class Measured(list[dict[str, Any]]):
    """What was asked for; `on_measuring` is called when it was."""

    on_measuring: Callable[[], object] = staticmethod(lambda: None)


@pytest.fixture(scope="module")
def report() -> ProfileReport:
    return profile_reports.report()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, report: ProfileReport) -> Measured:
    """Nothing is measured: the report made by hand is the outcome. What was asked for is noted."""
    asked = Measured()
    set_outcome(monkeypatch, report, asked)
    return asked


def set_outcome(monkeypatch: pytest.MonkeyPatch, outcome: ProfileReport, asked: Measured | None = None) -> None:
    def profile_bundle(bundle: Bundle, **options: Any) -> ProfileReport:
        if asked is not None:
            asked.append({"bundle": bundle, **options})
            asked.on_measuring()
        return outcome

    monkeypatch.setattr("mmcaf_cli.profile.profile_bundle", profile_bundle)
    monkeypatch.setattr("mmcaf_engine.profile.baseline.machine_facts", lambda: profile_reports.MACHINE)


@pytest.fixture
def old(tmp_path: Path, report: ProfileReport) -> Path:
    """The report as a baseline."""
    file = tmp_path / "old.json"
    file.write_text(report.to_json(), encoding="utf-8")
    return file


def names(folder: Path) -> list[str]:
    """What lies in a folder, drafts included."""
    return sorted(entry.name for entry in folder.iterdir())


def test_table(run: Command, tiny_bundle: Path, measured: Measured, report: ProfileReport) -> None:
    outcome = run("mmcaf", "profile", tiny_bundle)
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out == render(report) + "\n"
    rows = [line.split() for line in outcome.out.splitlines()]
    study, window, layers = (
        next(at for at, row in enumerate(rows) if row[:2] == head)
        for head in (["one", "study"], ["one", "window"], ["slowest", "layers"])
    )
    assert [row[:2] for row in rows[study + 1 : study + 5]] == [
        ["openvino", "int8"],
        ["openvino", "fp32"],
        ["onnxruntime", "fp32"],
        ["onnxruntime", "int8"],
    ]
    assert rows[study + 2][2:4] == ["186", "ms"] and rows[study + 2][-3:] == ["0", "232", "MB"]
    assert rows[window + 2][2:4] == ["11.9", "ms"] and rows[window + 1][-2:] == ["0.31", "J"]
    assert rows[layers + 2][:4] == ["E3D-MSCA", "stage", "1", "conv"]
    assert "not measured: openvino bf16, this processor has no units for BF16" in outcome.out


def long_names(report: ProfileReport) -> ProfileReport:
    """The report with names as long as a real network's, and more configurations than fit beside each other."""
    first = report.configurations[0]
    assert first.layers is not None
    rows = tuple(
        replace(row, name="/encoder/blocks" * 9, module="decoder of the third stage" * 3) for row in first.layers.rows
    )
    modules = tuple(replace(row, module=f"{row.module} {'of the decoder' * 4}") for row in first.layers.modules)
    wide = replace(first, backend="tensorrt", layers=replace(first.layers, rows=rows, modules=modules))
    several = tuple(replace(wide, precision=name) for name in ("fp32", "fp16", "bf16", "int8"))
    notes = ("A note that goes on for quite a while, and says what a reader should know. " * 4,)
    machine = replace(report.machine, processor="A processor with a long name " * 5)
    return replace(report, machine=machine, configurations=several * 3, notes=notes)  # fmt: skip


@pytest.mark.parametrize("change", [lambda report: report, long_names], ids=["usual", "long-names"])
def test_it_fits_a_terminal(report: ProfileReport, change: Callable[[ProfileReport], ProfileReport]) -> None:
    changed = change(report)
    lines = render(changed, compare(changed, report)).splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_control_characters_do_not_reach_the_terminal(report: ProfileReport) -> None:
    first = report.configurations[0]
    assert first.layers is not None
    rows = tuple(replace(row, name="\x1b[2J\x9b5n") for row in first.layers.rows)
    changed = replace(
        report,
        bundle=replace(report.bundle, name="lung\x1b]0;title\x07"),
        configurations=(replace(first, layers=replace(first.layers, rows=rows), notes=("a\rb",)),),
    )
    assert all(line.isprintable() for line in render(changed).splitlines())


@pytest.mark.parametrize(
    "change",
    [
        {"answer": None, "cold": None},
        {"steady": None, "throughput": (), "memory": None},
        {"layers": None},
        {"steady": None, "answer": None, "cold": None, "layers": None, "throughput": (), "memory": None},
    ],
    ids=["no-study", "no-window", "no-layers", "nothing"],
)
def test_what_was_not_measured_is_a_dash(report: ProfileReport, change: dict[str, Any]) -> None:
    changed = tuple(one if one.skipped else replace(one, **change) for one in report.configurations)
    text = render(replace(report, configurations=changed, roofline=None))
    assert "None" not in text and "nan" not in text
    assert ("one study" in text) == any(one.answer or one.memory for one in changed)
    assert ("one window" in text) == any(one.steady or one.layers for one in changed)


def test_options_reach_the_engine(run: Command, tiny_bundle: Path, measured: Measured) -> None:
    arguments = ["--backend", "openvino", "--backend", "onnxruntime", "--precision", "int8", "--runs", "7"]
    arguments += ["--threads", "1", "--batch", "4", "--concurrency", "8", "--study", "s.dcm", "--record", "r.json"]
    assert run("mmcaf", "profile", tiny_bundle, *arguments).code == 0
    asked = measured[0]
    assert asked.pop("bundle").manifest.name == "tiny" and callable(asked.pop("progress"))
    assert asked == {
        "study": Path("s.dcm"), "record": Path("r.json"), "backends": ["openvino", "onnxruntime"],
        "precisions": ["int8"], "runs": 7, "threads": 1, "batch": 4, "concurrency": [8],
    }  # fmt: skip


def test_what_is_not_named_is_left_to_the_engine(run: Command, tiny_bundle: Path, measured: Measured) -> None:
    run("mmcaf", "profile", tiny_bundle)
    assert not {"backends", "precisions", "concurrency"} & set(measured[0])


def test_json_on_stdout(run: Command, tiny_bundle: Path, measured: Measured, report: ProfileReport) -> None:
    for option in (["--json"], ["-o", "-"]):
        outcome = run("mmcaf", "profile", tiny_bundle, *option)
        assert outcome.code == 0 and outcome.err == ""
        assert ProfileReport.from_json(outcome.out) == report


@pytest.mark.parametrize("file", ["report.json", "-"])
def test_json_takes_no_file_any_more(
    run: Command, tiny_bundle: Path, measured: Measured, tmp_path: Path, file: str
) -> None:
    """It did once; who still writes it so is told what it is called now."""
    outcome = run("mmcaf", "profile", tiny_bundle, "--json", file)
    outcome.refused(2, "--json", f"-o {file}")
    outcome = run("mmcaf", "profile", tiny_bundle, file)
    outcome.refused(2, file)
    assert "--json" not in outcome.err
    assert not measured


def test_files(run: Command, tiny_bundle: Path, measured: Measured, report: ProfileReport, tmp_path: Path) -> None:
    files = {kind: tmp_path / "out" / f"report.{kind}" for kind in ("output", "trace", "html")}
    (tmp_path / "out").mkdir()
    files["html"].write_text("an older one")
    options = [part for kind, file in files.items() for part in (f"--{kind}", file)]
    refused = run("mmcaf", "profile", tiny_bundle, *options)
    refused.refused(2, str(files["html"]), "--force")
    assert not measured
    outcome = run("mmcaf", "profile", tiny_bundle, *options, "--force")
    assert outcome.code == 0 and outcome.out == render(report) + "\n"
    assert names(tmp_path / "out") == ["report.html", "report.output", "report.trace"]
    assert ProfileReport.from_json(files["output"].read_bytes()) == report
    assert json.loads(files["trace"].read_text(encoding="utf-8"))["traceEvents"]
    assert files["html"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert all(f"written: {files[kind]}" in outcome.err for kind in ("trace", "html"))


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["without-force", "with-force"])
def test_a_link_is_refused(
    run: Command, tiny_bundle: Path, measured: Measured, tmp_path: Path, force: list[str]
) -> None:
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    outcome = run("mmcaf", "profile", tiny_bundle, "-o", tmp_path / "link.json", *force)
    outcome.refused(2, "link.json", "link", "--output")
    assert not measured
    assert (tmp_path / "target.json").read_text() == "old"


def test_interrupted(
    run: Command, tiny_bundle: Path, report: ProfileReport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: Path
) -> None:
    part = replace(report, interrupted=True, configurations=report.configurations[:1])
    set_outcome(monkeypatch, part)
    file = tmp_path / "part.json"
    arguments = ["-o", file, "--baseline", old, "--fail-over", "0%"]
    outcome = run("mmcaf", "profile", tiny_bundle, *arguments)
    assert outcome.code == 130 and outcome.err.endswith("interrupted: this is what was measured so far\n")
    assert outcome.out.startswith("Interrupted: this is what was measured so far.\n")
    assert ProfileReport.from_json(file.read_bytes()) == part


def test_interrupted_before_anything(
    run: Command, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def profile_bundle(bundle: Bundle, **options: Any) -> ProfileReport:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmcaf_cli.profile.profile_bundle", profile_bundle)
    outcome = run("mmcaf", "profile", tiny_bundle, "--html", tmp_path / "page.html")
    assert outcome.code == 130 and "interrupted before anything was measured" in outcome.err
    assert outcome.out == "" and not (tmp_path / "page.html").exists()


def test_baseline(run: Command, tiny_bundle: Path, measured: Measured, old: Path) -> None:
    outcome = run("mmcaf", "profile", tiny_bundle, "--baseline", old, "--fail-over", "5%")
    assert outcome.code == 0 and outcome.err == ""
    lines = [line for line in outcome.out.splitlines() if "no clear change" in line]
    assert len(lines) == 8 and all("+0.0%" in line for line in lines)


def test_slower_than_the_baseline(
    run: Command, tiny_bundle: Path, report: ProfileReport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: Path
) -> None:
    slower = profile_reports.slower(report, 1.2, only=("onnxruntime", "fp32"))
    set_outcome(monkeypatch, slower)
    page = tmp_path / "page.html"
    arguments = ["--baseline", old, "--fail-over", "5%", "--html", page]
    outcome = run("mmcaf", "profile", tiny_bundle, *arguments)
    assert outcome.code == 7
    assert f"error: More than 5% slower than {old}: onnxruntime fp32" in outcome.err
    assert "onnxruntime fp32, one study: +20.0%" in outcome.err and "openvino" not in outcome.err
    assert outcome.out == render(slower, judge(compare(slower, report), 0.05)) + "\n"
    assert "Slower than the limit allows." in page.read_text(encoding="utf-8")
    assert run("mmcaf", "profile", tiny_bundle, "--baseline", old, "--fail-over", "30%").code == 0
    assert run("mmcaf", "profile", tiny_bundle, "--baseline", old).code == 0


def test_another_bundle_is_warned_of(
    run: Command, tiny_bundle: Path, report: ProfileReport, monkeypatch: pytest.MonkeyPatch, old: Path
) -> None:
    set_outcome(monkeypatch, replace(report, bundle=replace(report.bundle, sha256="f" * 64)))
    outcome = run("mmcaf", "profile", tiny_bundle, "--baseline", old)
    assert outcome.code == 0 and "warning: The baseline is of another bundle" in outcome.err


def test_another_machine_is_refused_before_measuring(
    run: Command, tiny_bundle: Path, measured: Measured, report: ProfileReport, old: Path
) -> None:
    old.write_text(replace(report, machine=replace(report.machine, cores=64)).to_json(), encoding="utf-8")
    outcome = run("mmcaf", "profile", tiny_bundle, "--baseline", old, "--fail-over", "5%")
    outcome.refused(2, "cores", 64, 2)
    assert not measured
    outcome = run("mmcaf", "profile", tiny_bundle, "--baseline", old)
    assert outcome.code == 0 and "warning: The baseline is of another machine" in outcome.err


def newer(document: str) -> str:
    return document.replace('"schema_version": 1', '"schema_version": 2', 1)


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (lambda text: "", ("JSON", "line 1")),
        (lambda text: text[: len(text) // 2], ("JSON", "line")),
        (lambda text: "[1, 2]", ("version", 1)),
        (newer, ("version", 2, 1)),
        (lambda text: text.replace('"p50"', '"p51"'), ("p50",)),
        (lambda text: text.replace('"cores": 2', '"cores": "two"'), ("cores",)),
        (lambda text: text.replace('"runs": 20', '"runs": NaN'), ("NaN",)),
        (lambda text: "\udcff", ("UTF-8",)),
    ],
    ids=["empty", "cut-short", "list", "newer", "other-key", "wrong-type", "nan", "not-text"],
)
def test_malformed_baseline(
    run: Command,
    tiny_bundle: Path,
    measured: Measured,
    old: Path,
    damage: Callable[[str], str],
    facts: tuple[Fact, ...],
) -> None:
    old.write_bytes(damage(old.read_text(encoding="utf-8")).encode(errors="surrogateescape"))
    outcome = run("mmcaf", "profile", tiny_bundle, "--baseline", old)
    outcome.refused(2, str(old), *facts)
    assert not measured


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["--fail-over", "5%"], ("--fail-over", "--baseline")),
        (["--baseline", "OLD", "--fail-over", "5"], ("--fail-over", "percentage")),
        (["--baseline", "OLD", "--fail-over", "a lot"], ("--fail-over", "percentage")),
        (["--baseline", "OLD", "--fail-over", "5%", "--runs", "3"], ("5 runs", 3)),
        (["--baseline", "nowhere.json"], ("nowhere.json", "no such file")),
        (["--baseline", "."], ("directory", "file")),
        (["-o", "nowhere/out.json"], ("nowhere/out.json", "No such file or directory", "--output")),
        (["--html", "."], ("directory", "--html")),
        (["--trace", "fifo", "--force"], ("fifo", "FIFO", "--trace")),
        (["--trace", "-"], ("--trace -", "printed")),
        (["--html", "-"], ("--html -", "printed")),
        (["-o", "a.out", "--html", "a.out"], ("a.out", "twice", "output", "html")),
        (["-o", "OLD", "--baseline", "OLD", "--force"], ("old.json", "input", "--output")),
    ],
    ids=[
        "no-baseline", "no-percent-sign", "words", "few-runs", "missing-baseline", "baseline-folder", "no-folder",
        "folder", "fifo", "trace-to-stdout", "html-to-stdout", "same-file", "input",
    ],
)  # fmt: skip
def test_refused_before_measuring(
    run: Command,
    tiny_bundle: Path,
    measured: Measured,
    old: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    facts: tuple[Fact, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    before = names(tmp_path)
    outcome = run("mmcaf", "profile", tiny_bundle, *[str(old) if one == "OLD" else one for one in arguments])
    outcome.refused(2, *facts)
    assert not measured and names(tmp_path) == before


def test_an_output_that_fails_late_leaves_nothing_half_written(
    run: Command, tiny_bundle: Path, measured: Measured, report: ProfileReport, tmp_path: Path
) -> None:
    """A folder comes to stand where the second file was to go, after the check; what was measured is printed."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.json").write_text("older")
    page = tmp_path / "out" / "page.html"
    measured.on_measuring = page.mkdir
    outcome = run("mmcaf", "profile", tiny_bundle, "-o", tmp_path / "out" / "a.json", "--html", page, "--force")
    assert outcome.code == 2 and "page.html: a directory" in outcome.err
    assert outcome.out == render(report) + "\n"
    assert names(tmp_path / "out") == ["a.json", "page.html"] and (tmp_path / "out" / "a.json").read_text() == "older"


@pytest.mark.parametrize("arguments", [[], ["BUNDLE", "--runs", "many"], ["BUNDLE", "--more"]])
def test_wrong_usage(run: Command, tiny_bundle: Path, arguments: list[str]) -> None:
    outcome = run("mmcaf", "profile", *[str(tiny_bundle) if one == "BUNDLE" else one for one in arguments])
    assert outcome.code == 2 and outcome.out == "" and "mmcaf profile" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["nowhere.mmcaf"], 5, ("nowhere.mmcaf", "no such")),
        (["BUNDLE", "--runs", "0"], 2, ("runs", 1, 0)),
        (["BUNDLE", "--threads", "0"], 2, ("threads", 1, 0)),
        (["BUNDLE", "--batch", "0"], 2, ("batch", 1, 0)),
        (["BUNDLE", "--concurrency", "0"], 2, ("concurrency", 1, 0)),
        (["BUNDLE", "--precision", "int8"], 6, ("tiny", "int8", "fp32")),
        (["BUNDLE", "--precision", "int9"], 2, ("'int9'",)),
        (["BUNDLE", "--backend", "abacus"], 2, ("'abacus'",)),
        (["BUNDLE", "--study", "nowhere.dcm", "--record", "RECORD"], 3, ("nowhere.dcm", "no such file")),
        (["BUNDLE", "--study", "nowhere.dcm"], 4, ("tiny", "record", "sex", "age")),
        (["BUNDLE", "--record", "RECORD"], 2, ("study",)),
    ],
    ids=[
        "no-bundle", "no-runs", "no-threads", "no-batch", "nobody-at-a-time", "precision-not-held", "no-such-precision",
        "no-such-backend", "no-study", "no-record", "record-alone",
    ],
)  # fmt: skip
def test_wrong_input(
    run: Command, tiny_bundle: Path, tmp_path: Path, arguments: list[str], code: int, facts: tuple[Fact, ...]
) -> None:
    """Nothing is replaced here: the engine itself refuses, and no output appears."""
    file = tmp_path / "out.json"
    record = tmp_path / "record.json"
    record.write_text('{"sex": "M", "age": 60}')
    paths = {"BUNDLE": tiny_bundle, "RECORD": record}
    outcome = run("mmcaf", "profile", *[paths.get(one, one) for one in arguments], "-o", file)
    outcome.refused(code, *facts)
    assert not file.exists()


def test_missing_backend(run: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was named and is not installed is refused before anything is measured."""
    missing = classmethod(
        lambda cls: Availability(False, "openvino cannot be imported", (Remedy("Install it", command="pip x"),))
    )
    monkeypatch.setattr(OpenVinoBackend, "availability", missing)
    file = tmp_path / "out.json"
    arguments = ["--backend", "onnxruntime", "--backend", "openvino", "-o", file]
    outcome = run("mmcaf", "profile", tiny_bundle, *arguments)
    outcome.refused(6, "openvino", "pip x", "--backend=auto")
    assert not file.exists()


@pytest.mark.parametrize(
    ("status", "code"), [("ok", 0), ("note", 0), ("problem", 6)], ids=["healthy", "with-a-note", "slow"]
)
def test_quick_check(run: Command, monkeypatch: pytest.MonkeyPatch, status: Any, code: int) -> None:
    findings = [Check("bundle", "tiny", "ok", "fine"), Check("engine", "latency", status, "one window 12 ms")]
    monkeypatch.setattr("mmcaf_engine.checkup.quick_check.quick_check", lambda path: findings)
    outcome = run("mmcaf", "doctor", "--quick-check")
    assert outcome.code == code and ("healthy" in outcome.out.splitlines()) == (code == 0)
    assert "one window 12 ms" in outcome.out and ("Not healthy: engine latency." in outcome.err) == (code == 6)
    document = json.loads(run("mmcaf", "doctor", "--quick-check", "--json").out)
    assert document["healthy"] == (code == 0) and document["findings"][1]["subject"] == "latency"


def test_quick_check_of_a_bundle_that_is_named(
    run: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    outcome = run("mmcaf", "doctor", "--quick-check", "--bundle", tiny_bundle)
    assert outcome.code == 0, outcome.out + outcome.err
    for said in ("2 golden cases within", "recorded now", "disk of the cache", "memory"):
        assert said in outcome.out
    nowhere = tmp_path / "nowhere.mmcaf"
    outcome = run("mmcaf", "doctor", "--quick-check", "--bundle", nowhere)
    assert outcome.code == 6 and f"PROBLEM bundle: {nowhere}: no such bundle" in " ".join(outcome.out.split())


def test_bundle_is_for_the_quick_check(run: Command, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "doctor", "--bundle", tiny_bundle)
    outcome.refused(2, "--bundle", "--quick-check")
