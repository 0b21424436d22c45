"""The rewrites of LCA-DB, in the order in which they are applied."""

from mmcaf_export.rewrites.batch_norm import REWRITE as BATCH_NORM
from mmcaf_export.rewrites.few_slices import REWRITE as FEW_SLICES
from mmcaf_export.rewrites.padding_taps import REWRITE as PADDING_TAPS

from .unread_slices import REWRITE as UNREAD_SLICES

REWRITES = (BATCH_NORM, UNREAD_SLICES, PADDING_TAPS, FEW_SLICES)
