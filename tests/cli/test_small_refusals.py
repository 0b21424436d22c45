"""Wrong words, wrong settings and places that must not be written to, of every command alike."""

import json
import os
from errno import ENOSPC
from pathlib import Path

import pytest

from command import Command
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.phantom import make_phantom, record
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.demo.write_mr import write_mr_series
from mmcaf_engine.errors import MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.outputs import StagedFile
from mmcaf_engine.record.record import read_record
from mmcaf_engine.record.report import read_report
from mmcaf_engine.settings import read_settings
from mmcaf_engine.study import read_study
from refusals import refused
from tiny_liver import make_tiny_liver


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study; read it, do not change it."""
    folder = tmp_path_factory.mktemp("made")
    phantom = make_phantom(3, size=64)
    write_series(phantom, folder / "study")
    (folder / "record.json").write_text(json.dumps(record(phantom.patient)))
    return folder / "study"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "mmcaf-infer").mkdir(parents=True)
    return tmp_path / "config" / "mmcaf-infer" / "config.toml"


@pytest.mark.parametrize(
    "arguments",
    [
        ["mmcaf-infer", "STUDY", "RECORD"],
        ["mmcaf", "profile", "BUNDLE"],
        ["mmcaf", "evaluate", "demo:0-1"],
        ["mmcaf", "quantize", "BUNDLE", "-o", "NEW"],
        ["mmcaf", "build", "BUNDLE", "--target", "sm_86"],
    ],
    ids=lambda arguments: arguments[1] if arguments[0] == "mmcaf" else "infer",
)
def test_a_precision_of_no_such_name_is_wrong_usage(
    arguments: list[str], run: Command, study: Path, tmp_path: Path
) -> None:
    places = {"STUDY": study, "RECORD": study.parent / "record.json", "BUNDLE": demo_bundle(), "NEW": tmp_path / "new"}
    outcome = run(*(places.get(word, word) for word in arguments), "--precision", "fp99")
    outcome.refused(2, "'fp99'")


def test_a_precision_that_the_bundle_lacks(run: Command, study: Path) -> None:
    outcome = run("mmcaf-infer", study, study.parent / "record.json", "--precision", "bf16")
    outcome.refused(6, "bf16")


@pytest.mark.parametrize("text", ["bundles = '/x'", "cache_limit = 'much'"], ids=["unknown-key", "wrong-type"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["mmcaf", "verify", "BUNDLE"],
        ["mmcaf", "inspect", "BUNDLE"],
        ["mmcaf", "studies", "BUNDLE"],
        ["mmcaf", "demo", "-o", "NEW"],
        ["mmcaf", "record-template", "-o", "NEW", "--bundle", "BUNDLE"],
        ["mmcaf", "cache", "list"],
        ["mmcaf", "trust", "NEW"],
        ["mmcaf-infer", "BUNDLE", "--bundle", "BUNDLE"],
    ],
    ids=lambda arguments: arguments[1],
)
def test_wrong_settings_stop_every_command(
    arguments: list[str], text: str, run: Command, config: Path, tmp_path: Path
) -> None:
    config.write_text(text)
    outcome = run(*({"BUNDLE": demo_bundle(), "NEW": tmp_path / "new"}.get(word, word) for word in arguments))
    outcome.refused(2, str(config))
    assert not (tmp_path / "new").exists()


def test_wrong_settings_do_not_stop_what_looks_for_them(run: Command, config: Path) -> None:
    config.write_text("bundles = '/x'")
    assert run("mmcaf", "version").code == 0
    outcome = run("mmcaf", "doctor")
    assert outcome.code == 6 and "unknown key 'bundles'" in outcome.out


@pytest.mark.parametrize("text", ["cache_limit = 'much'", "cache = 3", "bundle = []"])
def test_a_wrong_value_in_the_file_is_refused_though_a_variable_counts(
    text: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(text)
    for name, value in (("CACHE_LIMIT", "5"), ("CACHE", "/x"), ("BUNDLE", "/x")):
        monkeypatch.setenv(f"MMCAF_{name}", value)
    with refused(UsageError, str(config), text.split()[0]):
        read_settings()


def test_a_wrong_variable_is_not_blamed_on_the_file(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "-3")
    outcome = run("mmcaf", "doctor")
    assert outcome.code == 6 and "$MMCAF_CACHE_LIMIT" in outcome.out
    assert "config.toml" not in outcome.out + outcome.err
    outcome = run("mmcaf", "verify", demo_bundle())
    outcome.refused(2, "$MMCAF_CACHE_LIMIT", "MiB")


@pytest.mark.parametrize("failing", ["answer.json", "map.png"])
def test_nothing_stays_of_one_output_if_the_other_cannot_be_written(
    failing: str,
    run: Command,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, made = StagedFile.finish, tmp_path_factory.mktemp("liver")
    write_mr_series(liver_study(3, slices=16, size=16), made / "dicom")
    bundle = make_tiny_liver(made / "liver.mmcaf")
    arguments = ["mmcaf-infer", made / "dicom", "--bundle", bundle, "--backend", "onnxruntime", "--force"]
    arguments += ["-o", tmp_path / "answer.json", "--heatmap", tmp_path / "map.png"]
    (tmp_path / "map.png").write_bytes(b"older")

    def finish(file: StagedFile) -> None:
        if file._target == tmp_path / failing:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(StagedFile, "finish", finish)
        outcome = run(*arguments)
    assert outcome.code == 2 and f"{failing}: cannot be written: No space left" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["map.png"] and (tmp_path / "map.png").read_bytes() == b"older"
    assert run(*arguments).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.json", "map.png"]
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["-o", "--heatmap"])
def test_nothing_is_written_into_the_folder_of_the_study_or_the_bundle(
    option: str, run: Command, study: Path, tmp_path: Path
) -> None:
    before = sorted(study.iterdir())
    outcome = run("mmcaf-infer", study, study.parent / "record.json", option, study / "new.png")
    outcome.refused(2, "input", str(study))
    outcome = run("mmcaf", "inspect", demo_bundle(), "-o", demo_bundle() / "new.json")
    outcome.refused(2, "input", str(demo_bundle() / "new.json"))
    assert sorted(study.iterdir()) == before and not (demo_bundle() / "new.json").exists()


TEXTS = {
    "json": '{"patient_id": "SECRET", "sex": "F"}',
    "long-json": '{"patient_id": "SECRET", "note": "' + "x" * 400 + '"}',
    "list": '["SECRET"]',
    "lines": "SECRET is 63 years old.\nAnd so on.",
    "long": "SECRET is 63 years old. " * 30,
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_in_place_of_a_path_is_not_quoted(kind: str, run: Command, study: Path) -> None:
    reads = {RecordError: [lambda text: read_record(text, None), read_report], StudyError: [read_study]}
    for error, readers in reads.items():
        for read in readers:
            with pytest.raises(MmcafError) as caught:
                read(TEXTS[kind])
            assert isinstance(caught.value, error) and "SECRET" not in str(caught.value)
    outcome = run("mmcaf-infer", study, TEXTS[kind])
    assert outcome.code == 4 and "SECRET" not in outcome.err + outcome.out
