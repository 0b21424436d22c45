"""What an export assumed because no checkpoint tells it, and which settings have settled of it."""

from collections.abc import Collection, Mapping

Assumptions = Mapping[str | tuple[str, ...], str]
"""A setting, or several that only together settle it -> what is assumed about it, after "assumed that"."""


def unsettled(assumed: Assumptions, settings: Collection[str]) -> tuple[str, ...]:
    """Those that no setting has confirmed or replaced, in words.

    A setting settles what is assumed about itself, about what lies below it and about what it lies below.

    Args:
        settings: the paths that were set, whatever their values.
    """
    return tuple(
        f"assumed that {text}"
        for paths, text in assumed.items()
        if not all(_settled(path, settings) for path in ((paths,) if isinstance(paths, str) else paths))
    )


def _settled(path: str, settings: Collection[str]) -> bool:
    return any(given == path or given.startswith(f"{path}.") or path.startswith(f"{given}.") for given in settings)
