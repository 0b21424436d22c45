"""What was taken from a checkpoint and what was done to it: for the manifest's provenance, and in words."""

from collections import Counter
from collections.abc import Sequence

from mmcaf_engine.errors import printable
from mmcaf_engine.manifest import WeightsEntry

from .checkpoint import Checkpoint
from .checkpoint.find import USUAL
from .match import MatchReport

_SHOWN = 32
_TOGETHER = 4


def weights_entries(
    checkpoints: Sequence[Checkpoint], matched: Sequence[MatchReport]
) -> tuple[WeightsEntry | None, ...]:
    """Of each checkpoint; None where weights were taken as they are from the usual place."""
    return tuple(_entry(checkpoint, one) for checkpoint, one in zip(checkpoints, matched, strict=True))


def _entry(checkpoint: Checkpoint, matched: MatchReport) -> WeightsEntry | None:
    stripped = (*checkpoint.stripped, *(("module.",) if matched.renamed else ()))
    entry = WeightsEntry(
        taken=None if checkpoint.taken in ("", *USUAL) else printable(checkpoint.taken, 160),
        averaged=checkpoint.averaged,
        stripped=_shown(stripped),
        left_out=_shown((*checkpoint.left_out, *matched.left_out)),
        converted=dict(matched.types),
        shards=dict(checkpoint.shards),
    )
    return None if entry == WeightsEntry() else entry


def in_words(checkpoints: Sequence[Checkpoint], entries: Sequence[WeightsEntry | None]) -> tuple[str, ...]:
    """The same for a person, who is told also that weights were taken from the usual place."""
    lines = []
    for checkpoint, entry in zip(checkpoints, entries, strict=True):
        usual = [f"weights taken from {checkpoint.taken}"] if checkpoint.taken in USUAL else []
        which = f"{checkpoint.path.name}: " if len(checkpoints) > 1 else ""
        lines += [f"{which}{said}" for said in (*usual, *(entry.in_words() if entry else ()))]
    return tuple(lines)


def _shown(names: Sequence[str]) -> tuple[str, ...]:
    """The names, those of one module together where they are many; of many still, how many more there are."""
    modules = Counter(name.partition(".")[0] for name in names)
    several = {module for module, count in modules.items() if count > _TOGETHER}
    shown = dict.fromkeys(
        f"{modules[module]} of {module}.*" if (module := name.partition(".")[0]) in several else name for name in names
    )
    said = [printable(name, 160) for name in shown]
    return (*said[:_SHOWN], f"and {len(said) - _SHOWN} more") if len(said) > _SHOWN else tuple(said)
