"""From the name of a node of a bundle's ONNX file to the part of the source network that it comes from.

A bundle's nodes are called after their module and operator: `image_encoder.dcfb1.pconv1.0/Conv`.
"""

import re

_WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "mmcaf": (
        (r"image_encoder\.encoder\.(in_conv|max_pool)", "stem"),
        (r"image_encoder\.encoder\.encoders\.0", "PENet stage 1"),
        (r"image_encoder\.encoder\.encoders\.1", "PENet stage 2"),
        (r"image_encoder\.encoder\.encoders\.2", "PENet stage 3"),
        (r"image_encoder\.(?:cab|dcfb)(\d)", r"E3D-MSCA stage \1"),
        (r"image_encoder\.sab", "E3D-MSCA spatial attention"),
        (r"image_encoder\.ucb(\d)", r"up-convolution \1"),
        (r"image_encoder\.scale(\d)", r"stage \1 norm"),
        (r"image_encoder\.bfpu(\d)", r"BFPU \1"),
        (r"image_encoder\.fc", "image features"),
        (r"image_encoder", "image encoder"),
        (r"kan", "KAN"),
        (r"multiscale_fusion\.cross_attention(\d)", r"cross-attention \1"),
        (r"multiscale_fusion\.SF(\d)", r"scale fusion \1"),
        (r"multiscale_fusion", "multiscale fusion"),
        (r"fin_cls", "classifier"),
    ),
    "lcadb": (
        (r"(?:conv1|bn1)_patch_com", "patch stem"),
        (r"layer(\d)_patch_com", r"patch stage \1"),
        (r"(?:conv1|bn1)_compose", "image stem"),
        (r"layer(\d)_compose", r"image stage \1"),
        (r"image_attention", "image attention"),
        (r"patch_attention", "patch attention"),
    ),
    "cmasg": (
        (r"image_encoder\.(?:conv1|bn1)", "ResNet stem"),
        (r"image_encoder\.layer(\d)", r"ResNet stage \1"),
        (r"image_encoder", "ResNet stem"),
        (r"image_projection", "image projection"),
        (r"text_encoder\.embeddings", "BERT embeddings"),
        (r"text_encoder\.encoder\.layer\.(\d+)", r"BERT layer \1"),
        (r"text_projection", "text projection"),
        (r"cross_attention", "cross-modal attention"),
        (r"modality_softmax", "modality weights"),
        (r"bilstm", "gated Bi-LSTM"),
        (r"classifier", "classifier"),
    ),
    "medfusionnet": (
        (r"image_encoder\.features\.(?:conv0|norm0)", "DenseNet stem"),
        (r"image_encoder\.features\.denseblock(\d)", r"dense block \1"),
        (r"image_encoder\.features\.transition(\d)", r"transition \1"),
        (r"image_encoder", "image features"),
        (r"feature_pyramid", "feature pyramid"),
        (r"metadata_tokenizer", "metadata tokens"),
        (r"text_encoder\.embeddings", "BERT embeddings"),
        (r"text_encoder\.encoder\.layer\.(\d+)", r"BERT layer \1"),
        (r"text_encoder", "BERT"),
        (r"text_projection", "text projection"),
        (r"joint", "joint attention"),
        (r"fusion|head|label_head", "classifier"),
    ),
}
"""Network -> parts of it, by how their modules' paths begin: the first that fits, and what people call it."""

_ROOT = "network"
_GENERIC_PARTS = 2


def module_path(node: str) -> str:
    """The source network's module of a node, such as `image_encoder.dcfb1.pconv1.0`; "" for the network itself.

    Names that a runtime made of a node's keep their beginning, and so their module.
    """
    return node.partition("/")[0] if "/" in node else ""


def module_name(network: str, path: str) -> str:
    """What to call the part of a network, by the manifest's name of it, that a module belongs to.

    Of a network without words of its own, the path up to its first number, or its first two parts.
    """
    for pattern, words in _WORDS.get(network, ()):
        if found := re.match(rf"(?:{pattern})(?=\.|$)", path):
            return found.expand(words)
    parts = path.split(".")
    numbered = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: _GENERIC_PARTS if numbered is None else numbered + 1]) or _ROOT
