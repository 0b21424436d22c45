"""Which bundles answer a study, and with which of its series."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import StudyError
from .config import Config, Route
from .disk import make_folder
from .headers import matches, series_header

WORK = "work"


@dataclass(frozen=True)
class Routed:
    """A bundle that a study is for. series: those that it reads; route: what says so."""

    route: Route
    series: tuple[str, ...]


def files_of(connection: sqlite3.Connection, study: str, generation: int) -> dict[str, list[Path]]:
    """Series -> files within the spool, of a study as it was in one generation."""
    rows = connection.execute(
        "select series, file from instance where study = ? and generation <= ? and file <> '' order by series, uid",
        (study, generation),
    )
    found: dict[str, list[Path]] = {}
    for row in rows:
        found.setdefault(row["series"], []).append(Path(row["file"]))
    return found


def route_study(config: Config, series: Mapping[str, Sequence[Path]]) -> list[Routed]:
    """Every bundle for which a series of the study fits; the first route of each bundle that fits counts.

    Args:
        series: as `files_of` gives it.

    Raises:
        StudyError: an image of the spool cannot be read.
    """
    keywords = sorted({keyword for route in config.routes for keyword in route.match})
    headers = (
        {uid: series_header(config.spool / files[0], keywords) for uid, files in series.items()} if keywords else {}
    )
    found: dict[str, Routed] = {}
    for route in config.routes:
        fitting = tuple(uid for uid in series if not route.match or matches(headers[uid], route.match))
        if fitting and route.bundle not in found:
            found[route.bundle] = Routed(route, fitting)
    return list(found.values())


def route_of(config: Config, connection: sqlite3.Connection, study: str, generation: int, place: str) -> Route | None:
    """What leads a study, as it was once, to a place; None where nothing does, or its images cannot be read."""
    try:
        routed = route_study(config, files_of(connection, study, generation))
    except StudyError:
        return None
    return next((one.route for one in routed if one.route.bundle == place), None)


def destinations_of(config: Config, route: Route, now: float) -> list[tuple[str, float]]:
    """Where a route's answers go, each with the time at which it is given up."""
    chosen = [one for one in config.destination if route.destinations is None or one.name in route.destinations]
    return [(one.name, now + one.expires_h * 3600) for one in chosen]


def in_words(problem: str, spool: Path) -> str:
    """What the engine says of a folder of `gathered`, without the folder, which nobody else knows."""
    place = re.escape(str(spool / WORK))
    return re.sub(rf"{place}/[a-z0-9-]+(/?)", lambda found: "" if found[1] else "The study", problem)


@contextmanager
def gathered(spool: Path, name: str, files: Sequence[Path]) -> Iterator[Path]:
    """A folder that holds these images of the spool and no others, for as long as it is used.

    What arrives meanwhile is not in it: so an answer is of the images that its study had when it was complete.

    Args:
        name: of the folder, behind which the process is told, since one that is to end may still read in its own; what
            processes that died have left is removed.
    """
    for left in (spool / WORK).glob(f"{name}-*"):
        if _is_left(left.name.removeprefix(f"{name}-")):
            shutil.rmtree(left, ignore_errors=True)
    folder = spool / WORK / f"{name}-{os.getpid()}"
    make_folder(folder)
    try:
        for at, file in enumerate(files):
            os.link(spool / file, folder / f"{at:05d}.dcm")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_left(process: str) -> bool:
    """Whether the process of this number is this one, which has begun anew, or lives no more."""
    if not process.isdecimal() or int(process) == os.getpid():
        return process.isdecimal()
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False  # It lives, and is somebody else's.
    return False
