"""The manifest's image: which radiographs a network reads and how one becomes its image input."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .arithmetic import check_arithmetic, single
from .base import ManifestModel

View = Literal["frontal", "lateral", "any"]
"""frontal: PA or AP; lateral: LL, RL or one without a side."""

_Side = Annotated[int, Field(ge=1, le=4096)]


def _scaled(value: float, *, mean: float, std: float) -> float:
    return single(value - single(mean)) / single(std)


class ImageSpec(ManifestModel):
    """From a radiograph to the image input [N, channels, rows, columns].

    In this order: modality rescale, the VOI table or window, MONOCHROME1 inverted, which gives grey values from 0 to
    255; resized straight to `size`; divided by 255; the same plane for each channel; (value - mean) / std.
    """

    modality: tuple[Annotated[str, Field(pattern=r"^[A-Z0-9]{2,16}$")], ...] = Field(
        default=("DX", "CR"), min_length=1, description="Of DICOM files; PNG and JPEG files have none."
    )
    view: View = Field(default="frontal", description="Another one is refused where the file names it.")
    size: tuple[_Side, _Side] = Field(description="Rows and columns.")
    interpolation: Literal["bilinear"] = Field(
        default="bilinear",
        description="bilinear: antialiased; where an axis shrinks, the triangle is two pixels of the result wide.",
    )
    channels: Literal[1, 3] = Field(description="3: three equal planes.")
    mean: tuple[float, ...] = Field(description="For each channel, of values from 0 to 1.")
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(description="For each channel, of values from 0 to 1.")

    @model_validator(mode="after")
    def _one_for_each_channel(self) -> "ImageSpec":
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std must hold one value for each of {self.channels} channels")
        for mean, std in zip(self.mean, self.std, strict=True):
            check_arithmetic(f"mean {mean:g} and std {std:g}", partial(_scaled, mean=mean, std=std), (0.0, 1.0))
        return self
