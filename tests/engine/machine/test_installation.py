"""The command that adds an extra, for every way in which the project can have been installed."""

import json
import shlex
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.machine import installation
from mmcaf_engine.machine.installation import install_command, install_package

REQUIRES = [
    "numpy>=2.0",
    "openvino>=2025.4; platform_machine == 'x86_64' or platform_machine == 'AMD64' or platform_machine != ''",
    'nowhere>=1; platform_system == "Nowhere" and extra == "tensorrt"',
    "tensorrt-rtx-cu13; (platform_system != 'Nowhere') and extra == 'tensorrt'",
    'cuda-python>=13; extra == "tensorrt"',
    'matplotlib>=3.9; extra == "plot"',
]
FROM_AN_INDEX = "pip install tensorrt-rtx-cu13 'cuda-python>=13'"


class Installed(Distribution):
    """What importlib.metadata finds, with a direct_url.json or without."""

    def __init__(self, origin: object = None, requires: list[str] | None = REQUIRES) -> None:
        self._origin = origin if origin is None or isinstance(origin, str) else json.dumps(origin)
        self._requires = requires

    def read_text(self, filename: str) -> str | None:
        if filename == "direct_url.json":
            return self._origin
        if filename == "METADATA":
            lines = [f"Requires-Dist: {one}\n" for one in self._requires or ()]
            return "".join(["Metadata-Version: 2.1\nName: mmcaf-infer\nVersion: 1\n", *lines])
        return None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


def find(monkeypatch: pytest.MonkeyPatch, installed: Installed | None) -> None:
    def distribution(name: str) -> Distribution:
        assert name == "mmcaf-infer"
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(installation, "distribution", distribution)


def url(path: Path) -> str:
    return path.absolute().as_uri()


@pytest.mark.parametrize(("info", "option"), [({}, ""), ({"editable": False}, ""), ({"editable": True}, "-e ")])
def test_from_a_source_folder(
    info: dict[str, bool], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "my sources"
    source.mkdir()
    find(monkeypatch, Installed({"url": url(source), "dir_info": info}))
    assert install_command("tensorrt") == f"pip install {option}'{source}[tensorrt]'"


def test_from_a_wheel_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "it's-1-py3-none-any.whl"
    wheel.touch()
    find(monkeypatch, Installed({"url": url(wheel), "archive_info": {}}))
    assert shlex.split(install_command("plot")) == ["pip", "install", f"{wheel}[plot]"]


@pytest.mark.parametrize(
    ("origin", "reference"),
    [
        ({"url": "https://host/a.whl", "archive_info": {"hash": "sha256=0"}}, "https://host/a.whl"),
        (
            {
                "url": "https://host/a.git",
                "vcs_info": {"vcs": "git", "commit_id": "1234", "requested_revision": "main"},
            },
            "git+https://host/a.git@1234",
        ),
        ({"url": "file:///gone.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}, "git+file:///gone.git@1"),
        (
            {"url": "https://host/a.tar.gz", "archive_info": {}, "subdirectory": "engine"},
            "https://host/a.tar.gz#subdirectory=engine",
        ),
    ],
    ids=["url", "version-control", "local-version-control", "subdirectory"],
)
def test_from_an_address(origin: object, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find(monkeypatch, Installed(origin))
    assert install_command("tensorrt") == f"pip install 'mmcaf-infer[tensorrt] @ {reference}'"


@pytest.mark.parametrize(
    "origin",
    [None, "no json", "[]", {"dir_info": {}}, {"url": "file:///gone", "dir_info": {}}, {"url": 7}, {"url": "http://["}],
    ids=["index", "damaged", "list", "without-url", "folder-is-gone", "number", "no-url"],
)
def test_without_a_source_its_requirements_are_named(origin: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the project's own name, which anyone can register with an index that does not hold it."""
    find(monkeypatch, Installed(origin))
    assert install_command("tensorrt") == FROM_AN_INDEX
    assert install_command("plot") == "pip install 'matplotlib>=3.9'"


def test_without_metadata_the_source_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find(monkeypatch, None)
    root = Path(installation.__file__).parents[3]
    assert (root / "pyproject.toml").is_file()
    assert install_command("plot") == f"pip install '{root}[plot]'"
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    assert install_command("plot") == "pip install '.[plot]'"
    assert install_package("numpy") == "pip install numpy"


@pytest.mark.parametrize("requires", [None, ["numpy>=2.0"]], ids=["none", "not-of-the-extra"])
def test_metadata_that_lacks_the_extra(requires: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    find(monkeypatch, Installed(None, requires))
    root = Path(installation.__file__).parents[3]
    assert install_command("plot") == f"pip install '{root}[plot]'"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("numpy", "pip install 'numpy>=2.0'"),
        ("openvino", "pip install 'openvino>=2025.4'"),
        ("matplotlib", "pip install matplotlib"),
        ("of-a-plugin", "pip install of-a-plugin"),
    ],
)
def test_one_package_in_the_version_that_is_needed(name: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find(monkeypatch, Installed())
    assert install_package(name) == command


def test_one_package_that_is_required_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a wheel that holds an extension of one release of OpenVINO."""
    find(monkeypatch, Installed(None, [*REQUIRES, "openvino==2026.4.1.*; platform_machine != ''"]))
    assert install_package("openvino") == "pip install 'openvino==2026.4.1.*,>=2025.4'"


def test_what_the_metadata_of_this_project_says() -> None:
    """Whichever way the tests' own environment was made, the command names the extra or what it needs."""
    assert shlex.split(install_command("plot"))[:2] == ["pip", "install"]
    assert "[plot]" in install_command("plot") or "matplotlib" in install_command("plot")
