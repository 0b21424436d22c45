"""The bundles' manifests, as the page needs them: read once, and again where a bundle was replaced."""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from ...bundle.bundle import Bundle, load_bundle
from ..config import Config


class Bundles:
    """Of a configuration, by the names that it has for them."""

    def __init__(self, config: Config) -> None:
        self._paths = {one.name: one.path for one in config.bundle}
        self._known: dict[str, tuple[object, Bundle]] = {}
        self._lock = Lock()

    def get(self, name: str) -> Bundle:
        """One of them.

        Raises:
            KeyError: the configuration has none of this name. BundleError, BackendError: it cannot be opened.
        """
        path = self._paths[name]
        state = tuple(map(_state, (path, path / "manifest.json")))
        with self._lock:
            known = self._known.get(name)
            if known is None or known[0] != state:
                known = self._known[name] = (state, load_bundle(path))
            return known[1]

    def some(self, names: Iterable[str]) -> list[Bundle]:
        """Those that the configuration still has, each once, in this order."""
        return [self.get(name) for name in dict.fromkeys(names) if name in self._paths]


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
