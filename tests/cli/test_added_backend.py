"""A backend of another package: it appears wherever backends do, cannot answer wrongly, and harms nobody if broken."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command import Command
from entry_points import add_package
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.plugins import GROUP
from mmcaf_engine.errors import BackendError, UsageError
from refusals import check_facts, refused
from tiny_bundle import SIZE, SLICES

EXAMPLE = Path(__file__).parents[1] / "data" / "example_backend"
CODE = (EXAMPLE / "reference_backend.py").read_text(encoding="utf-8")
_ANSWER = "self._evaluator.run(names, dict(window))"
WRONG = CODE.replace(_ANSWER, f"[values + type(values.flat[0])(0.1) for values in {_ANSWER}]")
"""As the example, but each output is 0.1 too large."""

Add = Callable[..., None]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("backend")
    source = shutil.copytree(EXAMPLE, folder / "source")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", folder / "site", source], check=True)
    return folder / "site"


@pytest.fixture
def reference(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example is on the path, as an installed package is."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "reference_backend", raising=False)


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Install a package with this module, whose class becomes a backend of this name."""

    def added(package: str, code: str, name: str, target: str = "ReferenceBackend") -> None:
        add_package(monkeypatch, tmp_path / package, package, code, GROUP, name, target)

    return added


def named(code: str, name: str) -> str:
    return code.replace('name = "reference"', f'name = "{name}"')


def test_the_example_is_short() -> None:
    assert len(CODE.splitlines()) <= 80


@pytest.mark.usefixtures("reference")
def test_the_example_answers_as_the_others_do(tiny_bundle: Path) -> None:
    generator = np.random.default_rng(5)
    window = {
        "image": generator.uniform(0, 1, (3, 1, SLICES, SIZE, SIZE)).astype(np.float32),
        "table": generator.uniform(-1, 1, (3, 2)).astype(np.float32),
    }
    answers = []
    for backend in ("reference", "onnxruntime"):
        with open_session(load_bundle(tiny_bundle), backend=backend) as session:
            answers.append(session.run(window)["logit"])
            assert session.describe()["self_test"]["passed"] is True
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


@pytest.mark.usefixtures("reference")
def test_it_appears_wherever_backends_do(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    listed = json.loads(run("mmcaf", "doctor", "--json").out)
    rows = [row for row in listed["findings"] if "reference" in row["subject"]]
    assert [row["status"] for row in rows if row["area"] == "backend"] == ["ok"]
    assert {row["subject"]: row["status"] for row in rows if row["area"] == "precision"}["reference fp32"] == "ok"
    verified = run("mmcaf", "verify", tiny_bundle)
    assert verified.code == 0 and "reference fp32: 2 golden cases within" in verified.out
    tuned = json.loads(run("mmcaf", "tune", tiny_bundle, "--runs", "1", "--json").out)
    timed = {one["backend"] for one in tuned["candidates"] if one["median_ms"] is not None}
    assert "reference" in timed
    report = tmp_path / "report.json"
    options = ["--backend", "reference", "--runs", "2", "--concurrency", "1", "-o", report]
    assert run("mmcaf", "profile", tiny_bundle, *options).code == 0
    (measured,) = json.loads(report.read_text())["configurations"]
    assert measured["backend"] == "reference" and measured["layers"]["source"].startswith("the clock around")
    assert {layer["kind"] for layer in measured["layers"]["rows"]} >= {"MatMul", "Add"}


@pytest.mark.usefixtures("reference")
def test_auto_takes_it_only_where_it_was_measured(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    assert open_session(load_bundle(tiny_bundle)).backend != "reference"
    with refused(BackendError, "int8", "fp32", "tiny"):
        open_session(load_bundle(tiny_bundle), backend="reference", precision="int8")


def test_one_that_adds_a_tenth_is_refused_by_the_self_test(add: Add, run: Command, tiny_bundle: Path) -> None:
    add("wrong-backend", named(WRONG, "wrong"), "wrong")
    with refused(BackendError, "wrong", "self-test", "tiny", 0.1):
        open_session(load_bundle(tiny_bundle), backend="wrong")
    verified = run("mmcaf", "verify", tiny_bundle)
    assert verified.code == 6 and "wrong fp32" in verified.out + verified.err


BROKEN = {
    "fails on import": ("raise RuntimeError('no licence')", "ReferenceBackend", "RuntimeError: no licence"),
    "ends the program": ("import sys; sys.exit(3)", "ReferenceBackend", "SystemExit"),
    "has no such class": (CODE, "Missing", "Missing"),
    "is no backend": ("class ReferenceBackend: ...", "ReferenceBackend", "Backend"),
    "has another name": (named(CODE, "other"), "ReferenceBackend", "'other'"),
}


@pytest.mark.parametrize(("code", "target", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_one_is_shown_and_harms_nobody(
    code: str, target: str, said: str, add: Add, run: Command, tiny_bundle: Path
) -> None:
    add("broken-backend", code, "broken", target)
    shown = run("mmcaf", "doctor", "--json")
    (row,) = [row for row in json.loads(shown.out)["findings"] if "broken" in row["subject"]]
    check_facts(row["detail"], said)
    assert "broken-backend" in row["subject"] + row["detail"]
    with refused(BackendError, "broken-backend", said) as caught:
        open_session(load_bundle(tiny_bundle), backend="broken")
    assert caught.value.exit_code == 6
    with open_session(load_bundle(tiny_bundle)) as session:
        assert session.describe()["self_test"]["passed"] is True


def test_two_of_one_name(add: Add, run: Command, tiny_bundle: Path) -> None:
    add("first-backend", named(CODE, "twin"), "twin")
    add("second-backend", named(CODE, "twin"), "twin")
    with refused(BackendError, "twin", "first-backend", "second-backend") as caught:
        open_session(load_bundle(tiny_bundle), backend="twin")
    assert caught.value.exit_code == 6
    assert run("mmcaf", "verify", tiny_bundle).code == 0


@pytest.mark.parametrize("name", ["onnxruntime", "auto"])
def test_a_name_that_is_taken(name: str, add: Add, tiny_bundle: Path) -> None:
    add("thief", named(CODE, name), name)
    with open_session(load_bundle(tiny_bundle), backend=name) as session:
        assert session.backend in ("openvino", "onnxruntime") and session.choice.backend.origin == ""


def test_one_that_claims_a_precision_and_refuses_it(add: Add, run: Command, tiny_bundle: Path) -> None:
    refusing = "raise ValueError('not this one'); self.runtime()"
    code = named(CODE, "boaster").replace("self._evaluator = self.runtime()", refusing)
    add("boaster", code, "boaster")
    with refused(BackendError, "boaster", 2.1, "_open", "ValueError", "not this one"):
        open_session(load_bundle(tiny_bundle), backend="boaster")
    tuned = json.loads(run("mmcaf", "tune", tiny_bundle, "--runs", "1", "--json").out)
    (reason,) = [one["reason"] for one in tuned["candidates"] if one["backend"] == "boaster"]
    assert "not this one" in reason


def test_an_unknown_one_is_wrong_usage(tiny_bundle: Path) -> None:
    with refused(UsageError, "'referense'"):
        open_session(load_bundle(tiny_bundle), backend="referense")
