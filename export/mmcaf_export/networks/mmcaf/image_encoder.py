"""Image branch of MMCAF-Net: PENet, top-down E3D-MSCA path, bottom-up BFPU path, 24 features.

Parameter names are those of the published MMCAF-Net (models/img_encoder1.py).
"""

from torch import Tensor, nn

from .attention import ChannelAttention, DepthwiseFusion, SpatialAttention, UpConvolution
from .bfpu import BottomUpFusion
from .layers import resize
from .penet import PENetEncoder


class ImageEncoder(nn.Module):
    """image [N, 1 or 3, D, H, W] -> features [N, features].

    `skip_size` is the size of the second stage at the size the network was trained for; the
    published network interpolates its top-down skip to this constant.
    """

    def __init__(self, stem: int, features: int, skip_size: tuple[int, int, int]) -> None:
        super().__init__()
        self.skip_size = skip_size
        fine, middle, coarse = 4 * stem, 8 * stem, 16 * stem
        self.encoder = PENetEncoder(stem)
        self.scale1 = nn.Sequential(nn.BatchNorm3d(fine), nn.ReLU())
        self.scale2 = nn.Sequential(nn.BatchNorm3d(middle), nn.ReLU())
        self.scale3 = nn.Sequential(nn.BatchNorm3d(coarse), nn.ReLU())
        self.fc = nn.Sequential(nn.Linear(coarse, features), nn.ReLU())
        self.sab = SpatialAttention()  # one module for all three levels
        self.cab3 = ChannelAttention(coarse)
        self.dcfb3 = DepthwiseFusion(coarse)
        self.cab2 = ChannelAttention(middle)
        self.dcfb2 = DepthwiseFusion(middle)
        self.cab1 = ChannelAttention(fine)
        self.dcfb1 = DepthwiseFusion(fine)
        self.ucb2 = UpConvolution(coarse)
        self.ucb1 = UpConvolution(middle)
        self.bfpu1 = BottomUpFusion(middle)
        self.bfpu2 = BottomUpFusion(coarse)

    def forward(self, image: Tensor) -> Tensor:
        stage1, stage2, stage3 = self.encoder(image)
        scale1, scale2, scale3 = self.scale1(stage1), self.scale2(stage2), self.scale3(stage3)
        d3 = self.dcfb3(self.sab(self.cab3(scale3)))
        d2 = self.dcfb2(self.sab(self.cab2(scale2 + resize(self.ucb2(d3), self.skip_size))))
        d1 = self.dcfb1(self.sab(self.cab1(scale1 + self.ucb1(d2))))
        bf1 = self.bfpu1(d2, d1)
        bf2 = self.bfpu2(d3, bf1)
        return self.fc(bf2.amax(dim=(2, 3, 4)))
