"""Where the outcome of a command goes."""

from pathlib import Path

import pytest

from mmcaf_cli.report import DASH, Report, one_output, png, refuse_extra, refuse_stdout
from mmcaf_engine.errors import UsageError
from mmcaf_engine.outputs import Output
from refusals import refused


@pytest.mark.parametrize(
    ("report", "printed"),
    [(Report(), "text"), (Report(json=True), "{}"), (Report(output=DASH), "{}")],
    ids=["text", "json", "dash"],
)
def test_text_or_json_is_printed(report: Report, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    report.give(lambda: "text", lambda: "{}")
    assert capsys.readouterr().out == f"{printed}\n"


def test_the_json_for_stdout_may_be_another_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answer.json"
    Report(json=True, output=file).give(lambda: "text", lambda: "{ }", printed=lambda: "{}")
    assert capsys.readouterr().out == "{}\n" and file.read_text() == "{ }\n"


def test_what_cannot_be_written_is_printed_and_then_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with refused(UsageError, "answer.json"):
        Report(output=tmp_path / "absent" / "answer.json").give(lambda: "text", lambda: "{}")
    assert capsys.readouterr().out == "text\n"


def test_a_file_that_is_read_is_never_replaced(tmp_path: Path) -> None:
    study = tmp_path / "study.dcm"
    study.write_bytes(b"precious")
    for force in (True, False):
        with refused(UsageError, "study.dcm"):
            Report(output=study, force=force).check(inputs=[study])
    Report(output=tmp_path / "answer.json").check(inputs=[study, None])


def test_what_stands_there_is_replaced_by_force_alone(tmp_path: Path) -> None:
    folder = Output("output", tmp_path / "bundle", "whole", "manifest.json", lambda folder: {"manifest.json"})
    folder.path.mkdir()
    (folder.path / "manifest.json").touch()
    Report(force=True).check(folder)
    with refused(UsageError, "bundle", option="force"):
        Report().check(folder)


def test_what_is_no_text_is_not_printed() -> None:
    with refused(UsageError, "--heatmap -"):
        refuse_stdout(Output("heatmap", DASH))
    with refused(UsageError, "--heatmap -"):
        Report().check(Output("heatmap", DASH))


def test_pictures_are_named_as_such() -> None:
    assert png("roc", Path("curve.PNG")).path == Path("curve.PNG")
    with refused(UsageError, "curve.jpg", "--roc", "PNG"):
        png("roc", Path("curve.jpg"))


def test_the_old_name_of_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert one_output(None, Path("old")) == Path("old") and one_output(Path("new"), None) == Path("new")
    with refused(UsageError, "--out", "--output"):
        one_output(Path("new"), Path("old"))


def test_what_follows_json_is_no_file() -> None:
    refuse_extra([], json=True)
    with refused(UsageError, "'a b.json'"):
        refuse_extra(["a b.json"], json=True)
    with pytest.raises(UsageError) as caught:
        refuse_extra(["report.json"], json=False)
    assert "-o" not in str(caught.value)
