"""The custom kernels on a GPU, at the published network's shapes, against eager torch and torch.compile.

python benchmarks/kernels.py --output benchmarks/results/kernels.csv [--fatbin build/native/msdc.fatbin]
    [--providers ours eager] [--precision fp16] [--kernel msdc] [--seconds 300]

Every kernel is compared with its float64 reference first; one that is off, and whatever raises, is left out and said on
stderr, and the exit status is then 1, as where no row was measured. A row is in the file as soon as it is measured.
Errors are relative to the largest value; that of the whole network ("network": FP16, one window, as the torch backend
runs it; needs the export extra) is in logit. All are timed as CUDA graphs, so that no launch overhead on the host is
counted, with a cold L2 cache (p50_us, p95_us, p99_us) and with a warm one (warm_p50_us); short ones many in a graph
(batch), each on buffers of its own. Bytes and operations are the least that the result needs (docs/kernels.md).
Without a GPU it says so and exits with status 6.
"""

from itertools import chain

import usage
from kernel_names import KERNELS, NETWORK, PROVIDERS, TWIN
from rows import Budget, RowFile, environment

from mmcaf_kernels.targets import PRECISIONS


def main() -> int:
    """Check, measure, write."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--runs", type=usage.count, default=100)
    names = (*KERNELS, TWIN, NETWORK)
    asked.add_argument("--kernel", action="append", choices=names, help="only this one; may be repeated")
    asked.add_argument("--providers", nargs="+", choices=PROVIDERS, default=PROVIDERS)
    asked.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    asked.add_argument("--seconds", type=usage.seconds, help="begin nothing more after so long")
    asked.add_argument("--fatbin", type=usage.file, help="also measure the CUDA C++ kernel of this file")
    chosen = asked.parse_args()
    kernels = chosen.kernel or ()
    if TWIN in kernels and chosen.fatbin is None:
        asked.error(f"--kernel '{TWIN}' is read from the file that --fatbin names")
    if NETWORK in kernels and "fp16" not in chosen.precision:
        asked.error(f"--kernel {NETWORK} is measured in fp16 alone, which --precision leaves out")
    usage.try_outputs(asked, [("--output", chosen.output)], force=chosen.force, inputs=[chosen.fatbin])
    if reason := usage.torch_missing():
        return usage.without_gpu(reason)
    import kernel_rows
    from card import card_state
    from gpu_timing import Timer, gpu

    budget = Budget(chosen.seconds)
    timer = Timer(card_state())
    native, left_out = kernel_rows.opened(chosen.fatbin, kernels)
    facts = {**gpu(), **environment(["torch", "triton"])}
    ceilings = kernel_rows.Ceilings(
        kernel_rows.ceiling("copy", lambda: kernel_rows.copy_ceiling(timer, chosen.runs)),
        kernel_rows.ceiling("fma", lambda: kernel_rows.fma_ceiling(timer, chosen.runs)),
    )
    wanted = chain.from_iterable(kernel_rows.of_precision(name, native) for name in chosen.precision)
    if "fp16" in chosen.precision:
        wanted = chain(wanted, [kernel_rows.network()])
    table = RowFile(chosen.output)
    left_out += kernel_rows.run(wanted, kernels, chosen.providers, timer, chosen.runs, ceilings, facts, table, budget)
    return 1 if left_out or not table.rows else 0


if __name__ == "__main__":
    usage.run(main)
