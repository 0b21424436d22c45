"""Which fields of a record moved an answer: the answer again, with one field after the other at its reference."""

from collections.abc import Callable
from dataclasses import replace

from ..cancel import Progress
from ..inputs.prepare import Prepared
from ..manifest import Manifest
from ..record.record import Record
from ..record.reference import with_references
from ..volume import Arrays
from .aggregate import StudyScore
from .decisions.base import Decision
from .parts import FieldInfluence

RunAll = Callable[[Prepared, Progress | None], Arrays]
"""Every window of a prepared study through the network; see `session.run.run_windows`."""


class RecordInfluence:
    """What there is to run: the study as it is, but for one field, for each field that is not at its reference.

    Nothing is estimated: every window is run, and the decision made, as for the answer itself.
    """

    def __init__(self, manifest: Manifest, prepared: Prepared) -> None:
        self._manifest, self._prepared = manifest, prepared
        record, table = prepared.record, manifest.table
        self._changed = [] if record is None or table is None else list(with_references(record, table))

    def __len__(self) -> int:
        """How many windows must be run."""
        return sum(self._differs(record) for _, _, record in self._changed) * len(self._prepared)

    def of(
        self, score: StudyScore, decision: Decision, run: RunAll, progress: Progress | None = None
    ) -> tuple[FieldInfluence, ...]:
        """Of every field, in the table's order.

        Args:
            score: of the answer, by `decision`.
            progress: told of the stage "explain", in windows.

        Raises:
            BackendError: as of an answer.
            CancelledError, DeadlineError: as `cancel.check`.
        """
        found, done = [], 0
        for entry, reference, record in self._changed:
            then = score
            if self._differs(record):
                other = replace(self._prepared, clinical=replace(self._prepared.clinical, record=record))
                outputs = run(other, _counting(progress, done, len(self)))
                then = decision.aggregate(self._prepared.starts, outputs[self._manifest.score.name])
                done += len(self._prepared)
            probability = then.probabilities[score.label]
            said = self._prepared.record
            found.append(
                FieldInfluence(
                    field=entry.name,
                    value=reference.value if said is None else said.values[entry.name],
                    reference=reference.value,
                    kind=reference.kind,
                    label=then.verdict,
                    probability=probability,
                    change=score.probabilities[score.label] - probability,
                )
            )
        return tuple(found)

    def _differs(self, record: Record) -> bool:
        said = self._prepared.record
        return said is not None and said.table().tobytes() != record.table().tobytes()


def _counting(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Tells of one run among all."""
    if progress is None:
        return None
    return lambda stage, done, of_run: progress("explain", before + done, total)
