"""A bundle goes to another process by path and hash, and never turns into another one; a session does not go at all."""

import copy
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from engine.bundle.test_bundle import edit_manifest, flip, zip_folder
from in_another_process import answered, refuse
from mmcaf_engine import Answerer, load_bundle, open_session
from mmcaf_engine.bundle.sealed import SIGNATURE_NAME
from mmcaf_engine.errors import BundleError, Remedy
from refusals import Fact, refused
from signed_bundles import OF_A_STRANGER


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_round_trip(tiny_bundle: Path, tmp_path: Path, form: str, protocol: int) -> None:
    bundle = load_bundle(tiny_bundle if form == "folder" else zip_folder(tiny_bundle, tmp_path / "tiny.zip"))
    data = pickle.dumps(bundle, protocol)
    again = pickle.loads(data)
    assert again == bundle and again is not bundle and again.archive == bundle.archive
    assert again.read("golden.npz", 10**9) == bundle.read("golden.npz", 10**9)
    assert len(data) < 1000 and b"adenocarcinoma" not in data, "path and hash, no manifest"


def test_each_copy_checks_the_files_for_itself(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    bundle.read("model.onnx", 10**9)
    data = pickle.dumps(bundle)
    flip(tiny_bundle / "model.onnx")
    with refused(BundleError, "tiny.mmcaf", "model.onnx", "SHA-256"):
        pickle.loads(data).read("model.onnx", 10**9)


def test_a_copy_is_loaded_too(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert copy.deepcopy(bundle) == copy.copy(bundle) == bundle


def test_it_is_a_value(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a place, a content and an origin: a key of dictionaries, as a service has it that keeps sessions by bundle."""
    bundle = load_bundle(tiny_bundle)
    monkeypatch.chdir(tiny_bundle.parent)
    same = load_bundle(tiny_bundle.name), pickle.loads(pickle.dumps(load_bundle(tiny_bundle.name)))
    assert {bundle, *same} == {bundle} and {bundle: "session"}[same[0]] == "session"
    elsewhere = load_bundle(shutil.copytree(tiny_bundle, tmp_path / "elsewhere" / "tiny.mmcaf"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    others = [elsewhere, load_bundle("tiny.mmcaf"), load_bundle(zip_folder(tiny_bundle, tmp_path / "tiny.zip"))]
    assert others[0] == others[1] != bundle and len({bundle, *others}) == 3
    (tiny_bundle / SIGNATURE_NAME).write_bytes(OF_A_STRANGER)
    assert load_bundle(tiny_bundle).sha256 == bundle.sha256 and load_bundle(tiny_bundle) != bundle
    (tiny_bundle / SIGNATURE_NAME).unlink()
    edit_manifest(tiny_bundle, name="another")
    assert load_bundle(tiny_bundle) != bundle


def test_another_process_gives_the_same_answer(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts afresh, and in another folder; the path was a relative one."""
    monkeypatch.chdir(tiny_bundle.parent)
    bundle = load_bundle(tiny_bundle.name)
    (tmp_path / "elsewhere").mkdir()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert pool.submit(answered, bundle).result(timeout=120) == answered(load_bundle(tiny_bundle))


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


def renamed(folder: Path) -> None:
    edit_manifest(folder, name="another")


def cut_short(folder: Path) -> None:
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:100])


@pytest.mark.parametrize(
    ("damage", "facts"),
    [(gone, ("tiny.mmcaf", "no such")), (renamed, ("tiny.mmcaf", "SHA-256")), (cut_short, ("manifest.json", "JSON"))],
)
def test_another_content_is_refused(tiny_bundle: Path, damage: object, facts: tuple[Fact, ...]) -> None:
    assert callable(damage)
    data = pickle.dumps(load_bundle(tiny_bundle))
    damage(tiny_bundle)
    with refused(BundleError, *facts):
        pickle.loads(data)


def test_what_another_process_refuses_comes_back_as_it_was(tiny_bundle: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        failure = pool.submit(refuse, load_bundle(tiny_bundle)).exception(timeout=120)
    assert isinstance(failure, BundleError) and "model.onnx is damaged" in failure.problem
    assert failure.exit_code == 5 and all(isinstance(remedy, Remedy) for remedy in failure.remedies)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_session_says_why_it_is_not_pickled_and_what_to_do(tiny_bundle: Path, take: object) -> None:
    assert callable(take)
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime") as session:
        for one in (session, [session], Answerer(session)):
            if take is copy.copy and one is not session:
                continue  # It copies no further than the outermost.
            with pytest.raises(TypeError, match=r"open_session\(bundle\)"):
                take(one)
        assert take(session.bundle)
