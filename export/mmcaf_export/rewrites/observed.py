"""What a network does with its modules: which of them may be replaced, seen in one run on shapes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from .copies import run_on_shapes
from .cost import Inner, tensors_of

BatchNorm = nn.BatchNorm2d | nn.BatchNorm3d
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_OWN_STATE = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


@dataclass(frozen=True)
class Call:
    """A module's input: its whole shape, and whether the runtimes hold it with the channels innermost."""

    shape: tuple[int, ...]
    inner: bool


@dataclass(frozen=True)
class Observed:
    """One run of a network.

    calls: path -> what the module was given, call by call. followers: path of a convolution -> path of the batch norm
    that alone reads what it makes, and reads nothing else. unfit: path -> why the module has to stay as it is.
    Without a run, calls and followers are None and empty.
    """

    network: nn.Module
    calls: Mapping[str, tuple[Call, ...]] | None
    followers: Mapping[str, str]
    unfit: Mapping[str, str]

    def sizes(self, path: str) -> set[tuple[int, ...]]:
        """The sizes [..., D, H, W] of what a module was given, without batch and channels."""
        return {call.shape[2:] for call in self.given(path)}

    def given(self, path: str) -> tuple[Call, ...]:
        """What a module was given, call by call."""
        return (self.calls or {}).get(path, ())

    def ranks(self, path: str) -> set[int]:
        """Numbers of axes of what a module was given, without batch and channels."""
        return {len(size) for size in self.sizes(path)}


def look_at(network: nn.Module) -> Observed:
    """What shows without a run."""
    return Observed(network, None, {}, _unfit(network))


def observe(network: nn.Module, inputs: Mapping[str, Tensor]) -> Observed:
    """Run a network on shapes alone, or, where it reads values on the way, on the inputs themselves."""
    unfit = _unfit(network)

    def run(bare: nn.Module, given: tuple[Tensor, ...]) -> _Watch:
        watch = _Watch(bare)
        with ExitStack() as stack:
            for path, module in bare.named_modules():
                if not own_tensors(module):
                    continue
                before = module.register_forward_pre_hook(
                    lambda of, args, kwargs, path=path: watch.enter(path, of, (*args, *kwargs.values())),
                    with_kwargs=True,
                )
                after = module.register_forward_hook(lambda of, _a, made, path=path: watch.leave(path, of, made))
                stack.callback(before.remove)
                stack.callback(after.remove)
            stack.enter_context(watch)
            outputs = bare(*given)
        watch.note(outputs)
        return watch

    watch = run_on_shapes(network, inputs, run)
    reasons = dict.fromkeys(watch.touched, "its weights are read outside of it")
    reasons |= dict.fromkeys(watch.training, "it runs in training mode")
    calls = {path: tuple(given) for path, given in watch.calls.items()}
    return Observed(network, calls, watch.pairs(), {**reasons, **unfit})


def own_tensors(module: nn.Module) -> list[Tensor]:
    """Weights and buffers of a module itself."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _unfit(network: nn.Module) -> dict[str, str]:
    """Path -> why a module is more than its class says, or is known to more than its parent; by any of its paths."""
    places = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    held = {id(module) for owner in network.modules() for module in _held(owner)}
    found = {}
    for path, module in network.named_modules():
        kind, own = type(module), vars(module)
        if places[id(module)] > 1 or id(module) in held:
            found[path] = "it is used in several places"
        elif own["_forward_hooks"] or own["_forward_pre_hooks"]:
            found[path] = "it has hooks"
        elif any(callable(value) and hasattr(kind, name) for name, value in own.items()):
            found[path] = "it has a method of its own"
        elif not {*own["_parameters"], *own["_buffers"]} <= _OWN_STATE or own["_modules"]:
            found[path] = "it holds more than its class does"
    return found


def _held(owner: nn.Module) -> Iterator[nn.Module]:
    """Modules that another knows by an attribute which is no child: a list, a dictionary, a bound method."""
    pending = [value for name, value in vars(owner).items() if not name.startswith("_")]
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            yield value
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            pending += value
        elif isinstance(bound := getattr(value, "__self__", None), nn.Module) and bound is not owner:
            yield bound


class _Watch(TorchDispatchMode):
    """Notes what the modules are given, who reads the convolutions' results, and who reads whose weights."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.calls: dict[str, list[Call]] = {}
        self.touched: set[str] = set()
        self.training: set[str] = set()
        self._inner = Inner()
        self._owners: dict[int, set[str]] = {}
        for path, module in network.named_modules():
            for tensor in own_tensors(module):
                self._owners.setdefault(id(tensor), set()).add(path)
        self._running: list[str] = []
        self._made = WeakIdKeyDictionary()
        self._made_by: Counter[str] = Counter()
        self._normed: Counter[tuple[str, str]] = Counter()
        self._norms: Counter[str] = Counter()
        self._read_elsewhere: set[str] = set()
        self._within_norm = 0

    def enter(self, path: str, module: nn.Module, given: tuple[Any, ...]) -> None:
        self._running.append(path)
        source = next((value for value in given if isinstance(value, Tensor)), None)
        if source is not None:
            self.calls.setdefault(path, []).append(Call(tuple(source.shape), source in self._inner))
        if module.training:
            self.training.add(path)
        if type(module) in BATCH_NORMS:
            self._within_norm += 1
            self._norms[path] += 1
            if source is not None and source in self._made:
                self._normed[self._made[source], path] += 1

    def leave(self, path: str, module: nn.Module, made: Any) -> None:
        self._running.pop()
        self._within_norm -= type(module) in BATCH_NORMS
        if type(module) in CONVOLUTIONS and isinstance(made, Tensor):
            self._made[made] = path
            self._made_by[path] += 1

    def note(self, read: Any) -> None:
        for value in tree_leaves(read):
            if isinstance(value, Tensor) and value in self._made:
                self._read_elsewhere.add(self._made[value])

    def pairs(self) -> dict[str, str]:
        return {
            conv: norm
            for (conv, norm), times in self._normed.items()
            if times == self._made_by[conv] == self._norms[norm] and conv not in self._read_elsewhere
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        read = tensors_of(args, kwargs)
        for tensor in read:
            if id(tensor) in self._owners:
                self.touched |= self._owners[id(tensor)].difference(self._running)
            if not self._within_norm and tensor in self._made:
                self._read_elsewhere.add(self._made[tensor])
        result = func(*args, **(kwargs or {}))
        self._inner.follow(func.overloadpacket.__name__, read, result)
        return result
