"""A program that was frozen by PyInstaller answers as Python does."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from command import Command
from mmcaf_cli import pyinstaller
from mmcaf_engine.pipeline import infer
from mmcaf_kernels.cpu import extension, library
from mmcaf_kernels.cpu.extension import missing

ROOT = Path(__file__).parents[2]
ONLY_HERE = (
    "torch",
    "sklearn",
    "scipy",
    "hypothesis",
    "SimpleITK",
    "gdcm",
    "pynetdicom",
    "fastapi",
    "uvicorn",
    "highdicom",
    "onnx",
    "matplotlib",
    "tkinter",
    "pytest",
)
"""Modules that the installed packages would import if they could, and an answer needs none of."""
PROGRAM = """
import json
import sys

from mmcaf_engine import infer
from mmcaf_kernels.cpu.extension import missing

print(json.dumps(missing()))
for backend in sys.argv[3:]:
    print(json.dumps(infer(sys.argv[1], sys.argv[2], backend=backend).probabilities))
"""


def test_the_hooks_are_found() -> None:
    points = {point.group: point for point in distribution("mmcaf-infer").entry_points}
    folders = points["pyinstaller40"].load()()
    hooks = {file.name for folder in folders for file in Path(folder).glob("hook-*.py")}
    assert hooks == {"hook-mmcaf_engine.py", "hook-mmcaf_cli.py", "hook-mmcaf_kernels.py"}
    assert folders == pyinstaller.hook_directories()


def kernels_with_libraries(folder: Path) -> Path:
    """The package of kernels as an installation has it: sources and what was built from them in one folder."""
    shutil.copytree(ROOT / "kernels" / "mmcaf_kernels", folder / "mmcaf_kernels")
    for file in (library.built(), *extension.built().values()):
        if file is not None:
            shutil.copy(file, folder / "mmcaf_kernels" / "cpu")
    return folder


@pytest.mark.full
def test_a_frozen_program_answers(run: Command, tmp_path: Path) -> None:
    """In an environment with the installed packages but these sources: PyInstaller follows no editable installation."""
    assert run("mmcaf", "demo", "--save", tmp_path / "demo").code == 0
    study, record = tmp_path / "demo" / "study.dcm", tmp_path / "demo" / "record.json"
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    sources = [str(ROOT / name) for name in ("cli", "engine", "export")]
    sources.append(str(kernels_with_libraries(tmp_path / "kernels")))
    installed = str(Path(pytest.__file__).parents[1])
    (packages / "sources.pth").write_text("\n".join([*sources, installed]) + "\n")
    (tmp_path / "answer.py").write_text(PROGRAM)
    left_out = [part for name in ONLY_HERE for part in ("--exclude-module", name)]
    freeze = [environment / "bin" / "python", "-m", "PyInstaller", "--log-level", "WARN", *left_out]
    subprocess.run([*freeze, "answer.py"], cwd=tmp_path, check=True)
    assert not (tmp_path / "dist" / "answer" / "_internal" / "triton").exists(), "a gigabyte that no answer needs"
    backends = ("onnxruntime", "openvino")
    told = subprocess.run(
        [tmp_path / "dist" / "answer" / "answer", study, record, *backends],
        cwd=tmp_path,
        env={"MMCAF_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path), "LANG": os.environ.get("LANG", "C.UTF-8")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert [json.loads(line) for line in told.splitlines()] == [
        missing(),
        *(infer(study, record, backend=backend).probabilities for backend in backends),
    ]
