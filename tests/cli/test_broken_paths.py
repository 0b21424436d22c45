"""What the file system refuses is refused as what it was named for, never as a bug of ours."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from broken_paths import BY_THE_SYSTEM, FOR_ANYBODY, Refusing, broken_path
from command import Command
from mmcaf_engine.demo.phantom import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from tiny_bundle import make_tiny_bundle

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and error numbers of POSIX")

READ = {
    "study": (3, ["mmcaf-infer", "BROKEN", "RECORD", "--bundle", "BUNDLE"]),
    "record": (4, ["mmcaf-infer", "STUDY", "BROKEN", "--bundle", "BUNDLE"]),
    "bundle": (5, ["mmcaf-infer", "STUDY", "RECORD", "--bundle", "BROKEN"]),
    "bundle-verify": (5, ["mmcaf", "verify", "BROKEN"]),
    "bundle-inspect": (5, ["mmcaf", "inspect", "BROKEN"]),
    "bundle-tune": (5, ["mmcaf", "tune", "BROKEN"]),
    "bundle-profile": (5, ["mmcaf", "profile", "BROKEN"]),
    "bundle-quantize": (5, ["mmcaf", "quantize", "BROKEN"]),
    "bundle-build": (5, ["mmcaf", "build", "BROKEN", "--target", "sm_86"]),
    "bundle-evaluate": (5, ["mmcaf", "evaluate", "demo:1-2", "--bundle", "BROKEN"]),
    "bundle-studies": (5, ["mmcaf", "studies", "STUDY", "--bundle", "BROKEN"]),
    "bundle-template": (5, ["mmcaf", "record-template", "--bundle", "BROKEN", "-o", "NEW"]),
    "checkpoint": (5, ["mmcaf", "export", "BROKEN", "-o", "NEW"]),
    "cohort": (2, ["mmcaf", "evaluate", "BROKEN", "--bundle", "BUNDLE"]),
    "calibration": (2, ["mmcaf", "quantize", "BUNDLE", "--calibration", "BROKEN", "-o", "NEW"]),
    "studies": (3, ["mmcaf", "studies", "BROKEN"]),
    "profile-study": (3, ["mmcaf", "profile", "BUNDLE", "--study", "BROKEN", "--record", "RECORD"]),
    "profile-record": (4, ["mmcaf", "profile", "BUNDLE", "--study", "STUDY", "--record", "BROKEN"]),
    "baseline": (2, ["mmcaf", "profile", "BUNDLE", "--baseline", "BROKEN"]),
    "key": (2, ["mmcaf", "sign", "BUNDLE", "--key", "BROKEN"]),
    "package": (6, ["mmcaf", "trust", "BROKEN"]),
}
"""What is read -> the exit code of a command that cannot."""

WRITTEN = {
    "output": ["mmcaf-infer", "STUDY", "RECORD", "--bundle", "BUNDLE", "-o", "BROKEN.json"],
    "heatmap": ["mmcaf-infer", "STUDY", "RECORD", "--bundle", "BUNDLE", "--heatmap", "BROKEN.png"],
    "export": ["mmcaf", "export", "CHECKPOINT", "-o", "BROKEN.mmcaf"],
    "quantize": ["mmcaf", "quantize", "BUNDLE", "-o", "BROKEN.mmcaf"],
    "inspect": ["mmcaf", "inspect", "BUNDLE", "-o", "BROKEN.json"],
    "roc": ["mmcaf", "evaluate", "demo:1-2", "--bundle", "BUNDLE", "--roc", "BROKEN.png"],
    "trace": ["mmcaf", "profile", "BUNDLE", "--trace", "BROKEN.json"],
    "demo": ["mmcaf", "demo", "-o", "BROKEN"],
    "template": ["mmcaf", "record-template", "--bundle", "BUNDLE", "-o", "BROKEN.json"],
}
"""What is written, by which command; each ends with 2."""


@dataclass(frozen=True)
class Places:
    folder: Path
    study: Path
    record: Path
    bundle: Path

    def fill(self, arguments: list[str], broken: Path) -> list[str]:
        values = {"STUDY": self.study, "RECORD": self.record, "BUNDLE": self.bundle, "NEW": self.folder / "new"}
        values |= {"CHECKPOINT": self.record, "BROKEN": broken}
        return [str(values.get(word, word)) for word in arguments]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Read it, do not change it."""
    folder = tmp_path_factory.mktemp("made")
    phantom = make_phantom(3, size=64)
    write_series(phantom, folder / "study")
    (folder / "record.json").write_text(json.dumps({"sex": phantom.patient.sex, "age": phantom.patient.age}))
    make_tiny_bundle(folder / "tiny.mmcaf")
    return Places(folder, folder / "study", folder / "record.json", folder / "tiny.mmcaf")


@pytest.fixture
def places(made: Places, tmp_path: Path) -> Places:
    return Places(tmp_path, made.study, made.record, made.bundle)


@pytest.mark.parametrize("kind", FOR_ANYBODY)
@pytest.mark.parametrize("what", READ)
def test_a_path_that_nobody_can_read(what: str, kind: str, run: Command, places: Places, tmp_path: Path) -> None:
    code, arguments = READ[what]
    outcome = run(*places.fill(arguments, broken_path(kind, tmp_path)))
    assert (outcome.code, FOR_ANYBODY[kind] in outcome.error()) == (code, True), outcome.err


@pytest.mark.parametrize("kind", BY_THE_SYSTEM)
@pytest.mark.parametrize("what", READ)
def test_a_path_that_is_refused(
    what: str, kind: str, run: Command, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, arguments = READ[what]
    errno, looking = BY_THE_SYSTEM[kind]
    broken = tmp_path / "broken"
    if "bundle" in what:
        shutil.copytree(places.bundle, broken)
    elif what in ("package", "study", "studies"):
        shutil.copytree(places.study, broken)
    else:
        shutil.copy(places.record, broken)
    with monkeypatch.context() as patch:
        Refusing(patch, broken, errno, looking=looking)
        outcome = run(*places.fill(arguments, broken))
    assert (outcome.code, os.strerror(errno) in outcome.error()) == (code, True), outcome.err


@pytest.mark.parametrize("kind", FOR_ANYBODY)
@pytest.mark.parametrize("what", WRITTEN)
def test_a_path_that_nobody_can_write(what: str, kind: str, run: Command, places: Places, tmp_path: Path) -> None:
    suffix = next((Path(word).suffix for word in WRITTEN[what] if word.startswith("BROKEN")), "")
    arguments = ["BROKEN" if word.startswith("BROKEN") else word for word in WRITTEN[what]]
    outcome = run(*places.fill(arguments, broken_path(kind, tmp_path, suffix)))
    assert outcome.code == 2 and outcome.error(), outcome.err


@pytest.mark.parametrize("kind", FOR_ANYBODY)
@pytest.mark.parametrize("variable", ["MMCAF_BUNDLE", "MMCAF_CACHE", "XDG_CONFIG_HOME"])
@pytest.mark.parametrize("command", ["infer", "cache", "doctor", "quick-check", "verify"])
def test_a_variable_that_names_such_a_path(
    command: str,
    variable: str,
    kind: str,
    run: Command,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = {
        "infer": ["mmcaf-infer", "STUDY", "RECORD"],
        "cache": ["mmcaf", "cache", "list"],
        "doctor": ["mmcaf", "doctor"],
        "quick-check": ["mmcaf", "doctor", "--quick-check"],
        "verify": ["mmcaf", "verify", "BUNDLE"],
    }[command]
    monkeypatch.setenv("MMCAF_BUNDLE", str(places.bundle))
    monkeypatch.setenv(variable, str(broken_path(kind, tmp_path)))
    outcome = run(*places.fill(arguments, tmp_path))
    assert outcome.code in (0, 2, 5, 6) and "internal error" not in outcome.err, outcome.err
