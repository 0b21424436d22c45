"""Each kernel once in FP16 on the GPU, for tools that watch a program: compute-sanitizer, ncu.

python benchmarks/single_calls.py [--small] [--kernel msdc kan] [--fatbin msdc.fatbin]

The first published shape of each kernel, or a small one; the small ones' tensors are allocations of their own, without
which memcheck does not see where one ends. Whether the results are right is for the tests; here they must
be finite. One that is not, or that raises, is said, the others are called, and the exit status is 1. Without a GPU it
says so and exits with status 6.
"""

import os
from collections.abc import Callable, Sequence

import usage
from kernel_names import KERNELS, TWIN
from rows import said

SMALL = {"stage1": (32, 3, 5, 7), "stage2": (64, 2, 3, 3)}


def main(given: Sequence[str] | None = None, missing: Callable[[], str | None] = usage.torch_missing) -> int:
    """Call and say each; `missing` tells why there is no GPU."""
    asked = usage.parser(__doc__)
    asked.add_argument("--small", action="store_true", help="shapes of a few thousand values, for compute-sanitizer")
    asked.add_argument("--kernel", nargs="+", choices=(*KERNELS, TWIN), help="only these")
    asked.add_argument("--fatbin", type=usage.file, help="also the CUDA C++ kernel of this file")
    chosen = asked.parse_args(given)
    if TWIN in (chosen.kernel or ()) and chosen.fatbin is None:
        asked.error(f"--kernel '{TWIN}' is read from the file that --fatbin names")
    if chosen.small:
        os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"  # read when torch allocates first
    if reason := missing():
        return usage.without_gpu(reason)
    import kernel_cases
    import torch
    from kernel_rows import opened

    if chosen.small:
        kernel_cases.STAGES = SMALL
    native, wrong = opened(chosen.fatbin, chosen.kernel or ())
    seen: set[str] = set()
    for make in kernel_cases.makers(torch.float16, native):
        if make.kernel in seen or (chosen.kernel and make.kernel not in chosen.kernel):
            continue
        what = str(make)
        try:
            case = make()
            seen.add(case.kernel)
            what = f"{case.kernel} {case.shape}"
            made = case.ours()
            finite = all(bool(tensor.isfinite().all()) for tensor in (made if isinstance(made, tuple) else (made,)))
        except Exception as error:
            wrong += said(what, error)
            continue
        print(f"{what}: {'finite' if finite else 'not finite'}", flush=True)
        wrong += not finite
    return int(bool(wrong))


if __name__ == "__main__":
    usage.run(main)
