"""From the name of a node of a bundle's ONNX file to the part of the source network that it comes from.

A bundle's nodes are called after their module and operator: `image_encoder.dcfb1.pconv1.0/Conv`.
"""

from collections.abc import Mapping

_ROOT = "network"
_GENERIC_PARTS = 2


def module_path(node: str) -> str:
    """The source network's module of a node, such as `image_encoder.dcfb1.pconv1.0`; "" for the network itself.

    Names that a runtime made of a node's keep their beginning, and so their module.
    """
    return node.partition("/")[0] if "/" in node else ""


def module_name(titles: Mapping[str, str], path: str) -> str:
    """What to call the part of a network that a module belongs to.

    Args:
        titles: the manifest's `module_titles`; of those whose module the path lies in, the longest counts. Without one,
            it is the path up to its first number, or its first two parts.
    """
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        title = titles.get(".".join(parts[:end]))
        if title is not None:
            return title
    numbered = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: _GENERIC_PARTS if numbered is None else numbered + 1]) or _ROOT
