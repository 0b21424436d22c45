"""Which bundle answers in each place of the configuration, where a person gave it to one of the shadows."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from .config import Config


@dataclass(frozen=True)
class Chosen:
    """What a person chose. before: the bundle that answered until then; None where there is no way back."""

    bundle: str
    before: str | None
    since: float


@dataclass(frozen=True)
class Lineup:
    """The bundles of one place. place: the name that routes lead to; answers: whose answers are sent; shadows: the
    others, in the configuration's order. before, since: see `Chosen`; None where the configuration decides.
    """

    place: str
    answers: str
    shadows: tuple[str, ...]
    before: str | None = None
    since: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (self.answers, *self.shadows)


def read_choices(connection: sqlite3.Connection) -> dict[str, Chosen]:
    """Place -> what was chosen for it."""
    rows = connection.execute("select place, bundle, before, since from choice").fetchall()
    return {row["place"]: Chosen(row["bundle"], row["before"], row["since"]) for row in rows}


def lineups(config: Config, choices: Mapping[str, Chosen]) -> dict[str, Lineup]:
    """Place -> its bundles. A choice of a bundle that the configuration no longer has there counts for nothing."""
    found = {}
    for one in config.bundle:
        if one.shadow_of is None:
            names = (one.name, *(other.name for other in config.bundle if other.shadow_of == one.name))
            chosen = choices.get(one.name)
            if chosen is None or chosen.bundle not in names:
                found[one.name] = Lineup(one.name, one.name, names[1:])
                continue
            before = chosen.before if chosen.before in names else None
            others = tuple(name for name in names if name != chosen.bundle)
            found[one.name] = Lineup(one.name, chosen.bundle, others, before, chosen.since)
    return found


def lineup_of(config: Config, choices: Mapping[str, Chosen], bundle: str) -> Lineup | None:
    """The one that a bundle belongs to; None where the configuration does not know it."""
    return next((one for one in lineups(config, choices).values() if bundle in one.names), None)
