"""The rewrites of MedFusionNet, in the order in which they are applied."""

from mmcaf_export.networks.bert_rewrites import REWRITES as BERT
from mmcaf_export.rewrites.batch_norm import REWRITE as BATCH_NORM

from .grey import REWRITE as GREY_STEM
from .joint_constants import REWRITE as JOINT_CONSTANTS
from .one_token import REWRITE as ONE_TOKEN
from .pool_first import REWRITE as POOL_FIRST
from .pooled_pyramid import REWRITE as POOLED_PYRAMID

REWRITES = (BATCH_NORM, POOL_FIRST, POOLED_PYRAMID, ONE_TOKEN, GREY_STEM, JOINT_CONSTANTS, *BERT)
