"""The trace of a report keeps the rules of the Trace Event Format, and says what the report says."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

import profile_reports
from mmcaf_engine.profile.report import ProfileReport, SpanTime
from mmcaf_engine.profile.trace import trace_json

METADATA = {
    "process_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}


def broken_rules(text: str) -> list[str]:
    """What a trace in the JSON object form breaks of the Trace Event Format, and of what Perfetto reads of it.

    - The document is an object; traceEvents is an array of objects, in any order; displayTimeUnit is ms or ns; what
      else the object holds is metadata of the whole trace.
    - Every event has name and ph (one character, the type), ts in microseconds, pid and tid; args is an object.
    - A complete event (ph X) has dur in microseconds, not negative; cat is a comma separated list.
    - A metadata event (ph M) has one of the defined names, and args holds the one key that goes with it.
    - Durations of one thread nest: two either lie one inside the other or share no time. Viewers drop others.
    - Every thread with events has a name, and every process.
    """
    document = json.loads(text, parse_constant=lambda token: pytest.fail(f"{token} is not JSON"))
    broken = []
    if document.get("displayTimeUnit", "ms") not in ("ms", "ns"):
        broken.append("displayTimeUnit")
    named: dict[str, set[tuple[Any, ...]]] = {"process_name": set(), "thread_name": set()}
    threads: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in document["traceEvents"]:
        whole = all(isinstance(event.get(key), int) for key in ("pid", "tid"))
        whole &= isinstance(event.get("ts"), int | float) and isinstance(event.get("args", {}), dict)
        if not (whole and isinstance(event.get("name"), str) and event.get("ph") in ("X", "M")):
            broken.append(f"not an event: {event}")
        elif event["ph"] == "M":
            key, kind = METADATA.get(event["name"], ("", object))
            if list(event["args"]) != [key] or not isinstance(event["args"][key], kind):
                broken.append(f"metadata: {event}")
            place = (event["pid"],) if event["name"] == "process_name" else (event["pid"], event["tid"])
            named.setdefault(event["name"], set()).add(place)
        else:
            if not isinstance(event.get("dur"), int | float) or event["dur"] < 0 or event["ts"] < 0:
                broken.append(f"duration: {event}")
                continue
            if not isinstance(event.get("cat"), str):
                broken.append(f"category: {event}")
            start = round(event["ts"] * 1000)
            threads.setdefault((event["pid"], event["tid"]), []).append((start, start + round(event["dur"] * 1000)))
    broken += [f"thread without a name: {place}" for place in threads if place not in named["thread_name"]]
    broken += [f"process without a name: {pid}" for pid, _ in threads if (pid,) not in named["process_name"]]
    for place, spans in threads.items():
        for index, (start, end) in enumerate(spans):
            for other_start, other_end in spans[:index]:
                apart = end <= other_start or other_end <= start
                inside = (start >= other_start and end <= other_end) or (other_start >= start and other_end <= end)
                if not (apart or inside):
                    broken.append(f"overlap on {place}: {(start, end)} and {(other_start, other_end)}")
    return broken


def events(report: ProfileReport, kind: str = "X") -> list[dict[str, Any]]:
    return [event for event in json.loads(trace_json(report))["traceEvents"] if event["ph"] == kind]


@pytest.fixture(scope="module")
def report() -> ProfileReport:
    return profile_reports.report()


@pytest.mark.parametrize(
    "event",
    [
        {"ph": "X", "ts": 0, "dur": 1, "pid": 1, "tid": 1, "cat": "a"},
        {"name": "a", "ph": "X", "ts": 0, "dur": -1, "pid": 1, "tid": 1, "cat": "a"},
        {"name": "a", "ph": "X", "ts": "0", "dur": 1, "pid": 1, "tid": 1, "cat": "a"},
        {"name": "thread_label", "ph": "M", "ts": 0, "pid": 1, "tid": 1, "args": {"name": "a"}},
        {"name": "a", "ph": "X", "ts": 5, "dur": 10, "pid": 1, "tid": 1, "cat": "a"},
    ],
    ids=["no-name", "negative", "text-time", "unknown-metadata", "overlap"],
)
def test_the_rules_are_checked(event: dict[str, Any]) -> None:
    names = [
        {"name": f"{what}_name", "ph": "M", "ts": 0, "pid": 1, "tid": 1, "args": {"name": "a"}}
        for what in ("process", "thread")
    ]
    first = {"name": "b", "ph": "X", "ts": 0, "dur": 10, "pid": 1, "tid": 1, "cat": "a"}
    assert broken_rules(json.dumps({"traceEvents": [*names, first]})) == []
    assert broken_rules(json.dumps({"traceEvents": [*names, first, event]}))


def test_a_report_breaks_no_rule(report: ProfileReport) -> None:
    assert broken_rules(trace_json(report)) == []


def test_overlapping_spans_get_a_thread_of_their_own(report: ProfileReport) -> None:
    one = report.configurations[0]
    assert one.answer is not None
    spans = (
        *one.answer.spans,
        SpanTime("write", 1.0, 7.0, 1),
        SpanTime("copy in", 3.0, 9.0, 1),
        SpanTime("copy out", 8.0, 9.0, 1),
    )
    changed = replace(report, configurations=(replace(one, answer=replace(one.answer, spans=spans)),))
    assert broken_rules(trace_json(changed)) == []
    places = {event["name"]: event["tid"] for event in events(changed) if event["cat"] == "study"}
    assert places["write"] != places["copy in"]
    names = [event["args"]["name"] for event in events(changed, "M") if event["name"] == "thread_name"]
    assert "decode 1, at the same time" in names


def test_spans_that_touch_stay_on_their_thread(report: ProfileReport) -> None:
    one = report.configurations[0]
    assert one.answer is not None
    edges = [index * 0.1 + 1e-12 * (index % 2) for index in range(50)]
    spans = tuple(SpanTime("infer", *edge, 0) for edge in pairwise(edges))
    changed = replace(report, configurations=(replace(one, answer=replace(one.answer, spans=spans)),))
    assert broken_rules(trace_json(changed)) == []
    study = [event for event in events(changed) if event["cat"] == "study"]
    assert len(study) == 50 and len({event["tid"] for event in study}) == 1


def test_every_span_is_there_in_microseconds(report: ProfileReport) -> None:
    first = next(event["pid"] for event in events(report, "M") if "openvino fp32: one study" in str(event["args"]))
    told = sorted(
        (event["name"], event["ts"], event["dur"])
        for event in events(report)
        if event["pid"] == first and event["name"] != "answer"
    )
    answer = report.configurations[0].answer
    assert answer is not None
    expected = sorted((span.name, 1e3 * span.start_ms, 1e3 * (span.end_ms - span.start_ms)) for span in answer.spans)
    for (name, start, taken), (wanted, at, long) in zip(told, expected, strict=True):
        assert name == wanted and start == pytest.approx(at, abs=2e-3) and taken == pytest.approx(long, abs=2e-3)


def test_layers_lie_inside_their_modules(report: ProfileReport) -> None:
    layers = report.configurations[1].layers  # The fastest one comes first.
    assert layers is not None
    told = [event for event in events(report) if event["cat"] == "layers"][: len(layers.rows) + len(layers.modules)]
    assert sum(event["dur"] for event in told) == pytest.approx(
        1e3 * (sum(row.ms for row in layers.rows) + sum(module.ms for module in layers.modules)), abs=0.1
    )
    conv = next(event for event in told if event["name"] == "BFPU 1 conv")
    assert conv["args"]["path"] == "net.1.conv" and conv["args"]["bound"] == "memory"


def test_a_module_ends_with_the_last_of_its_layers(report: ProfileReport) -> None:
    """Its time is theirs added up in another order, so that it may be shorter in the last digits."""
    one = report.configurations[1]
    assert one.layers is not None
    modules = tuple(replace(module, ms=module.ms - 1e-5) for module in one.layers.modules)
    changed = replace(report, configurations=(replace(one, layers=replace(one.layers, modules=modules)),))
    assert broken_rules(trace_json(changed)) == []
    assert {event["tid"] for event in events(changed) if event["cat"] == "layers"} == {1}


def test_the_fastest_comes_first_and_what_was_skipped_is_left_out(report: ProfileReport) -> None:
    names = [event["args"]["name"] for event in events(report, "M") if event["name"] == "process_name"]
    assert names[0] == "openvino int8: one study" and not any("bf16" in name for name in names)


def test_a_name_from_the_bundle_stays_text(report: ProfileReport) -> None:
    hostile = '"}],\n\u2028\x1b[31m</script>'
    changed = replace(report, bundle=replace(report.bundle, name=hostile))
    assert broken_rules(trace_json(changed)) == []
    assert json.loads(trace_json(changed))["otherData"]["bundle"] == hostile


def test_nothing_measured_is_an_empty_trace(report: ProfileReport) -> None:
    text = trace_json(replace(report, configurations=report.configurations[-1:], interrupted=True))
    assert broken_rules(text) == [] and json.loads(text)["traceEvents"] == []
