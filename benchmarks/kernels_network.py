"""The case of benchmarks/kernels.py that is a whole network: MMCAF-Net, one window, as a bundle holds it."""

import tempfile
from pathlib import Path

import kernel_cases
import torch
from kernel_cases import Case
from torch import Tensor

from mmcaf_engine.session.self_test import TOLERANCE
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from mmcaf_export.networks.registry import BUILT_IN
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.typed import lower_precision
from mmcaf_export.rewrites.cost import measure
from mmcaf_export.rewrites.rewrite import rewritten
from mmcaf_kernels.graph import Network


def network_case(config: MmcafConfig, dtype: torch.dtype = torch.float16) -> Case:
    """Ours: the rewritten network with kernels; eager: the published form in the same precision.

    Bytes are those of weights and inputs, operations those of the rewritten network.
    """
    entry = next(entry for entry in BUILT_IN if entry.name == "mmcaf")
    torch.manual_seed(0)
    network = MmcafNet(config).eval().requires_grad_(False)
    inputs = entry.example_inputs(config, 1, seed=0)
    lean = rewritten(network, entry.rewrites, inputs)
    cost = measure(lean, inputs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        export_onnx(lean, inputs, path)
        if dtype == torch.float16:
            model = load_model(path)
            lower_precision(model, "fp16")
            path = Path(folder, "network.fp16.onnx")
            save_model(model, path)
        device = kernel_cases.DEVICE
        program = Network(path, device=device).program({name: tuple(tensor.shape) for name, tensor in inputs.items()})
    program({name: tensor.numpy() for name, tensor in inputs.items()})
    exact, given = network.double().to(device), [tensor.to(device) for tensor in inputs.values()]
    expected = exact(*(tensor.double() for tensor in given))
    low = network.to(device, dtype)
    cast = [tensor.to(dtype) for tensor in given]

    def eager() -> Tensor:
        answer: Tensor = low(*cast)
        return answer

    return Case(
        "network",
        f"MMCAF-Net {list(inputs['image'].shape)}",
        dtype,
        lambda: program.run_on_device()["logit"],
        eager,
        lambda: expected,
        cost.parameters * dtype.itemsize + sum(tensor.nbytes for tensor in inputs.values()),
        cost.flops,
        tolerance=TOLERANCE["fp16" if dtype == torch.float16 else "fp32"],
    )
