"""A report as a file of trace events, which ui.perfetto.dev and chrome://tracing open.

The Trace Event Format in its JSON object form: complete events ("X") in microseconds, and metadata events ("M") that
name processes and threads. Events of one thread must lie inside each other or apart, since a viewer drops one that
only overlaps another; those that would are moved to a thread of their own.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .figures import cold_medians, measured, stage_name, title
from .report import Answer, Cold, Configuration, Layers, ProfileReport


@dataclass(frozen=True)
class _Event:
    """A stretch of time; from its start to its end in ms."""

    name: str
    start: float
    end: float
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Process:
    """Named threads, each with its events; kind: the events' category."""

    name: str
    kind: str
    threads: list[tuple[str, list[_Event]]]


def trace_json(report: ProfileReport) -> str:
    """The trace as JSON text: for each configuration a study, its cold start, and one window layer by layer."""
    processes = [process for one in measured(report) for process in _processes(one)]
    document = {
        "displayTimeUnit": "ms",
        "otherData": {
            "created_with": f"mmcaf-infer {report.created_with}",
            "bundle": report.bundle.name,
            "bundle_sha256": report.bundle.sha256,
            "signed_by": report.bundle.signed_by,
            "processor": report.machine.processor,
        },
        "traceEvents": [event for pid, process in enumerate(processes, 1) for event in _events(pid, process)],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _processes(one: Configuration) -> Iterator[_Process]:
    if one.answer is not None:
        yield _Process(f"{title(one)}: one study", "study", _study(one.answer))
    if one.cold is not None:
        yield _Process(f"{title(one)}: cold start, medians", "cold", _cold(one.cold))
    if one.layers is not None:
        name = f"{title(one)}: one window by module, slowest first (not in the order of execution)"
        yield _Process(name, "layers", [("modules and their layers", _layers(one.layers))])


def _study(answer: Answer) -> list[tuple[str, list[_Event]]]:
    """Each thread's spans; the calling thread's lie inside the whole answer."""
    threads: list[list[_Event]] = [[] for _ in answer.threads]
    for span in answer.spans:
        threads[span.thread].append(_Event(stage_name(span.name), span.start_ms, span.end_ms))
    end = max([answer.wall_ms, *(event.end for event in threads[0])])
    threads[0].insert(0, _Event("answer", 0.0, end, {"runs": len(answer.wall.values)}))
    return list(zip(answer.threads, threads, strict=True))


def _cold(cold: Cold) -> list[tuple[str, list[_Event]]]:
    return [
        ("engine kept", list(_one_after_another(cold_medians(cold, kept=True)))),
        ("nothing kept", list(_one_after_another(cold_medians(cold, kept=False)))),
    ]


def _layers(layers: Layers) -> list[_Event]:
    """Each module, and inside it its layers."""
    events = []
    start = 0.0
    for module in layers.modules:
        inside = [row for row in layers.rows if row.module == module.module]
        parts = list(_one_after_another(((row.name, row.ms) for row in inside), start))
        facts = [
            {
                "kind": row.kind,
                "path": row.path,
                "flops": row.flops,
                "bytes": row.bytes,
                "bound": row.bound,
                "roofline_share": row.roofline_share,
            }
            for row in inside
        ]
        end = max([start + module.ms, *(part.end for part in parts)])
        events.append(_Event(module.module, start, end, {"layers": module.layers, "share": module.share}))
        events += [
            _Event(part.name, part.start, part.end, {key: value for key, value in said.items() if value is not None})
            for part, said in zip(parts, facts, strict=True)
        ]
        start = end
    return events


def _one_after_another(parts: Iterable[tuple[str, float]], start: float = 0.0) -> Iterator[_Event]:
    for name, taken in parts:
        yield _Event(name, start, start + taken)
        start += taken


def _events(pid: int, process: _Process) -> Iterator[dict[str, Any]]:
    """The process with its threads, numbered from 1."""
    yield _named("process_name", pid, 0, {"name": process.name})
    yield _named("process_sort_index", pid, 0, {"sort_index": pid})
    tid = 0
    for name, events in process.threads:
        for lane, inside in enumerate(_lanes(events)):
            tid += 1
            yield _named("thread_name", pid, tid, {"name": name if lane == 0 else f"{name}, at the same time"})
            yield _named("thread_sort_index", pid, tid, {"sort_index": tid})
            for event, start, end in inside:
                yield {
                    "name": event.name,
                    "cat": process.kind,
                    "ph": "X",
                    "ts": start / 1000,
                    "dur": (end - start) / 1000,
                    "pid": pid,
                    "tid": tid,
                    "args": event.facts,
                }


def _named(name: str, pid: int, tid: int, facts: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": facts}


def _lanes(events: list[_Event]) -> list[list[tuple[_Event, int, int]]]:
    """The events with start and end in whole nanoseconds, on as few lanes as let those of each lane nest."""
    lanes: list[list[tuple[_Event, int, int]]] = []
    open_ends: list[list[int]] = []
    timed = [(event, round(event.start * 1e6), round(event.end * 1e6)) for event in events]
    for event, start, end in sorted(timed, key=lambda one: (one[1], -one[2])):
        for lane, ends in zip(lanes, open_ends, strict=True):
            while ends and ends[-1] <= start:
                ends.pop()
            if not ends or end <= ends[-1]:
                lane.append((event, start, end))
                ends.append(end)
                break
        else:
            lanes.append([(event, start, end)])
            open_ends.append([end])
    return lanes
