"""This project's kernels on and off in one profile."""

from dataclasses import replace
from typing import Any

import pytest

from mmcaf_cli.profile_text import render
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.openvino.operators import kernels_missing
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.errors import UsageError
from mmcaf_engine.profile.kernels import measure_kernels
from mmcaf_engine.profile.report import Kernels, ProfileReport
from mmcaf_engine.session.session import Session
from mmcaf_engine.session.tune import one_window
from profile_reports import report, samples

pytest.importorskip("openvino")


@pytest.mark.skipif(kernels_missing() is not None, reason=f"{kernels_missing()}")
def test_one_network_with_kernels_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[dict[str, int]] = []

    class Seen(Session):
        def run(self, *given: Any, **named: Any) -> Any:
            others.append(self.describe()["kernels"])
            return super().run(*given, **named)

    monkeypatch.setattr("mmcaf_engine.profile.kernels.Session", Seen)
    bundle, told = load_bundle(demo_bundle()), list[int]()
    with open_session(bundle, backend="openvino", precision="fp32", threads=1) as session:
        placed = session.describe()["kernels"]
        found = measure_kernels(session, one_window(bundle), 3, 1, told.append)
        with pytest.raises(UsageError, match="0 runs"):
            measure_kernels(session, one_window(bundle), 0, 1)
    assert found is not None and found.layers == placed != {} and told == [1, 2, 3]
    assert len(found.on.values) == len(found.off.values) == 3
    assert others and not any(others)


def test_a_session_without_kernels_has_nothing_to_compare(tiny_bundle: Any) -> None:
    bundle = load_bundle(tiny_bundle)
    with open_session(bundle, backend="onnxruntime", precision="fp32", threads=1) as session:
        assert measure_kernels(session, one_window(bundle), 3, 1) is None


def test_they_are_shown_side_by_side() -> None:
    whole = report()
    kernels = Kernels({"groupnorm_act": 41, "max_pool": 1}, samples(9.0), samples(12.0))
    first, *rest = whole.configurations
    shown = replace(whole, configurations=(replace(first, kernels=kernels), *rest))
    line = next(line for line in render(shown).splitlines() if line.endswith(" 42"))
    assert "openvino fp32" in line and "0.75" in line
    assert "on / off" not in render(whole)
    assert ProfileReport.from_json(shown.to_json()) == shown
