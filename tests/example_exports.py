"""The four examples, exported from their committed weights as their own scripts do it."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from mmcaf_export.export import export_bundle
from mmcaf_export.report import ExportReport

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ("demo", "liver", "cmasg", "medfusionnet")


@cache
def script(file: str) -> ModuleType:
    """A script of the examples' folder as a module, such as "export.py"."""
    spec = importlib.util.spec_from_file_location(f"examples_{Path(file).parent.name}", EXAMPLES / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def export_example(name: str, output: Path) -> ExportReport:
    """Export one of `NAMES` as a bundle."""
    if name == "demo":
        own = script("demo_model/export.py")
        return export_bundle(own.CHECKPOINT, output, settings=own.SETTINGS, explain=False)
    shared = script("export.py")
    return export_bundle(shared.checkpoint(name), output, settings=shared.settings(name), explain=False)
