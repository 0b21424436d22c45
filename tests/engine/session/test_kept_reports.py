"""Sessions that keep encoded reports: the same bits whether one is found or not, bounded, and gone when closed."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends_here import SPLIT
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.split import SplitNetwork
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.checkup.kept import cached_items
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from mmcaf_engine.session.session import Session, keeps_reports
from mmcaf_engine.timing import Stopwatch
from mmcaf_engine.volume import Arrays
from refusals import Fact, check_facts, refused
from several_precisions import add_precisions
from tiny_parts import make_tiny_parts
from tiny_report import example_arrays, expected_logits

on_each = pytest.mark.parametrize("backend", SPLIT)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache that no other test has filled."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMCAF_CACHE_LIMIT", raising=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_parts(tmp_path_factory.mktemp("parts") / "tiny.mmcaf")


@pytest.fixture
def bundle(source: Path, tmp_path: Path) -> Bundle:
    """A copy, which a test may damage."""
    return load_bundle(shutil.copytree(source, tmp_path / "report.mmcaf"))


def report(seed: int, *, image: int = 0, length: int = 8) -> Arrays:
    """One study: which report it has, which image, and what the report is padded to; it has 5 word pieces."""
    text, other = example_arrays(1, 5, seed), example_arrays(1, 5, 1000 + image)
    padded = {
        "input_ids": np.pad(np.maximum(text["input_ids"], 1), ((0, 0), (0, length - 5))),
        "attention_mask": np.pad(np.ones((1, 5), np.int64), ((0, 0), (0, length - 5))),
    }
    return {"image": other["image"], **padded, "table": other["table"]}


def joined(*cases: Arrays) -> Arrays:
    return {name: np.concatenate([case[name] for case in cases]) for name in cases[0]}


def answer(session: Session, *cases: Arrays) -> np.ndarray[Any, Any]:
    given = joined(*cases)
    logit = session.run(given)["logit"]
    np.testing.assert_allclose(logit, expected_logits(given), atol=1e-5)
    return logit


def counts(session: Session) -> dict[str, int]:
    found: dict[str, int] = session.describe()["reports"]
    return found


@on_each
def test_a_report_is_encoded_once_and_every_image_has_its_own_answer(bundle: Bundle, backend: str) -> None:
    with open_session(bundle, backend=backend, reports=4) as session:
        assert counts(session) == {"kept": 0, "limit": 4, "found": 0, "encoded": 0}
        answers = [answer(session, report(1, image=image)) for image in range(3)]
        assert counts(session) == {"kept": 1, "limit": 4, "found": 2, "encoded": 1}
    assert len({logit.tobytes() for logit in answers}) == 3


@on_each
@pytest.mark.parametrize("length", [5, 8, 12])
def test_the_same_bits_found_or_not(bundle: Bundle, backend: str, length: int) -> None:
    one = report(1, length=length)
    with open_session(bundle, backend=backend, reports=1) as session:
        encoded = answer(session, one)
        found = answer(session, one)
        answer(session, report(2, length=length))
        again = answer(session, one)
        assert counts(session) == {"kept": 1, "limit": 1, "found": 1, "encoded": 3}
    assert encoded.tobytes() == found.tobytes() == again.tobytes()


@on_each
def test_the_least_recently_used_goes_first(bundle: Bundle, backend: str) -> None:
    with open_session(bundle, backend=backend, reports=2) as session:
        for seed, found in ((1, 0), (2, 0), (1, 1), (3, 1), (1, 2), (2, 2)):  # 3 drives out 2, not 1
            answer(session, report(seed))
            assert counts(session)["found"] == found
        assert counts(session) == {"kept": 2, "limit": 2, "found": 2, "encoded": 4}


@on_each
def test_a_batch_of_several_reports(bundle: Bundle, backend: str) -> None:
    cases = [report(1), report(2), report(1, image=3), report(3), report(2, image=5)]
    with open_session(bundle, backend=backend, reports=8) as session:
        together = answer(session, *cases)
        assert counts(session) == {"kept": 3, "limit": 8, "found": 2, "encoded": 3}
        alone = np.concatenate([answer(session, case) for case in cases])
    assert together.tobytes() == alone.tobytes()


@on_each
def test_reports_that_differ_in_padding_or_mask_alone_are_not_confused(bundle: Bundle, backend: str) -> None:
    short, longer, masked = report(1), report(1, length=12), report(1)
    masked["attention_mask"] = masked["attention_mask"].copy()
    masked["attention_mask"][0, 3:] = 0
    ones = {**report(1), "input_ids": np.ones((1, 4), np.int64), "attention_mask": np.ones((1, 4), np.int64)}
    fewer = {**ones, "input_ids": np.ones((1, 2), np.int64), "attention_mask": np.ones((1, 2), np.int64)}
    with open_session(bundle, backend=backend, reports=8) as session:
        for case in (short, longer, masked, ones, fewer):
            answer(session, case)
        assert counts(session) == {"kept": 5, "limit": 8, "found": 0, "encoded": 5}


def test_int32_tokens_are_the_same_report(bundle: Bundle) -> None:
    one = report(1)
    narrow = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in one.items()}
    with open_session(bundle, backend="onnxruntime", reports=1) as session:
        assert answer(session, one).tobytes() == answer(session, narrow).tobytes()
        assert counts(session)["found"] == 1


@on_each
def test_threads_get_their_own_answers(bundle: Bundle, backend: str) -> None:
    cases = {seed: report(seed % 4, image=seed) for seed in range(8)}
    with open_session(bundle, backend=backend, reports=3) as session:
        expected = {seed: answer(session, case).tobytes() for seed, case in cases.items()}
        answers: dict[int, set[bytes]] = {seed: set() for seed in cases}

        def work(seed: int) -> None:
            for _ in range(20):
                answers[seed].add(session.run(cases[seed])["logit"].tobytes())

        workers = [threading.Thread(target=work, args=(seed,)) for seed in cases]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        counted = counts(session)
    assert answers == {seed: {bits} for seed, bits in expected.items()}
    assert counted["found"] + counted["encoded"] == 8 + 8 * 20 and counted["kept"] == 3


@on_each
def test_closed_session_holds_nothing(bundle: Bundle, backend: str) -> None:
    session = open_session(bundle, backend=backend, reports=4)
    answer(session, report(1))
    session.close()
    session.close()
    assert counts(session)["kept"] == 0
    with refused(BackendError, "closed"):
        session.run(report(1))


@on_each
def test_no_report_reaches_the_disk(bundle: Bundle, backend: str, tmp_path: Path) -> None:
    with open_session(bundle, backend=backend, reports=4) as session:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for seed in range(6):
            answer(session, report(seed))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@on_each
@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"image": np.full((1, 1, 4, 16, 16), np.nan, np.float32)}, ("image", "NaN")),
        ({"words": np.zeros((1, 8, 3), np.float32)}, ("words", "input_ids")),
        ({"attention_mask": np.zeros((1, 8), np.int64)}, ("attention_mask", 1)),
        (
            {"input_ids": np.ones((1, 13), np.int64), "attention_mask": np.ones((1, 13), np.int64)},
            ("input_ids", 1, 12, 13),
        ),
    ],
    ids=["nan", "words", "empty-mask", "too-long"],
)
def test_inputs_are_checked_as_ever(
    bundle: Bundle, backend: str, change: dict[str, Any], facts: tuple[Fact, ...]
) -> None:
    with open_session(bundle, backend=backend, reports=2) as session:
        with refused(UsageError, *facts):
            session.run({**report(1), **change})
        assert counts(session)["encoded"] == 0


def test_the_whole_network_runs_unless_reports_are_asked_for(source: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(source, tmp_path / "broken.mmcaf"))
    part = broken / "model.text.onnx"
    part.write_bytes(bytes(part.stat().st_size))
    with open_session(load_bundle(broken), backend="onnxruntime") as session:
        assert "reports" not in session.describe()
        answer(session, report(1))
    with refused(BundleError, "model.text.onnx", "SHA-256"):
        open_session(load_bundle(broken), backend="onnxruntime", reports=1)


def test_what_cannot_keep_reports_is_refused_and_says_why(bundle: Bundle, tiny_bundle: Path, tmp_path: Path) -> None:
    whole = load_bundle(tiny_bundle)
    several = load_bundle(add_precisions(bundle.folder, tmp_path / "several.mmcaf", {"int8": 0.01}))
    for asked, precision, facts in ((whole, "fp32", ("tiny", "fp32")), (several, "int8", ("tiny-report", "int8"))):
        check_facts(keeps_reports(asked, backend="onnxruntime", precision=precision).reason, *facts, "parts")
        with refused(UsageError, *facts, "parts"):
            open_session(asked, backend="onnxruntime", precision=precision, reports=8)
    assert keeps_reports(several, backend="onnxruntime", precision="fp32").available
    with refused(UsageError, -1, "reports"):
        open_session(bundle, reports=-1)
    with refused(UsageError, "0 threads", 1):
        keeps_reports(bundle, threads=0)


def test_a_backend_that_runs_no_parts_is_refused(bundle: Bundle) -> None:
    pytest.importorskip("torch")
    assert not keeps_reports(bundle, backend="torch").available
    with refused(UsageError, "torch", "parts") as caught:
        open_session(bundle, backend="torch", reports=8)
    check_facts(str(caught.value), "openvino", "onnxruntime")
    assert caught.value.exit_code == 2


@on_each
def test_time_is_that_of_the_stages_of_every_session(bundle: Bundle, backend: str) -> None:
    with open_session(bundle, backend=backend, reports=2) as session:
        watch = Stopwatch()
        with watch.active():
            session.run(joined(report(1), report(1, image=1)))
        account = watch.account()
    assert set(account.stages) == {"copy_in", "infer", "copy_out"}
    assert sum(account.stages.values()) + account.unaccounted_ms == pytest.approx(account.total_ms)


def test_a_pass_of_the_whole_network_is_none_of_its_parts(bundle: Bundle) -> None:
    for reports, remembered in ((0, False), (4, False), (0, True), (4, True)):
        with open_session(bundle, backend="onnxruntime", reports=reports) as session:
            assert session.describe()["self_test"]["remembered"] is remembered


def test_both_engines_are_kept_and_found_again(bundle: Bundle) -> None:
    bits = set()
    for hit in (False, True):
        with open_session(bundle, backend="openvino", reports=2) as session:
            facts = session.describe()
            assert facts["cache_hit"] is hit and facts["self_test"]["remembered"] is hit
            bits.add(answer(session, report(1)).tobytes())
    assert len(bits) == 1 and len(cached_items(("engines",))) == 2
    with open_session(bundle, backend="openvino") as session:
        assert session.describe()["cache_hit"] is False
    assert len(cached_items(("engines",))) == 3


@pytest.mark.parametrize("one", [0, 1])
def test_one_engine_that_is_damaged_or_gone_is_built_again(bundle: Bundle, one: int) -> None:
    with open_session(bundle, backend="openvino", reports=2) as session:
        expected = answer(session, report(1)).tobytes()
    engines = sorted(item.path for item in cached_items(("engines",)))
    (engines[one] / "engine.bin").write_bytes(b"")
    with open_session(bundle, backend="openvino", reports=2) as session:
        assert "built again" in session.describe()["cache"]
    shutil.rmtree(engines[one])
    with open_session(bundle, backend="openvino", reports=2) as session:
        assert session.describe()["cache"] == "built, kept"
        assert answer(session, report(1)).tobytes() == expected
    assert sorted(item.path for item in cached_items(("engines",))) == engines


@pytest.mark.parametrize("limit", ["0", "1"], ids=["no cache", "a small cache"])
def test_small_caches(bundle: Bundle, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", limit)
    with open_session(bundle, backend="openvino", reports=2) as session:
        answer(session, report(1))
    assert len(cached_items(("engines",))) == (0 if limit == "0" else 2)


def test_a_refused_part_leaves_no_draft_and_nothing_open(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[SplitNetwork] = []
    monkeypatch.setattr(SplitNetwork, "_infer", lambda self, window: opened.append(self) or 1 / 0)
    with pytest.raises(BackendError, match="division by zero"):
        open_session(bundle, backend="openvino", reports=2)
    assert list(cache_folder("engines").iterdir()) == []
    for part in opened[0].parts:
        with refused(BackendError, "closed"):
            part.infer({spec.name: report(1).get(spec.name, np.zeros((1, 8, 3), np.float32)) for spec in part.inputs})
