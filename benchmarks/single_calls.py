"""Each kernel once in FP16 on the GPU, for tools that watch a program: compute-sanitizer, ncu.

python benchmarks/single_calls.py [--small] [--kernel msdc kan] [--fatbin msdc.fatbin]

The first published shape of each kernel, or a small one. Whether the results are right is for the tests; here they must
be finite.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import kernel_cases
import torch
from kernel_cases import makers

from mmcaf_kernels.msdc.cuda import MsdcCuda

SMALL = {"stage1": (32, 3, 5, 7), "stage2": (64, 2, 3, 3)}


def main(given: Sequence[str] | None = None) -> int:
    """Call and say each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="shapes of a few thousand values")
    parser.add_argument("--kernel", nargs="+", help="only these")
    parser.add_argument("--fatbin", type=Path, help="also the CUDA C++ kernel of this file")
    chosen = parser.parse_args(given)
    if chosen.small:
        kernel_cases.STAGES = SMALL
    native = MsdcCuda(chosen.fatbin) if chosen.fatbin else None
    seen: set[str] = set()
    wrong = 0
    for make in makers(torch.float16, native):
        case = make()
        if case.kernel in seen or (chosen.kernel and case.kernel not in chosen.kernel):
            continue
        seen.add(case.kernel)
        made = case.ours()
        finite = all(bool(tensor.isfinite().all()) for tensor in (made if isinstance(made, tuple) else (made,)))
        print(f"{case.kernel} {case.shape}: {'finite' if finite else 'not finite'}", flush=True)
        wrong += not finite
    return int(bool(wrong) or not seen)


if __name__ == "__main__":
    sys.exit(main())
