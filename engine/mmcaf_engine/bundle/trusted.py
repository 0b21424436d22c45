"""The trust store: the keys whose signatures this user takes, and the newest release that was seen of each model.

One file beside config.toml. Who can write to it decides what runs here, so it is taken only where nobody but this user
and root could have written it, and never through a link.
"""

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from ..cache.cache import is_own, make_private, writable_by_others
from ..errors import Remedy, UsageError, program
from ..files import in_words, read_stream, reading, reason
from ..manifest import ForeignModel, describe_validation
from ..outputs import write_file
from ..settings import STORE_NAME, config_file
from ..strict_json import parse_json
from .signature import PublicKey

LONGEST_NAME = 64

_MAX_STORE_BYTES = 1 << 20
_FEWER = Remedy("Trust a key no longer that is not needed", command=program("trust", "--list"))
_OTHER_FOLDER = Remedy("Keep it in a folder of your own", command="export XDG_CONFIG_HOME=/path/to/folder")


class TrustedKey(ForeignModel):
    """A key, and what the user calls it."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    key: str = Field(min_length=56, max_length=56)

    def public(self) -> PublicKey:
        """The key itself.

        Raises:
            UsageError: it is none.
        """
        return PublicKey.read(self.key.encode(), shown=f"the trusted key {self.name}")


class Seen(ForeignModel):
    """The newest release of a model, by its name and the line of the key, that was opened here; 0 if it says none."""

    key: str
    model: str
    release: int = Field(ge=0)


class Store(ForeignModel):
    """What the file holds."""

    format: Literal[1] = 1
    keys: tuple[TrustedKey, ...] = ()
    seen: tuple[Seen, ...] = ()

    def key(self, id: bytes) -> TrustedKey | None:
        """The trusted key of an id; of which there is one at most."""
        return next((one for one in self.keys if one.public().id == id), None)

    def release(self, key: TrustedKey, model: str) -> int:
        """The newest release that was seen; 0 for none."""
        return max((one.release for one in self.seen if (one.key, one.model) == (key.key, model)), default=0)


def store_file() -> Path:
    """Where the store is or would be.

    Raises:
        UsageError: this user has no home folder.
    """
    config = config_file()
    if config is None:
        raise UsageError("No key can be trusted: this user has no home folder.", _OTHER_FOLDER)
    return config.with_name(STORE_NAME)


def read_store() -> Store:
    """What is trusted now; nothing without a file.

    Raises:
        UsageError: the store cannot be read, is none, or somebody else could have written it.
    """
    config = config_file()
    file = None if config is None else config.with_name(STORE_NAME)
    if file is None:
        return Store()
    with reading(file, UsageError):
        try:
            found = file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return Store()
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{file}: expected a file, got {in_words(found)}; nothing in it is trusted.", _renewed(file))
    _make_private(file.parent)
    return _read(file)


def trust_key(key: PublicKey, name: str) -> bool:
    """Take the signatures of a key from now on; False if they were taken before, under this name.

    Raises:
        UsageError: name or id are those of another key, the key has another name, or the store cannot be written.
    """
    wanted = _named(key, name)
    with _changing() as (store, write):
        if wanted in store.keys:
            return False
        for held in store.keys:
            other = held.public()
            if other == key:
                raise UsageError(f"{key.name}: trusted already, as {held.name}.", _removed(held.name))
            if other.id == key.id:
                raise UsageError(
                    f"{key.name}: another key of this id is trusted, as {held.name}. Whoever made this one copied its "
                    "id.",
                    "Ask the owner of that key.",
                )
            if {held.name.upper(), other.name} & {name.upper(), key.name}:
                raise UsageError(
                    f"{name}, {key.name}: name or id of another trusted key, {held.name}, {other.name}.",
                    Remedy("Choose another", option="name"),
                    _removed(held.name),
                )
        write(store.model_copy(update={"keys": (*store.keys, wanted)}))
    return True


def forget_key(name: str) -> TrustedKey:
    """Take the signatures of a key no longer, and forget which releases were seen of it.

    Args:
        name: the key's, or its id.

    Raises:
        UsageError: no such key, or the store cannot be written.
    """
    with _changing() as (store, write):
        for held in store.keys:
            if name == held.name or name.upper() == held.public().name:
                kept = tuple(one for one in store.keys if one != held)
                seen = tuple(one for one in store.seen if one.key != held.key)
                write(store.model_copy(update={"keys": kept, "seen": seen}))
                return held
        known = ", ".join(one.name for one in store.keys) or "none"
        raise UsageError(f"{name}: no trusted key of this name or id; there are: {known}.", "Check the name.")


def mark_seen(key: TrustedKey, model: str, release: int) -> None:
    """Note a release that was opened, unless a newer one was.

    Raises:
        UsageError: the store cannot be written.
    """
    with _changing() as (store, write):
        if key in store.keys and release > store.release(key, model):
            others = tuple(one for one in store.seen if (one.key, one.model) != (key.key, model))
            write(store.model_copy(update={"seen": (*others, Seen(key=key.key, model=model, release=release))}))


def _make_private(folder: Path) -> None:
    make_private(folder, "trust store's folder", _OTHER_FOLDER, roots=True)


class _Write:
    """Writes the store that takes the place of the one that was read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, store: Store) -> None:
        text = store.model_dump_json(indent=2) + "\n"
        if len(text.encode()) > _MAX_STORE_BYTES:  # It could not be read again, and nothing would be trusted.
            raise UsageError(f"{self._file}: full: more than {_MAX_STORE_BYTES} bytes of keys and releases.", _FEWER)
        try:
            write_file(self._file, text)
        except OSError as failure:
            raise UsageError(f"{self._file}: cannot be written: {reason(failure)}.", _OTHER_FOLDER) from None


@contextmanager
def _changing() -> Iterator[tuple[Store, _Write]]:
    """The store, and what writes it; no other process changes it within the block."""
    file = store_file()
    _make_private(file.parent)
    with _locked(file.parent):
        yield read_store(), _Write(file)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder against others who change the store; not on systems or file systems that know no such locks."""
    if os.name != "posix":
        yield
        return
    import fcntl

    with reading(folder, UsageError):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(file: Path) -> Store:
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    with reading(file, UsageError):
        descriptor = os.open(file, os.O_RDONLY | flags)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not (is_own(found) or found.st_uid == 0):
                raise UsageError(f"{file}: it is of another user, so nothing in it is trusted.", _renewed(file))
            if writable_by_others(found):
                raise UsageError(
                    f"{file}: other users may write to it (mode {stat.S_IMODE(found.st_mode):o}), so nothing in it is "
                    "trusted.",
                    _renewed(file),
                )
            data = read_stream(descriptor, _MAX_STORE_BYTES)
        finally:
            os.close(descriptor)
    document = parse_json(data, name=str(file), error=UsageError, max_bytes=_MAX_STORE_BYTES)
    try:
        store = Store.model_validate(document)
    except ValidationError as failure:
        raise UsageError(f"{file}: not a trust store: {describe_validation(failure)}.", _renewed(file)) from None
    called = [name for one in store.keys for name in {one.name.upper(), one.public().name}]
    if len(set(called)) != len(called):  # `forget_key` would leave one of them.
        raise UsageError(f"{file}: not a trust store: two keys of one name or id.", _renewed(file))
    return store


def _named(key: PublicKey, name: str) -> TrustedKey:
    try:
        return TrustedKey(name=name, key=str(key))
    except ValidationError:
        raise UsageError(
            f"The name of a key is one line of 1 to {LONGEST_NAME} characters.", Remedy("Choose one", option="name")
        ) from None


def _removed(name: str) -> Remedy:
    return Remedy("Trust that one no longer", command=program("trust", "--remove", name))


def _renewed(file: Path) -> Remedy:
    return Remedy("Remove it, and trust each key again", command=shlex.join(["rm", str(file)]))
