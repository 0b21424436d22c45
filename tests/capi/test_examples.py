"""The programs of examples/embed, built and run: they answer the demonstration as the command line does."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import counterparts
from c_programs import EMBED, ROOT, Ended, c_program, cpp_program, csharp_program, done, need_library, run
from mmcaf_engine import Volume, infer
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.capi.library import NAME
from mmcaf_engine.demo.phantom import make_phantom, record
from mmcaf_engine.demo.write_dicom import write_multiframe
from shared import Shared

LANGUAGES = ("C", "C++", "C#")


@dataclass(frozen=True)
class Study:
    """The demonstration's patient for the programs, and what Python answers."""

    arguments: tuple[str, ...]
    probabilities: dict[str, float]


@pytest.fixture(scope="session")
def study(shared: Shared) -> Study:
    return shared("embedded-study", make_study)


def make_study(folder: Path) -> Study:
    phantom = make_phantom(0)
    (folder / "record.json").write_text(json.dumps(record(phantom.patient)))
    phantom.hu.astype("<i2").tofile(folder / "study.raw")
    volume = Volume(phantom.hu, "hounsfield", phantom.spacing_mm)
    answered = infer(volume, folder / "record.json", bundle=demo_bundle(), backend="openvino")
    numbers = [*phantom.hu.shape, *phantom.spacing_mm]
    paths = [str(demo_bundle()), str(folder / "study.raw")]
    return Study((*paths, *map(str, numbers), str(folder / "record.json")), answered.probabilities)


@pytest.fixture(scope="session")
def programs(shared: Shared) -> dict[str, list[str]]:
    """Language -> the command that runs its example."""
    need_library()
    return shared("embedded-programs", make_programs)


def make_programs(folder: Path) -> dict[str, list[str]]:
    return {
        "C": [str(c_program(EMBED / "answer.c", folder / "answer"))],
        "C++": [str(cpp_program(EMBED / "stream.cpp", folder / "stream"))],
    }


def command(language: str, programs: dict[str, list[str]], folder: Path) -> Sequence[str]:
    if language != "C#":
        return programs[language]
    mono = counterparts.need("mono")
    return [mono, str(csharp_program(EMBED / "Answer.cs", folder / "Answer.exe"))]


def answered(command: Sequence[str], arguments: Sequence[str]) -> Ended:
    return run(*command, *arguments, LD_LIBRARY_PATH=str(need_library().file.parent))


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_answers_as_python_does(language: str, programs: dict[str, list[str]], study: Study, tmp_path: Path) -> None:
    ended = answered(command(language, programs, tmp_path), study.arguments)
    assert ended.code == 0, ended.err
    shown = json.loads(ended.out)
    assert shown["probabilities"] == pytest.approx(study.probabilities, rel=0, abs=1e-6)
    assert shown["schema_version"] == 2 and shown["evidence"] == []
    if language == "C++":
        assert "slices 26 of 26" in ended.err and "infer" in ended.err


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_is_said_with_its_code(
    language: str, programs: dict[str, list[str]], study: Study, tmp_path: Path
) -> None:
    program = command(language, programs, tmp_path)
    ended = answered(program, ["absent.mmcaf", *study.arguments[1:]])
    assert ended.code == 5 and ended.out == "" and "BundleError: " in ended.err and "absent.mmcaf" in ended.err
    (tmp_path / "record.json").write_text('{"age": 63, "age": 64}')
    ended = answered(program, [*study.arguments[:-1], str(tmp_path / "record.json")])
    assert ended.code == 4 and ended.out == "" and "RecordError: " in ended.err
    (tmp_path / "short.raw").write_bytes(b"12")
    ended = answered(program, [study.arguments[0], str(tmp_path / "short.raw"), *study.arguments[2:]])
    assert ended.code == 2 and ended.out == "" and ended.err
    assert answered(program, []).code == 2


def test_a_folder_of_files_is_all_that_is_needed(programs: dict[str, list[str]], study: Study, tmp_path: Path) -> None:
    """Program, library, operators and OpenVINO in one folder: nothing of Python's environment is opened."""
    folder, library = tmp_path / "console", need_library()
    folder.mkdir()
    for file in library.files():
        (folder / file.name).write_bytes(file.read_bytes())
    link = (f"-L{folder}", f"-l:{NAME}", "-Wl,-rpath,$ORIGIN")
    done(counterparts.need("gcc"), *library.cflags(), EMBED / "answer.c", "-o", folder / "answer", *link)
    trace, cache = tmp_path / "opened", tmp_path / "cache"
    program = [counterparts.need("strace"), "-f", "-e", "trace=openat", "-o", trace]
    program += ["env", "-i", f"MMCAF_CACHE={cache}", folder / "answer"]
    ended = done(*program, *study.arguments)
    assert json.loads(ended.out)["probabilities"] == pytest.approx(study.probabilities, rel=0, abs=1e-6)
    opened = [line for line in trace.read_text().splitlines() if " = -1 " not in line]
    ours = {file.name for file in library.files() if any(str(folder / file.name) in line for line in opened)}
    assert ours == {file.name for file in library.files()}
    assert not [line for line in opened if "site-packages" in line or "libpython" in line]


def test_the_study_is_written_for_the_programs(tmp_path: Path) -> None:
    phantom = make_phantom(0, size=64)
    write_multiframe(phantom, tmp_path / "study.dcm")
    shown = done(sys.executable, EMBED / "raw_study.py", tmp_path / "study.dcm", tmp_path / "study.raw").out.split()
    assert shown[:3] == ["26", "64", "64"] and [float(one) for one in shown[3:]] == pytest.approx(phantom.spacing_mm)
    assert (tmp_path / "study.raw").read_bytes() == phantom.hu.astype("<i2").tobytes()
    refused = run(sys.executable, EMBED / "raw_study.py", tmp_path / "absent.dcm", tmp_path / "other.raw")
    assert refused.code == 2 or refused.code == 3
    assert not (tmp_path / "other.raw").exists()


def test_the_program_of_the_page_is_built_and_says_what_is_wrong(tmp_path: Path) -> None:
    """Its voxels are all 0, which is no study."""
    (program,) = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "program.c").write_text(program.replace("lung.mmcaf", str(demo_bundle())))
    ended = done(c_program(tmp_path / "program.c", tmp_path / "program"))
    assert ended.out == "" and "0" in ended.err and "value" in ended.err
