"""What `mmcaf tune` measured, kept for the sessions that follow, and the rule that chooses from it.

What `mmcaf doctor --quick-check` measured first is kept in the same form, under another name; no session chooses by it.
A record is one JSON file, named after the SHA-256 of the facts that the times depend on and holding them in clear.
"""

import hashlib
import json
import logging
from dataclasses import astuple
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__
from ..backends.registry import installed_packages
from ..bundle.bundle import Bundle
from ..cache.cache import MAKE_ROOM, CacheKind, mark_used, open_own, read_own_json
from ..errors import BackendError, MmcafError, UsageError
from ..machine.cpu import processor
from ..machine.gpu import first_gpu
from ..manifest import Precision, describe_validation
from ..outputs import write_file
from ..strict_json import parse_json

LEAST_GAIN = 0.05
"""A lower precision is chosen only if it takes at least this fraction less time than FP32."""

Purpose = Literal["tune", "quick check"]
"""What a record was measured for."""

_MAX_BYTES = 256 * 1024
_log = logging.getLogger(__name__)


def _describe(file: Path) -> str:
    record = read_own_json(file)
    return f"{record['bundle']}, {len(record['timings'])} timed, {record['facts']['threads']} threads"


TUNING = CacheKind("tuning", "tuning", r"[0-9a-f]{64}\.json", _describe)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Timing(_Model):
    """How long one window takes, in milliseconds; device: "CPU" or the GPU's name, None in a record from before."""

    backend: str
    precision: Precision
    median_ms: float = Field(ge=0)
    p95_ms: float = Field(ge=0)
    device: str | None = None


class TunedFor(_Model):
    """What the times depend on.

    gpu: its name and driver, if there is one; runtimes: backend -> its package and version, of those installed.
    """

    bundle_sha256: str
    engine: str
    processor: str
    instructions: tuple[str, ...]
    gpu: str | None = None
    runtimes: dict[str, str]
    threads: int


class Tuning(_Model):
    """The times of everything that ran; `bundle` is the name, for people who look into the cache."""

    format_version: Literal[1] = 1
    bundle: str
    facts: TunedFor
    runs: int = Field(ge=1)
    timings: tuple[Timing, ...] = Field(min_length=1)

    def pick(self, backend: str = "auto", precision: str = "auto") -> Timing | None:
        """The fastest that fits, but FP32 unless another one takes at least 5 % less time.

        None if nothing that fits was timed, or if both names are given and nothing is left to choose.
        """
        if "auto" not in (backend, precision):
            return None
        fitting = sorted(
            (
                timing
                for timing in self.timings
                if backend in ("auto", timing.backend) and precision in ("auto", timing.precision)
            ),
            key=lambda timing: timing.median_ms,
        )
        if not fitting:
            return None
        fastest = fitting[0]
        exact = next((timing for timing in fitting if timing.precision == "fp32"), fastest)
        return fastest if fastest.median_ms <= (1 - LEAST_GAIN) * exact.median_ms else exact


def tuned_for(bundle: Bundle, threads: int) -> TunedFor:
    """The facts of this bundle, machine and installation; no runtime is imported for them."""
    name, instructions = astuple(processor())
    gpu = first_gpu()
    return TunedFor(
        bundle_sha256=bundle.sha256,
        engine=__version__,
        processor=name,
        instructions=instructions,
        gpu=None if gpu is None else f"{gpu.name}, driver {gpu.driver}",
        runtimes=installed_packages(),
        threads=threads,
    )


def read_tuning(bundle: Bundle, threads: int, purpose: Purpose = "tune") -> Tuning | None:
    """The record kept for this bundle on this machine with so many threads; None if there is none to go by.

    One that is damaged, made for something else or another user's is not used, and logged as a warning.
    """
    try:
        if not TUNING.is_made():
            return None
        facts = tuned_for(bundle, threads)
        file = TUNING.folder() / _name(facts, purpose)
        with open_own(file) as stream:
            data = stream.read(_MAX_BYTES + 1)
        document = parse_json(data, name=str(file), error=BackendError, max_bytes=_MAX_BYTES)
        tuning = Tuning.model_validate(document)
        if tuning.facts != facts:
            raise BackendError(f"{file}: it was made for something else.")
    except FileNotFoundError:
        return None
    except (MmcafError, OSError, ValidationError) as failure:
        invalid = f"{file}: {describe_validation(failure)}." if isinstance(failure, ValidationError) else str(failure)
        reason = failure.problem if isinstance(failure, MmcafError) else invalid
        _log.warning("The recorded tuning is not used; tune the bundle again. %s", reason)
        return None
    mark_used(file)
    return tuning


def keep_tuning(tuning: Tuning, purpose: Purpose = "tune") -> Path:
    """Write a record, in place of an older one for the same facts, and return its path.

    Raises:
        UsageError: the cache cannot be written.
    """
    file = TUNING.folder() / _name(tuning.facts, purpose)
    try:
        write_file(file, tuning.model_dump_json(indent=2) + "\n")
    except OSError as failure:
        raise UsageError(
            f"{file}: the choice cannot be kept: {failure.strerror}.",
            MAKE_ROOM,
        ) from None
    return file


def _name(facts: TunedFor, purpose: Purpose) -> str:
    document = json.dumps(facts.model_dump(), sort_keys=True, separators=(",", ":"))
    document += "" if purpose == "tune" else purpose
    return f"{hashlib.sha256(document.encode()).hexdigest()}.json"
