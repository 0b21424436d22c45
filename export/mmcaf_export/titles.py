"""From an entry's patterns to the manifest's titles of modules, which are plain paths."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmcaf_engine.backends.node_names import module_path

from .onnx_files import load_model


def module_titles(patterns: Sequence[tuple[str, str]], model: Path) -> dict[str, str]:
    """Module -> title, of the modules that the nodes of an ONNX file come from."""
    names = (node.name or "" for node in load_model(model).graph)
    return expand_titles(patterns, {module_path(name) for name in names})


def expand_titles(patterns: Sequence[tuple[str, str]], paths: Iterable[str]) -> dict[str, str]:
    """The part of each path that the first fitting pattern matches -> its title; ends where a name of the path does."""
    found = {}
    for path in sorted(paths):
        for pattern, title in patterns:
            match = re.match(rf"(?:{pattern})(?=\.|$)", path)
            if match and match.group():
                found[match.group()] = match.expand(title)
                break
    return found
