"""A graph whose constants are PyTorch's, as programs run it; patterns see them as arrays."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .graph import Array, Graph


@dataclass
class TensorGraph(Graph):
    """constants: value -> tensor on the CPU."""

    constants: dict[str, Tensor]

    def array(self, name: str) -> Array:
        """As float32 if PyTorch has it shorter, for which NumPy has no type."""
        tensor = self.constants[name]
        found: Array = (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy()
        return found

    def add_constant(self, name: str, array: Array) -> str:
        """Keep an array as a tensor under a name that begins as given; returns the name."""
        return self.add_tensor(name, torch.from_numpy(np.ascontiguousarray(array)))

    def add_tensor(self, name: str, tensor: Tensor) -> str:
        """Keep a tensor under a name that begins as given; returns the name."""
        name = self._free(name)
        self.constants[name] = tensor
        self.sizes[name], self.types[name] = tuple(tensor.shape), type_name(tensor.dtype)
        return name


def type_name(dtype: torch.dtype) -> str:
    """A graph's name of a type."""
    return str(dtype).removeprefix("torch.")
