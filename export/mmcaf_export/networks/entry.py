"""What the exporter needs to know about a network: how to recognise, build, feed and describe it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeVar

from torch import Tensor, nn

from mmcaf_engine.manifest import TensorSpec

from ..assumptions import Assumptions
from ..rewrites.rewrite import Rewrite
from .feature_map import FeatureMap
from .repair import Repair

ConfigT = TypeVar("ConfigT")


class NetworkEntry(ABC, Generic[ConfigT]):
    """One network family; the configuration is a frozen dataclass of plain values.

    A further network is one more subclass: in this package beside the others, or in any other package that names
    it under the entry-point group of `registry.GROUP`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    signature: ClassVar[tuple[str, ...]]
    """Checkpoint keys that together tell this network from the others."""
    dead: ClassVar[tuple[str, ...]] = ()
    """Regular expressions of checkpoint keys that the answer does not depend on."""
    rewrites: ClassVar[tuple[Rewrite, ...] | None] = None
    """What is applied, in this order, to a copy of the network before it is written as ONNX. None: those of
    `rewrites.general`, each in the places where it fits, pays and changes nothing; with () there is none at all."""
    explained_rewrites: ClassVar[tuple[Rewrite, ...] | None] = None
    """As `rewrites`, for the graph of the heat maps, where operators need a gradient; None: the same, but for general
    ones that change a feature map's values."""
    module_titles: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Regular expressions of paths of modules, from their beginning, and what people call what lies there; the first
    that fits counts. The title may refer to groups, as in "stage \\1". The manifest gets the modules that there are."""
    batch: ClassVar[Literal[1] | None] = None
    """1: the network is written for one case at a time, as where it makes weights for each patient in a loop."""
    unused_outputs: ClassVar[tuple[str, ...]] = ()
    """What `forward` gives besides the outputs that `tensors` declares, and the bundle does without."""
    assumptions: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Setting -> what the default manifest assumes about it that no checkpoint tells."""

    repairs: ClassVar[tuple[Repair, ...]] = ()
    """Changes without which the published code answers nothing; one is made only if it is asked for by its name."""

    def needed_repairs(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Names of the declared repairs without which the published code has no answer for this checkpoint.

        Args:
            state: under the names that the checkpoint stores, in which it was recognised as this network.
        """
        return ()

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's tensors under the names that this network gives them; by default as they are.

        Here other spellings of the same network become its own, and what no reading of it uses is dropped. Any
        checkpoint may come, also another network's.
        """
        return dict(state)

    @abstractmethod
    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> ConfigT:
        """Read the configuration off a checkpoint that holds the signature.

        Raises:
            ValueError: a shape or a metadata entry that no configuration gives.
        """

    @abstractmethod
    def build(self, config: ConfigT) -> nn.Module:
        """The network with untrained weights, in evaluation mode.

        It is called under `torch.device("meta")`, where tensors have no values, and again on the CPU where that fails
        or leaves a tensor without a value that no checkpoint holds. What it puts into such a tensor must be the same
        every time.
        """

    @abstractmethod
    def tensors(self, config: ConfigT) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs, in the order of the network's arguments and results.

        `forward` may also take its inputs by these names, as arguments or in one dict, and give its outputs by these
        names, in a dict, named tuple or dataclass, also one in another.
        """

    @abstractmethod
    def example_inputs(self, config: ConfigT, batch: int, seed: int) -> dict[str, Tensor]:
        """Plausible inputs, the same for the same seed on every machine."""

    def explained(self, config: ConfigT) -> tuple[FeatureMap, ...]:
        """The feature maps that heat maps (Grad-CAM) are made from; without any, the bundle has no explain.onnx.

        Usually the last map of the image encoder that still has space. Modules are of the network as built and as
        rewritten; none that is cut off by another on the way to the scores.
        """
        return ()

    @abstractmethod
    def manifest(self, config: ConfigT) -> dict[str, Any]:
        """The default of every manifest field that settings may change, as plain JSON values."""

    def describe(self, config: ConfigT, network: nn.Module, metadata: Mapping[str, str]) -> dict[str, Any]:
        """As `manifest`, of a network that holds its weights and of what the checkpoint's file says of itself.

        Raises:
            ValueError: a metadata entry that cannot be.
        """
        return self.manifest(config)

    def assumed(self, config: ConfigT, metadata: Mapping[str, str]) -> Assumptions:
        """As `assumptions`, of a network of this configuration and of what the checkpoint's file says of itself.

        Several settings in place of one settle it together.
        """
        return dict(self.assumptions.items())


def whole_number(name: str, text: str) -> int:
    """A metadata entry as a whole number.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"the file's metadata says {name}={text!r}, which is no whole number") from None
