"""Files that a command writes after long work: refused before it, written whole or not at all after it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmcaf_engine.errors import UsageError


@dataclass(frozen=True)
class Output:
    """One file, and the option that named it."""

    option: str
    file: Path

    @property
    def target(self) -> Path:
        """The file itself where a link was named."""
        return self.file.resolve()

    @property
    def draft(self) -> Path:
        """What is written first, beside it."""
        return self.target.with_name(f".{self.target.name}.{os.getpid()}.tmp")


def check_writable(outputs: Sequence[Output]) -> None:
    """Refuse what could not be written, without touching what stands there.

    Raises:
        UsageError: a path that cannot be written, that is no regular file, or that two options name.
    """
    for index, output in enumerate(outputs):
        with refused(output):
            if output.target.exists() and not output.target.is_file():
                kind = "a directory" if output.target.is_dir() else "not a regular file"
                raise UsageError(f"{output.file}: {kind}.", f"Choose another path for {output.option}.")
            output.draft.touch()
            output.draft.unlink()
        for other in outputs[:index]:
            if other.target == output.target:
                raise UsageError(
                    f"{output.file}: named by {other.option} and by {output.option}.", "Give each a file of its own."
                )


def write_all(texts: Sequence[tuple[Output, str]]) -> None:
    """Write every file under another name, then move all to their places; what stood there is replaced.

    Raises:
        UsageError: one cannot be written; then none was replaced, unless a move fails, which it hardly can.
    """
    with ExitStack() as drafts:
        for output, text in texts:
            with refused(output):
                drafts.callback(output.draft.unlink, missing_ok=True)
                output.draft.write_text(text, encoding="utf-8")
        for output, _ in texts:
            with refused(output):
                output.draft.replace(output.target)


@contextmanager
def refused(output: Output) -> Iterator[None]:
    """The one place where a failure to write becomes ours."""
    try:
        yield
    except OSError as failure:
        raise UsageError(
            f"{output.file}: cannot be written: {failure.strerror}.", f"Choose another path for {output.option}."
        ) from None
