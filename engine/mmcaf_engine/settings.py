"""What the user has set: environment variables, else config.toml. Nothing else of this program reads either."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import Remedy, UsageError
from .files import read_bounded, reading

CONFIG_NAME = "config.toml"

SWITCHES = {"require_signature": False, "allow_older_release": False, "kernels": True}
"""Settings that are true or false, and what holds without any."""

KEYS = ("bundle", "cache", "cache_limit", "open_timeout", *SWITCHES)
"""What config.toml may hold. $MMCAF_BUNDLE, $MMCAF_CACHE and so on come before it."""

STORE_NAME = "trusted.json"
"""The file of the trust store, beside config.toml."""

DEFAULT_CACHE_LIMIT = 8192 * 2**20
DEFAULT_OPEN_TIMEOUT = 60


@dataclass(frozen=True)
class _Number:
    """A setting that is a whole number: in words, its default as it is written, and what it is multiplied with."""

    in_words: str
    default: int
    unit: int = 1


_NUMBERS = {
    "cache_limit": _Number("a whole number of MiB from 0", DEFAULT_CACHE_LIMIT // 2**20, 2**20),
    "open_timeout": _Number("a whole number of seconds from 0", DEFAULT_OPEN_TIMEOUT),
}
_MAX_BYTES = 64 * 1024
_WORDS = {"1": True, "true": True, "0": False, "false": False}
_CORRECT = Remedy("Correct or remove that line; without the file, everything has its default")


@dataclass(frozen=True)
class Settings:
    """The settings that hold at this moment.

    bundle: what answers when no bundle is named; None if nobody has chosen one.
    cache: the folder of what is kept between runs; None if this user has no home folder, and nothing is kept.
    cache_limit: bytes that cached engines may take together; with 0, none is cached.
    open_timeout: seconds that a program of ours gives a network to open for the first time, in a process of its own;
        with 0, it opens in the program's own.
    require_signature: whether only bundles that a trusted key has signed are opened.
    allow_older_release: whether one is opened that is older than what was opened of the same model and key before.
    kernels: whether this project's kernels take the place of OpenVINO's own operators where both compute the same.
    config: where config.toml is or would be; None if this user has no home folder.
    origins: name of a setting -> what has set it: "$MMCAF_CACHE", the path of config.toml, or "default".
    """

    bundle: Path | None
    cache: Path | None
    cache_limit: int
    open_timeout: int
    require_signature: bool
    allow_older_release: bool
    kernels: bool
    config: Path | None
    origins: Mapping[str, str]


def read_settings() -> Settings:
    """Look at the environment and at config.toml, as they are now.

    Raises:
        UsageError: config.toml cannot be read, is not TOML or holds a key that is not known; a value is of the wrong
            type or out of range.
    """
    file = config_file()
    configured = {} if file is None else _read(file)
    values: dict[str, Any] = {}
    origins = dict.fromkeys(KEYS, "default")
    for name in KEYS:
        variable = f"MMCAF_{name.upper()}"
        if file is not None and name in configured:  # Also where the variable counts: a wrong file is to be mended.
            origins[name] = str(file)
            values[name] = _configured(file, name, configured[name])
        if text := os.environ.get(variable):
            origins[name] = f"${variable}"
            values[name] = _of_variable(name, text)
    return Settings(
        bundle=values.get("bundle"),
        cache=values.get("cache") or _default_cache(),
        cache_limit=values.get("cache_limit", DEFAULT_CACHE_LIMIT),
        open_timeout=values.get("open_timeout", DEFAULT_OPEN_TIMEOUT),
        **{name: values.get(name, default) for name, default in SWITCHES.items()},
        config=file,
        origins=origins,
    )


def fault() -> tuple[str, UsageError] | None:
    """What keeps `read_settings` from answering: the setting of a wrong variable, else CONFIG_NAME; and the error."""
    try:
        read_settings()
    except UsageError as failure:
        wrong = (name for name in KEYS if _is_wrong(name, failure))
        return next(wrong, CONFIG_NAME), failure
    return None


def _is_wrong(name: str, failure: UsageError) -> bool:
    """Whether the failure is that of a setting's variable."""
    try:
        _of_variable(name, os.environ.get(f"MMCAF_{name.upper()}", ""))
    except UsageError as found:
        return str(found) == str(failure)
    return False


def debug() -> bool:
    """Whether $MMCAF_DEBUG asks for the trace of a bug."""
    return bool(os.environ.get("MMCAF_DEBUG"))


def child_environment(cache: Path) -> dict[str, str]:
    """The environment for a process of ours that is to keep what it makes in `cache`, up to the default limit."""
    return {**os.environ, "MMCAF_CACHE": str(cache), "MMCAF_CACHE_LIMIT": str(DEFAULT_CACHE_LIMIT // 2**20)}


def environment_without_engines() -> dict[str, str]:
    """The environment for a process of ours that is to keep no engine, nor to load one that is kept."""
    return {**os.environ, "MMCAF_CACHE_LIMIT": "0"}


def home_folder() -> Path | None:
    """This user's; None if the system knows of none, as for a user id in a container."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def config_file() -> Path | None:
    """config.toml below the platform's configuration folder, there or not; None if this user has no home folder."""
    if sys.platform == "win32":
        base = _folder("APPDATA", "AppData", "Roaming")
    elif sys.platform == "darwin":
        base = _folder(None, "Library", "Application Support")
    else:
        base = _folder("XDG_CONFIG_HOME", ".config")
    return None if base is None else base / "mmcaf-infer" / CONFIG_NAME


def own_files() -> list[Path]:
    """What steers this program, there or not: config.toml, and the store of trusted keys beside it."""
    file = config_file()
    return [] if file is None else [file, file.with_name(STORE_NAME)]


def _default_cache() -> Path | None:
    if sys.platform == "win32":
        base = _folder("LOCALAPPDATA", "AppData", "Local")
    elif sys.platform == "darwin":
        base = _folder(None, "Library", "Caches")
    else:
        base = _folder("XDG_CACHE_HOME", ".cache")
    return None if base is None else base / "mmcaf-infer"


def _folder(variable: str | None, *below_home: str) -> Path | None:
    """What a variable names, else a folder below the home folder; a relative path there counts for nothing (XDG)."""
    chosen = Path(os.environ.get(variable, "")) if variable is not None else Path()
    if chosen.is_absolute():
        return chosen
    home = home_folder()
    return None if home is None else home.joinpath(*below_home)


def _read(file: Path) -> dict[str, Any]:
    """The file's keys and values; none without a file."""
    with reading(file, UsageError):
        try:
            file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return {}
    import tomllib

    data = read_bounded(file, error=UsageError, max_bytes=_MAX_BYTES)
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{file}: more than the {_MAX_BYTES // 1024} KiB that are read.", _CORRECT)
    try:
        found = tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise UsageError(f"{file}: nested too deeply.", _CORRECT) from None
    except UnicodeDecodeError:
        raise UsageError(f"{file}: not UTF-8 text.", _CORRECT) from None
    except ValueError as failure:
        said = "".join(letter if letter.isprintable() else " " for letter in str(failure))[:200]
        raise UsageError(f"{file}: not TOML: {said}.", _CORRECT) from None
    if unknown := [name for name in found if name not in KEYS]:
        keys = ", ".join(repr(name[:40]) for name in unknown[:4])
        what = "unknown key" if len(unknown) == 1 else f"{len(unknown)} unknown keys, the first of them"
        raise UsageError(f"{file}: {what} {keys}; known are {', '.join(KEYS)}.", _CORRECT)
    return found


def _configured(file: Path, name: str, value: Any) -> Path | int:
    where = f"{file}: {name}"
    if name in SWITCHES:
        if not isinstance(value, bool):
            raise UsageError(f"{where}: expected true or false, got {_shown(value)}.", _CORRECT)
        return value
    if name in _NUMBERS:
        number = _NUMBERS[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**11:
            raise UsageError(f"{where}: expected {number.in_words}, got {_shown(value)}.", _CORRECT)
        return value * number.unit
    if not isinstance(value, str) or not value or not value.isprintable():
        raise UsageError(f"{where}: expected a path in quotes, got {_shown(value)}.", _CORRECT)
    return file.parent / _expanded(value, where)


def _of_variable(name: str, text: str) -> Path | int:
    where = f"$MMCAF_{name.upper()}"
    if name in _NUMBERS:
        return _number_of(name, text)
    if name not in SWITCHES:
        return _expanded(text, where)
    if text not in _WORDS:
        raise UsageError(
            f"{where}: expected 1 or 0, true or false, got {_shown(text)}.",
            Remedy("Set it again", command=f"export {where.removeprefix('$')}=1"),
        )
    return _WORDS[text]


def _number_of(name: str, text: str) -> int:
    number = _NUMBERS[name]
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        variable = f"MMCAF_{name.upper()}"
        raise UsageError(
            f"${variable}: expected {number.in_words}, got {_shown(text)}.",
            Remedy("Set it again", command=f"export {variable}={number.default}"),
        )
    return int(text) * number.unit


def _expanded(text: str, where: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{where}: {_shown(text)} begins with a home folder that the system does not know.",
            "Write the whole path instead.",
        ) from None


def _shown(value: Any) -> str:
    """A value of whatever type, short and printable."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
