"""Multi-scale fusion and classifier: checks, launch, and the operator mmcaf::fusion_head."""

from torch import Tensor

from ..checks import INPUTS, check_tensor
from ..launch import Launch, new, path, power_of_two, run
from ..operators import operator
from . import reference
from .reference import Fusion

WIDEST = 128
"""Features; above it a layer's weights no longer fit a program's registers."""


def fusion_head(image: Tensor, table: Tensor, parameters: Tensor, fusion: Fusion = "tokens") -> Tensor:
    """Multi-scale cross-attention of one image and one table token, BSF and the classifier, in one launch.

    Args:
        image: features [N, width], float32, float16 or bfloat16, contiguous; width a multiple of 4
            up to 128 (published: 24).
        table: as image.
        parameters: [P] float32, as `pack` makes them for this fusion.
        fusion: "tokens" or "mean", as in the network.

    Returns:
        Logit [N, 1] in the type of image.

    Raises:
        TypeError: a wrong type.
        ValueError: a wrong shape, device or fusion, or a tensor that is not contiguous.
    """
    _check(image, table, parameters, fusion)
    result: Tensor = _call(image, table, parameters, fusion)
    return result


def launches(image: Tensor, table: Tensor, parameters: Tensor, fusion: Fusion, out: Tensor) -> list[Launch]:
    """What computes `out`; the tensors may be on the meta device."""
    from .kernel import fusion_head_kernel

    samples, width = image.shape
    blocks = {
        "block": power_of_two(width),
        "block_middle": power_of_two(width // 2),
        "block_narrow": power_of_two(width // 4),
    }
    constants = {"width": width, "mean": fusion == "mean", **blocks}
    arguments = {"image": image, "table": table, "parameters": parameters, "out": out}
    return [Launch(fusion_head_kernel, (samples,), arguments, constants, 4 if width <= 64 else 16)]


def _compute(image: Tensor, table: Tensor, parameters: Tensor, fusion: str = "tokens") -> Tensor:
    mode = _check(image, table, parameters, fusion)
    if not path(image).runs_kernel:
        return reference.fusion_head(image, table, parameters, mode)
    out = new(image, (image.shape[0], 1))
    if out.numel():
        run(launches(image, table, parameters, mode, out), image)
    return out


def _fake(image: Tensor, table: Tensor, parameters: Tensor, fusion: str = "tokens") -> Tensor:
    _check(image, table, parameters, fusion)
    return new(image, (image.shape[0], 1))


def _check(image: Tensor, table: Tensor, parameters: Tensor, fusion: str) -> Fusion:
    name = "fusion_head"
    mode: Fusion
    if fusion == "tokens":
        mode = "tokens"
    elif fusion == "mean":
        mode = "mean"
    else:
        raise ValueError(f"{name}: fusion is {fusion!r}; expected 'tokens' or 'mean'")
    check_tensor(name, "image", image, ("N", "width"), dtypes=INPUTS)
    width = image.shape[1]
    if width % 4 or not 4 <= width <= WIDEST:
        raise ValueError(
            f"{name}: image is {list(image.shape)}; expected a width that is a multiple of 4 up to {WIDEST}"
        )
    check_tensor(name, "table", table, image.shape, dtypes=(image.dtype,), beside=image)
    check_tensor(name, "parameters", parameters, (reference.parameter_count(width, mode),), beside=image)
    return mode


_compute.__name__ = "fusion_head"
_call = operator(_compute, _fake, autocast="float32", activations=("image", "table"))
