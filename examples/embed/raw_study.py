"""Writes a study as raw Hounsfield units, as other programs have them in memory, and prints its shape and spacing.

python raw_study.py demo/study.dcm study.raw
"""

import argparse
import sys
from pathlib import Path

from mmcaf_engine import MmcafError, read_study


def main() -> int:
    """Write it; the exit code is that of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("raw", type=Path)
    given = parser.parse_args()
    try:
        volume = read_study(given.study).volume
    except MmcafError as failure:
        print(failure, file=sys.stderr)
        return failure.exit_code
    given.raw.write_bytes(volume.values.astype("<i2").tobytes())
    print(*volume.values.shape, *volume.spacing_mm)
    return 0


if __name__ == "__main__":
    sys.exit(main())
