"""Which norm follows which convolution, found by running the network on shapes alone."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .copies import meta_copy
from .weights import Convolution

BatchNorm = nn.BatchNorm2d | nn.BatchNorm3d


def norms_after_convolutions(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, str]:
    """Path of a convolution -> path of the batch norm that alone reads what it makes, and reads nothing else."""
    with torch.inference_mode(False), torch.no_grad():
        bare = meta_copy(network)
        sizes = [torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for tensor in inputs.values()]
        watch = _Watch()
        with ExitStack() as stack:
            for path, module in bare.named_modules():
                if isinstance(module, Convolution):
                    hook = module.register_forward_hook(lambda _m, _i, made, path=path: watch.make(path, made))
                    stack.callback(hook.remove)
                elif isinstance(module, BatchNorm):
                    before = module.register_forward_pre_hook(lambda _m, given, path=path: watch.enter(path, given[0]))
                    after = module.register_forward_hook(lambda _m, _i, _o: watch.leave())
                    stack.callback(before.remove)
                    stack.callback(after.remove)
            stack.enter_context(watch)
            outputs = bare(*sizes)
    watch.note(outputs if isinstance(outputs, tuple) else (outputs,))
    return watch.pairs()


class _Watch(TorchDispatchMode):
    """Notes who reads the convolutions' results."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[str, Tensor]] = {}  # holds the results, so that no other gets their identity
        self._made_by: Counter[str] = Counter()
        self._normed: Counter[tuple[str, str]] = Counter()
        self._norms: Counter[str] = Counter()
        self._read_elsewhere: set[str] = set()
        self._within_norm = False

    def make(self, conv: str, result: Tensor) -> None:
        self._made[id(result)] = conv, result
        self._made_by[conv] += 1

    def enter(self, norm: str, source: Tensor) -> None:
        self._within_norm = True
        self._norms[norm] += 1
        if id(source) in self._made:
            self._normed[self._made[id(source)][0], norm] += 1

    def leave(self) -> None:
        self._within_norm = False

    def note(self, read: tuple[Any, ...]) -> None:
        for value in read:
            if isinstance(value, (list, tuple)):
                self.note(tuple(value))
            elif isinstance(value, Tensor) and id(value) in self._made:
                self._read_elsewhere.add(self._made[id(value)][0])

    def pairs(self) -> dict[str, str]:
        return {
            conv: norm
            for (conv, norm), times in self._normed.items()
            if times == self._made_by[conv] == self._norms[norm] and conv not in self._read_elsewhere
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not self._within_norm:
            self.note((*args, *(kwargs or {}).values()))
        return func(*args, **(kwargs or {}))
