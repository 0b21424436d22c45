"""Which layers a budget of error has room for, by arithmetic alone."""

import pytest

from mmcaf_export.precision.effects import evenly, largest_effects, within_budget

ONE_BY_ONE = {name: [name] for name in "abc"}


def test_errors_add_up_as_squares_until_the_budget_is_spent() -> None:
    errors = {"a": 0.3, "b": 0.4, "c": 0.01}
    layers, kept = within_budget(ONE_BY_ONE, dict.fromkeys("abc", 1.0), errors, 0.5)
    assert layers == {"a", "c"} and kept == {"b": "moves the logit by 0.4"}  # 0.3^2 + 0.4^2 + 0.01^2 is above 0.5^2
    layers, kept = within_budget(ONE_BY_ONE, dict.fromkeys("abc", 1.0), {"a": 3.0, "b": 4.0, "c": 0.0}, 5.0)
    assert layers == {"a", "b", "c"} and not kept


@pytest.mark.parametrize(("budget", "taken"), [(0.299, 0), (0.31, 1), (0.43, 2), (0.51, 2), (0.53, 3), (0.61, 4)])
def test_so_many_equal_errors_as_their_root_mean_square_allows(budget: float, taken: int) -> None:
    """Of n that are 0.3 each, it is 0.3 times the root of n."""
    choices = {name: [name] for name in "abcd"}
    layers, kept = within_budget(choices, dict.fromkeys("abcd", 1.0), dict.fromkeys("abcd", 0.3), budget)
    assert len(layers) == taken and len(kept) == 4 - taken


def test_what_gains_most_for_its_error_is_taken_first() -> None:
    layers, kept = within_budget(ONE_BY_ONE, {"a": 1.0, "b": 100.0, "c": 1.0}, {"a": 0.3, "b": 0.4, "c": 0.3}, 0.45)
    assert layers == {"b"} and set(kept) == {"a", "c"}


def test_the_layers_of_a_part_stand_and_fall_together() -> None:
    choices = {"layer.0": ["q", "k"], "conv": ["conv"]}
    gains = {"q": 1.0, "k": 1.0, "conv": 1.0}
    assert within_budget(choices, gains, {"layer.0": 0.1, "conv": 0.2}, 0.15) == (
        {"q", "k"},
        {"conv": "moves the logit by 0.2"},
    )
    layers, kept = within_budget(choices, gains, {"layer.0": 0.3, "conv": 0.1}, 0.15)
    assert layers == {"conv"} and kept.keys() == {"q", "k"} and "other products of layer.0" in kept["q"]


@pytest.mark.parametrize(
    ("count", "taken"), [(2, [0, 5]), (5, [0, 2, 4, 6, 8]), (10, [*range(10)]), (12, [*range(10)])]
)
def test_windows_are_taken_evenly(count: int, taken: list[int]) -> None:
    windows: list[dict[str, int]] = [{"image": at} for at in range(10)]
    assert [window["image"] for window in evenly(windows, count)] == taken


def test_the_largest_effects_are_told_first() -> None:
    assert largest_effects({"a": 0.1, "b": 0.3, "c": 0.2}, 2) == "b (0.3), c (0.2)"
