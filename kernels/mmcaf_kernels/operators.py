"""Registration of the kernels as PyTorch operators, so that torch.export and torch.compile see through them.

Every operator lives in the namespace `mmcaf`, has a fake implementation and an autocast rule. They are made
for inference: a backward pass through one raises.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Autocast = Literal["activations", "float32"]
_LIBRARY = torch.library.Library("mmcaf", "FRAGMENT")


def operator(
    function: Callable[..., Any], fake: Callable[..., Any], *, autocast: Autocast, activations: Sequence[str]
) -> Any:
    """Make `mmcaf::NAME` of a typed function NAME, and return what to call.

    Args:
        function: checks its arguments, then computes; its annotations give the schema.
        fake: the same signature; checks, then returns empty tensors of the result's shape.
        autocast: what the activations become in an autocast region: its type, or float32 for a
            layer too small and too sensitive to gain from less. Parameters stay as they are.
        activations: names of the arguments that the rule casts.
    """
    name = function.__name__
    made = torch.library.custom_op(f"mmcaf::{name}", function, mutates_args=())
    made.register_fake(fake)
    call = getattr(torch.ops.mmcaf, name).default
    positions = [index for index, argument in enumerate(call._schema.arguments) if argument.name in activations]
    for device in ("CUDA", "CPU"):
        _LIBRARY.impl(name, _autocast_rule(call, device, autocast, positions), f"Autocast{device}")
    return call


def _autocast_rule(call: Any, device: str, autocast: Autocast, positions: Sequence[int]) -> Callable[..., Any]:
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, f"Autocast{device}"))

    def rule(*arguments: Any) -> Any:
        target = torch.float32 if autocast == "float32" else torch.get_autocast_dtype(device.lower())
        cast = list(arguments)
        for position in positions:
            if position < len(cast) and isinstance(cast[position], Tensor) and cast[position].is_floating_point():
                cast[position] = cast[position].to(target)
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return call(*cast)

    return rule
