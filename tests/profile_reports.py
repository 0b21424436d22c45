"""Reports of `mmcaf profile` made by hand, for tests of what is made of a report: nothing in them was measured."""

from dataclasses import replace

import numpy as np

from mmcaf_engine.profile.report import (
    Answer,
    BundleFacts,
    Cold,
    Configuration,
    Energy,
    Layers,
    LayerTime,
    MachineFacts,
    Memory,
    ModuleTime,
    ProfileReport,
    Roofline,
    Samples,
    Settings,
    SpanTime,
    StageTime,
    Steady,
    SubjectFacts,
    Throughput,
)

MACHINE = MachineFacts("Linux 6.1.0 x86_64", "Example CPU 3.0 GHz", ("avx2", "avx512f"), 2, 25_000.0, None)
BUNDLE = BundleFacts("lung", "8351aee8820f" + "0" * 52, "mmcaf", True, 500_000_000)
SUBJECT = SubjectFacts("synthetic study", 26, 3, {"image": (1, 12, 96, 96), "table": (7,)})
ROOFLINE = Roofline({"fp32": 180.0, "int8": 610.0}, 14.2, "matrix products and copies of 256 MB, best of five")
_MODULES = ("E3D-MSCA stage 1", "BFPU 1", "E3D-MSCA stage 2", "MSDC", "fusion head", "table branch", "pooling")


def samples(median: float, *, runs: int = 20, spread: float = 0.02, seed: int = 0, discarded: int = 0) -> Samples:
    """So many runs about a median, from a seed; the sample median is exact."""
    drawn = np.random.default_rng(seed).gamma(4.0, 1.0, runs)
    values = median * (1 + spread * (drawn - np.median(drawn)))
    return Samples.of(values.tolist(), discarded=discarded)


def answer(wall: float, infer: float, *, runs: int = 20, seed: int = 0) -> Answer:
    """An answer of this median: headers first, then two threads decode and prepare, then three windows."""
    front = wall - infer - 1.4
    steps = [("read", 0.0, 0.4 * front, 0)]
    for thread in (1, 2):
        start = 0.4 * front
        for _ in range(4):
            middle, end = start + 0.1 * front, start + 0.15 * front
            steps += [("decode", start, middle, thread), ("preprocess", middle, end, thread)]
            start = end
    steps += [("infer", front + index * infer / 3, front + (index + 1) * infer / 3, 0) for index in range(3)]
    steps.append(("aggregate", front + infer, front + infer + 0.9, 0))
    stages = (
        StageTime("read", 0.4 * front, 0.4 * front / wall, 0.4 * front),
        StageTime("decode", 0.4 * front, 0.4 * front / wall, 0.8 * front),
        StageTime("preprocess", 0.2 * front, 0.2 * front / wall, 0.4 * front),
        StageTime("infer", infer, infer / wall, infer),
        StageTime("aggregate", 0.9, 0.9 / wall, 0.9),
    )
    return Answer(
        samples(wall, runs=runs, seed=seed),
        wall,
        stages,
        0.5,
        tuple(SpanTime(*step) for step in steps),
        ("main", "decode 1", "decode 2"),
    )


def layers(infer: float) -> Layers:
    """Seven modules of two layers each; the slowest takes more than a third."""
    weights = np.array([0.5**index for index in range(len(_MODULES))])
    shares = weights / weights.sum() * 0.97
    rows, modules = [], []
    for index, (module, share) in enumerate(zip(_MODULES, shares, strict=True)):
        bound = "compute" if index % 2 == 0 else "memory"
        for part, fraction in (("conv", 0.75), ("norm", 0.25)):
            rows.append(
                LayerTime(
                    f"{module} {part}",
                    part,
                    module,
                    f"net.{index}.{part}",
                    infer * share * fraction,
                    share * fraction,
                    10**8,
                    10**6,
                    0.4,
                    bound,
                )
            )
        modules.append(ModuleTime(module, 2, infer * share, share, 2 * 10**8, 2 * 10**6, 0.4, bound))
    rows.append(LayerTime("runtime", "runtime", "runtime", "", infer * 0.03, 0.03))
    modules.append(ModuleTime("runtime", 1, infer * 0.03, 0.03))
    return Layers(
        infer,
        infer * 1.02,
        infer * 0.97,
        "counters of the runtime",
        tuple(sorted(rows, key=lambda row: -row.ms)),
        tuple(sorted(modules, key=lambda row: -row.ms)),
    )


def configuration(backend: str, precision: str, window: float, *, runs: int = 20, seed: int = 0) -> Configuration:
    """One window of this median and all that goes with it."""
    return Configuration(
        backend,
        precision,
        version="2026.1",
        device="CPU",
        threads=2,
        cold=Cold(
            samples(24, runs=5, seed=seed),
            samples(310, runs=5, seed=seed + 1),
            samples(420 if backend == "openvino" else 160, runs=5, seed=seed + 2),
            samples(110 if backend == "openvino" else 150, runs=5, seed=seed + 3),
            samples(window * 1.9, runs=5, seed=seed + 4),
            samples(900 + 3 * window, runs=5, seed=seed + 5),
        ),
        answer=answer(150 + 3 * window, 3 * window, runs=runs, seed=seed),
        steady=Steady(samples(window, runs=runs, seed=seed + 7, discarded=3), 1, window),
        throughput=tuple(
            Throughput(count, 60, 1000 / window * (1 + 0.05 * index), window * count, window * count * 1.2)
            for index, count in enumerate((1, 2, 4))
        ),
        memory=Memory(232.0 if precision == "fp32" else 190.0, None),
        energy=Energy(0.31, 22.0, "RAPL, package 0") if precision == "int8" else None,
        layers=layers(window),
        notes=() if precision == "int8" else ("The machine does not report its energy.",),
    )


def report(*, runs: int = 20) -> ProfileReport:
    """Two backends in FP32 and INT8, and BF16 which this machine cannot run."""
    return ProfileReport(
        created_with="0.1.0",
        machine=MACHINE,
        bundle=BUNDLE,
        subject=SUBJECT,
        settings=Settings(runs, 3, 2, 1, (1, 2, 4)),
        roofline=ROOFLINE,
        configurations=(
            configuration("openvino", "fp32", 11.9, runs=runs, seed=10),
            configuration("openvino", "int8", 7.3, runs=runs, seed=20),
            configuration("onnxruntime", "fp32", 23.1, runs=runs, seed=30),
            configuration("onnxruntime", "int8", 29.8, runs=runs, seed=40),
            Configuration("openvino", "bf16", skipped="this processor has no units for BF16"),
        ),
        notes=("Figures of a machine that does other work at the same time are too high.",),
    )


def slower(original: ProfileReport, factor: float, *, only: tuple[str, str] | None = None) -> ProfileReport:
    """The report with every run of a window and a study longer by this factor; of one configuration, or of all."""

    def stretched(one: Configuration) -> Configuration:
        if one.skipped or only not in (None, (one.backend, one.precision)):
            return one
        assert one.answer is not None and one.steady is not None
        wall = Samples.of([factor * value for value in one.answer.wall.values])
        call = Samples.of([factor * value for value in one.steady.call.values])
        return replace(
            one,
            answer=replace(one.answer, wall=wall, wall_ms=factor * one.answer.wall_ms),
            steady=replace(one.steady, call=call, per_window_ms=factor * one.steady.per_window_ms),
        )

    return replace(original, configurations=tuple(map(stretched, original.configurations)))
