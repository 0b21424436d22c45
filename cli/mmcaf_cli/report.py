"""Where the outcome of a command goes: as text or JSON on stdout, as JSON to the file that --output names."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmcaf_engine.errors import MmcafError, Remedy, UsageError, escaped
from mmcaf_engine.outputs import Output, check_writable, write_all

from .console import answer, warn

DASH = Path("-")
"""As an output: stdout; as an input: stdin."""


@dataclass(frozen=True)
class Report:
    """What --json, --output and --force say."""

    json: bool = False
    output: Path | None = None
    force: bool = False

    @property
    def json_on_stdout(self) -> bool:
        """Whether JSON is printed in place of text."""
        return self.json or self.output == DASH

    def check(self, *others: Output, inputs: Iterable[str | Path | None] = ()) -> None:
        """Refuse what could not or must not be written, before the work; `others` are what else it writes.

        Raises:
            UsageError: see `check_writable`, or another one than --output is to go to stdout.
        """
        for other in others:
            refuse_stdout(other)
        outputs = [*self._file(), *others]
        if outputs:
            check_writable(outputs, inputs=[*inputs, *_read_by_settings()], force=self.force)

    def give(
        self,
        text: Callable[[], str],
        document: Callable[[], str],
        *,
        printed: Callable[[], str] | None = None,
        others: Sequence[tuple[Output, str | bytes]] = (),
    ) -> None:
        """Write what is to be written, all or none of it, then print; printed even if it cannot be written.

        Args:
            document: the JSON.
            printed: the JSON for stdout, where that is another one.
            others: what else is written, and its content.

        Raises:
            UsageError: a file or stdout cannot be written.
        """
        failure: UsageError | None = None
        files: list[tuple[Output, str | bytes]] = [(file, escaped(document()) + "\n") for file in self._file()]
        try:
            write_all([*files, *others], force=self.force)
        except UsageError as raised:
            failure = raised
        answer((printed or document)() if self.json_on_stdout else text())
        if failure is not None:
            raise failure

    def _file(self) -> list[Output]:
        return [] if self.output is None or self.output == DASH else [Output("output", self.output)]


def refuse_stdout(output: Output) -> None:
    """Refuse "-" for what is no text.

    Raises:
        UsageError: it was named.
    """
    if output.path == DASH:
        raise UsageError(
            f"--{output.option.replace('_', '-')} -: this cannot be printed.",
            Remedy("Name a file or folder", option=output.option),
        )


def refuse_extra(arguments: Sequence[str], json: bool) -> None:
    """Refuse what stands after the last argument of `mmcaf profile`; --json was followed by a file before.

    Raises:
        UsageError: there is something.
    """
    if arguments:
        flag = f"--json takes no file; to write the JSON to one: -o {shlex.quote(arguments[0])}" if json else ""
        raise UsageError(f"Unexpected argument {arguments[0]!r}.", flag)


def one_output(output: Path | None, out: Path | None) -> Path | None:
    """What --output or, as it was called before, --out names.

    Raises:
        UsageError: both are given.
    """
    if out is None:
        return output
    if output is not None:
        raise UsageError("--out is another name of --output, and both were given.", "Leave --out away.")
    warn("--out is now called --output, or -o for short; the old name goes with the next release.")
    return out


def png(option: str, file: Path) -> Output:
    """A picture to be written.

    Raises:
        UsageError: its name is not that of a PNG file.
    """
    output = Output(option, file)
    refuse_stdout(output)
    if file.suffix.lower() != ".png":
        raise UsageError(
            f"{file}: what --{option} draws is a PNG file.",
            Remedy("Name it so", option=option, value=f"{file.stem or option}.png"),
        )
    return output


def _read_by_settings() -> list[Path]:
    """What a command reads without being told: settings, trusted keys, and the bundle that the settings name."""
    from mmcaf_engine.bundle.default import default_bundle
    from mmcaf_engine.settings import own_files

    try:
        return [*own_files(), default_bundle().path]
    except MmcafError:  # Whatever needs the settings says so.
        return own_files()
