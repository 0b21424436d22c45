"""Answers made by hand, for the page that shows them: of every kind of network, and as large as they come."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mmcaf_engine.inputs.prepare import Prepared, PreparedImage, PreparedSeries
from mmcaf_engine.inputs.windows import Windows
from mmcaf_engine.record.clinical import Clinical
from mmcaf_engine.record.record import Record
from mmcaf_engine.result.attended import Agreement, Attended, AttendedParts, Weight
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.explain import ExplanationMap
from mmcaf_engine.result.page.answer_page import answer_page
from mmcaf_engine.result.parts import Finding, RecordSummary, SelectedSeries, Window
from mmcaf_engine.result.result import Result
from mmcaf_engine.volume import PatientHeader, StudyFacts
from tiny_result import UID, multilabel, tiny_result, without_study

PHASES = ("pre", "arterial", "venous", "delayed", "t2", "dwi", "in-phase", "out-of-phase")
FINDINGS = ("mass", "effusion", "pneumothorax", "nodule", "fracture", "fibrosis", "oedema", "hernia", "infiltration",
            "atelectasis", "emphysema", "consolidation", "pleural thickening", "cardiomegaly")  # fmt: skip
SELF_TEST = {"passed": True, "max_abs_error": 3.8e-06, "errors": {}, "tolerance": 1e-4, "cases": 4, "remembered": False}


def facts(slices: int) -> StudyFacts:
    return StudyFacts("CT", {}, PatientHeader(), slices, (2.5, 0.7, 0.7))


def series(
    name: str, slices: int, *, size: int = 24, depth: int = 12, starts: Sequence[int] | None = None
) -> PreparedSeries:
    """A bright disc in each slice, which grows from the feet upwards."""
    rows, columns = np.mgrid[:size, :size] - size / 2
    radius = size * (0.15 + 0.3 * np.arange(slices) / slices)
    inside = rows**2 + columns**2 < radius[:, None, None] ** 2
    values = (0.2 + inside + 0.02 * np.sin(rows * columns)).astype(np.float32)
    begun = tuple(starts if starts is not None else range(0, max(slices - depth, 0) + 1, max(depth // 2, 1)))
    return PreparedSeries(name, facts(slices), Windows(values, depth, begun))


REPORT = [
    "There",
    "is",
    "a",
    "small",
    "effusion",
    "on",
    "the",
    "left",
    ".",
    "No",
    "other",
    "change",
    "since",
    "then",
    ".",
]


def attended(words: Sequence[str] = REPORT, fields: int = 3, parts: int = 2) -> Attended:
    """Of words, of which one weighs most and another half of it, and of fields in turn."""
    of_words = tuple(Weight(word, {4: 0.4, 7: 0.2}.get(at, 0.001)) for at, word in enumerate(words))
    of_fields = tuple(Weight(f"field {at}", 0.1 + at / 100) for at in range(fields))
    found = [
        AttendedParts(
            f"w{at}",
            "words that regions take from",
            "share of a word",
            *(("words", of_words), ("fields", of_fields))[at % 2],
            0.01 if at % 2 == 0 else None,
        )
        for at in range(parts)
    ]
    return Attended(tuple(found), Agreement(("w0", "w1"), 0.8, 0.52, 5, 200, "synthetic"))


def a_map(name: str, *, title: str = "heat map", window: int = 0, slices: tuple[int, int] = (0, 12)) -> ExplanationMap:
    values = np.zeros((3, 4, 4), np.float32)
    values[1, 2, 1], values[1, 2, 2] = 1.0, 0.4
    return ExplanationMap("gradcam", title, name, window, "loud", values, slices)


def ct(slices: int = 26, *, window: int = 1, maps: bool = True, result: Result | None = None, **size: int) -> str:
    """A CT of windows, with a record."""
    one = series("image", slices, **size)
    record = Record({"sex": "F", "age": 63.0}, {"sex": 0.0, "age": 0.53})
    summary = RecordSummary({"sex": 0.0, "age": 0.53, "age >= 50": 1.0}, (), "1" * 64, "matched", ())
    windows = tuple(Window(start, one.windows.depth, 0.8, 0.7) for start in one.windows.starts)
    found = result or replace(tiny_result("a gap", sources=(f"{UID}.9",)), windows=windows, record=summary)
    found = replace(found, study=replace(found.study, slices=slices))
    prepared = Prepared((one,), Clinical(record))
    return answer_page(found, prepared, window, maps=(a_map("image"),) if maps else (), self_test=SELF_TEST)


def mr(*, slices: int = 16, size: int = 24, maps: bool = True, result: Result | None = None) -> str:
    """An MR of eight phases, each one window."""
    spacing = (3.0, 1.0, 1.0)
    selection = tuple(
        SelectedSeries(name, f"{UID}.{at}", "its description says so", 40, spacing) for at, name in enumerate(PHASES)
    )
    found = result or tiny_result()
    found = replace(found, study=replace(found.study, modality="MR", slices=40, selection=selection))
    prepared = Prepared(tuple(series(name, slices, depth=slices, size=size) for name in PHASES))
    drawn = [a_map("arterial", title="whole", slices=(0, slices)), a_map("dwi", title="upper half", slices=(4, slices))]
    return answer_page(found, prepared, 0, maps=drawn if maps else (), self_test=SELF_TEST)


def radiograph(size: int = 48) -> str:
    """A radiograph with many findings."""
    findings = tuple(
        Finding(name, 0.95 - 0.06 * at, 0.0, 0.5, present=0.95 - 0.06 * at >= 0.5) for at, name in enumerate(FINDINGS)
    )
    found = replace(
        multilabel(),
        label=", ".join(one.label for one in findings if one.present),
        probability=None,
        probabilities={one.label: one.probability for one in findings},
        findings=findings,
        windows=(),
    )
    found = replace(found, study=replace(found.study, modality="DX"), attention=attended())
    values = series("radiograph", 1, size=size).windows.slices[np.newaxis, :1]
    drawn = replace(a_map("radiograph", slices=(0, 1)), values=a_map("").values[1:2])
    image = PreparedImage("radiograph", facts(1), values)
    return answer_page(found, Prepared((), image=image), 0, maps=(drawn,), self_test=SELF_TEST)


def record_only() -> str:
    return answer_page(replace(without_study(), created=tiny_result().created, windows=()), Prepared(()), 0)


def long_result() -> Result:
    """All that may be long is long, and there is much of it."""
    long = "a label of very many words that no sheet of paper has the room for, " * 3
    labels = {f"{long[:190]} {at}": 0.9 - 0.04 * at for at in range(20)}
    fields = {f"field_{at}_of_a_record_with_a_name_that_does_not_end": 0.5 for at in range(40)}
    sentences = tuple(
        f"warning {at}: {'what is irregular about this series is told here at length. ' * 4}" * 2 for at in range(60)
    )
    found = tiny_result(*sentences, sources=("/a/path/of/a/file/" * 12,))
    return replace(
        found,
        label=next(iter(labels)),
        probability=0.9,
        probabilities=labels,
        positive=None,
        labels=None,
        windows=tuple(Window(start, 12, 0.1, start % 90 / 100) for start in range(400)),
        record=RecordSummary(fields, tuple(list(fields)[:20]), "1" * 64, "overridden", ()),
        model=replace(found.model, name="m" * 200, version="9" * 64, signed_by={"name": "k" * 64, "id": "A" * 16}),
        engine=replace(found.engine, processor="processor " * 20, fallback="because it could not be used, " * 9),
        disclaimer="For research. " * 60,
        attention=attended([f"word-that-does-not-end-{at}" * 3 for at in range(500)], fields=40, parts=5),
    )


PAGES: dict[str, Callable[[], str]] = {
    "ct": ct,
    "ct without maps": lambda: ct(maps=False),
    "mr": mr,
    "radiograph": radiograph,
    "record only": record_only,
    "deidentified": lambda: ct(result=deidentify(tiny_result("a gap", sources=(f"{UID}.9",)))),
    "extreme": lambda: ct(400, result=long_result(), starts=list(range(389))),
    "extreme mr": lambda: mr(slices=32, result=long_result()),
}
