"""One study is removed for good: all of it, nothing else, and never by half."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.service.test_intake import KEY, NO_RECORD, QUIET_S, SLICES, Desk, images
from engine.service.test_retention import answered
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service.config import RetentionSettings
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import identify
from mmcaf_engine.service.purge import Purged, purge_study
from mmcaf_engine.service.receipt import INCOMING, Receipt
from mmcaf_engine.service.records import FOLDER, keep_record, read_given
from mmcaf_engine.service.retention import ORPHAN_S, prune

STUDY, OTHER = "1.2.3", "1.2.4"
TABLES = ("study", "instance", "answer", "object", "delivery", "comparison", "record", "record_key", "event")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        yield Desk(tmp_path, taking, memory)


def give_record(desk: Desk, patient: str, study: str | None = None) -> int:
    named = {} if study is not None else {"patient_id": patient}
    content = json.dumps({**named, "age": 60}).encode()
    given = read_given(content, KEY)
    return keep_record(desk.memory, desk.spool, given, source="http", study=study, now=desk.now)[0]


def shadowed(desk: Desk) -> None:
    """A second answer of the study, in the shadow of the first, compared with it."""
    desk.memory.execute(
        "insert into answer(id, study, generation, bundle, shadow, state, rank, priority, created, changed) "
        "select 8, study, generation, 'next', 1, 'written', 0, 1, created, 0 from answer where study = ?",
        (STUDY,),
    )
    desk.memory.execute("insert into comparison select 8, id, 1, 0 from answer where id <> 8 and study = ?", (STUDY,))


def files(desk: Desk) -> list[str]:
    return sorted(
        str(file.relative_to(desk.spool))
        for name in (INCOMING, "results", FOLDER)
        for file in (desk.spool / name).rglob("*")
        if file.is_file()
    )


def test_nothing_of_it_is_left_and_all_of_the_others_is(desk: Desk) -> None:
    desk.take(*images(OTHER))
    assert desk.intake(**NO_RECORD).look(desk.memory, set(), desk.now + QUIET_S) == 1
    desk.memory.execute("update answer set state = 'cancelled', changed = ?", (desk.now,))
    shared, kept = give_record(desk, "P-1"), give_record(desk, "P-2")
    desk.memory.execute("update answer set record = ?", (shared,))
    before = files(desk), [[tuple(row) for row in desk.memory.execute(f"select * from {name}")] for name in TABLES]
    answer = answered_beside(desk)
    of_study, used = give_record(desk, "P-3", STUDY), give_record(desk, "P-4")
    desk.memory.execute("update answer set record = ? where id = ?", (used, answer))
    shadowed(desk)
    desk.memory.execute("update answer set record = ? where id = 8", (shared,))
    found = purge_study(desk.memory, desk.spool, STUDY, desk.now, force=False)
    assert found == Purged(images=SLICES, answers=2, results=1, records=2) and of_study != kept
    after = files(desk), [[tuple(row) for row in desk.memory.execute(f"select * from {name}")] for name in TABLES]
    assert after[0] == before[0]
    assert after[1][:-1] == before[1][:-1]
    assert next(row for row in after[1][-1] if row not in before[1][-1])[2:] == (
        "",
        None,
        "purged",
        f"a study with {SLICES} images and 2 answers",
    )
    assert desk.memory.execute("pragma foreign_key_check").fetchall() == []


def answered_beside(desk: Desk) -> int:
    """As `answered`, of the study, beside another one that was cancelled."""
    answered(desk, "committed", asked=True)
    desk.memory.execute("update answer set state = 'cancelled' where study = ?", (OTHER,))
    return int(desk.memory.execute("select id from answer where study = ?", (STUDY,)).fetchone()[0])


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        ("committed", True),
        ("delivered", True),
        ("cancelled", True),
        ("sending", False),
        ("queued", False),
        ("waiting-record", False),
        ("refused", False),
        ("failed", False),
        ("expired", False),
    ],
)
def test_what_has_not_arrived_goes_by_force_alone(state: str, goes: bool, desk: Desk) -> None:
    answer = answered(desk, state)
    if not goes:
        with pytest.raises(ServiceError, match=f"Answer {answer} of the study is {state}") as refusal:
            purge_study(desk.memory, desk.spool, STUDY, desk.now, force=False)
        assert refusal.value.exit_code == 9 and refusal.value.remedies[0].option == "force"
        assert len(list((desk.spool / INCOMING).rglob("*.dcm"))) == SLICES
    assert purge_study(desk.memory, desk.spool, STUDY, desk.now, force=not goes).images == SLICES
    assert files(desk) == []


def test_a_study_that_is_coming_or_was_never_here(desk: Desk) -> None:
    desk.take(*images())
    with pytest.raises(ServiceError, match="still coming"):
        purge_study(desk.memory, desk.spool, STUDY, desk.now, force=False)
    with pytest.raises(ServiceError, match="No study of this UID"):
        purge_study(desk.memory, desk.spool, OTHER, desk.now, force=True)
    assert purge_study(desk.memory, desk.spool, STUDY, desk.now, force=True) == Purged(SLICES, 0, 0, 0)


@pytest.mark.parametrize("what", ["answered", "sent"])
def test_what_is_under_way_is_not_removed_even_by_force(what: str, desk: Desk) -> None:
    answered(desk, "sending" if what == "sent" else "running")
    table = "delivery" if what == "sent" else "answer"
    desk.memory.execute(f"update {table} set owner = 'x', leased_until = ?", (desk.now + 10,))
    with pytest.raises(ServiceError, match="at this moment"):
        purge_study(desk.memory, desk.spool, STUDY, desk.now, force=True)
    assert purge_study(desk.memory, desk.spool, STUDY, desk.now + 11, force=True).images == SLICES


@pytest.mark.parametrize("dies_at", [0, 1])
def test_a_purge_that_dies_can_be_made_again(dies_at: int, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row names a file that is gone, and nothing is answered of what is left."""
    answered(desk, "queued")
    left, real = dies_at, shutil.rmtree

    def die(folder: Path, **how: bool) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        real(folder, **how)

    (desk.spool / "results" / "1-0").mkdir(parents=True)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", die)
        purge_study(desk.memory, desk.spool, STUDY, desk.now, force=True)
    assert desk.memory.execute("select count(*) from instance where file <> ''").fetchone()[0] == 0
    assert [state for _, _, state in desk.sets()] == ["cancelled"]
    assert desk.taking.receive(identify(images()[0], "image", "CT1", KEY)).kept == "same"
    assert purge_study(desk.memory, desk.spool, STUDY, desk.now, force=False).images == SLICES
    assert files(desk) == [] and not (desk.spool / "results" / "1-0").exists()
    assert desk.taking.receive(identify(images()[0], "image", "CT1", KEY)).kept == "new"


def test_a_record_that_no_row_names_goes_after_a_day(desk: Desk) -> None:
    give_record(desk, "P-1")
    orphan = desk.spool / FOLDER / "x.json"
    orphan.write_bytes(b"{}")
    made = orphan.stat().st_mtime
    assert prune(desk.memory, desk.spool, RetentionSettings(), made + ORPHAN_S - 10).orphans == 0
    assert prune(desk.memory, desk.spool, RetentionSettings(), made + ORPHAN_S + 10).orphans == 1
    assert len(files(desk)) == 1 and not orphan.exists()
