"""Which bundle answers when none is named."""

import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError


@dataclass(frozen=True)
class DefaultBundle:
    """The bundle's path and where the choice came from; `notice` is set when nobody chose it."""

    path: Path
    source: str
    notice: str | None = None


def demo_bundle() -> Path:
    """The demonstration bundle that ships with the engine."""
    return Path(__file__).parents[1] / "demo" / "demo.mmcaf"


def config_file() -> Path:
    """The user's configuration: config.toml below the platform's configuration folder."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "mmcaf-infer" / "config.toml"


def default_bundle() -> DefaultBundle:
    """$MMCAF_BUNDLE, else `bundle = "PATH"` in the user's config.toml, else the demo with a notice.

    Raises:
        UsageError: the configuration cannot be read or does not hold a path.
    """
    if chosen := os.environ.get("MMCAF_BUNDLE"):
        return DefaultBundle(Path(chosen), "$MMCAF_BUNDLE")
    file = config_file()
    if file.is_file():
        try:
            configured = tomllib.loads(file.read_text(encoding="utf-8")).get("bundle")
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failure:
            raise UsageError(f"{file}: cannot be read: {failure}.", 'It may hold one line: bundle = "PATH"') from None
        if isinstance(configured, str) and configured:
            return DefaultBundle(Path(configured).expanduser(), str(file))
        if configured is not None:
            raise UsageError(f"{file}: bundle is {configured!r}; a path in quotes was expected.")
    return DefaultBundle(
        demo_bundle(),
        "built in",
        "no bundle was named, so the demonstration bundle answered; $MMCAF_BUNDLE can name yours.",
    )
