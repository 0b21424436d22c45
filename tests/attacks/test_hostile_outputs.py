"""Paths to write to that would destroy something: every command refuses them before it reads anything else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command import Command
from mmcaf_engine import load_bundle
from mmcaf_engine.bundle.bundle import Bundle, check_output, write_bundle
from mmcaf_engine.errors import BundleError, MmcafError, UsageError
from refusals import check_facts, refused
from tiny_bundle import make_tiny_bundle, tiny_manifest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and FIFOs of POSIX")

ABSENT = ("absent.dcm", "absent.json")
COMMANDS = {
    "infer": ("mmcaf-infer", *ABSENT, "--force", "-o", "OUT.json"),
    "infer --out": ("mmcaf-infer", *ABSENT, "--out", "OUT.json"),
    "infer --html": ("mmcaf-infer", *ABSENT, "--force", "--html", "OUT.html"),
    "infer --fhir-out": ("mmcaf-infer", *ABSENT, "--force", "--fhir-out", "OUT.json"),
    "infer --heatmap": ("mmcaf-infer", *ABSENT, "--force", "--heatmap", "OUT.png"),
    "profile": ("mmcaf", "profile", "absent.mmcaf", "--force", "-o", "OUT.json"),
    "profile --trace": ("mmcaf", "profile", "absent.mmcaf", "--force", "--trace", "OUT.json"),
    "profile --html": ("mmcaf", "profile", "absent.mmcaf", "--force", "--html", "OUT.html"),
    "evaluate": ("mmcaf", "evaluate", "absent.csv", "--force", "-o", "OUT.json"),
    "evaluate --roc": ("mmcaf", "evaluate", "absent.csv", "--force", "--roc", "OUT.png"),
    "inspect": ("mmcaf", "inspect", "absent.mmcaf", "--force", "-o", "OUT.json"),
    "verify": ("mmcaf", "verify", "absent.mmcaf", "--force", "-o", "OUT.json"),
    "tune": ("mmcaf", "tune", "absent.mmcaf", "--force", "-o", "OUT.json"),
    "studies": ("mmcaf", "studies", "absent.dcm", "--force", "-o", "OUT.json"),
    "doctor": ("mmcaf", "doctor", "--force", "-o", "OUT.json"),
    "cache list": ("mmcaf", "cache", "list", "--force", "-o", "OUT.json"),
    "build": ("mmcaf", "build", "absent.mmcaf", "--force", "-o", "OUT"),
    "record-template": ("mmcaf", "record-template", "--force", "-o", "OUT.json"),
    "demo": ("mmcaf", "demo", "--force", "-o", "OUT"),
}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("precious")
    path.symlink_to(path.parent / "elsewhere")


def what_stands(path: Path) -> tuple[int, ...]:
    """Which file it is, of which kind, and when it was written; looking at a link changes when it was read."""
    found = path.lstat()
    return (found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns)


@pytest.mark.parametrize("make", [fifo, link])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_file_is_never_replaced(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *arguments = COMMANDS[command]
    (out,) = [argument for argument in arguments if argument.startswith("OUT")]
    make(tmp_path / out)
    before, left = what_stands(tmp_path / out), sorted(tmp_path.iterdir())
    outcome = run(name, *arguments)
    assert outcome.code == 2
    check_facts(outcome.error(), out, "FIFO" if make is fifo else "link")
    assert what_stands(tmp_path / out) == before and sorted(tmp_path.iterdir()) == left
    assert make is fifo or (tmp_path / "elsewhere").read_text() == "precious"


def test_a_link_in_place_of_a_file_of_a_demo(run: Command, tmp_path: Path) -> None:
    link(tmp_path / "record.json")
    outcome = run("mmcaf", "demo", "--force", "-o", tmp_path)
    assert outcome.code == 2
    check_facts(outcome.error(), "record.json", "link")
    assert (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.parametrize("named", ["study.dcm", "record.json"])
def test_the_answer_never_replaces_what_it_is_an_answer_to(run: Command, tmp_path: Path, named: str) -> None:
    for name in ("study.dcm", "record.json"):
        (tmp_path / name).write_text("precious")
    outcome = run("mmcaf-infer", tmp_path / "study.dcm", tmp_path / "record.json", "--force", "-o", tmp_path / named)
    assert outcome.code == 2
    check_facts(outcome.error(), named, "input")
    assert (tmp_path / named).read_text() == "precious"


def test_a_report_never_replaces_a_file_of_the_bundle(run: Command, tiny_bundle: Path) -> None:
    before = (tiny_bundle / "model.onnx").read_bytes()
    outcome = run("mmcaf", "profile", tiny_bundle, "--force", "-o", tiny_bundle / "model.onnx")
    assert outcome.code == 2
    check_facts(outcome.error(), str(tiny_bundle / "model.onnx"), "input")
    assert (tiny_bundle / "model.onnx").read_bytes() == before


def source(tmp_path: Path) -> Path:
    draft = make_tiny_bundle(tmp_path / "source.mmcaf")
    (draft / "manifest.json").unlink()
    return draft


def test_a_bundle_never_replaces_a_folder_of_something_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("precious")
    with refused(UsageError, str(home), "manifest.json"):
        write_bundle(source(tmp_path), tiny_manifest(), home, force=True)
    assert (home / "thesis.tex").read_text() == "precious"


MANIFESTS = {
    "of a web page": ('{"name": "my page", "icons": []}', "manifest.json"),
    "no JSON": ("precious", "manifest.json"),
    "a list": ("[]", "manifest.json"),
    "a bundle's, beside something else": ('{"format_version": 1, "models": {}, "files": {"a": {}}}', "thesis.tex"),
}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_of_something_else_makes_no_bundle(tmp_path: Path, manifest: str) -> None:
    home, (text, said) = tmp_path / "home", MANIFESTS[manifest]
    home.mkdir()
    (home / "manifest.json").write_text(text)
    (home / "thesis.tex").write_text("precious")
    with refused(UsageError, str(home), said):
        check_output(home, force=True)


@pytest.mark.parametrize("damage", ["of a later version", "without a file", "signed"])
def test_a_bundle_is_replaced_however_damaged(tmp_path: Path, damage: str) -> None:
    place = make_tiny_bundle(tmp_path / "tiny.mmcaf")
    manifest = place / "manifest.json"
    if damage == "of a later version":
        manifest.write_text(manifest.read_text().replace('"format_version": ', '"format_version": 9'))
    elif damage == "without a file":
        (place / "model.onnx").unlink()
    else:
        (place / "manifest.json.minisig").write_text("signed")
    check_output(place, force=True)


def test_a_demonstration_replaces_no_folder_of_somebody(run: Command, tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "IM0001").write_text("precious")
    run("mmcaf", "demo", "--force", "-o", tmp_path).refused(2, str(tmp_path / "series"), "IM0001")
    assert (tmp_path / "series" / "IM0001").read_text() == "precious"


@pytest.mark.parametrize("make", [fifo, link])
@pytest.mark.parametrize("name", ["out.mmcaf", "out.zip"])
def test_a_bundle_never_replaces_what_is_neither_file_nor_folder(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / name)
    before = what_stands(tmp_path / name)
    with refused(UsageError, str(tmp_path / name), "FIFO" if make is fifo else "link"):
        write_bundle(source(tmp_path), tiny_manifest(), tmp_path / name, force=True)
    assert what_stands(tmp_path / name) == before


def the_move_fails(monkeypatch: pytest.MonkeyPatch, target: Path) -> type[MmcafError]:
    """The disk fails when the new one is moved to its place."""

    def fail(*_: object) -> Path:
        raise OSError(5, "Input/output error")

    for name in ("exchange", "_replace_in_two_steps"):
        monkeypatch.setattr(f"mmcaf_engine.outputs.staged.{name}", fail)
    monkeypatch.setattr(Path, "replace", fail)
    return UsageError


def the_second_step_fails(monkeypatch: pytest.MonkeyPatch, target: Path) -> type[MmcafError]:
    """As before, where two names cannot change places, and the old one is out of the way already."""
    rename = Path.rename

    def fail(self: Path, place: Path) -> Path:
        if place == target and self.name != target.name:
            raise OSError(5, "Input/output error")
        return rename(self, place)

    monkeypatch.setattr("mmcaf_engine.outputs.staged.exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fail)
    monkeypatch.setattr(Path, "replace", fail)
    return UsageError


def the_new_one_is_damaged(monkeypatch: pytest.MonkeyPatch, target: Path) -> type[MmcafError]:
    """What was written is not what is read again."""

    def fail(self: Bundle) -> None:
        raise BundleError("Input/output error")

    monkeypatch.setattr(Bundle, "verify", fail)
    return BundleError


@pytest.mark.parametrize("name", ["tiny.mmcaf", "tiny.zip"])
@pytest.mark.parametrize("fault", [the_move_fails, the_second_step_fails, the_new_one_is_damaged])
def test_a_bundle_is_never_lost_while_it_is_replaced(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: Callable[[pytest.MonkeyPatch, Path], type[MmcafError]],
) -> None:
    target = tmp_path / "kept" / name
    target.parent.mkdir()
    write_bundle(source(tmp_path), tiny_manifest(), target)
    before = load_bundle(target).sha256
    second = source(tmp_path)
    kind = fault(monkeypatch, target)
    with refused(kind, "Input/output error"):
        write_bundle(second, {**tiny_manifest(), "name": "other"}, target, force=True)
    monkeypatch.undo()
    assert load_bundle(target).sha256 == before and [path.name for path in target.parent.iterdir()] == [name]


@pytest.mark.parametrize("by", ["environment", "configuration"])
@pytest.mark.parametrize("target", ["zip", "manifest", "configuration"])
def test_what_the_settings_name_is_an_input_too(
    by: str, target: str, run: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    config = tmp_path / "config" / "mmcaf-infer" / "config.toml"
    config.parent.mkdir(parents=True)
    bundle = Path(shutil.make_archive(str(tmp_path / "own"), "zip", tiny_bundle)) if target == "zip" else tiny_bundle
    config.write_text(f'bundle = "{bundle}"\n' if by == "configuration" else "", encoding="utf-8")
    if by == "environment":
        monkeypatch.setenv("MMCAF_BUNDLE", str(bundle))
    file = {"zip": bundle, "manifest": tiny_bundle / "manifest.json", "configuration": config}[target]
    before = file.read_bytes()
    outcome = run("mmcaf-infer", tmp_path / "study", tmp_path / "record.json", "-o", file, "--force")
    assert outcome.code == 2
    check_facts(outcome.error(), str(file), "input")
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["config.toml", "trusted.json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_replaces_settings_or_trusted_keys(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    """Who can have them replaced decides whose bundles are taken."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mmcaf-infer"
    folder.mkdir(mode=0o700)
    content = {"config.toml": "cache_limit = 1000\n", "trusted.json": '{"format": 1}'}
    for file, text in content.items():
        (folder / file).write_text(text)
    program, *arguments = COMMANDS[command]
    arguments = [f"mmcaf-infer/{name}" if argument.startswith("OUT") else argument for argument in arguments]
    force = [] if "--force" in arguments else ["--force"]
    outcome = run(program, *arguments, *force)
    assert outcome.code == 2 and outcome.out == ""
    assert {file: (folder / file).read_text() for file in content} == content and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("option", ["-o", "--new-key"])
@pytest.mark.parametrize("half", ["new.key", "new.pub"])
def test_a_report_never_replaces_the_key_that_it_is_about(
    run: Command, tmp_path: Path, option: str, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.chdir(tmp_path)
    if option == "-o":
        arguments = ["--new-key", "new.key", "-o", half]
    else:
        (tmp_path / half).write_text("a password\n")
        arguments = ["--new-key", "new.key", "--password", half]
    run("mmcaf", "sign", *arguments, *(["--no-password"] if option == "-o" else []), "--force").refused(2, half)
    left = {file.name: file.read_text() for file in tmp_path.iterdir() if file.is_file()}
    assert left == ({} if option == "-o" else {half: "a password\n"})


def test_what_a_dicomdir_lists_is_an_input(run: Command, tmp_path: Path, tiny_bundle: Path) -> None:
    for name in ("DICOMDIR", "IM0001"):
        (tmp_path / name).write_text("precious")
    out = tmp_path / "IM0001"
    for program, *arguments in (
        ("mmcaf-infer", tmp_path / "DICOMDIR", "--bundle", tiny_bundle),
        ("mmcaf", "studies", tmp_path / "DICOMDIR"),
    ):
        run(program, *arguments, "-o", out, "--force").refused(2, str(out), "input")
    assert out.read_text() == "precious"


def test_a_bundle_never_replaces_a_study_or_record_that_it_is_made_with(
    run: Command, tmp_path: Path, tiny_bundle: Path
) -> None:
    pytest.importorskip("torch")
    for name in ("study.dcm", "record.json"):
        (tmp_path / name).write_text("precious")
    (tmp_path / "cohort.csv").write_text("study,record\nstudy.dcm,record.json\n")
    for option in ("--calibration", "--cohort"):
        for name in ("study.dcm", "record.json"):
            arguments = (tiny_bundle, "--precision", "fp16", option, tmp_path / "cohort.csv", "-o", tmp_path / name)
            run("mmcaf", "quantize", *arguments, "--force").refused(2, name, "input")
    assert {(tmp_path / name).read_text() for name in ("study.dcm", "record.json")} == {"precious"}
