"""The rewrites of CMASG-Bi-LSTM, in the order in which they are applied."""

from mmcaf_export.networks.bert_rewrites import REWRITES as BERT
from mmcaf_export.rewrites.batch_norm import REWRITE as BATCH_NORM
from mmcaf_export.rewrites.grey_stem import grey_stem

from .hoisted_gates import REWRITE as HOISTED_GATES
from .pruned_units import REWRITE as PRUNED_UNITS
from .stock_lstm import REWRITE as STOCK_LSTM

REWRITES = (
    BATCH_NORM,
    grey_stem("grey", "image_encoder.conv1"),
    *BERT,
    PRUNED_UNITS,
    STOCK_LSTM,
    HOISTED_GATES,
)

EXPLAINED = tuple(rewrite for rewrite in REWRITES if rewrite is not STOCK_LSTM)
"""For heat maps: the standard LSTM operator has no gradient and tells no cells, the gated one has both."""
