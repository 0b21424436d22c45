"""Bytes that libFuzzer began with or learned, and what is left when they are cut or changed: tests/capi/fuzz."""

import subprocess
import sys
from pathlib import Path

import pytest

from testing_library import native_parts

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
CUTS = 40
PROGRAM = """
import ctypes, sys
from pathlib import Path

library, target, cuts = ctypes.CDLL(sys.argv[1]), sys.argv[2], int(sys.argv[4])
read = getattr(library, f"mmcaf_fuzz_{target}")
read.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
count = 0
for file in sorted(Path(sys.argv[3]).iterdir()):
    data = file.read_bytes()
    each = max(len(data) // cuts, 1)
    for at in range(0, len(data) + 1, each):
        print(file.name, at, flush=True)
        changed = bytearray(data)
        changed[at : at + 1] = bytes([changed[at] ^ 0x11]) if at < len(data) else b""
        for given in (data[:at], bytes(changed)):
            assert read(given, len(given)) == 0
            count += 1
print("read", count)
"""


@pytest.mark.parametrize("target", ["manifest", "record", "zip"])
def test_they_are_taken_or_refused(target: str) -> None:
    library = native_parts()
    command = [sys.executable, "-c", PROGRAM, library._name, target, str(CORPUS / target), str(CUTS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{ended.stdout[-200:]}\n{ended.stderr}"
    assert int(ended.stdout.split()[-1]) > CUTS
