"""The list of the C library's mutants fits the code of today."""

import pytest

from capi_mutants import mutants
from import_rules import ROOT
from mutants import Mutant
from mutants.plugin import changed


@pytest.mark.parametrize("mutant", mutants(), ids=str)
def test_a_mutant_names_one_line_and_tests(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert changed(source, mutant.line, mutant.becomes) != source
    assert mutant.tests
    for test in mutant.tests:
        file, _, function = test.partition("::")
        assert not function or f"\ndef {function}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_no_mutant_is_listed_twice() -> None:
    assert len(set(mutants())) == len(mutants())
