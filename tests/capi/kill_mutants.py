"""Tries every mutant of the C library: with one line changed, the tests closest to it must fail.

    cmake -S . -B BUILD -G Ninja -DMMCAF_TESTING=ON && ninja -C BUILD mmcaf_testing
    python tests/capi/kill_mutants.py BUILD

compiles the changed file alone, links it with the objects in BUILD, and prints a line for each mutant that survives;
ends with 1 if there is any.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from capi_mutants import mutants  # noqa: E402
from mutants import Mutant  # noqa: E402
from mutants.plugin import changed  # noqa: E402

SECONDS = 120
LIBRARY = "libmmcaf_testing.so"


def commands(build: Path) -> list[str]:
    """What Ninja would run to make the library of the tests."""
    told = subprocess.run(["ninja", "-C", build, "-t", "commands", "mmcaf_testing"], capture_output=True, check=True)
    return told.stdout.decode().splitlines()


def build_changed(mutant: Mutant, build: Path, folder: Path) -> Path:
    """The library of the tests with one line changed, in another folder."""
    original = ROOT / mutant.file
    source, made = folder / original.name, folder / "changed.o"
    source.write_text(changed(original.read_text(encoding="utf-8"), mutant.line, mutant.becomes), encoding="utf-8")
    known = commands(build)
    [compile_it] = [line for line in known if line.endswith(f" -c {original}")]
    [link_it] = [line for line in known if f"-o {LIBRARY}" in line or f"/{LIBRARY} " in line]
    compiled, library = compile_it.rpartition(" -o ")[2].partition(" -c ")[0], folder / LIBRARY
    linked = link_it.partition(" -o ")[2].split()[0]
    compile_it = (
        compile_it.replace(" -Werror", "")
        .replace(f"{compiled}.d", f"{made}.d")
        .replace(f" -o {compiled} ", f" -o {made} ")
    )
    link_it = link_it.replace(f" -o {linked}", f" -o {library}").replace(f" {compiled} ", f" {made} ")
    for command in (compile_it.replace(f" -c {original}", f" -c {source}"), link_it):
        subprocess.run(command, shell=True, cwd=build, check=True)
    return library


def survives(mutant: Mutant, build: Path) -> str:
    """Why it does; empty where the tests find it."""
    with tempfile.TemporaryDirectory() as folder:
        library = build_changed(mutant, build, Path(folder))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "other_native_parts", "-p", "no:cacheprovider"]
        environment = {**os.environ, "NATIVE_PARTS": str(library), "PYTHONPATH": str(ROOT / "tests"), "CI": ""}
        try:
            ran = subprocess.run(
                [*command, *mutant.tests], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"no verdict within {SECONDS} s"
    return {1: "", 0: "survived"}.get(ran.returncode, f"pytest ended with {ran.returncode}: {ran.stdout[-800:]}")


def main() -> None:
    """Try all of them."""
    parser = argparse.ArgumentParser(description="Try single-line bugs of the C library: the closest tests must fail.")
    parser.add_argument("build", type=Path, metavar="BUILD", help="CMake's folder, with MMCAF_TESTING, made by Ninja")
    build = parser.parse_args().build.resolve()
    survived = 0
    for mutant in mutants():
        if why := survives(mutant, build):
            survived += 1
            print(f"{mutant}\n    {why}", flush=True)
    print(f"{len(mutants()) - survived} of {len(mutants())} killed")
    parser.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
