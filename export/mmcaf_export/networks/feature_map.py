"""Which feature maps of a network its heat maps are made from."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class FeatureMap:
    """One feature map, the result of a module for one case, and how it lies over an input.

    output: what the heat map is called in explain.onnx. title: as pictures name it, at most 40 characters. module: path
    in the network, as built and as rewritten. input: name of the volume or image that it lies over. arranged: the
    module's result -> [1, C, D, R, C] or [1, C, R, C], its axes in the order of the input's; it may move and leave out
    places, not compute.
    """

    output: str
    title: str
    module: str
    input: str
    arranged: Callable[[Tensor], Tensor] = lambda features: features
