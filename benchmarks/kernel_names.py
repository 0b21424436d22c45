"""What the benchmarks of the kernels can be asked for by name."""

KERNELS = ("msdc", "groupnorm_act", "msca_attention", "upsample_dw", "kan", "fusion_head", "cross_attention")
TWIN = "msdc (CUDA C++)"
NETWORK = "network"
"""The whole network, as the torch backend runs it."""
PROVIDERS = ("ours", "eager", "torch.compile")
