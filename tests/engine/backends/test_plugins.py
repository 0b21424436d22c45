"""Backends of other packages, as the engine sees them: what each question gives where the answer is wrong or none."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backends_here import BUILT_IN
from entry_points import add_package
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.plugins import GROUP
from mmcaf_engine.backends.registry import Backends
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import PRECISIONS
from mmcaf_engine.profile.layers import measure_layers
from mmcaf_engine.profile.plan import Planned, plan
from mmcaf_engine.session.choice import choose
from mmcaf_engine.session.timings import tuned_for
from mmcaf_engine.session.tune import one_window, tune
from refusals import Fact, refused

EXAMPLE = Path(__file__).parents[2] / "data" / "example_backend" / "reference_backend.py"

Add = Callable[..., None]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Path) -> None:
    """What is remembered of a backend here is no other test's; the tiny bundle is the default one."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle))


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Add:
    """Puts a package on the path whose backend is the example's class, or other code."""

    def put(code: str, package: str = "acme", name: str = "reference", target: str = "ReferenceBackend") -> None:
        add_package(monkeypatch, tmp_path / package, package, code, GROUP, name, target)

    return put


def example(*changes: tuple[str, str], more: str = "") -> str:
    """The example's code, changed, with more at the end of its backend's class."""
    code = EXAMPLE.read_text(encoding="utf-8")
    for old, new in (*changes, ("\n\nclass CountingReference", f"\n{more}\n\nclass CountingReference")):
        assert old in code
        code = code.replace(old, new)
    return code


WRONG = (
    "self._evaluator.run(names, dict(window))",
    "[0.1 + output for output in self._evaluator.run(names, dict(window))]",
)
"""What adds 0.1 to every output."""


def shown(name: str) -> list[Check]:
    """What the doctor says of a name."""
    return [check for check in examine() if check.subject.split()[0] == name]


def test_where_the_example_stands(add: Add, bundle: Bundle) -> None:
    add(example())
    assert list(Backends().classes) == [*BUILT_IN, "reference"] and not Backends().broken
    backend, *_, loaded = shown("reference")
    assert backend.status == "ok" and backend.detail.endswith("; of the package acme 2.1")
    assert (loaded.area, loaded.subject, loaded.status) == ("bundle", "reference fp32", "ok")
    assert tuned_for(bundle, 1).runtimes["reference"].startswith("acme 2.1, onnx ")
    assert plan(bundle, ("reference",), ("auto",), 1) == (Planned("reference", "fp32", None),)


def test_of_one_rank_those_of_this_package_come_first(add: Add) -> None:
    add(example(('name = "reference"', 'name = "abacus"\n    rank = 20')), name="abacus")
    names = list(Backends().classes)
    assert names.index("abacus") == names.index("openvino") + 1


def test_each_precision_has_its_own_answer(add: Add) -> None:
    add(example())
    backends = Backends()
    kind = backends.named("reference")
    for _ in range(2):
        assert [backends.can_run(kind, precision).available for precision in PRECISIONS] == [
            precision == "fp32" for precision in PRECISIONS
        ]


def test_a_backend_of_another_package_is_not_chosen_unasked(add: Add, bundle: Bundle) -> None:
    before = choose(bundle)
    add(example())
    assert choose(bundle) == before


def test_one_that_was_measured_as_the_fastest_is_chosen(
    add: Add, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(example())
    monkeypatch.setattr("mmcaf_engine.session.tune.run_ms", lambda session, given: 1 + (session.backend != "reference"))
    tune(bundle, runs=1, threads=1)
    choice = choose(bundle, threads=1)
    assert (choice.backend.name, choice.tuned) == ("reference", True)
    monkeypatch.setattr("mmcaf_engine.backends.plugins.entry_points", lambda group: ())  # It is removed again.
    assert not choose(bundle, threads=1).tuned


def test_one_that_may_be_chosen_says_so_itself(add: Add, bundle: Bundle) -> None:
    add(example(more="    @classmethod\n    def auto_rank(cls) -> int:\n        return -1\n"))
    assert choose(bundle).backend.name == "reference"


def test_a_pass_is_of_the_code_that_passed(add: Add, bundle: Bundle, tmp_path: Path) -> None:
    """The package is altered, and its version stays what it was."""
    add(example())
    for remembered in (False, True):
        with open_session(bundle, backend="reference") as session:
            assert session.describe()["self_test"]["remembered"] is remembered
    (tmp_path / "acme" / "acme.py").write_text(example(WRONG), encoding="utf-8")
    sys.modules.pop("acme")
    with refused(BackendError, "reference", "self-test"):
        open_session(bundle, backend="reference")


BROKEN: dict[str, tuple[str, str, str]] = {
    "import": ("import nothing_of_this_name", "ReferenceBackend", "ModuleNotFoundError: No module named 'nothing_of_"),
    "exit": ("raise SystemExit('bye')", "ReferenceBackend", "SystemExit: bye"),
    "syntax": ("1 +", "ReferenceBackend", "SyntaxError: invalid syntax"),
    "control": (r"raise ValueError('a\x1b[31mb')", "ReferenceBackend", "ValueError: a [31mb"),
    "attribute": ("", "ReferenceBackend", "AttributeError: module 'acme' has no attribute 'ReferenceBackend'"),
    "class": ("ReferenceBackend = object", "ReferenceBackend", "expected a subclass of Backend, got <class 'object'>"),
    "value": ("ReferenceBackend = 3", "ReferenceBackend", "expected a subclass of Backend, got 3"),
    "abstract": (
        "from mmcaf_engine.backends.base import Backend\n\n\nclass Half(Backend):\n    name = 'reference'\n",
        "Half",
        "Half lacks _close, _infer, _open",
    ),
    "no-name": (
        example(('    name = "reference"', '    called = "reference"')),
        "ReferenceBackend",
        "has no attribute 'name'",
    ),
    "other-name": (
        example(('name = "reference"', 'name = "other"')),
        "ReferenceBackend",
        "got 'reference' for the entry point and 'other' for the class",
    ),
    "rank": (
        example(('packages = ("onnx",)', 'packages = ("onnx",)\n    rank = "first"')),
        "ReferenceBackend",
        "'first'",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_package_is_named_and_harms_no_other(add: Add, bundle: Bundle, broken: str) -> None:
    code, target, reason = BROKEN[broken]
    before = choose(bundle)
    add(code, target=target)
    add(example(('name = "reference"', 'name = "second"')), package="bolt", name="second")
    assert list(Backends().classes) == [*BUILT_IN, "second"]
    assert choose(bundle) == before
    (check,) = shown("reference")
    assert check.status == "note" and "of the package acme 2.1, cannot be used" in check.detail
    assert reason in check.detail and check.detail.isprintable()
    with refused(BackendError, "reference", "acme", 2.1) as caught:
        open_session(bundle, backend="reference")
    assert caught.value.exit_code == 6 and reason in caught.value.problem


@pytest.mark.parametrize("name", ["onnxruntime", "auto", "all"])
def test_a_name_that_is_taken(add: Add, bundle: Bundle, name: str) -> None:
    before = Backends().classes
    add(example(('name = "reference"', f'name = "{name}"')), name=name)
    assert Backends().classes == before
    assert [check.status for check in shown(name) if f"the name '{name}' is taken" in check.detail] == ["note"]
    with open_session(bundle, backend="onnxruntime" if name == "all" else name) as session:
        assert not session.choice.backend.origin


REFUSES = """
    def _open(self) -> None:
        raise RuntimeError("no kernels for this network")
"""


def test_one_that_claims_a_precision_and_refuses_it_when_opened(add: Add, bundle: Bundle) -> None:
    add(example(more=REFUSES))
    with refused(BackendError, "acme", 2.1, "_open", "RuntimeError") as caught:
        open_session(bundle, backend="reference")
    assert caught.value.exit_code == 6
    check = shown("reference")[-1]
    assert (check.area, check.subject, check.status) == ("bundle", "reference fp32", "note")
    assert "says that it runs fp32, and does not" in check.detail and "no kernels for this network" in check.detail
    assert check.detail.endswith("Of the package acme 2.1")
    tuned = tune(bundle, runs=1, threads=1)
    assert ["no kernels" in one.reason for one in tuned.left_out if one.backend == "reference"] == [True]


def classmethod_of(name: str, body: str) -> str:
    return f"    @classmethod\n    def {name}(cls, *arguments):\n        {body}\n"


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("availability", "raise RuntimeError('no driver')", "RuntimeError: no driver"),
        ("availability", "return True", "bool"),
        ("can_run", "raise KeyError(arguments)", "KeyError: "),
        ("can_run", "return None", "NoneType"),
    ],
)
def test_one_that_fails_when_it_is_asked(add: Add, bundle: Bundle, name: str, body: str, said: str) -> None:
    add(example(more=classmethod_of(name, body)))
    before = choose(bundle)
    with refused(BackendError, "reference", "acme", 2.1) as caught:
        open_session(bundle, backend="reference")
    assert said in caught.value.problem
    assert any(said in check.detail for check in shown("reference"))
    left_out = [one for one in tune(bundle, runs=1, threads=1).left_out if one.backend == "reference"]
    assert said in left_out[0].reason and choose(bundle, threads=2) == before


def test_one_that_does_not_know_its_version(add: Add, bundle: Bundle) -> None:
    code = classmethod_of("availability", "return Availability(True, 'here')")
    add(example(more=code + classmethod_of("build", "raise RuntimeError('no version')")))
    with refused(BackendError, "acme", 2.1, "build", "RuntimeError", "no version"):
        open_session(bundle, backend="reference")
    left_out = [one.reason for one in tune(bundle, runs=1, threads=1).left_out if one.backend == "reference"]
    assert ["no version" in reason for reason in left_out] == [True]


@pytest.mark.parametrize("name", ["auto_rank", "details", "excluded_from_auto"])
def test_one_that_fails_at_what_may_be_left_out(add: Add, bundle: Bundle, name: str) -> None:
    before = choose(bundle)
    add(example(more=classmethod_of(name, "raise RuntimeError('no idea')")))
    assert choose(bundle) == before and shown("reference")
    with open_session(bundle, backend="reference") as session:
        assert session.backend == "reference"
    reasons = [one.reason for one in tune(bundle, runs=1, threads=1).left_out if one.backend == "reference"]
    assert len(reasons) == (name == "excluded_from_auto") and all("no idea" in reason for reason in reasons)


def test_one_that_cannot_be_set_up(add: Add, bundle: Bundle) -> None:
    add(example(more="    def __init__(self, *arguments, **options):\n        raise RuntimeError('out of licences')\n"))
    with refused(BackendError, "acme", 2.1, "__init__", "RuntimeError", "out of licences") as caught:
        open_session(bundle, backend="reference")
    assert caught.value.exit_code == 6 and "out of licences" in shown("reference")[-1].detail


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ("{}", ("float32", "[1, 1]", "nothing")),
        ("{'logit': [[0.0]]}", ("list",)),
        ("{'logit': numpy.zeros((1, 1))}", ("float64", "[1, 1]")),
        ("{'logit': numpy.zeros((1, 2), numpy.float32)}", ("[1, 2]",)),
        ("{'logit': numpy.zeros((1, 1, 1), numpy.float32)}", ("[1, 1, 1]",)),
    ],
    ids=["nothing", "list", "double", "wider", "deeper"],
)
def test_one_that_gives_back_something_else(add: Add, bundle: Bundle, answer: str, facts: tuple[Fact, ...]) -> None:
    add(example(more=f"    def _infer(self, window):\n        import numpy\n\n        return {answer}\n"))
    with refused(BackendError, "reference", "acme", 2.1, "logit", "float32", *facts):
        open_session(bundle, backend="reference")


@pytest.mark.parametrize("body", ["return None", "raise RuntimeError('no clock')", "return object()"])
def test_one_whose_layers_fail(add: Add, bundle: Bundle, body: str) -> None:
    add(example(more=f"    def layers(self) -> Any:\n        {body}\n"))
    with (
        open_session(bundle, backend="reference") as session,
        refused(BackendError, "acme", 2.1, "layers"),
    ):
        measure_layers(session, one_window(bundle), 1, None)


def test_a_missing_runtime_names_what_it_is_in(add: Add, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    add(example(("import onnx.reference", "import onnx_that_is_missing as onnx")))
    with refused(BackendError, "reference", "acme", 2.1, "onnx_that_is_missing") as caught:
        open_session(bundle, backend="reference")
    assert caught.value.remedies[0].command == "pip install onnx"


def test_a_place_in_the_order_that_is_no_number_leaves_auto_as_it_is(add: Add, bundle: Bundle) -> None:
    add(example(more="    @classmethod\n    def auto_rank(cls):\n        return 'first'\n"))
    assert "reference" not in [kind.name for kind in Backends().in_auto_order()]
    with open_session(bundle) as session:
        assert session.backend in BUILT_IN
