"""Which output decisions a manifest may name."""

import pytest

from mmcaf_engine.manifest.activation import STANDARD_NAMES, announce, provided, withdraw


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "independent"])
def test_those_of_the_format(name: str) -> None:
    assert provided(name)


def test_those_that_this_process_provides_for_as_long_as_it_does() -> None:
    assert not provided("of-a-test")
    announce("of-a-test")
    assert provided("of-a-test")
    withdraw("of-a-test")
    assert not provided("of-a-test")


def test_what_machine_learning_calls_them() -> None:
    assert STANDARD_NAMES == {"binary": "sigmoid", "multiclass": "softmax", "multilabel": "independent"}
