"""What a built package requires beside pyproject.toml's list: the OpenVINO that its extension is built against.

scikit-build-core asks for it as `[[tool.dynamic-metadata]]` says.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

COMPILERS = ("c++", "g++", "clang++")


def dynamic_metadata(settings: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, list[str]]:
    """The release at hand, where CMakeLists.txt builds an extension for it; else nothing more than any OpenVINO."""
    release = _release()
    if release is None:
        return {"dependencies": []}
    (marker,) = (text.partition(";")[2] for text in project["dependencies"] if text.startswith("openvino>="))
    return {"dependencies": [f"openvino=={release}.*;{marker}"]}


def dynamic_wheel(settings: Mapping[str, Any]) -> dict[str, bool]:
    """It is a wheel's, not that of the sources."""
    return {"dependencies": True}


def _release() -> str | None:
    if sys.platform == "win32" or not any(map(shutil.which, (os.environ.get("CXX") or "c++", *COMPILERS))):
        return None
    try:
        return ".".join(version("openvino").split(".")[:3])
    except PackageNotFoundError:
        return None
