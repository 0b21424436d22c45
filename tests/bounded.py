"""A second process in which a study or record is read under limits of memory and time."""

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROGRAM = """
import json, resource, sys
from pathlib import Path
from mmcaf_engine.errors import MmcafError
from mmcaf_engine.image import open_image
from mmcaf_engine.manifest import ImageSpec
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom.decoders import CODECS
for codec in CODECS.values():
    codec.load()
spec = ImageSpec(view="any", size=(8, 8), channels=1, mean=(0.0,), std=(1.0,))

def image_shape(path):
    with open_image(path, spec) as opened:
        return opened.read()[0].shape

hard = resource.getrlimit(resource.RLIMIT_AS)[1]
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + request["bytes"], hard))
    try:
        path = request["path"]
        shape = image_shape(path) if request["image"] else read_study(path, intensity="stored").volume.values.shape
        answer = {"shape": shape}
    except MmcafError as failure:
        answer = {"error": type(failure).__name__, "message": str(failure)}
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    print(json.dumps(answer), flush=True)
"""


class BoundedReader:
    """Reads studies in a process of its own, or images of them; a context manager."""

    def __init__(self, *, image: bool = False) -> None:
        self._image = image

    def __enter__(self) -> "BoundedReader":
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._line(60) == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, path: Path, *, megabytes: int = 200, seconds: float = 20) -> dict[str, Any]:
        """The study's shape, or the class and text of the error of ours, of a reading within the limits.

        Args:
            path: the study.
            megabytes: of address space beyond what the process has; more is refused by the system.
            seconds: until the process is ended and the test fails.
        """
        assert self._process.stdin is not None
        request = {"path": str(path), "bytes": megabytes << 20, "image": self._image}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line(seconds))
        return answer

    def _line(self, seconds: float) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], seconds)
        assert ready, f"no answer within {seconds} s"
        line = stdout.readline().strip()
        assert line, f"the process ended with status {self._process.wait(10)}"
        return line
