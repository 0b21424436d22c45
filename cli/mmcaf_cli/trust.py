"""`mmcaf trust`: whose bundles are taken, and engines from other machines."""

from pathlib import Path

from mmcaf_engine.bundle.signing import read_public_key
from mmcaf_engine.bundle.trusted import LONGEST_NAME, forget_key, read_store, store_file, trust_key
from mmcaf_engine.errors import Remedy, UsageError, printable, program

from .console import to_json
from .report import Report


def trust_command(
    path: Path | None, name: str | None, remove: str | None, show: bool, sha256: str | None, report: Report
) -> None:
    """Do the one thing that was asked for: trust a key or an engine, trust a key no longer, or list keys."""
    if [path is not None, remove is not None, show].count(True) != 1:
        raise UsageError(
            "One thing is expected: a public key or an engine, a key to remove, or the list.",
            Remedy("Trust a key", command=program("trust", "KEY.pub")),
            Remedy("Or see which are trusted", command=program("trust", "--list")),
        )
    is_key = path is not None and _is_key(path)
    if name is not None and not is_key:
        raise UsageError("--name belongs to the file of a public key.", "Name that, or leave it out.")
    if sha256 is not None and (is_key or path is None):
        raise UsageError("--sha256 belongs to the folder of an engine.", "Name that, or leave it out.")
    if remove is not None:
        _remove(remove, report)
    elif path is None:
        _list(report)
    elif is_key:
        _trust_key(path, name, report)
    else:
        from .build import trust_engine

        trust_engine(path, sha256, report)


def _is_key(path: Path) -> bool:
    """Whether it is meant to be a key's file, and not an engine's folder; what cannot be looked at, by its name."""
    try:
        return path.is_file() or (path.suffix == ".pub" and not path.is_dir())
    except (OSError, ValueError):
        return path.suffix == ".pub"


def _trust_key(file: Path, name: str | None, report: Report) -> None:
    """Trust a key, and say so."""
    key = read_public_key(file)
    called = printable(file.stem, LONGEST_NAME) if name is None else name
    fresh = trust_key(key, called)
    said = "bundles that it signs are taken as its owner's from now on" if fresh else "trusted already"
    report.give(
        lambda: f"{called}: key {key.name}, {said}",
        lambda: to_json({"name": called, "key": key.name, "public_key": str(key), "added": fresh}),
    )


def _remove(name: str, report: Report) -> None:
    """Trust a key no longer."""
    removed = forget_key(name)
    key = removed.public().name
    report.give(
        lambda: f"{removed.name}: key {key}, not trusted any more",
        lambda: to_json({"name": removed.name, "key": key, "removed": True}),
    )


def _list(report: Report) -> None:
    """Print every trusted key, and the releases that were seen of it."""
    store = read_store()
    entries = [
        {
            "name": one.name,
            "key": one.public().name,
            "public_key": one.key,
            "releases": {seen.model: seen.release for seen in store.seen if seen.key == one.key},
        }
        for one in store.keys
    ]

    def text() -> str:
        lines = []
        for one in store.keys:
            lines.append(f"{one.name}: key {one.public().name}")
            lines += [
                f"  {seen.model}: release {seen.release} was opened" for seen in store.seen if seen.key == one.key
            ]
        return "\n".join(lines) or f"no key is trusted ({store_file()})"

    report.give(text, lambda: to_json({"store": str(store_file()), "keys": entries}))
