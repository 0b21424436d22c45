"""What a shadow answers beside the bundle that answers: whether their labels agree, and how far probabilities differ.

What is kept of a pair is whether it agrees, and by how much it differs: no label, and so nothing of a patient.
"""

import json
import math
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .choice import lineups
from .config import Config
from .database import transaction
from .views import object_file

CONFIDENCE_Z = 1.959963984540054
"""Of a 95 % interval."""


@dataclass(frozen=True)
class Disagreement:
    """A study of which two bundles say different labels. difference: of a label's probability, the largest."""

    study: str
    generation: int
    answer: int
    shadow_answer: int
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """One bundle's answers and those that another gave in its shadow, over the studies that both answered.

    interval: of the agreement, 95 %. differences: of a label's probability, the largest of each study. one_sided:
    studies that one answered and the other refused, or failed at.
    """

    bundle: str
    shadow: str
    compared: int
    agreeing: int
    agreement: float | None
    interval: tuple[float, float] | None
    largest_difference: float | None
    mean_difference: float | None
    bundle_alone: int
    shadow_alone: int
    disagreements: tuple[Disagreement, ...]


def compare_new(connection: sqlite3.Connection, config: Config, study: str | None = None) -> int:
    """Compare the pairs that were not yet, of one study or of all; how many. A pair is of one study as it was once."""
    places = _places(config)
    rows = connection.execute(
        "select shadow.id as shadow, shadow.bundle as other, answer.id as answer, answer.bundle as bundle "
        "from answer as shadow join answer on answer.study = shadow.study and answer.generation = shadow.generation "
        "where shadow.shadow and not answer.shadow and (:study is null or shadow.study = :study) "
        "and shadow.result_sha256 is not null and answer.result_sha256 is not null "
        "and not exists(select 1 from comparison where shadow = shadow.id)",
        {"study": study},
    ).fetchall()
    compared = 0
    for row in rows:
        if places.get(row["bundle"]) is None or places[row["bundle"]] != places.get(row["other"]):
            continue
        given = _result(connection, config.spool, row["answer"])
        beside = _result(connection, config.spool, row["shadow"])
        if given is None or beside is None:
            continue
        with transaction(connection):
            connection.execute(
                "insert or ignore into comparison(shadow, answer, agrees, difference) values(?, ?, ?, ?)",
                (row["shadow"], row["answer"], given["label"] == beside["label"], _difference(given, beside)),
            )
        compared += 1
    return compared


def comparisons(connection: sqlite3.Connection, config: Config, *, listed: int = 1000) -> list[Comparison]:
    """Of every bundle that answers or did, and every other one of its place; only pairs that there are any of.

    Args:
        listed: disagreeing studies of each pair, the newest first.
    """
    places = _places(config)
    rows = connection.execute(
        "select answer.bundle, shadow.bundle as shadow, count(*) as compared, sum(agrees) as agreeing, "
        "max(difference) as largest, avg(difference) as mean from comparison "
        "join answer on answer.id = comparison.answer join answer as shadow on shadow.id = comparison.shadow "
        "group by 1, 2"
    ).fetchall()
    totals = {(row["bundle"], row["shadow"]): row for row in rows}
    alone = {
        (row["bundle"], row["shadow"]): (row["bundle_alone"], row["shadow_alone"])
        for row in connection.execute(_ALONE)
        if row["bundle_alone"] or row["shadow_alone"]
    }
    found = []
    for bundle, shadow in sorted(totals.keys() | alone.keys()):
        if places.get(bundle) is None or places[bundle] != places.get(shadow):
            continue
        row = totals.get((bundle, shadow))
        compared, agreeing = (0, 0) if row is None else (row["compared"], row["agreeing"])
        found.append(
            Comparison(
                bundle=bundle,
                shadow=shadow,
                compared=compared,
                agreeing=agreeing,
                agreement=agreeing / compared if compared else None,
                interval=interval_of(agreeing, compared) if compared else None,
                largest_difference=None if row is None else row["largest"],
                mean_difference=None if row is None else row["mean"],
                bundle_alone=alone.get((bundle, shadow), (0, 0))[0],
                shadow_alone=alone.get((bundle, shadow), (0, 0))[1],
                disagreements=_disagreements(connection, bundle, shadow, listed),
            )
        )
    return found


def interval_of(agreeing: int, compared: int) -> tuple[float, float]:
    """Of a share, by its score (E. B. Wilson, J. Am. Stat. Assoc. 22:209, 1927), which holds near 0 and 1 too."""
    share, z2 = agreeing / compared, CONFIDENCE_Z**2
    middle = (share + z2 / (2 * compared)) / (1 + z2 / compared)
    half = CONFIDENCE_Z / (1 + z2 / compared) * math.sqrt(share * (1 - share) / compared + z2 / (4 * compared**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _disagreements(connection: sqlite3.Connection, bundle: str, shadow: str, listed: int) -> tuple[Disagreement, ...]:
    rows = connection.execute(
        "select answer.study, answer.generation, answer.id as answer, shadow.id as shadow_answer, difference "
        "from comparison join answer on answer.id = comparison.answer "
        "join answer as shadow on shadow.id = comparison.shadow "
        "where not agrees and answer.bundle = ? and shadow.bundle = ? order by answer.id desc limit ?",
        (bundle, shadow, listed),
    ).fetchall()
    return tuple(Disagreement(**dict(row)) for row in rows)


def _places(config: Config) -> dict[str, str]:
    """Bundle -> its place, whichever of the place answers now."""
    return {name: line.place for line in lineups(config, {}).values() for name in line.names}


def _result(connection: sqlite3.Connection, spool: Path, answer: int) -> dict[str, Any] | None:
    """None where it was removed."""
    file = object_file(connection, spool, answer, "result")
    try:
        found = None if file is None else json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "label" in found else None


def _difference(given: dict[str, Any], beside: dict[str, Any]) -> float | None:
    """The largest over the labels that both know."""
    here, there = given.get("probabilities") or {}, beside.get("probabilities") or {}
    return max((abs(here[label] - there[label]) for label in here.keys() & there.keys()), default=None)


_ALONE = """
    select answer.bundle, shadow.bundle as shadow,
        sum(answer.result_sha256 is not null and shadow.result_sha256 is null) as bundle_alone,
        sum(answer.result_sha256 is null and shadow.result_sha256 is not null) as shadow_alone
    from answer join answer as shadow on answer.study = shadow.study and answer.generation = shadow.generation
    where not answer.shadow and shadow.shadow
        and (answer.result_sha256 is not null or answer.state in ('refused', 'failed'))
        and (shadow.result_sha256 is not null or shadow.state in ('refused', 'failed'))
    group by 1, 2
"""
