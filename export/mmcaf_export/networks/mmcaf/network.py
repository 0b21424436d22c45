"""MMCAF-Net: lung cancer subtype from a CT window and seven clinical values.

A reimplementation of what the published MMCAF-Net computes at inference, under its published
parameter names. Modules that never reach the answer are not built, so the state_dict holds the
live keys and nothing else.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from .fusion import WIDTHS, Fusion, MultiscaleFusion
from .image_encoder import ImageEncoder
from .kan import KanLayer
from .layers import reduced
from .penet import STEM_CHANNELS

TABLE_VALUES = 7  # sex, age, weight, T, N, M, smoking history
IMAGE_CHANNELS = (1, 3)

INTERMEDIATES = {
    "stem": "image_encoder.encoder.in_conv",
    "stage1": "image_encoder.encoder.encoders.0",
    "stage2": "image_encoder.encoder.encoders.1",
    "stage3": "image_encoder.encoder.encoders.2",
    "d3": "image_encoder.dcfb3",
    "d2": "image_encoder.dcfb2",
    "d1": "image_encoder.dcfb1",
    "bf1": "image_encoder.bfpu1",
    "bf2": "image_encoder.bfpu2",
    "f": "image_encoder.fc",
    "kan": "kan",
    "fusion": "multiscale_fusion",
}


@dataclass(frozen=True)
class MmcafConfig:
    """What distinguishes one MMCAF-Net from another.

    slices: depth of the window; size: rows and columns; width: multiplier of the image branch's
    channels (the published network is 1.0); fusion: see MultiscaleFusion. Raises ValueError when
    the sizes do not halve evenly along the top-down path or the width gives uneven groups.
    """

    slices: int = 12
    size: int = 192
    width: float = 1.0
    fusion: Fusion = "tokens"

    def __post_init__(self) -> None:
        if self.fusion not in ("tokens", "mean"):
            raise ValueError(f"MMCAF-Net config: fusion is {self.fusion!r}; expected 'tokens' or 'mean'")
        stem = STEM_CHANNELS * self.width
        if stem < 1 or stem != int(stem):
            raise ValueError(
                f"MMCAF-Net config: width {self.width} gives {stem} stem channels; "
                f"choose a positive multiple of 1/{STEM_CHANNELS}"
            )
        uneven = [c for c in (self.stem << level for level in range(5)) if c % reduced(c)]
        if uneven:
            raise ValueError(
                f"MMCAF-Net config: width {self.width} gives layers of {uneven} channels, which do not "
                "split into groups of about 16; choose a width such as 1, 0.5, 0.25 or 0.09375"
            )
        for name, value, step in (("slices", self.slices, 2), ("size", self.size, 4)):
            if value < 1 or _halve(value, step) % 2:
                raise ValueError(
                    f"MMCAF-Net config: {name} is {value}, which the first stage reduces to "
                    f"{_halve(value, step)}; the top-down path needs an even number "
                    f"(choose a multiple of {2 * step})"
                )

    @property
    def stem(self) -> int:
        """Channels of the stem: 64 in the published network."""
        return int(STEM_CHANNELS * self.width)

    @property
    def first_stage_size(self) -> tuple[int, int, int]:
        """D, H, W of the first stage: 6x48x48 in the published network."""
        return _first_stage_size(self.slices, self.size, self.size)

    @property
    def skip_size(self) -> tuple[int, int, int]:
        """D, H, W of the second stage: 3x24x24 in the published network."""
        depth, height, width = self.first_stage_size
        return depth // 2, height // 2, width // 2


class MmcafNet(nn.Module):
    """image [N, 1 or 3, D, H, W], table [N, 7] -> logit [N, 1]; the probability is its sigmoid.

    The image is CT intensity clipped and scaled to [0, 1] minus the training mean, the table the
    scaled clinical values, as the bundle's preprocessing makes them.
    """

    def __init__(self, config: MmcafConfig | None = None) -> None:
        super().__init__()
        self.config = config or MmcafConfig()
        features = WIDTHS[0]
        self.image_encoder = ImageEncoder(self.config.stem, features, self.config.skip_size)
        self.kan = KanLayer(TABLE_VALUES, features)
        self.multiscale_fusion = MultiscaleFusion(self.config.fusion)
        self.fin_cls = nn.Linear(2 * features if self.config.fusion == "tokens" else features, 1)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        self._check(image, table)
        fused = self.multiscale_fusion(self.image_encoder(image), self.kan(table))
        return self.fin_cls(fused.flatten(1))

    def trace(self, image: Tensor, table: Tensor) -> dict[str, Tensor]:
        """Run forward and return its named intermediates (see INTERMEDIATES) and the logit."""
        found: dict[str, Tensor] = {}

        def keep(name: str, output: Tensor) -> None:
            found[name] = output

        hooks = [
            self.get_submodule(path).register_forward_hook(
                lambda _module, _inputs, output, name=name: keep(name, output)
            )
            for name, path in INTERMEDIATES.items()
        ]
        try:
            found["logit"] = self(image, table)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _check(self, image: Tensor, table: Tensor) -> None:
        slices, size = self.config.slices, self.config.size
        expected = f"[N, 1 or 3, {slices}, {size}, {size}]"
        if image.ndim != 5 or image.shape[1] not in IMAGE_CHANNELS:
            raise ValueError(f"MMCAF-Net: image is {list(image.shape)}; expected {expected}")
        # Depths of 1 or 2 and widths of up to 4 would also run, by accidental broadcasting of the
        # size-1 first stage against the skip; the published code lets them through, this does not.
        if _first_stage_size(*image.shape[2:]) != self.config.first_stage_size:
            depth, rows, _ = self.config.first_stage_size
            raise ValueError(
                f"MMCAF-Net: image is {list(image.shape)}; expected {expected} "
                f"(D of {2 * depth - 1} to {2 * depth}, H and W of {4 * rows - 3} to {4 * rows} also fit)"
            )
        if table.ndim != 2 or table.shape[1] != TABLE_VALUES or table.shape[0] != image.shape[0]:
            raise ValueError(
                f"MMCAF-Net: table is {list(table.shape)} beside an image of {list(image.shape)}; "
                f"expected [N, {TABLE_VALUES}] with the image's N"
            )


def _first_stage_size(depth: int, height: int, width: int) -> tuple[int, int, int]:
    return _halve(depth, 2), _halve(height, 4), _halve(width, 4)


def _halve(length: int, step: int) -> int:
    return -(-length // step)
