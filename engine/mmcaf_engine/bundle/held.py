"""A network's files while a runtime loads them: copies in a private folder, each hashed while it was copied.

What a runtime opens by its path may be another file by then, or may name further files to read. So it is given a path
in a folder that is this process's own, where the model lies with the weights that the manifest lists for it, and
nothing else. A file that a runtime has mapped outlives its name; on Windows, which keeps both, a later run removes it.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError
from ..manifest import Precision
from ..outputs import new_staging_folder, remove
from .bundle import BUNDLES, Bundle
from .models import check_weights, model_files


class Held:
    """The networks of one precision of a bundle, as runtimes may read them; several readers share one copy."""

    def __init__(self, bundle: Bundle, precision: Precision) -> None:
        self._bundle = bundle
        self._precision = precision
        self._lock = threading.Lock()
        self._readers = 0
        self._folder: Path | None = None
        self._copied: set[str] = set()

    @contextmanager
    def reading(self, model: Path) -> Iterator[Path]:
        """A copy of a model of the bundle, with its weights beside it, until the block ends.

        Args:
            model: where the bundle has it.

        Raises:
            BundleError: a file is missing, damaged or altered, or the model names weights that are not listed.
            UsageError: there is no room for a copy.
        """
        with self._lock:
            folder = self._folder = self._folder or _new_folder()
            self._readers += 1
        try:
            with self._lock:
                copy = self._hold(folder, model.relative_to(self._bundle.folder).as_posix())
            yield copy
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    remove(folder)
                    self._folder, self._copied = None, set()

    def _hold(self, folder: Path, model: str) -> Path:
        bundle = self._bundle
        for name in model_files(bundle.manifest, self._precision, model):
            if name not in self._copied:
                bundle.copy(name, folder)
                self._copied.add(name)
        check_weights(folder, bundle.manifest, self._precision, model, shown=bundle.shown)
        return folder / model


def _new_folder() -> Path:
    """In the cache, where what a killed process leaves is found; without one, among the system's temporary files."""
    try:
        return new_staging_folder(BUNDLES.folder())
    except (UsageError, OSError):
        return Path(tempfile.mkdtemp(prefix="mmcaf-"))
