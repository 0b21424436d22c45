"""Paths that somebody named to be written: refused before the work, written whole or not at all after it."""

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import Remedy, UsageError
from ..files import in_words, real_path
from .leftovers import remove, restore, staging_path
from .mounts import mounted_within
from .staged import StagedFile, create, found_at, new_staging_folder


@dataclass(frozen=True)
class Output:
    """A path that somebody named to be written, and the argument that named it, as it is called in Python.

    kind: "file"; "folder", into which files are put; "whole", a folder or an archive of one that is made beside its
    place and moved there. Folders above the latter two may be missing.
    own: of a folder that stands there, the files in it that may go, as paths within it with slashes; None if it is not
    of the kind that is replaced as a whole. A folder that holds any other file never is; by default, any file.
    marker: the file by which such a folder is known, for people.
    room: bytes that must be free there.
    """

    option: str
    path: Path
    kind: Literal["file", "folder", "whole"] = "file"
    marker: str | None = None
    own: Callable[[Path], Collection[str] | None] = lambda _folder: ()
    room: int = 0


_FITTING: dict[str, Callable[[int], bool]] = {
    "file": stat.S_ISREG,
    "folder": stat.S_ISDIR,
    "whole": lambda mode: stat.S_ISREG(mode) or stat.S_ISDIR(mode),
}


def check_writable(outputs: Sequence[Output], *, inputs: Iterable[str | Path | None] = (), force: bool = False) -> None:
    """Refuse what could not or must not be written, before the work and without touching what stands there.

    A link, device, FIFO or socket is never written to, nor is an input; in a folder that is one nothing is replaced,
    and nothing added to it. Callers count `settings.own_files` among the inputs.

    Args:
        inputs: what is read; None and paths that do not exist count for nothing. Of a DICOMDIR, what lies beside it is
            read, too.
        force: replace an existing file, and write to a folder that is not empty.

    Raises:
        UsageError: a path is refused, cannot be written to, or is named twice.
    """
    read = [Path(path) for path in inputs if path is not None]
    read += [path.parent for path in read if path.name.casefold() == "dicomdir"]
    for index, output in enumerate(outputs):
        with refused(output):
            _check_place(output, force)
            _check_inputs(output, read)
            _probe(output)
        _refuse_second(output, outputs[:index])


@contextmanager
def refused(output: Output) -> Iterator[None]:
    """The one place where a failure to write becomes ours.

    Raises:
        UsageError: the block raised OSError.
    """
    try:
        yield
    except OSError as failure:
        raise _refusal(output, f"cannot be written: {failure.strerror or failure}") from None


@contextmanager
def scratch_beside(output: Output) -> Iterator[Path]:
    """A folder beside the place of what is made in it, gone after the block; missing folders above are made.

    Raises:
        UsageError: it cannot be made.
    """
    with refused(output):
        output.path.parent.mkdir(parents=True, exist_ok=True)
        folder = new_staging_folder(output.path.parent)
    try:
        yield folder
    finally:
        remove(folder)


def write_all(contents: Sequence[tuple[Output, str | bytes]], *, force: bool = False) -> None:
    """Write every file under another name, text as UTF-8, then move all to their places.

    Args:
        force: replace existing files; as it was given to `check_writable`.

    Raises:
        UsageError: one cannot be written, or two are one, as of files within a folder only now is known; then none was
            replaced, unless a move fails, which it hardly can.
    """
    named = [output for output, _ in contents]
    with ExitStack() as undo:
        staged = []
        for index, (output, content) in enumerate(contents):
            _refuse_second(output, named[:index])
            with refused(output):
                _check_place(output, force)
                file = StagedFile(output.path, replace=force)
                undo.callback(file.discard)
                file.stream.write(content.encode() if isinstance(content, str) else content)
                file.finish()
            staged.append((output, file))
        for output, file in staged:
            with refused(output):
                file.commit()


def within(
    folder: Output, files: Mapping[str, bytes], *, belong: Callable[[str], bool] = lambda _name: False
) -> list[tuple[Output, bytes]]:
    """For `write_all`: files of a folder that somebody named, by their names; the folder is made if it is missing.

    Args:
        belong: whether a file of such a name would be taken for one of these.

    Raises:
        UsageError: it cannot be made, or holds another file that would be taken for one of these.
    """
    with refused(folder):
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        left = sorted(path.name for path in folder.path.iterdir() if belong(path.name) and path.name not in files)
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise _refusal(folder, f"holds {left[0]}{more} of another answer, which would be taken for this one's")
    return [(Output(folder.option, folder.path / name), content) for name, content in files.items()]


def _refuse_second(output: Output, others: Sequence[Output]) -> None:
    """Refuse a path that another output has, too."""
    place = real_path(output.path)
    for other in others:
        if real_path(other.path) == place:
            raise UsageError(
                f"{output.path}: named twice, by {other.option} and by {output.option}.",
                Remedy("Give each a path of its own", option=output.option),
            )


def _check_place(output: Output, force: bool) -> None:
    if "\0" in str(output.path):
        raise _refusal(output, "a zero byte is part of no path")
    found = found_at(output.path)
    if found is None and output.kind == "whole" and restore(output.path):
        found = found_at(output.path)
    if found is None:
        return
    if not _FITTING[output.kind](found.st_mode):
        raise _refusal(output, f"{in_words(found)}, which is never replaced")
    if output.kind != "folder" and (mounted := mounted_within(output.path)) is not None:
        what = "a mount point" if mounted.name == output.path.name else f"it holds the mount point {mounted}"
        raise _refusal(output, f"{what}, which is never replaced")
    if stat.S_ISDIR(found.st_mode) and not any(output.path.iterdir()):
        return
    if output.kind == "whole" and stat.S_ISDIR(found.st_mode):
        _check_own(output)
    if not force:
        more = " and is not empty" if stat.S_ISDIR(found.st_mode) else ""
        raise _refusal(output, f"exists already{more}", Remedy("Choose another path, or replace it", option="force"))


def _check_own(output: Output) -> None:
    own = output.own(output.path)
    if own is None:
        raise _refusal(output, f"exists already and holds no {output.marker} of that kind; it is never replaced")
    for path in sorted(output.path.rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and path.relative_to(output.path).as_posix() not in own:
            raise _refusal(output, f"exists already, and {path.name} in it is not ours; it is never replaced")


def _check_inputs(output: Output, inputs: Sequence[Path]) -> None:
    found = found_at(output.path)
    place = real_path(output.path)
    for path in inputs:
        with suppress(OSError, ValueError):  # What cannot be looked at is refused by those who read it.
            read = path.stat()
            if found is not None and os.path.samestat(read, found):
                raise _refusal(output, "an input, which is never replaced")
            if place.is_relative_to(real_path(path)):
                what = f"within the input {path}, to which nothing is added"
                raise _refusal(output, what if found is None else f"part of the input {path}, which is never replaced")
            if found is not None and output.kind == "whole" and real_path(path).is_relative_to(place):
                raise _refusal(output, f"it holds the input {path}, which is never replaced")


def _refusal(output: Output, what: str, remedy: Remedy | None = None) -> UsageError:
    shown = str(output.path).replace("\0", "?")
    return UsageError(f"{shown}: {what}.", remedy or Remedy("Choose another path", option=output.option))


def _probe(output: Output) -> None:
    """Make a file where the work will make its own, and remove it."""
    folder = output.path.parent
    if output.kind == "folder" and output.path.exists():
        folder = output.path
    elif output.kind != "file":
        folder = next(one for one in output.path.parents if one.exists())
    staging = staging_path(folder)
    create(staging).close()
    staging.unlink()
    if (free := shutil.disk_usage(folder).free) < output.room:
        raise _refusal(output, f"{free / 1e6:.1f} MB are free there, and up to {output.room / 1e6:.1f} MB are needed")
