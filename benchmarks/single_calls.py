"""Each kernel once in FP16 on the GPU, for tools that watch a program: compute-sanitizer, ncu.

python benchmarks/single_calls.py [--small] [--kernel msdc kan] [--fatbin msdc.fatbin]

The first published shape of each kernel, or a small one. Whether the results are right is for the tests; here they must
be finite, or the exit status is 1. Without a GPU it says so and exits with status 6.
"""

from collections.abc import Callable, Sequence

import usage
from kernel_names import KERNELS, TWIN

SMALL = {"stage1": (32, 3, 5, 7), "stage2": (64, 2, 3, 3)}


def main(given: Sequence[str] | None = None, missing: Callable[[], str | None] = usage.torch_missing) -> int:
    """Call and say each; `missing` tells why there is no GPU."""
    asked = usage.parser(__doc__)
    asked.add_argument("--small", action="store_true", help="shapes of a few thousand values")
    asked.add_argument("--kernel", nargs="+", choices=(*KERNELS, TWIN), help="only these")
    asked.add_argument("--fatbin", type=usage.file, help="also the CUDA C++ kernel of this file")
    chosen = asked.parse_args(given)
    if TWIN in (chosen.kernel or ()) and chosen.fatbin is None:
        asked.error(f"--kernel '{TWIN}' is read from the file that --fatbin names")
    if reason := missing():
        return usage.without_gpu(reason)
    import kernel_cases
    import torch

    from mmcaf_kernels.msdc.cuda import MsdcCuda

    if chosen.small:
        kernel_cases.STAGES = SMALL
    native = MsdcCuda(chosen.fatbin) if chosen.fatbin else None
    seen: set[str] = set()
    wrong = 0
    for make in kernel_cases.makers(torch.float16, native):
        case = make()
        if case.kernel in seen or (chosen.kernel and case.kernel not in chosen.kernel):
            continue
        seen.add(case.kernel)
        made = case.ours()
        finite = all(bool(tensor.isfinite().all()) for tensor in (made if isinstance(made, tuple) else (made,)))
        print(f"{case.kernel} {case.shape}: {'finite' if finite else 'not finite'}", flush=True)
        wrong += not finite
    return int(bool(wrong))


if __name__ == "__main__":
    usage.run(main)
