"""Bundles of format version 1, as they were written before there was another, are read and answer what they did."""

import json
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from command import Command
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.checkup.raw_case import check_raw_case
from mmcaf_engine.errors import BundleError
from record_answers import BACKENDS, VERSION_1, outputs_of, recorded_machines, same_bits
from refusals import refused

ARCHIVES = sorted(VERSION_1.glob("*.zip"))
ELSEWHERE = 1e-5
"""How far an output may be from the recorded one where the processor or a runtime is another."""

every_archive = pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)


def values(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: [*one["shape"], *one["values"]] for name, one in facts.items()}


@every_archive
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_answers_what_it_did(archive: Path, backend: str) -> None:
    machine = same_bits()
    recorded = (machine or recorded_machines()[0])["version_1"][archive.stem]
    assert (file_sha256(archive), archive.stat().st_size) == (recorded["sha256"], recorded["size"])
    found = outputs_of(archive, backend)
    if machine is not None:
        assert found == recorded["outputs"][backend]
        return
    warnings.warn(f"no record of this machine: compared within {ELSEWHERE:g}, not to the bit", stacklevel=1)
    expected = values(recorded["outputs"][backend])
    assert values(found) == {name: pytest.approx(numbers, rel=0, abs=ELSEWHERE) for name, numbers in expected.items()}


@every_archive
def test_it_is_read_as_it_is(archive: Path) -> None:
    bundle = load_bundle(archive)
    bundle.verify()
    assert bundle.manifest.format_version == 1
    assert check_raw_case(bundle) is None


def test_all_of_them_are_recorded() -> None:
    assert len(ARCHIVES) == 8
    for machine in recorded_machines():
        assert set(machine["version_1"]) == {archive.stem for archive in ARCHIVES}


def test_verify_says_that_there_is_no_raw_case(run: Command) -> None:
    outcome = run("mmcaf", "verify", VERSION_1 / "tiny_report.zip", "--backend", "onnxruntime")
    assert outcome.code == 0, outcome.err
    first, second, *_ = outcome.out.splitlines()
    assert first == "tiny-report: 3 files, every hash matches, not signed" and second == "no raw case"


def test_a_field_of_version_2_in_it_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "old.mmcaf"
    with zipfile.ZipFile(VERSION_1 / "tiny_bundle.zip") as files:
        files.extractall(folder)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "release": 2}))
    with refused(BundleError, "old.mmcaf", 2, "release", 1):
        load_bundle(folder)


def test_another_machine_is_compared_within_a_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "same_bits", lambda: None)
    with pytest.warns(UserWarning, match="compared within 1e-05, not to the bit"):
        test_it_answers_what_it_did(ARCHIVES[1], "onnxruntime")
    moved = recorded_machines()
    moved[0]["version_1"][ARCHIVES[1].stem]["outputs"]["onnxruntime"]["logit"]["values"][0] += 2e-5
    monkeypatch.setattr(here, "recorded_machines", lambda: moved)
    with pytest.warns(UserWarning), pytest.raises(AssertionError):
        test_it_answers_what_it_did(ARCHIVES[1], "onnxruntime")
