"""Multi-scale fusion and classifier of MMCAF-Net in plain PyTorch: the meaning of the kernel."""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..launch import float32_unless_double

Fusion = Literal["tokens", "mean"]
NORM_EPS = 1e-5


def layers(width: int, fusion: Fusion) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of every linear layer, in the order in which the kernel uses them."""
    middle, narrow = width // 2, width // 4
    return {
        "cross_attention1.v_proj": (width, width),
        "down1.0": (middle, width),
        "sample_img1": (middle, width),
        "sample_tab1": (middle, width),
        "cross_attention2.v_proj": (middle, middle),
        "down2.0": (narrow, width),
        "sample_img2": (narrow, middle),
        "sample_tab2": (narrow, middle),
        "cross_attention3.v_proj": (narrow, narrow),
        "SF1.fc1x": (middle, middle),
        "SF1.fc1y": (middle, narrow),
        "SF2.fc1x": (width, width),
        "SF2.fc1y": (width, middle),
        "head": (1, 2 * width if fusion == "tokens" else width),
    }


def parameter_count(width: int, fusion: Fusion) -> int:
    """How many numbers `pack` gives: scale and shift of two norms, then the layers."""
    return 4 * width + sum(outputs * (inputs + 1) for outputs, inputs in layers(width, fusion).values())


def pack(state: Mapping[str, Tensor], head: tuple[Tensor, Tensor], fusion: Fusion, eps: float = NORM_EPS) -> Tensor:
    """The module's state_dict and the classifier's (weight, bias) as the flat float32 tensor that the kernel reads."""
    parts = []
    for norm in ("norm_img", "norm_tab"):
        scale = state[f"{norm}.weight"].double() * (state[f"{norm}.running_var"].double() + eps).rsqrt()
        parts += [scale, state[f"{norm}.bias"].double() - state[f"{norm}.running_mean"].double() * scale]
    for name, shape in layers(parts[0].numel(), fusion).items():
        weight, bias = head if name == "head" else (state[f"{name}.weight"], state[f"{name}.bias"])
        if tuple(weight.shape) != shape:
            raise ValueError(f"fusion_head: {name}.weight is {list(weight.shape)}; expected {list(shape)}")
        parts += [weight.double().flatten(), bias.double()]
    return torch.cat(parts).float()


def fusion_head(image: Tensor, table: Tensor, parameters: Tensor, fusion: Fusion = "tokens") -> Tensor:
    """Image and table features [N, width] -> logit [N, 1] in their type; `parameters` as `pack` makes them."""
    wide, other = float32_unless_double(image), float32_unless_double(table)
    width = image.shape[1]
    shapes = layers(width, fusion)
    lengths = [width] * 4 + [length for outputs, inputs in shapes.values() for length in (outputs * inputs, outputs)]
    parts = parameters.to(wide.dtype).split(lengths)
    weights = {
        name: (weight.reshape(shape), bias)
        for (name, shape), weight, bias in zip(shapes.items(), parts[4::2], parts[5::2], strict=True)
    }

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, *weights[name])

    def exchange(name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a + linear(f"{name}.v_proj", b), b + linear(f"{name}.v_proj", a)

    def join(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([a, b], dim=1) if fusion == "tokens" else (a + b) / 2

    def weigh(name: str, fine: Tensor, coarse: Tensor) -> Tensor:
        fine, coarse = linear(f"{name}.fc1x", fine), linear(f"{name}.fc1y", coarse)
        return (fine + coarse) * (1 + F.softmax(fine * coarse, dim=-1))

    a, b = wide * parts[0] + parts[1], other * parts[2] + parts[3]
    a1, b1 = exchange("cross_attention1", a, b)
    a2, b2 = exchange(
        "cross_attention2",
        F.relu(linear("down1.0", a)) + linear("sample_img1", a1),
        F.relu(linear("down1.0", b)) + linear("sample_tab1", b1),
    )
    a3, b3 = exchange(
        "cross_attention3",
        F.relu(linear("down2.0", a)) + linear("sample_img2", a2),
        F.relu(linear("down2.0", b)) + linear("sample_tab2", b2),
    )
    fused = weigh("SF2", join(a1, b1), weigh("SF1", join(a2, b2), join(a3, b3)))
    return linear("head", fused.flatten(1)).to(image.dtype)
