"""DICOM objects in programs of others: readers that give the same numbers back, an archive, and a viewer."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from answered_objects import NETWORKS, answered, objects_of
from counterparts import need, need_folder, need_npm
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.decisions.statements import statements
from tiny_result import REPORT

SECONDS = 240
ARCHIVE = Path(__file__).parents[2] / "archive.py"
DCMJS = """
import { readFileSync } from "fs";
import { createRequire } from "module";
const { data } = createRequire(process.cwd() + "/")("dcmjs");
const read = data.DicomMessage.readFile(new Uint8Array(readFileSync(process.argv[2])).buffer);
const found = [];
const walk = (item) => {
    if (item.ValueType === "NUM")
        found.push([item.ConceptNameCodeSequence[0].CodeMeaning, Number(item.MeasuredValueSequence[0].NumericValue)]);
    for (const one of item.ContentSequence ?? []) walk(one);
};
walk(data.DicomMetaDictionary.naturalizeDataset(read.dict));
console.log(JSON.stringify(found));
"""


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=[] if one == NETWORKS[0] else [pytest.mark.full]) for one in NETWORKS],
)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, Path]:
    """An answer, and the folder of its objects beside that of its study."""
    folder = tmp_path_factory.mktemp("written")
    answer = answered(request.param, folder)
    place = folder / "objects"
    place.mkdir()
    for name, data in objects_of(request.param, answer).items():
        (place / name).write_bytes(data)
    return answer, place


def numbers(answer: Answer) -> list[tuple[str, float]]:
    return [pair for stated in statements(answer.result) for pair in stated.numbers.items()]


def agree(found: Sequence[Sequence[Any]], expected: Sequence[tuple[str, float]]) -> bool:
    """Names and numbers, of which DICOM keeps 16 characters."""
    names, values = ([one[at] for one in found] for at in range(2))
    return names == [name for name, _ in expected] and values == pytest.approx(
        [value for _, value in expected], abs=1e-12
    )


def output(*command: object, **options: Any) -> str:
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS, check=False, **options)
    assert ran.returncode == 0, ran.stderr[-2000:] + ran.stdout[-2000:]
    return ran.stdout


def test_dcmqi_reads_the_same_numbers(written: tuple[Answer, Path], tmp_path: Path) -> None:
    reader, (answer, place) = need("tid1500reader"), written
    output(reader, "--inputDICOM", place / REPORT, "--outputMetadata", tmp_path / "read.json")
    read = json.loads((tmp_path / "read.json").read_text())
    groups = [group for group in read["Measurements"] if "measurementItems" in group]
    found = [
        (item["quantity"]["CodeMeaning"], float(item["value"])) for one in groups for item in one["measurementItems"]
    ]
    assert agree(found, numbers(answer))
    assert {one["measurementAlgorithmIdentification"]["AlgorithmName"] for one in groups} == {answer.result.model.name}
    assert not agree(found, [(name, value + 1e-9) for name, value in numbers(answer)])


def test_dcmjs_reads_the_same_numbers(written: tuple[Answer, Path], tmp_path: Path) -> None:
    folder, (answer, place) = need_npm("dcmjs"), written
    (tmp_path / "read.mjs").write_text(DCMJS)
    found = json.loads(output(need("node"), tmp_path / "read.mjs", place / REPORT, cwd=folder))
    assert agree(found, numbers(answer))


def apart() -> list[str]:
    """What runs a command in a network of its own."""
    need("Orthanc"), need("storescu")
    made = [need("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*made, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this process may not make a network of its own; run the tests as root")
    return made


def in_network_of_its_own(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output(*apart(), sys.executable, ARCHIVE, *arguments))
    return found


def test_no_archive_is_started_where_others_could_reach_it(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, ARCHIVE, tmp_path, tmp_path], capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and "other networks" in ran.stderr


@pytest.mark.full
def test_the_archive_ends_with_a_killed_program(tmp_path: Path) -> None:
    call = [*apart(), sys.executable, str(ARCHIVE), str(tmp_path), str(tmp_path)]
    running = subprocess.Popen(call, env={**os.environ, "TMPDIR": str(tmp_path)})
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + 60
    while not (found := [one for one in children.read_text().split() if program_of(one) == "Orthanc"]):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.wait()
    while program_of(found[0]) == "Orthanc":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def program_of(process: str) -> str:
    """Empty of one that has ended."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.full
def test_an_archive_takes_them_and_gives_them_back(written: tuple[Answer, Path], tmp_path: Path) -> None:
    """By C-STORE and by STOW-RS; what is no object it takes by neither."""
    _, place = written
    shutil.copytree(place, tmp_path / "objects")
    (tmp_path / "objects" / "broken.dcm").write_bytes((place / REPORT).read_bytes()[:1000])
    nameless = dcmread(place / REPORT)
    del nameless.SOPInstanceUID
    nameless.save_as(tmp_path / "objects" / "nameless.dcm")
    found = in_network_of_its_own(place.parent / "objects", tmp_path / "objects")
    for way in ("c_store", "stow"):
        taken = {name: name not in ("broken.dcm", "nameless.dcm") for name in found[way]}
        assert found[way] == taken and len(taken) > 5


def test_what_became_of_an_object_is_told_by_all_of_it(tmp_path: Path) -> None:
    from archive import content

    answer = answered("radiograph", tmp_path)
    [data] = answer.to_dicom("ko").values()
    (tmp_path / "one.dcm").write_bytes(data)
    made = dcmread(tmp_path / "one.dcm")
    made.file_meta.ImplementationVersionName = "OTHER"
    made.save_as(tmp_path / "same.dcm")
    made.ContentTime = "000000"
    made.save_as(tmp_path / "other.dcm")
    one, same, other = (content((tmp_path / f"{name}.dcm").read_bytes()) for name in ("one", "same", "other"))
    assert one == same != other


@pytest.mark.full
def test_a_viewer_shows_the_picture_and_lists_the_report(tmp_path: Path) -> None:
    viewer = need_folder("ohif", "dist")
    answer = answered(NETWORKS[0], tmp_path)
    (tmp_path / "objects").mkdir()
    for name, data in answer.to_dicom("sr,sc,pm").items():
        (tmp_path / "objects" / name).write_bytes(data)
    capture = dcmread(tmp_path / "objects" / "secondary-capture.dcm")
    picture = tmp_path / "shown.png"
    found = in_network_of_its_own(
        *(tmp_path / "images", tmp_path / "objects", "--viewer", viewer, "--picture", picture),
        *("--series", capture.SeriesInstanceUID, "--awaited", "SR", "OT", "PMAP"),
    )
    assert all(word in found["shown"].split() for word in ("SR", "OT", "PMAP")), found["shown"]
    assert found["red"] > 10_000, "the heat map of the Secondary Capture"
