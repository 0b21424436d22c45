"""What `mmcaf profile` measured, as one immutable document that can be written as JSON and read again.

Times are in milliseconds, memory in MB (1e6 bytes), energy in joules. What could not be measured is None, and a
sentence in the notes beside it says why. Nothing here is of a patient, and no path of the machine.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..errors import Remedy, UsageError, program
from ..manifest import Precision, describe_validation
from ..strict_json import parse_json

REPORT_VERSION: Literal[1] = 1
_MEASURE_AGAIN = Remedy("Measure again", command=program("profile", "BUNDLE", "-o", "REPORT.json"))
MAX_REPORT_BYTES = 64 * 1024 * 1024
FAR_OUT = 3.0
"""Interquartile ranges above p75 beyond which a run counts as an outlier (Tukey's outer fence)."""

RUNTIME = "runtime"
"""`kind`, name and module of the row for what a runtime spends outside its layers."""

Subject = Literal["synthetic study", "given study", "golden cases"]
Bound = Literal["compute", "memory"]

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_CONFIG)
class Samples:
    """Runs of one thing, in their order.

    Percentiles are numpy's with linear interpolation between the two nearest runs, over all `values`.
    outliers: runs above p75 + 3 x (p75 - p25); they are counted, never removed. discarded: runs before these, to warm
    up, which count nowhere. note: what a reader should know, such as a warm-up that did not settle.
    """

    values: Annotated[tuple[float, ...], Field(min_length=1)]
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    mean: float
    outliers: int
    discarded: int = 0
    note: str | None = None

    @classmethod
    def of(cls, values: Sequence[float], *, discarded: int = 0, note: str | None = None) -> Self:
        """The figures of these runs, at least one."""
        taken = np.asarray(values, np.float64)
        p25, p50, p75, p90, p95, p99 = (float(value) for value in np.percentile(taken, (25, 50, 75, 90, 95, 99)))
        outliers = int(np.count_nonzero(taken > p75 + FAR_OUT * (p75 - p25)))
        mean = float(np.mean(taken))
        return cls(tuple(taken.tolist()), p50, p90, p95, p99, float(taken.max()), mean, outliers, discarded, note)


@dataclass(frozen=True, config=_CONFIG)
class MachineFacts:
    """Where it was measured. cores: what this process may use; gpu: name and driver of the first one, if any."""

    system: str
    processor: str
    instructions: tuple[str, ...]
    cores: int
    memory_mb: float | None
    gpu: str | None


@dataclass(frozen=True, config=_CONFIG)
class BundleFacts:
    """What was measured.

    network: its name and, where the manifest says them, its operations for one window. signed_by: as of an answer; None
    also in reports from before there were signatures.
    """

    name: str
    sha256: str
    network: str
    demonstration: bool
    flops: int | None = None
    signed_by: dict[str, str] | None = None


@dataclass(frozen=True, config=_CONFIG)
class SubjectFacts:
    """The study that was answered, without anything of the patient.

    slices: of its first series, None for golden cases; windows: that the network sees; inputs: name -> shape of one
    window.
    """

    kind: Subject
    slices: int | None
    windows: int
    inputs: dict[str, tuple[int, ...]]


@dataclass(frozen=True, config=_CONFIG)
class Settings:
    """How it was measured. warmup: fewest runs that are discarded; concurrency: requests at a time, each measured."""

    runs: int
    warmup: int
    threads: int
    batch: int
    concurrency: tuple[int, ...]


@dataclass(frozen=True, config=_CONFIG)
class Roofline:
    """What this machine reaches at best, measured, not from a data sheet.

    gflops: precision -> 1e9 operations a second; one that could not be measured is missing. memory_gb_s: 1e9 bytes a
    second, read and written. how: what was run to measure them.
    """

    gflops: dict[Precision, float]
    memory_gb_s: float
    how: str


@dataclass(frozen=True, config=_CONFIG)
class Cold:
    """From nothing, each in processes of their own; None where `notes` of the configuration say why.

    process_start: from the call that starts the process to its first line of Python; imports: the engine and the
    runtime; open_cold: opening a session with nothing kept; open_warm: with the engine and the self-test kept;
    first_infer: the first window of a new session; first_answer: from the start of a process to the answer of the
    whole study, with the engine kept.
    """

    process_start: Samples
    imports: Samples
    open_cold: Samples
    open_warm: Samples
    first_infer: Samples
    first_answer: Samples | None


@dataclass(frozen=True, config=_CONFIG)
class StageTime:
    """One stage of an answer.

    ms: its part of the wall time, in which each instant counts once; share: of the wall time, 0 to 1; thread_ms: what
    all threads and streams of the GPU spent in it together, which can exceed the wall time.
    """

    name: str
    ms: float
    share: float
    thread_ms: float


@dataclass(frozen=True, config=_CONFIG)
class SpanTime:
    """A stretch of one stage. start_ms, end_ms: from the start of the answer; thread: index into `Answer.threads`."""

    name: str
    start_ms: float
    end_ms: float
    thread: int


@dataclass(frozen=True, config=_CONFIG)
class Answer:
    """One study end to end with an open session, from its files to the result.

    wall: every run; all else is of the run whose wall time is nearest the median. The stages' `ms`, in the order of
    first appearance, and unaccounted_ms add up to wall_ms. threads: who worked, the calling thread first.
    """

    wall: Samples
    wall_ms: float
    stages: tuple[StageTime, ...]
    unaccounted_ms: float
    spans: tuple[SpanTime, ...]
    threads: tuple[str, ...]


@dataclass(frozen=True, config=_CONFIG)
class Steady:
    """One call of `Session.run` after another. call: each with `batch` windows; per_window_ms: its p50 by window."""

    call: Samples
    batch: int
    per_window_ms: float


@dataclass(frozen=True, config=_CONFIG)
class Kernels:
    """This project's kernels in the network. layers: each kernel's name -> how many layers it is; on, off: calls of one
    window with them and with the runtime's own operators in their places, in turn."""

    layers: dict[str, int]
    on: Samples
    off: Samples


@dataclass(frozen=True, config=_CONFIG)
class Throughput:
    """Callers at a time, each with its next call of one window as soon as it has an answer; p50, p95 of their waits."""

    concurrency: int
    windows: int
    windows_per_s: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, config=_CONFIG)
class Memory:
    """Peak of a process that opens a session with the engine kept and answers; vram: of the GPU, by this process."""

    ram_peak_mb: float
    vram_peak_mb: float | None


@dataclass(frozen=True, config=_CONFIG)
class Energy:
    """What the machine drew while windows were run. source: which counter, and of what part of the machine."""

    joules_per_window: float
    watts: float
    source: str


@dataclass(frozen=True, config=_CONFIG)
class LayerTime:
    """A node of the network as the runtime runs it, which may be several nodes of the ONNX file made one.

    kind: as the runtime calls it; module: the part of the network in words, such as "E3D-MSCA stage 2"; path: the
    source network's module; share: of all rows. flops: 2 per multiply-add; bytes: inputs, weights and outputs, each
    once; roofline_share: the least time that the measured roofline allows, divided by ms, above 1 where data stayed in
    the processor's cache; bound: what that least time is set by. The row of kind "runtime" is what the runtime spent
    outside its layers: the measured difference.
    """

    name: str
    kind: str
    module: str
    path: str
    ms: float
    share: float
    flops: int | None = None
    bytes: int | None = None
    roofline_share: float | None = None
    bound: Bound | None = None


@dataclass(frozen=True, config=_CONFIG)
class ModuleTime:
    """The rows of one module together; layers: how many."""

    module: str
    layers: int
    ms: float
    share: float
    flops: int | None = None
    bytes: int | None = None
    roofline_share: float | None = None
    bound: Bound | None = None


@dataclass(frozen=True, config=_CONFIG)
class Layers:
    """One window, layer by layer, slowest first; all times are means, since some runtimes tell no others.

    infer_ms: one window without the runtime's profiling; profiled_ms: with it; layers_ms: the sum of the layers without
    the row "runtime". source: what told the times.
    """

    infer_ms: float
    profiled_ms: float
    layers_ms: float
    source: str
    rows: tuple[LayerTime, ...]
    modules: tuple[ModuleTime, ...]


@dataclass(frozen=True, config=_CONFIG)
class Configuration:
    """A backend at a precision. skipped: why nothing of it was measured; None where it was.

    threads: None where the backend does not use the processor for the network.
    """

    backend: str
    precision: str
    version: str | None = None
    device: str | None = None
    threads: int | None = None
    batch: int = 1
    skipped: str | None = None
    cold: Cold | None = None
    answer: Answer | None = None
    steady: Steady | None = None
    kernels: Kernels | None = None
    throughput: tuple[Throughput, ...] = ()
    memory: Memory | None = None
    energy: Energy | None = None
    layers: Layers | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, config=_CONFIG)
class ProfileReport:
    """The whole report. created_with: version of mmcaf-infer; interrupted: it was stopped before all was measured."""

    created_with: str
    machine: MachineFacts
    bundle: BundleFacts
    subject: SubjectFacts
    settings: Settings
    roofline: Roofline | None
    configurations: tuple[Configuration, ...]
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    schema_version: Literal[1] = REPORT_VERSION

    def to_json(self) -> str:
        """The report as JSON text; see docs/profile.schema.json."""
        return json.dumps({"schema_version": self.schema_version, **asdict(self)}, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "profile report") -> "ProfileReport":
        """Read what `to_json` wrote; `name` is how messages call it, usually its path.

        Raises:
            UsageError: not JSON, not such a report, or of a version that is not read here.
        """
        data = text.encode() if isinstance(text, str) else text
        document = parse_json(data, name=name, error=UsageError, max_bytes=MAX_REPORT_BYTES)
        version = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(version, bool) or version != REPORT_VERSION:
            found = "no version" if version is None else f"version {json.dumps(version)[:20]}"
            raise UsageError(
                f"{name}: expected a profile report of version {REPORT_VERSION}, got {found}.", _MEASURE_AGAIN
            )
        try:
            return _ADAPTER.validate_json(data, strict=True)
        except ValidationError as failure:
            raise UsageError(f"{name}: not a profile report: {describe_validation(failure)}.", _MEASURE_AGAIN) from None


def report_schema() -> dict[str, Any]:
    """The JSON Schema of the report, as published in docs/profile.schema.json."""
    return _ADAPTER.json_schema()


_ADAPTER = TypeAdapter(ProfileReport)
