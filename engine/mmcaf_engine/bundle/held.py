"""A network's files while a runtime loads them: copies in a private folder, of which each is hashed.

What a runtime opens by its path may be another file by then, or may name further files to read. So it is given a path
in a folder that is this process's own, where the model lies with the weights that the manifest lists for it, and
nothing else. Models are hashed before they are parsed, weights, which are but numbers, while they are loaded: what was
loaded from others is refused before it is ever run. A file that a runtime has mapped outlives its name; on Windows,
which keeps both, a later run removes it.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError
from ..manifest import Precision
from ..outputs import new_staging_folder, new_temporary_folder, remove
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
        self._checked: dict[str, Future[None]] = {}

    @contextmanager
    def reading(self, model: Path) -> Iterator[Path]:
        """A copy of a model of the bundle, with its weights beside it, until the block ends.

        Args:
            model: where the bundle has it.

        Raises:
            BundleError: a file is missing, damaged or altered, or the model names weights that are not listed; of
                weights, at the end of the block, whatever was raised in it. What was loaded is then of no use.
            UsageError: there is no room for a copy.
        """
        name = model.relative_to(self._bundle.folder).as_posix()
        with self._lock:
            folder = self._folder = self._folder or _new_folder()
            self._readers += 1
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="hash") as beside:
                with self._lock:
                    checks = self._hold(folder, name, beside)
                try:
                    yield folder / name
                finally:
                    for check in checks:
                        check.result()
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    remove(folder)
                    self._folder, self._checked = None, {}

    def _hold(self, folder: Path, model: str, beside: ThreadPoolExecutor) -> list[Future[None]]:
        """Copy what is not there yet; the checks of the model's weights, which may still run."""
        bundle = self._bundle
        files = model_files(bundle.manifest, self._precision, model)
        for name in files:
            if name not in self._checked:
                self._checked[name] = beside.submit(bundle.clone(name, folder, beside))
        self._checked[model].result()
        check_weights(folder, bundle.manifest, self._precision, model, shown=bundle.shown)
        return [self._checked[name] for name in files]


def _new_folder() -> Path:
    """In the cache, where what a killed process leaves is found; without one, among the system's temporary files."""
    try:
        return new_staging_folder(BUNDLES.folder())
    except (UsageError, OSError):
        return new_temporary_folder()
