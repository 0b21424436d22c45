"""Who may import whom: the one table, and what the imports of today look like beside it.

python tests/import_rules.py               prints levels, arrows, circles and what runs upward
python tests/import_rules.py CHECKOUT      of another checkout, such as a git worktree of an older commit
python tests/import_rules.py --table       prints the rooms of docs/architecture.md
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


def packages(checkout: Path) -> dict[str, Path]:
    """Package -> its folder."""
    return {f"mmcaf_{name}": checkout / name / f"mmcaf_{name}" for name in ("cli", "engine", "export", "kernels")}


PACKAGES = packages(ROOT)

MAY_IMPORT: dict[str, set[str]] = {
    "mmcaf_cli": {"mmcaf_engine", "mmcaf_export"},
    "mmcaf_engine": {"mmcaf_kernels"},
    "mmcaf_export": {"mmcaf_engine", "mmcaf_kernels"},
    "mmcaf_kernels": set(),
}
"""Package -> the others that it may import."""

LAZY = {("mmcaf_cli", "mmcaf_export"), ("mmcaf_engine", "mmcaf_kernels")}
"""Only within functions."""

GROUND = (
    ("errors",),
    ("cancel", "arguments", "lazy"),
    ("files", "volume", "orientation", "timing"),
    ("strict_json", "settings"),
    ("outputs", "workers"),
)
"""Loose modules of the engine, the lowest first: each imports only what stands before its group, and errors."""

ROOMS = (
    ("machine", "manifest", "page"),
    ("cache", "capi"),
    ("bundle",),
    ("study",),
    ("image", "record", "backends"),
    ("inputs",),
    ("session",),
    ("result",),
    ("pipeline",),
    ("demo",),
    ("evaluation",),
    ("checkup", "profile", "service", "batch"),
)
"""Rooms of the engine, the lowest first: each imports only rooms of groups before its own, and the ground."""

LOOSE = {name for group in GROUND for name in group} | {"__init__", "pipeline"}
"""Modules that may stand at the engine's root."""


@dataclass(frozen=True)
class Import:
    """One import: of a module of this project, by another; `eager` runs when the importer is imported."""

    importer: str
    imported: str
    eager: bool
    line: int


def modules(checkout: Path = ROOT) -> dict[str, Path]:
    """Dotted name -> file, of all packages."""
    found = {}
    for package, folder in packages(checkout).items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = file
    return found


def imports(known: Mapping[str, Path]) -> list[Import]:
    """Every import between modules of this project: relative, lazy and type-only ones too."""
    return [found for name, file in known.items() for found in _imports(name, file, known)]


def _imports(name: str, file: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    lazy = {id(node) for function in ast.walk(tree) if isinstance(function, functions) for node in ast.walk(function)}
    for node in ast.walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{source}.{alias.name}" for alias in node.names]
        for target in targets:
            while target and target not in known:
                target = target.rpartition(".")[0]
            if target and target != name:
                yield Import(name, target, id(node) not in lazy, node.lineno)


def room(module: str) -> str:
    """The engine's room, or loose module, that a module of it belongs to; "__init__" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def rank(name: str) -> int:
    """Where a room or loose module stands; modules of one rank do not import each other."""
    for at, group in enumerate((*GROUND, *ROOMS)):
        if name in group:
            return at
    raise ValueError(f"{name} stands in no group of tests/import_rules.py")


def within_engine(found: Sequence[Import]) -> list[Import]:
    """Imports of the engine's modules by each other; what its `__init__` hands on to callers is no part of that."""
    return [
        one for one in found if one.importer.startswith("mmcaf_engine.") and one.imported.startswith("mmcaf_engine.")
    ]


def upward(found: Sequence[Import]) -> list[Import]:
    """Imports within the engine that run to a room of the same rank or above."""
    return [
        one
        for one in within_engine(found)
        if room(one.importer) != room(one.imported) and rank(room(one.importer)) <= rank(room(one.imported))
    ]


def circles(arrows: set[tuple[str, str]]) -> list[set[str]]:
    """Groups of nodes that import each other, by Tarjan's algorithm (SIAM J. Comput. 1972)."""
    after: dict[str, set[str]] = {}
    for source, target in arrows:
        after.setdefault(source, set()).add(target)
        after.setdefault(target, set())
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for target in after[node]:
            if target not in number:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], number[target])
        if low[node] == number[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in sorted(after):
        if node not in number:
            visit(node)
    return found


def levels(arrows: set[tuple[str, str]]) -> int:
    """Nodes on the longest chain of imports; a circle counts as one."""
    circle = {node: min(group) for group in circles(arrows) for node in group}
    after: dict[str, set[str]] = {}
    for source, target in arrows:
        if (start := circle.get(source, source)) != (end := circle.get(target, target)):
            after.setdefault(start, set()).add(end)
    depth: dict[str, int] = {}

    def of(node: str) -> int:
        if node not in depth:
            depth[node] = 1 + max((of(target) for target in after.get(node, ())), default=0)
        return depth[node]

    return max(of(node) for node in after)


def room_arrows(found: Sequence[Import]) -> set[tuple[str, str]]:
    """Arrows between rooms and loose modules of the engine."""
    return {
        (room(one.importer), room(one.imported))
        for one in within_engine(found)
        if room(one.importer) != room(one.imported)
    }


def room_table() -> list[str]:
    """The engine's rooms in Markdown, the lowest first, each with the first line of its own text."""
    lines = ["| | room | what it does |", "|---|---|---|"]
    for at, group in enumerate((*GROUND, *ROOMS)):
        for name in group:
            folder = PACKAGES["mmcaf_engine"] / name
            file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            if file.exists():
                said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
                shown = f"{name}/" if folder.is_dir() else f"{name}.py"
                lines.append(f"| {at} | `{shown}` | {said.splitlines()[0]} |")
    return lines


def main() -> None:
    """Print what there is to say of the engine's imports."""
    sys.setrecursionlimit(10_000)
    if sys.argv[1:] == ["--table"]:
        print(*room_table(), sep="\n")
        return
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    known = modules(checkout)
    found = imports(known)
    if not within_engine(found):
        sys.exit(f"{checkout}: no engine/mmcaf_engine in it")
    rooms = room_arrows(found)
    names = {name for arrow in rooms for name in arrow}
    placed = {name for group in (*GROUND, *ROOMS) for name in group}
    wrong = upward([one for one in found if {room(one.importer), room(one.imported)} <= placed])
    print(f"rooms and loose modules: {len(names)}")
    print(f"arrows between them: {len(rooms)}")
    print(f"levels: {levels(rooms)}")
    files = {(one.importer, one.imported) for one in within_engine(found)}
    for title, arrows in (("rooms", rooms), ("files", files)):
        groups = sorted(sorted(group) for group in circles(arrows))
        print(f"circles between {title}: {len(groups)}{''.join(f' {group}' for group in groups)}")
    print(f"upward arrows: {len(wrong)}")
    for one in wrong:
        print(f"  {one.importer}:{one.line} imports {one.imported}")
    if names - placed:
        print(f"without a place in the table, so that nothing is upward of them: {len(names - placed)}")


if __name__ == "__main__":
    main()
