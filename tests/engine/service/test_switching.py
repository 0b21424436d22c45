"""Another bundle answers, and back: each study has one answer that is sent, and nothing that waits is lost."""

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from engine.service.test_intake import DEADLINE_S, NO_RECORD, QUIET_S, Desk, images
from engine.service.test_state import arrival
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import BundleError, ServiceError
from mmcaf_engine.service import answers, studies
from mmcaf_engine.service.answers import FrozenObject
from mmcaf_engine.service.bundle_views import bundle_views
from mmcaf_engine.service.choice import lineups, read_choices
from mmcaf_engine.service.compare import compare_new, comparisons, interval_of
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.life import SILENT_S, alive, runs
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.studies import Wanted
from mmcaf_engine.service.switching import roll_back, switch
from signed_bundles import new_key, sign
from tiny_bundle import make_tiny_bundle

NOW = 5000.0


class Place:
    """A memory with a bundle that answers, `old`, and two shadows, `new` and `third`; all of them run."""

    def __init__(self, memory: sqlite3.Connection, spool: Path, path: Path, **settings: Any) -> None:
        self.memory = memory
        names = ("old", "new", "third")
        shadows: list[dict[str, Any]] = [{"shadow_of": "old"} if name != "old" else {} for name in names]
        fields = {
            "spool": spool,
            "bundle": [{"name": name, "path": path, **more} for name, more in zip(names, shadows, strict=True)],
            "destination": [{"name": "pacs", "kind": "dicom", "ae_title": "P", "host": "127.0.0.1", "port": 104}],
            **settings,
        }
        self.config = Config.model_validate(fields)
        for name in names:
            self.runs(name)

    def runs(self, name: str, seen: float = NOW, ready: int = 1) -> None:
        row = (f"runner {name}", 1, seen, ready, seen)
        self.memory.execute("insert or replace into process values(?, ?, ?, ?, ?)", row)

    def queue(self, study: str = "1.2", *, deadline: float | None = None, shadows: tuple[str, ...] = ("new",)) -> None:
        """A whole study, as the intake queues it now."""
        answering = lineups(self.config, read_choices(self.memory))["old"].answers
        names = [answering, *(name for name in ("old", *shadows) if name != answering)]
        studies.keep(self.memory, [arrival(f"{study}.1", study)], 10)
        [found] = [one for one in studies.quiet(self.memory, 9e9, 1.0) if one.uid == study]
        wanted = [Wanted(name, shadow=name != answering, deadline=deadline) for name in names]
        assert studies.complete(self.memory, found, wanted, "2026-01-02T03:04:05Z", 20)

    def step(self, bundle: str, label: str = "quiet", probability: float = 0.75) -> bool:
        """A runner answers the most urgent."""
        claimed = answers.claim(self.memory, bundle, f"runner {bundle}", NOW)
        return claimed is not None and self.freeze(claimed, label, probability)

    def freeze(self, claimed: answers.Claimed, label: str = "quiet", probability: float = 0.75) -> bool:
        place = PurePosixPath("results", f"{claimed.id}-{claimed.attempt}")
        (self.config.spool / place).mkdir(parents=True, exist_ok=True)
        probabilities = {label: probability, "quiet" if label == "loud" else "loud": 1 - probability}
        result = json.dumps({"label": label, "probabilities": probabilities})
        (self.config.spool / place / "result.json").write_text(result)
        return answers.freeze(
            self.memory,
            claimed,
            f"runner {claimed.bundle}",
            NOW,
            [FrozenObject("result", "", f"{place}/result", place / "result.json", "d")],
            result_sha256="r",
            bundle_sha256=claimed.bundle,
            destinations=[("pacs", 9e9)],
        )

    def state(self, bundle: str, study: str = "1.2") -> tuple[str, bool] | None:
        row = self.memory.execute(
            "select state, shadow from answer where bundle = ? and study = ?", (bundle, study)
        ).fetchone()
        return None if row is None else (row["state"], bool(row["shadow"]))

    def answering(self) -> str:
        return lineups(self.config, read_choices(self.memory))["old"].answers

    def sent(self) -> list[tuple[str, str]]:
        """Study and bundle of every delivery."""
        rows = self.memory.execute("select study, bundle from delivery join answer on id = answer order by study")
        return [(row["study"], row["bundle"]) for row in rows]


@pytest.fixture
def place(tmp_path: Path, tiny_bundle_source: Path) -> Iterator[Place]:
    with closing(open_database(tmp_path)) as memory:
        yield Place(memory, tmp_path, tiny_bundle_source)


# What waits


@pytest.mark.parametrize(
    ("shadow_is", "becomes"),
    [
        (None, "queued"),
        ("queued", "queued"),
        ("running", "running"),
        ("written", "sending"),
        ("refused", "queued"),
        ("failed", "queued"),
        ("cancelled", "queued"),
    ],
)
def test_a_study_that_waits_is_answered_by_the_new_bundle(shadow_is: str | None, becomes: str, place: Place) -> None:
    place.queue(shadows=() if shadow_is is None else ("new",))
    if shadow_is == "written":
        assert place.step("new")
    elif shadow_is is not None:
        place.memory.execute("update answer set state = ?, problem = 'p' where bundle = 'new'", (shadow_is,))
    done = switch(place.memory, place.config, "new", NOW)
    assert (done.place, done.bundle, done.before, done.queued, done.sent, done.kept) == (
        "old",
        "new",
        "old",
        1,
        int(shadow_is == "written"),
        0,
    )
    assert place.state("new") == (becomes, False) and place.state("old") == ("queued", True)
    created = {row["created"] for row in place.memory.execute("select created from answer")}
    assert place.answering() == "new" and len(created) == 1
    while place.step("old") or place.step("new"):
        pass
    assert place.state("old") == ("written", True)
    if shadow_is != "running":
        assert place.sent() == [("1.2", "new")]


@pytest.mark.parametrize("shadow_is", ["waiting-record", "cancelled"])
def test_a_study_that_waits_for_its_record(shadow_is: str, place: Place) -> None:
    place.queue(deadline=9e9)
    place.memory.execute("update answer set state = ? where bundle = 'new'", (shadow_is,))
    switch(place.memory, place.config, "new", NOW)
    assert place.state("new") == ("waiting-record", False) and place.state("old") == ("waiting-record", True)
    assert place.memory.execute("select deadline from answer where bundle = 'new'").fetchone()[0] == 9e9


@pytest.mark.parametrize("state", ["running", "written", "sending", "delivered", "refused", "failed", "cancelled"])
def test_an_answer_that_was_begun_stays(state: str, place: Place) -> None:
    place.queue()
    place.memory.execute("update answer set state = ? where bundle = 'old'", (state,))
    done = switch(place.memory, place.config, "new", NOW)
    assert (done.queued, done.kept) == (0, int(state == "running"))
    assert place.state("old") == (state, False) and place.state("new") == ("queued", True)


def test_answers_under_way_in_both_at_the_switch(place: Place) -> None:
    """What old has begun it sends; what new has begun as a shadow is sent where old had not."""
    place.queue("1.2")
    first = answers.claim(place.memory, "old", "runner old", NOW)
    place.queue("1.3")
    assert first is not None and place.step("new")
    second = answers.claim(place.memory, "new", "runner new", NOW)
    assert second is not None and second.study == "1.3" and second.shadow
    switch(place.memory, place.config, "new", NOW)
    assert place.freeze(first) and place.freeze(second)
    assert place.sent() == [("1.2", "old"), ("1.3", "new")]
    assert place.state("new", "1.2") == ("written", True)


def test_a_study_that_no_route_is_for_any_more_stays(place: Place, tiny_bundle_source: Path) -> None:
    place.queue()
    assert place.step("new")
    route = {"bundle": "old", "match": {"Modality": "CT"}}
    elsewhere = Place(place.memory, place.config.spool, tiny_bundle_source, route=[route])
    assert switch(place.memory, elsewhere.config, "new", NOW).queued == 0  # Its image is not even there.
    assert place.state("old") == ("queued", False) and place.state("new") == ("written", True)


@pytest.mark.parametrize("seed", range(4))
def test_switching_under_load(seed: int, place: Place) -> None:
    """Whatever comes when: each study is sent once, by one bundle, and both answered it in the end."""
    chance = random.Random(seed)
    held: list[answers.Claimed] = []
    came = 0
    for _ in range(120):
        step = chance.choice(["study", "claim", "claim", "freeze", "freeze", "die", "switch", "back"])
        if step == "study":
            place.queue(f"1.{came}", shadows=("new", "third"))
            came += 1
        elif step == "claim":
            bundle = chance.choice(["old", "new", "third"])
            if bundle not in {one.bundle for one in held}:  # A runner has one at a time.
                found = answers.claim(place.memory, bundle, f"runner {bundle}", NOW)
                held += [] if found is None else [found]
        elif step == "freeze" and held:
            place.freeze(held.pop(chance.randrange(len(held))))
        elif step == "die" and held and held[-1].attempt == 0:
            held.pop()
        elif step == "switch":
            name = chance.choice([one for one in ("old", "new", "third") if one != place.answering()])
            switch(place.memory, place.config, name, NOW)
        elif step == "back" and lineups(place.config, read_choices(place.memory))["old"].before is not None:
            roll_back(place.memory, place.config, None, NOW)
    for bundle in ("old", "new", "third"):
        while place.step(bundle):
            pass
    assert [study for study, _ in place.sent()] == sorted(f"1.{number}" for number in range(came))
    rows = place.memory.execute("select study, sum(not shadow) as sent, count(*) as number from answer group by study")
    assert {(row["sent"], row["number"]) for row in rows} == {(1, 3)}
    states = place.memory.execute("select distinct state, shadow from answer order by state")
    assert [tuple(row) for row in states] == [("sending", 0), ("written", 1)]


# What is refused


def test_what_cannot_be_switched_to(place: Place) -> None:
    with pytest.raises(ServiceError, match="old answers already"):
        switch(place.memory, place.config, "old", NOW)
    with pytest.raises(ServiceError, match="no bundle other; it has old, new, third"):
        switch(place.memory, place.config, "other", NOW)
    with pytest.raises(ServiceError, match="nothing to roll back"):
        roll_back(place.memory, place.config, None, NOW)


@pytest.mark.parametrize("why", ["never started", "not ready", "silent", "dead in its work"])
def test_a_shadow_that_does_not_run_is_refused(why: str, place: Place) -> None:
    place.queue()
    if why == "never started":
        place.memory.execute("delete from process where role = 'runner new'")
    elif why == "not ready":
        place.runs("new", ready=0)
    elif why == "silent":
        place.runs("new", seen=NOW - SILENT_S - 1)
    else:
        place.runs("new", seen=0)
        place.memory.execute("update answer set owner = 'runner new', leased_until = ? where bundle = 'new'", (NOW,))
    with pytest.raises(ServiceError, match="does not run, or did not pass its self-test") as refusal:
        switch(place.memory, place.config, "new", NOW)
    assert refusal.value.exit_code == 9
    assert place.answering() == "old" and place.state("old") == ("queued", False)


def test_a_runner_at_work_for_long_runs(place: Place) -> None:
    place.queue()
    place.runs("new", seen=0)
    assert not runs(place.memory, "runner new", NOW)
    assert answers.claim(place.memory, "new", "runner new", NOW) is not None
    assert runs(place.memory, "runner new", NOW + SILENT_S)
    assert switch(place.memory, place.config, "new", NOW + SILENT_S).queued == 1


def test_an_older_release_and_one_without_a_signature_are_refused(place: Place, tmp_path: Path) -> None:
    key = new_key("lab")
    old, new = (sign(make_tiny_bundle(tmp_path / f"{number}.mmcaf", release=number), key) for number in (1, 2))
    both = Place(place.memory, tmp_path, old)
    both.config = both.config.model_copy(
        update={"bundle": (both.config.bundle[0].model_copy(update={"path": new}), *both.config.bundle[1:])}
    )
    load_bundle(new)
    with pytest.raises(BundleError, match="older") as refusal:
        switch(both.memory, both.config, "new", NOW)
    assert refusal.value.exit_code == 5 and place.answering() == "old"
    unsigned = place.config.bundle[1].model_copy(update={"require_signature": True})
    place.config = place.config.model_copy(update={"bundle": (place.config.bundle[0], unsigned)})
    with pytest.raises(ServiceError, match="no signature of a trusted key"):
        switch(place.memory, place.config, "new", NOW)


# And back


def test_there_and_back(place: Place) -> None:
    place.queue()
    switch(place.memory, place.config, "new", NOW)
    place.queue("1.3")
    assert place.state("new", "1.3") == ("queued", False)
    done = roll_back(place.memory, place.config, None, NOW + 1)
    assert (done.bundle, done.before, done.queued) == ("old", "new", 2) and place.answering() == "old"
    assert place.state("old") == ("queued", False) and place.state("new") == ("queued", True)
    with pytest.raises(ServiceError, match="nothing to roll back"):
        roll_back(place.memory, place.config, None, NOW + 2)
    switch(place.memory, place.config, "new", NOW + 3)
    switch(place.memory, place.config, "third", NOW + 4)
    assert roll_back(place.memory, place.config, "new", NOW + 5).bundle == "new"


def test_a_choice_outlives_the_service_and_yields_to_a_changed_configuration(place: Place) -> None:
    switch(place.memory, place.config, "new", NOW)
    with closing(open_database(place.config.spool)) as again:
        [line] = lineups(place.config, read_choices(again)).values()
    assert (line.answers, line.shadows, line.before, line.since) == ("new", ("old", "third"), "old", NOW)
    without = place.config.model_copy(update={"bundle": (place.config.bundle[0], place.config.bundle[2])})
    [line] = lineups(without, read_choices(place.memory)).values()
    assert (line.answers, line.shadows, line.since) == ("old", ("third",), None)


def test_a_study_that_is_judged_while_a_person_switches_is_judged_again(place: Place) -> None:
    studies.keep(place.memory, [arrival("1.2.1", "1.2")], 10)
    [found] = studies.quiet(place.memory, 9e9, 1.0)
    choices = read_choices(place.memory)
    switch(place.memory, place.config, "new", NOW)
    assert not studies.complete(place.memory, found, [Wanted("old")], "c", 20, choices=choices)
    assert place.memory.execute("select state from study").fetchone()[0] == "received"


def test_the_intake_follows_a_switch(tmp_path: Path, tiny_bundle_source: Path) -> None:
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        desk, place = Desk(tmp_path, taking, memory), Place(memory, tmp_path, tiny_bundle_source)
        bundles = [{"name": "old", "path": "x"}, {"name": "new", "path": "x", "shadow_of": "old"}]
        intake = desk.intake(bundle=bundles, route=[{**NO_RECORD["route"][0], "bundle": "old"}])
        for study, expected in (("1.2.3", ("old", "new")), ("1.2.4", ("new", "old"))):
            desk.take(*images(study))
            assert intake.look(memory, set(), desk.now + QUIET_S) == 1
            assert [place.state(name, study) for name in expected] == [("queued", False), ("queued", True)]
            if study == "1.2.3":
                assert place.step("old")
                switch(memory, place.config, "new", NOW)
        desk.now += 100
        desk.take(*images("1.2.3", SOPInstanceUID="1.2.3.9")[:1])
        assert intake.look(memory, set(), desk.now + QUIET_S) == 0, "two slices at one place"
        assert intake.look(memory, set(), desk.now + DEADLINE_S) == 1
        row = memory.execute("select replaces from answer where generation = 2 and bundle = 'new'").fetchone()
        sent = memory.execute("select id from answer where generation = 1 and bundle = 'old' and study = '1.2.3'")
        assert row["replaces"] == sent.fetchone()[0], "the report that was sent, though of another bundle"


# What the shadow says


def test_a_shadows_answers_are_compared_with_those_that_are_sent(place: Place) -> None:
    for number, (label, probability) in enumerate([("quiet", 0.75), ("quiet", 0.8125), ("loud", 0.625)]):
        place.queue(f"1.{number}")
        assert place.step("old") and place.step("new", label, probability)
        assert compare_new(place.memory, place.config, f"1.{number}") == 1
        assert compare_new(place.memory, place.config) == 0
    place.queue("1.8")
    assert place.step("old")
    place.memory.execute("update answer set state = 'refused' where bundle = 'new' and study = '1.8'")
    place.queue("1.9")
    assert place.step("new"), "which old has not answered yet"
    [pair] = comparisons(place.memory, place.config)
    assert (pair.bundle, pair.shadow, pair.compared, pair.agreeing) == ("old", "new", 3, 2)
    assert pair.agreement == 2 / 3 and pair.interval == interval_of(2, 3)
    assert (pair.largest_difference, pair.mean_difference) == (0.375, (0 + 0.0625 + 0.375) / 3)
    assert (pair.bundle_alone, pair.shadow_alone) == (1, 0)
    [differs] = pair.disagreements
    assert (differs.study, differs.difference) == ("1.2", 0.375)
    text = "".join(str(tuple(row)) for row in place.memory.execute("select * from comparison"))
    assert "quiet" not in text and "loud" not in text, "a label is the patient's"
    assert {bundle for _, bundle in place.sent()} == {"old"}
    [old, new, _] = bundle_views(place.memory, place.config, NOW)
    assert (old["answers"], old["compared"], new["shadow_of"], new["ready"]) == (True, None, "old", True)
    assert new["compared"]["agreeing"] == 2 and json.dumps([old, new])


def test_bundles_of_two_places_are_not_compared(place: Place, tiny_bundle_source: Path) -> None:
    """A study may be answered by both, and a shadow belongs to one."""
    other = [{"name": name, "path": tiny_bundle_source} for name in ("old", "liver")]
    both = Place(
        place.memory,
        place.config.spool,
        tiny_bundle_source,
        bundle=[*other, {**other[0], "name": "new", "shadow_of": "liver"}],
    )
    both.queue()
    assert both.step("old") and both.step("new")
    assert compare_new(both.memory, both.config) == 0 and comparisons(both.memory, both.config) == []


def test_what_was_not_compared_before_a_crash_is_compared_later(place: Place) -> None:
    place.queue()
    assert place.step("new") and place.step("old")
    assert compare_new(place.memory, place.config) == 1
    place.queue("1.3")
    assert place.step("new") and place.step("old")
    for file in place.config.spool.rglob("result.json"):
        file.unlink()
    assert compare_new(place.memory, place.config) == 0, "its result was removed"
    assert comparisons(place.memory, place.config)[0].compared == 1


@pytest.mark.parametrize(
    ("agreeing", "compared", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (1, 1, 0.2065, 1.0)],
)
def test_the_interval_of_a_share(agreeing: int, compared: int, low: float, high: float) -> None:
    """81 of 263: R. G. Newcombe, Stat. Med. 17:857, 1998, table I, method 3."""
    assert interval_of(agreeing, compared) == pytest.approx((low, high), abs=5e-5)


def test_a_process_that_is_ready_runs(place: Place) -> None:
    place.memory.execute("delete from process")
    with alive(place.memory, "runner new"):
        assert runs(place.memory, "runner new", time.time())
    assert not runs(place.memory, "runner new", 0.0)
