"""An environment of its own for commands that install something: it has what this one has, and leaves it as it is."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

from import_rules import PACKAGES

_PROGRAMS = {
    "mmcaf": "from mmcaf_cli.main import main; main()",
    "mmcaf-infer": "from mmcaf_cli.infer import main; main()",
    "pip": "import sys; from pip._internal.cli.main import main; sys.exit(main())",
    "pytest": "import sys; from pytest import console_main; sys.exit(console_main())",
}


class OwnEnvironment:
    """Commands run as a shell of a person's would, and install into an environment of their own; pip has no index."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self._programs = folder / "bin"
        site = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
        places = [*(package.parent for package in PACKAGES.values()), *map(Path, sys.path)]
        lines = dict.fromkeys(str(place) for place in places if place.is_dir())
        (Path(site) / "tests.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name, code in _PROGRAMS.items():
            program = self._programs / name
            program.write_text(f"#!{self._programs / 'python'}\n{code}\n", encoding="utf-8")
            program.chmod(0o755)

    def run(self, command: str, folder: Path, more: Mapping[str, str] | None = None) -> str:
        """Run a line of a shell in `folder`; its stdout. Fails, with what was printed, where it ends with an error."""
        known = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CI")}
        known |= {"PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        known |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            ["bash", "-euc", command], cwd=folder, env=known | dict(more or {}), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout
