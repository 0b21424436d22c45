"""What is removed when, and what never; and that nothing is answered of what is left."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest

from engine.service.test_intake import DEADLINE_S, NO_RECORD, QUIET_S, SLICES, Desk, images
from mmcaf_engine.service import answers
from mmcaf_engine.service.answers import FrozenObject
from mmcaf_engine.service.config import RetentionSettings
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import identify
from mmcaf_engine.service.receipt import INCOMING, Receipt
from mmcaf_engine.service.retention import ORPHAN_S, prune, remove_images

SETTINGS = RetentionSettings(images_h=1, results_h=10)
HOUR = 3600.0
KEY = b"k" * 32


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        yield Desk(tmp_path, taking, memory)


def stored(desk: Desk) -> int:
    return len([file for file in (desk.spool / INCOMING).rglob("*") if file.is_file()])


def answered(desk: Desk, state: str, *, asked: bool = False) -> int:
    """A whole study with one answer, in a state that the clock entered now."""
    desk.take(*images())
    assert desk.intake(**NO_RECORD).look(desk.memory, set(), desk.now + QUIET_S) == 1
    if state in ("delivered", "committed", "sending", "written"):
        claimed = answers.claim(desk.memory, "lung", "runner", desk.now)
        assert claimed is not None
        place = PurePosixPath("results", f"{claimed.id}-0")
        (desk.spool / place).mkdir(parents=True)
        (desk.spool / place / "sr.dcm").write_bytes(b"sr")
        assert answers.freeze(
            desk.memory,
            claimed,
            "runner",
            desk.now,
            [FrozenObject("structured-report", "1.2", "1.3", place / "sr.dcm", "d")],
            result_sha256="r",
            bundle_sha256="b",
            destinations=[("pacs", 9e9)],
        )
        if asked:
            desk.memory.execute("update delivery set commitment = '1.9'")
    desk.memory.execute("update answer set state = ?, changed = ?", (state, desk.now))
    desk.memory.execute("update study set last = ?", (desk.now,))
    return int(desk.memory.execute("select id from answer").fetchone()[0])


@pytest.mark.parametrize(
    ("state", "asked", "goes"),
    [
        ("committed", True, True),
        ("delivered", False, True),
        ("delivered", True, False),
        ("sending", False, False),
        ("written", False, False),
        ("queued", False, False),
        ("running", False, False),
        ("waiting-record", False, False),
        ("refused", False, False),
        ("failed", False, False),
        ("expired", False, False),
        ("cancelled", False, True),
    ],
)
def test_images_go_after_their_answer_arrived_and_never_before(state: str, asked: bool, goes: bool, desk: Desk) -> None:
    answered(desk, state, asked=asked)
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + HOUR - 1).studies == 0 and stored(desk) == SLICES
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + HOUR).studies == goes
    assert stored(desk) == (0 if goes else SLICES)
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + 2 * HOUR).studies == 0


@pytest.mark.parametrize(
    ("state", "goes", "then"),
    [("queued", True, "cancelled"), ("waiting-record", True, "cancelled"), ("running", False, "running")],
)
def test_a_shadow_that_does_not_run_holds_no_images_for_ever(state: str, goes: bool, then: str, desk: Desk) -> None:
    """It has as long as images are kept; then it is given up, and never answers of what is left."""
    answered(desk, "delivered")
    desk.memory.execute(
        "insert into answer(study, generation, bundle, shadow, state, rank, priority, created, changed) "
        "select study, generation, 'next', 1, ?, rank, 1, created, ? from answer",
        (state, desk.now + 10),
    )
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + HOUR).studies == 0 and stored(desk) == SLICES
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + HOUR + 10).studies == goes
    row = desk.memory.execute("select state, problem from answer where shadow").fetchone()
    assert row["state"] == then and ("removed before" in str(row["problem"])) is goes


def test_a_study_that_comes_or_that_nothing_answers(desk: Desk) -> None:
    desk.take(*images())
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + 9 * HOUR).studies == 0
    nothing = desk.intake(route=[{"bundle": "lung", "match": {"Modality": "MR"}}])
    nothing.look(desk.memory, set(), desk.now + QUIET_S)
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + HOUR).studies == 1 and stored(desk) == 0


def test_results_go_long_after(desk: Desk) -> None:
    answer = answered(desk, "committed", asked=True)
    file = desk.spool / "results" / f"{answer}-0" / "sr.dcm"
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + 9 * HOUR).answers == 0 and file.exists()
    assert prune(desk.memory, desk.spool, SETTINGS, desk.now + 10 * HOUR).answers == 1 and not file.exists()
    assert desk.memory.execute("select uid, sha256 from object").fetchone()[:] == ("1.3", "d")


def test_what_is_sent_again_after_it_was_removed_changes_nothing(desk: Desk) -> None:
    answered(desk, "committed", asked=True)
    prune(desk.memory, desk.spool, SETTINGS, desk.now + HOUR)
    assert desk.taking.receive(identify(images()[0], "image", "CT1", KEY)).kept == "same"
    assert stored(desk) == 0 and desk.memory.execute("select state from study").fetchone()[0] == "complete"


def test_a_new_slice_of_a_removed_study_is_no_study(desk: Desk) -> None:
    """It waits for the others; without them it is refused, never answered."""
    files = images()
    desk.take(*files[:-1])
    intake = desk.intake(**NO_RECORD)
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1
    desk.memory.execute("update answer set state = 'delivered', changed = ?", (desk.now,))
    assert remove_images(desk.memory, desk.spool, "1.2.3", desk.now) and stored(desk) == 0
    desk.now += HOUR
    desk.take(files[-1])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0 and "1 of 6" in str(desk.problem())
    desk.take(*files[:3])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0 and "4 of 6" in str(desk.problem())
    assert intake.look(desk.memory, set(), desk.now + DEADLINE_S) == 1
    rows = desk.memory.execute("select generation, state, problem from answer order by id").fetchall()
    assert [tuple(row)[:2] for row in rows] == [(1, "delivered"), (2, "refused")] and "4 of 6" in rows[1]["problem"]
    desk.take(*files[3:-1])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1
    assert desk.sets()[-1] == (3, SLICES, "queued")


def test_a_file_that_no_row_names_goes_after_a_day(desk: Desk) -> None:
    desk.take(*images()[:1])
    [kept] = (desk.spool / INCOMING).rglob("*.dcm")
    orphan = kept.with_name("9.9.dcm")
    orphan.write_bytes(b"x")
    written = orphan.stat().st_mtime
    assert prune(desk.memory, desk.spool, SETTINGS, written + ORPHAN_S - 10).orphans == 0
    assert prune(desk.memory, desk.spool, SETTINGS, written + ORPHAN_S + 10).orphans == 1
    assert kept.exists() and not orphan.exists()


def test_results_that_no_row_names_go_after_a_day(desk: Desk) -> None:
    """Of an attempt that died, or of an answer that was no longer wanted when it was written."""
    answer = answered(desk, "sending")
    left = desk.spool / "results" / f"{answer}-1"
    left.mkdir()
    (left / "sr.dcm").write_bytes(b"sr")
    made = left.stat().st_mtime
    assert prune(desk.memory, desk.spool, SETTINGS, made + ORPHAN_S - 10).orphans == 0
    assert prune(desk.memory, desk.spool, SETTINGS, made + ORPHAN_S + 10).orphans == 1
    assert [folder.name for folder in (desk.spool / "results").iterdir()] == [f"{answer}-0"]


def test_images_are_forgotten_before_they_are_removed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the two leaves files that nothing names, and never a row of a file that is gone."""
    answered(desk, "committed", asked=True)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", die)
        prune(desk.memory, desk.spool, SETTINGS, desk.now + HOUR)
    named = [row["file"] for row in desk.memory.execute("select file from instance where file <> ''")]
    assert named == [] and stored(desk) == SLICES
