"""The rewrites of MMCAF-Net, in the order in which they are applied."""

from mmcaf_export.rewrites.batch_norm import REWRITE as BATCH_NORM
from mmcaf_export.rewrites.channel_scale import REWRITE as CHANNEL_SCALE
from mmcaf_export.rewrites.few_slices import REWRITE as FEW_SLICES
from mmcaf_export.rewrites.group_norm import REWRITE as GROUP_NORM
from mmcaf_export.rewrites.padding_taps import REWRITE as PADDING_TAPS

from .channel_gate import REWRITE as CHANNEL_GATE
from .channel_shuffle import REWRITE as CHANNEL_SHUFFLE
from .early_resize import REWRITE as EARLY_RESIZE
from .gamma_taps import REWRITE as GAMMA_TAPS
from .merged_key import REWRITE as MERGED_KEY
from .one_channel_stem import REWRITE as ONE_CHANNEL_STEM
from .planar_stem import REWRITE as PLANAR_STEM
from .scaled_residual import REWRITE as SCALED_RESIDUAL
from .spline_pieces import REWRITE as SPLINE_PIECES
from .unread_slices import REWRITE as UNREAD_SLICES

REWRITES = (
    ONE_CHANNEL_STEM,
    PLANAR_STEM,
    BATCH_NORM,
    CHANNEL_SHUFFLE,
    CHANNEL_GATE,
    EARLY_RESIZE,
    MERGED_KEY,
    GAMMA_TAPS,
    UNREAD_SLICES,
    SPLINE_PIECES,
    GROUP_NORM,
    SCALED_RESIDUAL,
    PADDING_TAPS,
    FEW_SLICES,
    CHANNEL_SCALE,
)
