"""What this user has set, and whose signatures are taken; or what is wrong with the file or variable that says so."""

from pathlib import Path

from ..errors import MmcafError
from ..settings import CONFIG_NAME, fault, home_folder, read_settings
from .check import Check

AREA = "settings"


def values() -> list[Check]:
    """Every setting, and what has set it."""
    if (wrong := fault()) is not None:
        return [Check.refused(AREA, wrong[0], "problem", wrong[1])]
    settings = read_settings()
    if settings.config is None:
        found = Check(AREA, CONFIG_NAME, "note", "none can be: this user has no home folder")
    else:
        absent = "" if settings.config.exists() else ", absent"
        found = Check(AREA, CONFIG_NAME, "ok", f"{shown(settings.config)}{absent}")
    said: dict[str, str] = {
        "bundle": "the demonstration" if settings.bundle is None else shown(settings.bundle),
        "cache": "none: this user has no home folder" if settings.cache is None else shown(settings.cache),
        "cache_limit": f"{settings.cache_limit / 2**20:.0f} MiB of engines",
        "open_timeout": f"{settings.open_timeout} s for a network's first opening",
        "require_signature": "only bundles that a trusted key has signed" if settings.require_signature else "no",
        "allow_older_release": "yes" if settings.allow_older_release else "no",
        "kernels": "where they are built" if settings.kernels else "no",
    }
    return [
        found,
        *(Check(AREA, name, "ok", f"{value} ({settings.origins[name]})") for name, value in said.items()),
    ]


def trusted() -> list[Check]:
    """The keys whose signatures are taken."""
    from ..bundle.trusted import read_store

    try:
        names = [one.name for one in read_store().keys]
    except MmcafError as failure:
        return [Check.refused(AREA, "trusted keys", "problem", failure)]
    return [Check(AREA, "trusted keys", "ok", ", ".join(names) or "none")]


def shown(path: Path) -> str:
    """A path, short where it is below the home folder."""
    home = home_folder()
    return f"~/{path.relative_to(home)}" if home is not None and path.is_relative_to(home) else str(path)
