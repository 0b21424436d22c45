"""The service's bundles, for whoever looks: which answers, which are its shadows, and how far these agree with it."""

import sqlite3
from dataclasses import asdict
from typing import Any

from .choice import lineups, read_choices
from .compare import comparisons
from .config import Config
from .life import runs


def bundle_views(connection: sqlite3.Connection, config: Config, now: float) -> list[dict[str, Any]]:
    """One entry of each, in the configuration's order.

    Each has name, place (that routes lead to), answers, shadow_of, since and before (of the last switch of its place,
    else null), ready (it runs, and passed its self-test), queued, and compared: of a shadow, see `Comparison`.
    """
    lines = lineups(config, read_choices(connection)).values()
    pairs = {(one.bundle, one.shadow): one for one in comparisons(connection, config, listed=100)}
    queued = {
        row["bundle"]: row["number"]
        for row in connection.execute(
            "select bundle, count(*) as number from answer where state in ('queued', 'running') group by bundle"
        )
    }
    found = []
    for one in config.bundle:
        line = next(line for line in lines if one.name in line.names)
        pair = pairs.get((line.answers, one.name))
        found.append(
            {
                "name": one.name,
                "place": line.place,
                "answers": one.name == line.answers,
                "shadow_of": None if one.name == line.answers else line.answers,
                "since": line.since,
                "before": line.before if one.name == line.answers else None,
                "ready": runs(connection, f"runner {one.name}", now),
                "queued": queued.get(one.name, 0),
                "compared": None if pair is None else asdict(pair),
            }
        )
    return found
