"""DenseNet's stem reads one grey plane."""

from mmcaf_export.rewrites.grey_stem import grey_stem

REWRITE = grey_stem("grey", "image_encoder.features.conv0")
