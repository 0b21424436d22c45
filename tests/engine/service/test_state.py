"""The service's memory: every step happens once, whichever process dies, and nothing is done twice or by two."""

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest

from mmcaf_engine.errors import Remedy, ServiceError
from mmcaf_engine.service import answers, studies
from mmcaf_engine.service.answers import LEASE_S, MOST_CRASHES, Claimed, FrozenObject
from mmcaf_engine.service.database import FILE, MIGRATIONS, back_up, open_database, schema_version, transaction
from mmcaf_engine.service.keys import keyed, spool_key
from mmcaf_engine.service.states import ANSWER_STATES, ENDED, NEXT, OPEN
from mmcaf_engine.service.studies import Arrival, Quiet, Wanted

LUNG, SHADOW = Wanted("lung"), Wanted("next", shadow=True)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path)) as connection:
        yield connection


def arrival(uid: str, study: str = "1.2", digest: str = "a", **more: object) -> Arrival:
    fields = {"series": "1.2.1", "sop_class": "1.3", "size": 10, "file": f"images/{study}/{uid}", "source": "CT"}
    return Arrival(uid=uid, study=study, sha256=digest, **{**fields, **more})  # type: ignore[arg-type]


def only_quiet(memory: sqlite3.Connection, now: float = 1000.0) -> Quiet:
    [study] = studies.quiet(memory, now, 1.0)
    return study


def queue(memory: sqlite3.Connection, study: str, at: float, *wanted: Wanted, **more: object) -> None:
    studies.keep(memory, [arrival(f"{study}.1", study, **more)], at)
    [found] = [one for one in studies.quiet(memory, at + 1, 1.0) if one.uid == study]
    assert studies.complete(memory, found, wanted or [LUNG], "2026-01-02T03:04:05Z", at + 1)


def claim(memory: sqlite3.Connection, now: float = 2000.0, owner: str = "runner", bundle: str = "lung") -> Claimed:
    found = answers.claim(memory, bundle, owner, now)
    assert found is not None
    return found


def state_of(memory: sqlite3.Connection, answer: int) -> str:
    return str(memory.execute("select state from answer where id = ?", (answer,)).fetchone()[0])


def freeze(
    memory: sqlite3.Connection, claimed: Claimed, owner: str = "runner", uid: str = "9.1", digest: str = "d"
) -> bool:
    objects = [FrozenObject("structured-report", "1.2.3", uid, PurePosixPath("results/1/sr.dcm"), digest)]
    destinations = [] if claimed.shadow else [("pacs", 9e9)]
    return answers.freeze(
        memory, claimed, owner, 2100.0, objects, result_sha256="r", bundle_sha256="b", destinations=destinations
    )


# The file


def test_it_is_synced_at_every_commit(memory: sqlite3.Connection) -> None:
    assert memory.execute("pragma journal_mode").fetchone()[0] == "wal"
    assert memory.execute("pragma synchronous").fetchone()[0] == 2
    assert schema_version(memory) == len(MIGRATIONS)


def test_an_older_file_is_brought_up_to_date_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    further = (*MIGRATIONS, "alter table study add column note text; create table other(a)")
    with closing(open_database(tmp_path)) as memory:
        queue(memory, "1.2", 10)
    with closing(open_database(tmp_path, migrations=further)) as memory:
        assert schema_version(memory) == len(further)
        assert memory.execute("select note, state from study").fetchone()[:] == (None, "complete")
    with pytest.raises(ServiceError, match=f"version {len(further)}"):
        open_database(tmp_path)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    open_database(tmp_path).close()
    with pytest.raises(ServiceError):
        open_database(tmp_path, migrations=(*MIGRATIONS, "alter table study add column note text; nonsense"))
    with closing(open_database(tmp_path)) as memory:
        assert "note" not in [row["name"] for row in memory.execute("pragma table_info(study)")]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 500)
    with pytest.raises(ServiceError, match=FILE):
        open_database(tmp_path)
    with pytest.raises(ServiceError):
        open_database(tmp_path / "missing")


def test_a_transaction_is_whole_or_nothing(memory: sqlite3.Connection) -> None:
    with pytest.raises(RuntimeError), transaction(memory):
        answers.note(memory, "1.2", None, "received", 1.0)
        raise RuntimeError
    assert memory.execute("select count(*) from event").fetchone()[0] == 0


def test_a_full_disk_at_a_commit_is_told_as_that_and_the_next_one_goes_on(memory: sqlite3.Connection) -> None:
    """SQLite ends such a transaction by itself, so that there is none to roll back."""

    class Full:
        in_transaction = False

        def execute(self, statement: str) -> None:
            if statement == "commit":
                raise sqlite3.OperationalError("database or disk is full")
            if statement == "rollback":
                raise sqlite3.OperationalError("cannot rollback - no transaction is active")

    with pytest.raises(sqlite3.OperationalError, match="full"), transaction(Full()):  # type: ignore[arg-type]
        pass
    memory.execute(f"pragma max_page_count = {memory.execute('pragma page_count').fetchone()[0]}")
    with pytest.raises(sqlite3.OperationalError, match="full"), transaction(memory):
        for at in range(2000):
            answers.note(memory, f"1.2.{at}", None, "received", 1.0, "x" * 100)
    memory.execute("pragma max_page_count = 100000")
    with transaction(memory):
        answers.note(memory, "1.2", None, "received", 1.0)
    assert memory.execute("select count(*) from event").fetchone()[0] == 1


def test_a_copy_is_made_while_another_process_writes(memory: sqlite3.Connection, tmp_path: Path) -> None:
    queue(memory, "1.2", 10)
    copy = tmp_path / "copy" / FILE
    copy.parent.mkdir()
    back_up(tmp_path, copy)
    queue(memory, "1.3", 20)
    with closing(open_database(copy.parent)) as found:
        assert [row["study"] for row in found.execute("select study from answer")] == ["1.2"]
    with pytest.raises(ServiceError):
        back_up(tmp_path / "missing", tmp_path / "other")


def test_identifiers_are_kept_as_keyed_digests(tmp_path: Path) -> None:
    key = spool_key(tmp_path)
    assert spool_key(tmp_path) == key and len(key) == 32
    assert keyed(key, "patient", "A-1 ") == keyed(key, "patient", "A-1")
    others = {keyed(key, "patient", "A-2"), keyed(key, "accession", "A-1"), keyed(b"x" * 32, "patient", "A-1")}
    assert len(others | {keyed(key, "patient", "A-1")}) == 4
    assert keyed(key, "patient", " ") is keyed(key, "patient", None) is None
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(ServiceError, match="5 bytes"):
        spool_key(tmp_path)


# Studies


def test_an_instance_is_new_once_and_other_bytes_are_told(memory: sqlite3.Connection) -> None:
    one = arrival("1.2.1.1")
    assert studies.keep(memory, [one, one], 10.0) == ["new", "same"]
    assert studies.keep(memory, [arrival("1.2.1.1", digest="b"), arrival("1.2.1.2")], 11.0) == ["other", "new"]
    assert studies.known(memory, "1.2.1.1") == "a" and studies.known(memory, "1.9") is None
    assert only_quiet(memory).instances == 2


def test_a_study_is_quiet_when_nothing_came(memory: sqlite3.Connection) -> None:
    studies.keep(memory, [arrival("1.2.1")], 10.0)
    assert studies.quiet(memory, 10.5, 1.0) == [] and len(studies.quiet(memory, 11.0, 1.0)) == 1
    studies.keep(memory, [arrival("1.2.1")], 20.0)
    assert studies.quiet(memory, 20.5, 1.0) == [], "one that is sent again is still being sent"
    studies.expect(memory, "1.2", 7)
    studies.doubt(memory, only_quiet(memory), "a slice is missing")
    assert (only_quiet(memory).expected, only_quiet(memory).problem) == (7, "a slice is missing")
    studies.keep(memory, [arrival("1.2.2")], 21.0)
    assert only_quiet(memory).problem is None


def test_a_study_is_completed_once_and_only_as_it_was_seen(memory: sqlite3.Connection) -> None:
    studies.keep(memory, [arrival("1.2.1")], 10.0)
    seen = only_quiet(memory)
    studies.keep(memory, [arrival("1.2.2")], 10.5)
    assert not studies.complete(memory, seen, [LUNG], "now", 12.0)
    seen = only_quiet(memory)
    assert studies.complete(memory, seen, [LUNG], "now", 12.0)
    assert not studies.complete(memory, seen, [LUNG], "now", 12.0)
    assert memory.execute("select count(*) from answer").fetchone()[0] == 1


def test_a_late_slice_opens_a_generation_that_replaces_the_last(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10, LUNG, SHADOW)
    written = claim(memory)
    assert freeze(memory, written)
    waiting = answers.claim(memory, "next", "other", 2000.0)
    assert waiting is not None
    assert studies.keep(memory, [arrival("1.2.9", "1.2")], 3000.0) == ["new"]
    assert state_of(memory, written.id) == "sending" and state_of(memory, waiting.id) == "superseded"
    assert not answers.renew(memory, waiting, "other", 3000.0) and not freeze(memory, waiting, "other")
    assert studies.complete(memory, only_quiet(memory, 4000.0), [LUNG, SHADOW], "later", 4000.0)
    again = claim(memory, 4001.0)
    assert (again.generation, again.replaces) == (2, written.id)
    shadow = answers.claim(memory, "next", "other", 4001.0)
    assert shadow is not None and shadow.replaces is None


# Answers


def test_results_that_come_back_are_no_images(memory: sqlite3.Connection) -> None:
    """An archive may send all that it has of a study on: else each answer would ask for the next."""
    queue(memory, "1.2", 2.0)
    assert freeze(memory, claim(memory), uid="1.9")
    ours = arrival("1.9", digest="as an archive changed it", sop_class="1.2.840.10008.5.1.4.1.1.7")
    assert studies.keep(memory, [ours], 3.0) == ["same"] and not studies.replace_missing(memory, Path("x"), ours)
    assert memory.execute("select state, generation from study").fetchone()[:] == ("complete", 1)
    assert studies.known(memory, "1.9") is None


@pytest.mark.parametrize("last", ["7", "7.2", "88.33", "11.1", "104.1", "66.4"])
def test_what_stands_beside_images_is_kept_and_asks_for_no_other_answer(last: str, memory: sqlite3.Connection) -> None:
    """As another service's results: the two would answer each other without end."""
    queue(memory, "1.2", 2.0)
    beside = arrival("1.8", sop_class=f"1.2.840.10008.5.1.4.1.1.{last}")
    assert studies.keep(memory, [beside, beside], 3.0) == ["new", "same"]
    assert memory.execute("select state, generation from study").fetchone()[:] == ("complete", 1)
    assert memory.execute("select generation from instance where uid = '1.8'").fetchone()[0] == 2, "of no answer yet"
    assert studies.keep(memory, [arrival("1.3")], 4.0) == ["new"]
    assert memory.execute("select state, generation from study").fetchone()[:] == ("received", 2)


def test_what_stands_beside_images_that_were_removed_is_not_kept_for_ever(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 2.0)
    memory.execute("update instance set file = ''")
    memory.execute("update study set pruned = 3")
    beside = arrival("1.8", sop_class="1.2.840.10008.5.1.4.1.1.88.33")
    assert studies.keep(memory, [beside], 4.0) == ["same"] and not studies.replace_missing(memory, Path("x"), beside)
    assert studies.known(memory, "1.8") == beside.sha256
    assert memory.execute("select count(*) from instance where file <> ''").fetchone()[0] == 0


def test_a_study_of_captures_alone_goes_on_with_captures(memory: sqlite3.Connection) -> None:
    capture: dict[str, object] = {"sop_class": "1.2.840.10008.5.1.4.1.1.7"}
    queue(memory, "1.2", 2.0, **capture)
    studies.keep(memory, [arrival("1.3", **capture)], 4.0)
    assert memory.execute("select state, generation from study").fetchone()[:] == ("received", 2)


def test_a_clock_that_was_set_back_keeps_no_study_waiting(memory: sqlite3.Connection) -> None:
    studies.keep(memory, [arrival("1.1")], 1e9)
    studies.bring_back(memory, 1000.0)
    assert not studies.quiet(memory, 1009.0, 10.0) and [one.last for one in studies.quiet(memory, 1010.0, 10.0)] == [
        1000
    ]
    studies.bring_back(memory, 999.0)
    assert [one.last for one in studies.quiet(memory, 1010.0, 10.0)] == [1000], "of a moment is nothing"


def test_every_step_is_one_that_there_is(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10)
    [answer] = [row["id"] for row in memory.execute("select id from answer")]
    for before, after in itertools.product(ANSWER_STATES, repeat=2):
        memory.execute("update answer set state = ?", (before,))
        if after in NEXT[before]:
            assert answers.move(memory, answer, before, after, 1.0) and state_of(memory, answer) == after
            assert not answers.move(memory, answer, before, after, 1.0) or before == after
        else:
            with pytest.raises(ValueError, match="no step"):
                answers.move(memory, answer, before, after, 1.0)
    assert all(NEXT[state] <= {"queued", "sending"} for state in ENDED) and not OPEN & ENDED


def test_the_urgent_come_first_and_who_waits_long_enough_too(memory: sqlite3.Connection) -> None:
    queue(memory, "1.1", 0, priority="batch")
    queue(memory, "1.2", 10)
    queue(memory, "1.3", 20, priority="stat")
    queue(memory, "1.4", 30)
    queue(memory, "1.5", 100_000, priority="stat")
    order = [claim(memory, 100_100.0, f"runner {at}").study for at in range(5)]
    assert order == ["1.3", "1.2", "1.4", "1.5", "1.1"]
    assert answers.claim(memory, "lung", "runner 9", 100_100.0) is None


def test_nobody_takes_what_another_works_on(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10)
    first = claim(memory, 2000.0, "a")
    assert answers.claim(memory, "lung", "b", 2000.0 + LEASE_S) is None
    assert answers.renew(memory, first, "a", 2050.0) and not answers.renew(memory, first, "b", 2050.0)
    assert answers.claim(memory, "lung", "b", 2050.0 + LEASE_S) is None
    second = answers.claim(memory, "lung", "b", 2051.0 + LEASE_S)
    assert second is not None and second.created == first.created
    assert not freeze(memory, first, "a") and freeze(memory, second, "b")


def test_a_study_that_ends_three_processes_has_failed(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10)
    for _ in range(MOST_CRASHES):
        answer = claim(memory).id
    assert answers.claim(memory, "lung", "runner", 2000.0) is None
    assert state_of(memory, answer) == "failed"
    assert answers.retry(memory, answer, 3000.0, 9e9)
    assert claim(memory).id == answer
    assert claim(memory).id == answer, "counted anew"


def test_frozen_objects_never_change(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10)
    queue(memory, "1.3", 10)
    assert freeze(memory, claim(memory)) and not freeze(memory, replace_owner(memory))
    with pytest.raises(ServiceError, match="UID"):
        freeze(memory, claim(memory), digest="other")
    assert memory.execute("select count(*) from object").fetchone()[0] == 1


def replace_owner(memory: sqlite3.Connection) -> Claimed:
    row = memory.execute("select * from answer order by id").fetchone()
    return Claimed(row["id"], row["study"], 1, "lung", False, None, row["created"], 0, None)


def test_a_shadow_is_written_and_sent_nowhere(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10, SHADOW)
    claimed = claim(memory, bundle="next")
    assert claimed.shadow and freeze(memory, claimed)
    assert state_of(memory, claimed.id) == "written"
    assert memory.execute("select count(*) from delivery").fetchone()[0] == 0


def test_a_person_cancels_what_is_not_written_and_tries_again(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10)
    claimed = claim(memory)
    assert not answers.retry(memory, claimed.id, 3000.0, 9e9)
    assert answers.cancel(memory, claimed.id, 3000.0)
    assert not answers.renew(memory, claimed, "runner", 3001.0) and not freeze(memory, claimed)
    assert answers.retry(memory, claimed.id, 3000.0, 9e9)
    assert freeze(memory, claim(memory))
    assert not answers.cancel(memory, claimed.id, 3000.0)


def test_a_refusal_is_kept_with_its_reason_and_its_remedy(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10)
    claimed = claim(memory)
    said = {"problem": "3 slices are missing.", "remedies": [Remedy("Send them again")], "exit_code": 3}
    assert not answers.give_up(memory, claimed, "other", 3000.0, "refused", **said)  # type: ignore[arg-type]
    assert answers.give_up(memory, claimed, "runner", 3000.0, "refused", **said)  # type: ignore[arg-type]
    row = memory.execute("select state, problem, remedies, exit_code, owner from answer").fetchone()
    assert tuple(row)[:2] == ("refused", "3 slices are missing.") and tuple(row)[3:] == (3, None)
    [remedy] = json.loads(row["remedies"])
    assert remedy == {"text": "Send them again", "option": None, "value": None, "command": None}
    events = [row["state"] for row in memory.execute("select state from event order by id")]
    assert events == ["received", "complete", "queued", "running", "refused"]


def test_a_delivery_that_failed_is_tried_again_with_the_same_objects(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10)
    claimed = claim(memory)
    assert freeze(memory, claimed)
    with transaction(memory):
        memory.execute("update delivery set state = 'failed', tries = 9, problem = 'refused'")
        assert answers.move(memory, claimed.id, "sending", "failed", 3000.0)
    assert answers.retry(memory, claimed.id, 3000.0, 4000.0)
    row = memory.execute("select state, tries, due, until, problem from delivery").fetchone()
    assert tuple(row) == ("sending", 0, 3000.0, 4000.0, None) and state_of(memory, claimed.id) == "sending"


def test_a_study_waits_for_its_record(memory: sqlite3.Connection) -> None:
    queue(memory, "1.2", 10, Wanted("lung", deadline=500.0))
    assert answers.claim(memory, "lung", "runner", 20.0) is None
    assert memory.execute("select state, deadline from answer").fetchone()[:] == ("waiting-record", 500.0)
