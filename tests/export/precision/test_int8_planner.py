"""How a budget of error is used up, by a network whose effects are known and need no run."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from mmcaf_export.precision.calibration import METHODS, Method
from mmcaf_export.precision.course import Course
from mmcaf_export.precision.int8 import OFF, STEPS, Int8Planner
from mmcaf_export.precision.layers import Layer
from mmcaf_export.precision.observe import Observation

NAMES = [f"layer{number:02}" for number in range(16)]


class Planned(Int8Planner):
    """With the effects that are told: `own` as first order says, `true` as a runtime answers."""

    def __init__(
        self,
        own: Mapping[str, float],
        true: Mapping[str, float],
        *,
        methods: Mapping[Method, float] | None = None,
        joined: Collection[str] = (),
        worthless: Collection[str] = (),
    ) -> None:
        self._layers = tuple(Layer(name, "x", 1, joined=name in joined) for name in (*own, *worthless))
        self._saved = dict.fromkeys(own, 1.0)
        self._choices = {name: [name] for name in own}
        self._methods: Any = tuple(methods or {"minmax": 1.0})
        self._observed = Observation(dict(own), {name: {"x": by} for name, by in (methods or {"minmax": 1.0}).items()})
        self.errors = dict(own)
        self.told: list[str] = []
        self.tried: list[set[str]] = []
        self._course = Course(self.told.append)
        self._true = true

    def _error(self, layers: Collection[str], limits: Mapping[str, float]) -> float:
        if set(layers) not in self.tried:
            self.tried.append(set(layers))
        return limits["x"] * math.sqrt(sum(self._true[name] ** 2 for name in layers))


def errors(each: float, **others: float) -> dict[str, float]:
    return {**dict.fromkeys(NAMES, each), **others}


def test_effects_as_expected_are_tried_together_only() -> None:
    planner = Planned(errors(0.01), errors(0.01), worthless=["small"])
    plan = planner.plan(0.05)
    assert set(plan.layers) == set(NAMES) and plan.kept == {"small": "INT8 saves too little time"}
    assert plan.expected == pytest.approx(0.04) and plan.error == pytest.approx(0.04)
    assert planner.tried == [set(NAMES)] and planner.told == []


def test_a_layer_that_a_runtime_answers_far_off_is_found_and_left_out() -> None:
    planner = Planned(errors(0.01), errors(0.01, layer05=0.4))
    plan = planner.plan(0.05)
    assert set(plan.layers) == set(NAMES) - {"layer05"} and plan.kept == {"layer05": "moves the logit by 0.4"}
    assert planner.errors["layer05"] == 0.4
    assert "0.4, where 0.04 was expected" in planner.told[0] and "layer05 moves the logit by 0.4" in planner.told[1]
    assert len(planner.tried) <= 2 * math.log2(len(NAMES)) + 2


def test_two_of_them() -> None:
    planner = Planned(errors(0.01), errors(0.01, layer00=0.3, layer11=math.inf))
    plan = planner.plan(0.05)
    assert set(plan.kept) == {"layer00", "layer11"} and plan.error <= 0.05


def test_what_reads_a_concatenation_is_measured_first() -> None:
    planner = Planned(errors(0.01), errors(0.01, layer05=0.4), joined=["layer05", "layer06"])
    plan = planner.plan(0.05)
    assert plan.kept == {"layer05": "moves the logit by 0.4"}
    assert planner.told == [] and planner.tried == [{"layer05"}, {"layer06"}, set(NAMES) - {"layer05"}]


@pytest.mark.parametrize("times", [0.4, 1.0, 1.2, 1.45, 3.0])
def test_a_budget_is_used_up_but_not_exceeded(times: float) -> None:
    """All effects are so many times what first order says, as where it is not enough or they cancel."""
    own = {name: 0.004 * (1 + number) for number, name in enumerate(NAMES)}
    planner = Planned(own, {name: times * error for name, error in own.items()})
    plan = planner.plan(0.05)
    left = min(max(times, 1) * own[name] for name in plan.kept)
    assert max(plan.error, plan.expected) <= 0.05 < math.hypot(max(plan.error, plan.expected), 1.5 * left)
    assert times > OFF or len(planner.tried) <= STEPS


def test_effects_that_cancel_make_no_room() -> None:
    planner = Planned(errors(0.02), errors(0.001))
    assert len(planner.plan(0.05).layers) == 6  # 0.02 times the root of 6 is below 0.05, and of 7 above


def test_nothing_fits() -> None:
    planner = Planned(errors(0.01), errors(0.2))
    plan = planner.plan(0.05)
    assert plan.layers == () and plan.error == 0.0 and set(plan.kept) == set(NAMES)


def test_without_a_limit_all_are_taken_as_they_are() -> None:
    planner = Planned(errors(0.01), errors(9.0), joined=["layer03"], worthless=["small"])
    plan = planner.plan(math.inf)
    assert set(plan.layers) == set(NAMES) and list(plan.kept) == ["small"]
    assert planner.tried == [set(NAMES)]


@pytest.mark.parametrize("best", METHODS)
def test_the_ranges_with_the_least_error_are_taken(best: Method) -> None:
    measured = {name: 0.1 if name == best else 0.2 + at for at, name in enumerate(METHODS)}
    plan = Planned({"a": 0.1, "b": 9.0}, {"a": 1.0, "b": 90.0}, methods=measured).plan(1.0)
    assert (plan.method, plan.ranges) == (best, {"x": measured[best]})
    assert plan.method_errors == pytest.approx({name: by * 1.0 for name, by in measured.items()})
    assert plan.layers == ("a",) and plan.kept == {"b": "moves the logit by 9"}
