"""A folder that is watched for DICOM files: each is taken into the spool, and what is none is moved aside."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import StudyError
from .headers import CutOffError, identify
from .receipt import Receipt
from .settling import PATIENCE_S, SETTLED_S, Settling

log = logging.getLogger(__name__)

MOST_BYTES = 4 * 2**30
REFUSED = "refused"
SOURCE = "folder"


class WatchedFolder:
    """Takes what is put there; what cannot be taken is moved into its folder `refused`.

    Args:
        folder: is made where it is missing.
        key: of the spool.
        clock: only its differences count.
    """

    def __init__(
        self, folder: Path, receipt: Receipt, key: bytes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._receipt = receipt
        self._key = key
        self._settling = Settling(clock)
        folder.mkdir(parents=True, exist_ok=True)

    def look(self) -> int:
        """Take every file that is whole; how many that were."""
        files, taken = sorted(self._files()), 0
        self._settling.forget_all_but(files)
        for file in files:
            try:
                taken += self._take(file)
            except OSError as failure:
                if self._settling.is_new_trouble(file):
                    log.warning("a file of the watched folder cannot be taken: %s", failure.strerror)
        return taken

    def _files(self) -> list[Path]:
        found = []
        for place, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if name != REFUSED and not name.startswith(".")]
            found += [Path(place, name) for name in names if not name.startswith(".")]
        return found

    def _take(self, file: Path) -> bool:
        try:
            unchanged_s = self._settling.unchanged_s(file)
            if unchanged_s < SETTLED_S:
                return False
            facts = file.lstat()
            if file.is_symlink() or not file.is_file() or facts.st_size > MOST_BYTES:
                return self._refuse(file, "it is no file, or too large")
            instance = identify(file.read_bytes(), "A file of the watched folder", SOURCE, self._key)
            received = self._receipt.receive(instance)
        except CutOffError as refusal:
            return unchanged_s >= PATIENCE_S and self._refuse(file, refusal.discreet)
        except StudyError as refusal:
            return self._refuse(file, refusal.discreet)
        if received.full:
            return False
        if received.kept == "other":
            return self._refuse(file, "its UID is that of another image that was received before")
        file.unlink(missing_ok=True)
        return True

    def _refuse(self, file: Path, why: str) -> bool:
        log.warning("a file of the watched folder was refused: %s", why)
        aside = self._folder / REFUSED
        aside.mkdir(exist_ok=True)
        file.replace(aside / f"{time.time_ns()}-{file.name}")
        return False
