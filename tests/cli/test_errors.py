"""How the command line says what to do: options in its spelling, commands as they are, one paragraph."""

import sys
from pathlib import Path

import pytest

from command import Command
from mmcaf_cli.run import explain
from mmcaf_engine.errors import BackendError, Remedy, StudyError, UsageError, program

CASES = {
    "a-value": (Remedy("Accept them", option="gaps", value="interpolate"), "Accept them: --gaps=interpolate"),
    "a-flag": (Remedy("If that is known", option="allow_id_mismatch"), "If that is known: --allow-id-mismatch"),
    "by-its-place": (Remedy("Pass it after the study", option="record"), "Pass it after the study: RECORD"),
    "a-value-of-two-words": (Remedy("Read it", option="series", value="t2=my file"), "Read it: --series='t2=my file'"),
    "a-command": (Remedy("See", command=program("studies", "a b.dcm")), "See: mmcaf studies 'a b.dcm'"),
    "words": (Remedy("Send it again."), "Send it again."),
    "an-option-alone": (Remedy(option="strict"), "--strict"),
}


@pytest.mark.parametrize(("remedy", "said"), CASES.values(), ids=CASES)
def test_a_remedy(remedy: Remedy, said: str) -> None:
    assert explain(StudyError("3 are missing.", remedy)) == f"3 are missing. {said}"


def test_several_remedies_are_sentences() -> None:
    other = Remedy("Use another", option="backend", value="openvino")
    failure = BackendError("It failed.", other, "Copy the bundle again.", Remedy("See", command=program("doctor")))
    assert explain(failure) == "It failed. Use another: --backend=openvino. Copy the bundle again. See: mmcaf doctor"
    assert str(failure) == "It failed. Use another: backend=openvino. Copy the bundle again. See: mmcaf doctor"


def test_nothing_helps() -> None:
    assert explain(UsageError("It is full.")) == "It is full."


def test_a_missing_package_is_exit_code_6(run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for module in [name for name in sys.modules if name.startswith("mmcaf_export")]:
        monkeypatch.delitem(sys.modules, module)
    outcome = run("mmcaf", "export", tmp_path / "checkpoint.pth", "-o", tmp_path / "new.mmcaf")
    outcome.refused(6, "torch", "[export]")
