"""What CMake builds, and says that it skips, where a toolchain or OpenVINO is not there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CMAKE = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
needs_cmake = pytest.mark.skipif(CMAKE is None or shutil.which("make") is None, reason="no CMake and make here")


def configured(folder: Path, path: str, python: str = sys.executable) -> str:
    """What CMake says of a build with the programs of `path`."""
    assert CMAKE is not None
    command = [CMAKE, "-S", str(ROOT), "-B", str(folder / "build"), "-D", f"Python_EXECUTABLE={python}"]
    command += ["-D", "MMCAF_CUDA=OFF", "-G", "Unix Makefiles", "-D", f"CMAKE_MAKE_PROGRAM={shutil.which('make')}"]
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_cmake
def test_without_a_compiler_there_are_no_kernels(tmp_path: Path) -> None:
    assert "processor kernels and C library: skipped, no C++ compiler found" in configured(tmp_path, "/nowhere")


@needs_cmake
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
def test_without_openvino_there_is_no_extension(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    said = configured(tmp_path, "/usr/local/bin:/usr/bin:/bin", str(bare))
    assert "OpenVINO's extension: skipped," in said and "has no package openvino" in said
    assert "processor kernels: built with" in said
