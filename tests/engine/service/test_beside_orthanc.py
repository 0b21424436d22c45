"""The example with Orthanc works as it is written: its files, and the commands of the page on the service."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.result.test_objects_elsewhere import apart
from mmcaf_engine.service.config import read_config

ROOT = Path(__file__).parents[3]
EXAMPLE, SCRIPT = ROOT / "examples" / "orthanc", ROOT / "tests" / "beside_orthanc.py"
MMCAF = Path(sys.executable).with_name("mmcaf")


def test_both_sides_mean_each_other() -> None:
    service, orthanc = read_config(EXAMPLE / "serve.toml"), json.loads((EXAMPLE / "orthanc.json").read_text())
    [archive], node = service.destination, service.dicom
    assert node is not None
    assert (archive.ae_title, archive.port) == (orthanc["DicomAet"], orthanc["DicomPort"])
    peer = orthanc["DicomModalities"]["mmcaf"]
    assert (node.ae_title, node.port) == (peer["AET"], peer["Port"])
    assert [one.ae_title for one in node.peers] == [orthanc["DicomAet"]]
    assert all((EXAMPLE / script).is_file() for script in orthanc["LuaScripts"])


@pytest.mark.full
def test_from_a_study_in_orthanc_to_the_report_there(tmp_path: Path) -> None:
    folder = tmp_path / "orthanc"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("spool", "records", "store"))
    subprocess.run([MMCAF, "demo", "--save", folder / "demo", "-q"], check=True, stdout=subprocess.DEVNULL)
    ran = subprocess.run(
        [*apart(), sys.executable, SCRIPT, folder, MMCAF], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr + (folder / "log").read_text()[-3000:]
    found = json.loads(ran.stdout)
    modalities = sorted((one["Modality"], one["instances"]) for one in found["held"])
    assert ("CT", "26") in modalities and ("SR", "1") in modalities and len(modalities) == 3
    assert found["study"]["instances"] == 26 and len(found["study"]["answers"]) == 1
    routed = [one for one in found["jobs"] if one["Type"] == "DicomModalityStore"]
    assert [one["Content"]["InstancesCount"] for one in routed] == [26], "what came back is not routed again"
