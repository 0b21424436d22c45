"""What is made once in a run of the tests: by the process that asks first, while the others that ask wait for it."""

import copyreg
import io
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

T = TypeVar("T")


class Shared:
    """A folder of the whole run, in which every one of its processes makes things and reads those of the others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Any] = {}

    def __call__(self, name: str, make: Callable[[Path], T]) -> T:
        """What `make` gives, once for this name; it is given a new folder, whose files are to be read, not changed."""
        if name not in self._read:
            kept = self._folder / f"{name}.pickle"
            with FileLock(self._folder / f"{name}.lock"):
                if not kept.exists():
                    made = make(Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder)))
                    kept.write_bytes(_pickled(made))
            self._read[name] = pickle.loads(kept.read_bytes())
        found: T = self._read[name]
        return found


def _pickled(value: object) -> bytes:
    """A rewrite, of which a report tells name and description, is written without its function."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    rewrites = sys.modules.get("mmcaf_export.rewrites.rewrite")  # not loaded: there is none to write
    if rewrites is not None:
        told = {rewrites.Rewrite: lambda one: (rewrites.Rewrite, (one.name, one.description, _gone))}
        pickler.dispatch_table = copyreg.dispatch_table | told
    pickler.dump(value)
    return file.getvalue()


def _gone(*_: object) -> bool:
    raise AssertionError("the rewrite of a shared report has no function")
