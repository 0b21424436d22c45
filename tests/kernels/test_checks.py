"""What every launcher checks, at the limits."""

import pytest
import torch

from mmcaf_kernels.checks import check_positions, check_tensor, check_volume


def test_a_channel_may_have_as_many_positions_as_its_offsets_can_tell() -> None:
    check_positions("kernel", 2113929216)  # 2^31 less the room that the last block may take
    with pytest.raises(ValueError, match="a channel has 2113929217 positions; expected at most 2113929216"):
        check_positions("kernel", 2113929217)


def test_a_volume_has_five_axes_and_a_type_of_activations() -> None:
    check_volume("kernel", torch.empty(1, 2, 3, 4, 5, dtype=torch.float16))
    with pytest.raises(ValueError, match=r"expected \[N, C, D, H, W\]"):
        check_volume("kernel", torch.empty(2, 3, 4, 5))
    with pytest.raises(TypeError, match="x is float64; expected float32 or float16 or bfloat16"):
        check_volume("kernel", torch.empty(1, 2, 3, 4, 5, dtype=torch.float64))


def test_a_parameter_is_contiguous_and_beside_the_activations() -> None:
    weight = torch.empty(2, 3)
    check_tensor("kernel", "weight", weight, (2, "K"), beside=weight)
    with pytest.raises(ValueError, match=r"strides \[1, 3\]"):
        check_tensor("kernel", "weight", weight.T, (3, 2))
    with pytest.raises(ValueError, match="weight is on cpu; expected it on meta"):
        check_tensor("kernel", "weight", weight, (2, 3), beside=torch.empty(1, device="meta"))
