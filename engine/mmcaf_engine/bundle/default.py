"""Which bundle answers when none is named."""

from dataclasses import dataclass
from pathlib import Path

from ..settings import read_settings


@dataclass(frozen=True)
class DefaultBundle:
    """The bundle's path and where the choice came from; `notice` is set when nobody chose it."""

    path: Path
    source: str
    notice: str | None = None


def demo_bundle() -> Path:
    """The demonstration bundle that ships with the engine."""
    return Path(__file__).parents[1] / "demo" / "demo.mmcaf"


def default_bundle() -> DefaultBundle:
    """$MMCAF_BUNDLE, else `bundle = "PATH"` in the user's config.toml, else the demo with a notice.

    Raises:
        UsageError: as `read_settings`.
    """
    settings = read_settings()
    if settings.bundle is not None:
        return DefaultBundle(settings.bundle, settings.origins["bundle"])
    return DefaultBundle(
        demo_bundle(),
        "built in",
        "no bundle was named, so the demonstration bundle answered; $MMCAF_BUNDLE can name yours.",
    )
