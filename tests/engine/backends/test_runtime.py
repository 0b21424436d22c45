"""What the class of a backend answers where its runtime is missing or fails."""

import pytest

from mmcaf_engine.backends.runtime import Runtime, called
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import Precision


class Absent(Runtime):
    """One whose runtime is not installed."""

    name = "a_runtime_that_is_nowhere"
    packages = ("nowhere",)

    @classmethod
    def _can_run(cls, precision: Precision) -> None:  # type: ignore[override]
        raise AssertionError("asked of what is not there")


class Failing(Runtime):
    """One whose runtime cannot start."""

    name = "failing"

    @classmethod
    def version(cls) -> str:
        raise BackendError("It cannot start.")


def test_one_that_is_not_installed_says_what_installs_it() -> None:
    answer = Absent.availability()
    assert not answer.available and Absent.name in answer.reason
    assert [remedy.command for remedy in answer.remedies] == ["pip install nowhere"]
    assert Absent.can_run("fp32") == answer


def test_a_failure_that_is_no_lack_of_a_package_is_not_taken_for_one() -> None:
    with pytest.raises(BackendError, match="cannot start"):
        Failing.availability()


def test_what_is_another_packages_is_called_so() -> None:
    assert called("acme", "acme-runtime 2.1") == "Backend acme of the package acme-runtime 2.1"
    assert called("openvino", "") == "Backend openvino"
    assert Absent.code() == ""


def test_the_package_that_computes_is_the_first_that_is_installed() -> None:
    class Several(Runtime):
        name = "several"
        packages = ("nowhere", "numpy", "pydicom")

    assert (Several.package(), Absent.package(), Failing.package()) == ("numpy", "nowhere", "failing")
