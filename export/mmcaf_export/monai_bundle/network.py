"""The network of a MONAI bundle: one of MONAI's own classification networks, with plain values as its arguments."""

import inspect
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmcaf_engine.errors import BackendError, ExportError, Remedy, printable
from mmcaf_engine.machine.installation import install_packages

from .references import Expression, References, plain, shown

_KEYS = ("network_def", "network", "net", "model")
_MODULE = "monai.networks.nets"
ALLOWED = frozenset(
    {
        *("DenseNet", "DenseNet121", "DenseNet169", "DenseNet201", "DenseNet264"),
        *("ResNet", "resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200"),
        *("SENet154", "SEResNet50", "SEResNet101", "SEResNet152", "SEResNext50", "SEResNext101"),
        *("EfficientNetBN", "ViT"),
    }
)
"""Classes and functions of `monai.networks.nets` that are built: networks that classify, and read no file."""
SEGMENTATION = frozenset(
    {
        *("UNet", "Unet", "BasicUNet", "BasicUnet", "BasicUNetPlusPlus", "DynUNet", "DynUnet", "AttentionUnet"),
        *("FlexibleUNet", "SegResNet", "SegResNetDS", "SegResNetVAE", "VNet", "UNETR", "SwinUNETR", "HighResNet"),
        *(
            "AHNet",
            "DiNTS",
            "TopologySearch",
            "VISTA3D",
            "MedNeXt",
            "DAF3D",
            "HoVerNet",
            "RegUNet",
            "BasicUnetPlusPlus",
        ),
    }
)
"""Networks whose output is a label for each voxel."""
_CHANNELS = ("in_channels", "n_input_channels")
_CLASSES = ("out_channels", "num_classes")


@dataclass(frozen=True)
class MonaiConfig:
    """network: name within monai.networks.nets; arguments: its keyword arguments as JSON, in the order of their names.

    scale, shift: the network reads value * scale + shift, where the bundle's intensities do not end at 0 and 1.
    """

    network: str
    arguments: str
    scale: float = 1.0
    shift: float = 0.0


class MonaiNetwork(nn.Module):
    """image [N, 1, ...] -> logits [N, K]: a network of MONAI's, which may give more after its logits."""

    def __init__(self, network: nn.Module, scale: float, shift: float) -> None:
        super().__init__()
        self.network = network
        self._scale, self._shift = scale, shift

    def forward(self, image: Tensor) -> Tensor:
        if (self._scale, self._shift) != (1.0, 0.0):
            image = image * self._scale + self._shift
        found = self.network(image)
        logits: Tensor = found[0] if isinstance(found, tuple | list) else found
        return logits


def network_of(references: References, name: str, overrides: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which network a configuration names, and its arguments.

    Raises:
        ExportError: none, one that is not MONAI's own, does no classification, or has an argument that is code.
    """
    found = {key: references.get(key) for key in _KEYS if key in references}
    definitions = {key: one for key, one in found.items() if isinstance(one, dict) and "_target_" in one}
    if not definitions:
        told = "; ".join(f"{key} is {shown(value)}" for key, value in found.items()) or f"none of {', '.join(_KEYS)}"
        raise ExportError(
            f"{name}: names no network as data: {told}. Expressions are not evaluated.",
            'Give network_def as {"_target_": "DenseNet121", ...}, with plain values.',
        )
    key, definition = next(iter(definitions.items()))
    target = definition["_target_"]
    module, _, short = str(target).rpartition(".")
    if isinstance(target, Expression) or not isinstance(target, str) or not _is_monais(module):
        raise ExportError(
            f"{name}: {key} is {shown(target)}, which is none of MONAI's own networks ({_MODULE}) and is not imported.",
            "Write an entry for it, as docs/add-a-network.md shows.",
        )
    if short in SEGMENTATION:
        raise ExportError(
            f"{name}: {short} is a network for segmentation, which gives a label for each voxel; a bundle here answers "
            "with labels of a study."
        )
    if short not in ALLOWED:
        raise ExportError(
            f"{name}: {short} is no network that this import knows; known: {', '.join(sorted(ALLOWED))}.",
            "Write an entry for it, as docs/add-a-network.md shows.",
        )
    if definition.get("_mode_", "default") not in ("default", "callable"):
        raise ExportError(f"{name}: {key} has _mode_ {shown(definition['_mode_'])}, which is not followed.")
    arguments = {one: value for one, value in definition.items() if not one.startswith("_")} | dict(overrides)
    for one, value in arguments.items():
        if not plain(value):
            raise ExportError(
                f"{name}: {key} has {one} = {shown(value)}, which is no plain value; expressions are not evaluated.",
                Remedy("Give the value", option="set", value=f"monai.network.{one}=..."),
            )
    return short, arguments


def build(config: MonaiConfig) -> nn.Module:
    """The network with untrained weights, in evaluation mode.

    Raises:
        ExportError: MONAI does not take its arguments.
        BackendError: MONAI is not installed.
    """
    make = _maker(config.network)
    arguments = _complete(make, json.loads(config.arguments))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return MonaiNetwork(make(**arguments), config.scale, config.shift).eval()
    except (TypeError, ValueError, KeyError, AssertionError, ImportError, AttributeError, RuntimeError) as failure:
        raise ExportError(
            f"MONAI's {config.network} cannot be built with {shown(config.arguments)}: "
            f"{type(failure).__name__}: {printable(str(failure), 1000)}.",
            "Check that the installed MONAI is of the version that the bundle's metadata names.",
        ) from failure


@dataclass(frozen=True)
class Shape:
    """spatial: axes of its input; channels: of its input; classes: scores that it gives."""

    spatial: int
    channels: int
    classes: int


def shape_of(network: str, arguments: Mapping[str, Any]) -> Shape:
    """What a network reads and gives, by its arguments and MONAI's defaults.

    Raises:
        ExportError: the arguments are not those of the network, or do not say it.
        BackendError: MONAI is not installed.
    """
    parameters = _parameters(_maker(network))
    if unknown := sorted(set(arguments) - set(parameters)):
        raise ExportError(f"MONAI's {network} takes no {', '.join(unknown)}.", "Correct the bundle's network_def.")
    known = {one: parameter.default for one, parameter in parameters.items()} | dict(arguments)
    if network == "ViT" and known["classification"] is not True:
        raise ExportError("MONAI's ViT classifies only with classification = true; this one gives features of patches.")
    values = [_whole(network, names, known) for names in (("spatial_dims",), _CHANNELS, _CLASSES)]
    return Shape(*values)


def _whole(network: str, names: tuple[str, ...], known: Mapping[str, Any]) -> int:
    for name in names:
        value = known.get(name, inspect.Parameter.empty)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise ExportError(f"MONAI's {network} needs {' or '.join(names)} as a whole number; the bundle does not give it.")


def _is_monais(module: str) -> bool:
    return module in ("", _MODULE) or module.startswith(f"{_MODULE}.")


def _complete(make: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments with which nothing is fetched: the weights are the bundle's."""
    return arguments | ({"pretrained": False} if "pretrained" in _parameters(make) else {})


def _parameters(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Of a class, also those of the classes that it hands `**kwargs` on to; of MONAI's resnet functions, ResNet's."""
    from monai.networks.nets import ResNet

    makers: list[Callable[..., Any]] = (
        [one.__init__ for one in make.__mro__ if "__init__" in vars(one) and issubclass(one, nn.Module)]  # type: ignore[misc]
        if isinstance(make, type)
        else [make, ResNet.__init__]
    )
    found: dict[str, inspect.Parameter] = {}
    for one in makers:
        own = inspect.signature(one).parameters
        takes = {name: p for name, p in own.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        found = {**takes, **found}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values()):
            break
    found.pop("self", None)
    return found


def _maker(network: str) -> Callable[..., Any]:
    if network not in ALLOWED:
        raise ExportError(f"{network} is no network that is built from a MONAI bundle.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from monai.networks import nets
    except ImportError as failure:
        raise BackendError(
            f"A MONAI bundle needs {(failure.name or 'monai').partition('.')[0]}, which is not installed, to build its "
            "network.",
            Remedy("Install it", command=install_packages("monai", "einops", "pyyaml")),
        ) from None
    maker: Callable[..., Any] = getattr(nets, network)
    return maker
