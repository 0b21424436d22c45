"""3x3x3 convolutions over two or three slices share products between the slices.

Two or three slices in, the same number out, and zeros beyond: along depth the output is a product
of polynomials, sum w_k z^k times sum x_i z^i, of which the middle coefficients are wanted. Direct
evaluation takes 4 (7) in-plane convolutions, or 6 (9) where padding is multiplied too; Karatsuba's
and Winograd's schemes take 3 (5), with no constants but 1, 1/2 and 1/4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .observed import Observed
from .rewrite import Sites, by_pattern
from .sites import convolutions, replacing
from .weights import frozen, padding_of


class _FewSlices(nn.Module):
    """What both forms share; `weight` and `weight1`, `weight2`, ... are in-plane kernels [K, C, 1, kH, kW]."""

    def __init__(self, conv: nn.Conv3d, kernels: tuple[Tensor, ...]) -> None:
        super().__init__()
        for index, kernel in enumerate(kernels):
            self.register_parameter(f"weight{index or ''}", frozen(kernel, conv.weight))
        self.bias = conv.bias
        self.padding = (0, *(padding_of(conv) or ())[1:])

    def _plane(self, x: Tensor, index: int, bias: Tensor | None = None) -> Tensor:
        return F.conv3d(x, self.get_parameter(f"weight{index or ''}"), bias, padding=self.padding)


class TwoSliceConvolution(_FewSlices):
    """[N, C, 2, H, W] -> [N, K, 2, H, W] by three in-plane convolutions."""

    def __init__(self, conv: nn.Conv3d) -> None:
        above, middle, below = conv.weight.detach().double().split(1, dim=2)
        super().__init__(conv, (middle, above - middle, below - middle))

    def forward(self, x: Tensor) -> Tensor:
        first, second = x[:, :, 0:1], x[:, :, 1:2]
        both = self._plane(first + second, 0, self.bias)
        return torch.cat([both + self._plane(second, 2), both + self._plane(first, 1)], dim=2)


class ThreeSliceConvolution(_FewSlices):
    """[N, C, 3, H, W] -> [N, K, 3, H, W] by five in-plane convolutions.

    The product modulo z^4 - 1, whose factors z - 1, z + 1 and z^2 + 1 take one, one and three.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        above, middle, below = conv.weight.detach().double().split(1, dim=2)
        real = below - above
        super().__init__(
            conv,
            (
                (below + middle + above) / 4,
                (below - middle + above) / 4,
                real / 2,
                (middle - real) / 2,
                (middle + real) / 2,
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = x[:, :, 0:1], x[:, :, 1:2], x[:, :, 2:3]
        outer, difference = first + third, first - third
        plus = self._plane(outer + second, 0, self.bias)
        minus = self._plane(outer - second, 1)
        shared = self._plane(difference + second, 2)
        odd, side = plus - minus, shared + self._plane(difference, 3)
        return torch.cat([odd + side, plus + minus - shared + self._plane(second, 4), odd - side], dim=2)


def find(observed: Observed) -> Sites:
    """Dense convolutions of depth three that only ever see two, or only three, slices."""
    forms = {2: TwoSliceConvolution, 3: ThreeSliceConvolution}
    found = {}
    for path, conv in convolutions(observed):
        depths = {size[0] for size in observed.sizes(path)}
        if len(depths) == 1 and depths <= forms.keys() and _dense(conv):
            found[path] = conv, forms[depths.pop()](conv)
    return replacing(observed, found)


def _dense(conv: nn.Module) -> bool:
    if type(conv) is not nn.Conv3d:
        return False
    padding = padding_of(conv)
    along = (conv.kernel_size[0], conv.stride[0], padding and padding[0], conv.groups)
    return along == (3, 1, 1, 1) and conv.stride == conv.dilation == (1, 1, 1) and conv.padding_mode == "zeros"


REWRITE = by_pattern(
    "few_slices",
    "Dense 3x3x3 convolutions over two (three) slices take three (five) in-plane convolutions instead of six (nine), "
    "by Karatsuba's and Winograd's bilinear identities along depth.",
    find,
    _dense,
)
