"""Means over whole maps that keep their digits."""

from torch import Tensor


def spatial_mean(x: Tensor) -> Tensor:
    """Mean of x [N, C, D, H, W] over depth, height and width: [N, C, 1, 1, 1]; or of an image, [N, C, H, W].

    Rows are averaged first, then added up: OpenVINO keeps one float32 sum over all that it reduces at once, which over
    a large map loses two digits. It joins a mean of means into one, but not a sum of means.
    """
    rows = x.mean(dim=x.ndim - 1, keepdim=True)
    if x.ndim == 4:
        return rows.sum(dim=2, keepdim=True) / x.shape[2]
    return rows.sum(dim=(2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
